;; Tail calls: the frame goes, the callee is jumped to; through a table as well.
;;! tier = 1
;;! func = caller
;;! sections = entry block* L*
(module
  (type $f (func (param i32 f64) (result i32)))
  (table 4 4 funcref)
  (func $callee (type $f) (local.get 0))
  (elem (i32.const 0) $callee)
  (func (export "caller") (type $f)
    (if (local.get 0) (then (return_call $callee (i32.const 7) (local.get 1))))
    (return_call_indirect (type $f) (i32.const 8) (local.get 1) (local.get 0))))

;; tier-1 caller: frame 16, code 596
;; entry:
;;   push rbp
;;   mov rbp, rsp
;;   lea rsp, [rbp+frame_end]
;;   cmp rsp, [r15+stack_limit]
;;   jb L5
;; block0:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint0
;; L0:
;;   test edi, edi
;;   jne block2
;; block1:
;;   cmp edi, [r15+table0.len]
;;   jae trap.UndefinedElement@0x4d
;;   mov r8, [r15+table0.elements]
;;   mov r10, [r8+rdi*8]
;;   test r10, r10
;;   je trap.UninitializedElement@0x4d
;;   cmp dword ptr [r10+20h], 0
;;   jne trap.IndirectCallTypeMismatch@0x4d
;;   mov edi, 8
;;   leave
;;   cmp [r10+10h], r15
;;   jne L6
;;   mov r11, [r10+18h]
;;   mov r11, [r11]
;; L1:
;;   jmp r11
;; block2:
;;   mov edi, 7
;;   mov r11, [r15+entries]
;;   leave                                         ; func0
;;   jmp qword ptr [r11+func0.code]
;; ...
;; site0 @0x3c: image of 2 words; local0=image0 local1=image1
