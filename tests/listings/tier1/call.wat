;; A call: arguments in registers, what lives across it in slots. The callee may trap, so it is not copied.
;;! tier = 1
;;! func = caller
;;! sections = entry block*
(module
  (func $callee (param i32 f64) (result i32) (i32.div_u (i32.const 100) (local.get 0)))
  (func (export "caller") (param i32 f64) (result i32)
    (i32.add (call $callee (i32.const 7) (local.get 1)) (local.get 0))))

;; tier-1 caller: frame 32, code 504
;; entry:
;;   push rbp
;;   mov rbp, rsp
;;   lea rsp, [rbp+frame_end]
;;   cmp rsp, [r15+stack_limit]
;;   jb L7
;; block0:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint0
;; L0:
;;   mov [rbp+spill0], rdi
;;   mov edi, 7
;;   mov r11, [r15+entries]
;;   call qword ptr [r11+func0.code]               ; func0
;;   test edx, edx
;;   jne suspend1
;;   mov rdi, [rbp+spill0]
;; L1:
;;   add eax, edi
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; site0 @0x30: image of 2 words; local0=image0 local1=image1
;; site1 @0x34: image of 1 words; local0=image0
