;; A loop header counts down in its own frame; at zero it calls out.
;;! sections = loop0 loop0.body patchpoint0.hit
(module
  (func (export "sum") (param i64) (result i64) (local i64)
    (loop $again
      (local.set 1 (i64.add (local.get 1) (local.get 0)))
      (br_if $again (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
    (local.get 1)))

;; tier-0 sum: frame 48, code 735
;; ...
;; loop0:
;;   dec dword ptr [rbp+patchpoint_counter]        ; patchpoint 0 @0x24
;;   jle patchpoint0.hit
;; L1:
;;   cmp dword ptr [r15+checkpoint], 0             ; checkpoint
;;   jne checkpoint1
;; loop0.body:
;;   mov rax, [rbp+local1]
;;   add rax, [rbp+local0]
;;   mov [rbp+local1], rax
;;   mov rax, [rbp+local0]
;;   sub rax, 1
;;   mov [rbp+local0], rax
;;   test rax, rax
;;   jne body
;;   mov rax, [rbp+local1]
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; patchpoint0.hit:
;;   mov rdi, r15
;;   mov rsi, rbp
;;   mov rdx, patchpoint0
;;   lea rcx, [L1]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::patchpoint_hit]
;;   jmp rax                                       ; the non-local jump, or back
;; ...
;; site0 @0x24: image of 2 words; local0=image0 local1=image1
;; site1 @0x24: image of 2 words; local0=image0 local1=image1
