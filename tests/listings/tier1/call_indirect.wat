;; An indirect call: bounds, null, type; a function of this instance is called through its table of functions.
;;! tier = 1
;;! func = caller
;;! sections = entry block* L*
(module
  (type $f (func (param i32) (result i32)))
  (table 4 4 funcref)
  (func $callee (param i32) (result i32) (local.get 0))
  (elem (i32.const 0) $callee)
  (func (export "caller") (param i32) (result i32)
    (call_indirect (type $f) (i32.const 7) (local.get 0))))

;; tier-1 caller: frame 16, code 648
;; entry:
;;   push rbp
;;   mov rbp, rsp
;;   lea rsp, [rbp+frame_end]
;;   cmp rsp, [r15+stack_limit]
;;   jb L8
;; block0:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint0
;; L0:
;;   cmp edi, [r15+table0.len]
;;   jae trap.UndefinedElement@0x3f
;;   mov r8, [r15+table0.elements]
;;   mov r10, [r8+rdi*8]
;;   test r10, r10
;;   je trap.UninitializedElement@0x3f
;;   cmp dword ptr [r10+20h], 0
;;   jne trap.IndirectCallTypeMismatch@0x3f
;;   mov edi, 7
;;   cmp [r10+10h], r15
;;   jne L9
;;   mov r11, [r10+18h]
;;   mov r11, [r11]
;; L1:
;;   call r11
;;   test edx, edx
;;   jne suspend1
;; L2:
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; site0 @0x3b: image of 1 words; local0=image0
;; site1 @0x3f: image of 0 words;
