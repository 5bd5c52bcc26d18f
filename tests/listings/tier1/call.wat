;; A call: arguments in registers, what lives across it in slots.
;;! tier = 1
;;! func = caller
;;! sections = entry block*
(module
  (func $callee (param i32 f64) (result i32) (local.get 0))
  (func (export "caller") (param i32 f64) (result i32)
    (i32.add (call $callee (i32.const 7) (local.get 1)) (local.get 0))))

;; tier-1 caller: frame 16, code 359
;; entry:
;;   push rbp
;;   mov rbp, rsp
;;   lea rsp, [rbp+frame_end]
;;   cmp rsp, [r15+stack_limit]
;;   jb L4
;; block0:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint0
;; L0:
;;   lea eax, [rdi+7]
;;   mov ecx, 0
;;   leave
;;   ret
;; ...
;; site0 @0x2c: image of 2 words; local0=image0 local1=image1
