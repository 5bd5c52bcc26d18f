;; A hot loop, from the top.
;;! tier = 1
;;! sections = entry block*
(module
  (func (export "sum") (param i64) (result i64) (local i64)
    (loop $again
      (local.set 1 (i64.add (local.get 1) (local.get 0)))
      (br_if $again (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
    (local.get 1)))

;; tier-1 sum: frame 16, code 595
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
;;   xor eax, eax
;; block1:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint1
;; L1:
;;   add rax, rdi
;;   add rdi, 0FFFFFFFFFFFFFFFFh
;;   jne block1
;; block3:
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; site0 @0x24: image of 1 words; local0=image0 local1=0x0
;; site1 @0x24: image of 2 words; local0=image0 local1=image1
