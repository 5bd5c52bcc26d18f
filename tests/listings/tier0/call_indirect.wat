;; An indirect call: bounds, null, type; a function of this instance is called through its table of functions.
;;! func = caller
;;! counters = off
;;! sections = body
(module
  (type $f (func (param i32) (result i32)))
  (table 4 4 funcref)
  (func $callee (param i32) (result i32) (local.get 0))
  (elem (i32.const 0) $callee)
  (func (export "caller") (param i32) (result i32)
    (call_indirect (type $f) (i32.const 7) (local.get 0))))

;; tier-0 caller: frame 32, code 675
;; ...
;; body:
;;   mov eax, [rbp+local0]
;;   cmp eax, [r15+table0.len]
;;   jae trap.UndefinedElement@0x3f
;;   mov r11, [r15+table0.elements]
;;   mov rax, [r11+rax*8]
;;   test rax, rax
;;   je trap.UninitializedElement@0x3f
;;   cmp dword ptr [rax+20h], 0
;;   jne trap.IndirectCallTypeMismatch@0x3f
;;   mov r10, rax
;;   mov edi, 7
;;   cmp [r10+10h], r15                            ; call_indirect @0x3f
;;   jne L7
;;   mov r11, [r10+18h]
;;   mov r11, [r11]
;; L0:
;;   call r11
;;   test edx, edx
;;   jne suspend1
;; L1:
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; site0 @0x3b: image of 1 words; local0=image0
;; site1 @0x3f: image of 0 words;
