;; Tail calls: the frame goes, the callee is jumped to; through a table as well.
;;! tier = 0
;;! func = caller
;;! counters = off
;;! sections = body L*
(module
  (type $f (func (param i32 f64) (result i32)))
  (table 4 4 funcref)
  (func $callee (type $f) (local.get 0))
  (elem (i32.const 0) $callee)
  (func (export "caller") (type $f)
    (if (local.get 0) (then (return_call $callee (i32.const 7) (local.get 1))))
    (return_call_indirect (type $f) (i32.const 8) (local.get 1) (local.get 0))))

;; tier-0 caller: frame 48, code 567
;; ...
;; body:
;;   cmp dword ptr [rbp+local0], 0
;;   je L0
;;   mov edi, 7
;;   movsd xmm0, [rbp+local1]
;;   mov rax, [r15+entries]                        ; return_call func0 @0x44
;;   leave
;;   jmp qword ptr [rax+func0.code]
;; ...
;; site0 @0x3c: image of 2 words; local0=image0 local1=image1
