;; A hot loop that was replaced.
;;! tier = osr
;;! sections = block* checkpoint0
(module
  (func (export "sum") (param i64) (result i64) (local i64)
    (loop $again
      (local.set 1 (i64.add (local.get 1) (local.get 0)))
      (br_if $again (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
    (local.get 1)))

;; osr@0x24 sum: frame 64, code 328
;; ...
;; block0:
;;   mov rsi, [rbp+local0]
;;   mov rax, [rbp+local1]
;; block2:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint0
;; L0:
;;   add rax, rsi
;;   add rsi, 0FFFFFFFFFFFFFFFFh
;;   jne block2
;; block4:
;;   xor edx, edx
;;   leave
;;   ret
;; checkpoint0:
;;   mov [rbp+save0], rsi
;;   mov [rbp+save1], rax
;;   mov rdi, r15
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::checkpoint]
;;   mov edx, eax
;;   test edx, edx
;;   jne suspend0
;; L1:
;;   mov rsi, [rbp+save0]
;;   mov rax, [rbp+save1]
;;   jmp L0
;; ...
;; site0 @0x24: image of 2 words; local0=image0 local1=image1
