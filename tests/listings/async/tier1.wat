;; Suspended and resumed in tier-1 code.
;;! tier = 1
;;! sections = block* suspend2* door2*
(module
  (import "host" "next" (func $next (param i64) (result i64)))
  (func (export "collect") (param i64) (result i64) (local i64)
    (loop $again
      (local.set 1 (i64.add (local.get 1) (call $next (local.get 0))))
      (br_if $again (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
    (local.get 1)))

;; tier-1 collect: frame 32, code 880
;; ...
;; block0:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint0
;; L0:
;;   mov [rbp+spill0], rdi
;;   xor eax, eax
;;   mov [rbp+spill1], rax
;;   jmp block1
;; block2:
;;   mov [rbp+spill0], r12
;; block1:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint1
;; L1:
;;   mov rdi, [rbp+spill0]
;;   mov r10, [r15+import0.environment]
;;   call qword ptr [r15+import0.code]
;;   test edx, edx
;;   jne suspend2
;;   mov rcx, [rbp+spill1]
;;   mov r12, [rbp+spill0]
;; L2:
;;   add rcx, rax
;;   mov [rbp+spill1], rcx
;;   add r12, 0FFFFFFFFFFFFFFFFh
;;   jne block2
;; block3:
;;   mov rax, [rbp+spill1]
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; suspend2:
;;   js leave
;;   cmp qword ptr [rbp+caller_frame], 0           ; the outermost frame?
;;   jne suspend2.fresh
;;   mov rdi, [r15+kept]
;;   mov rax, site2
;;   cmp rax, [rdi+site]
;;   jne suspend2.fresh
;;   mov rax, [rbp+spill0]
;;   mov [rdi+image0], rax
;;   mov rax, [rbp+spill1]
;;   mov [rdi+image1], rax
;;   mov rax, [r15+chain_tail]
;;   mov [rax+next], rdi
;;   mov edx, 2
;;   leave
;;   ret
;; suspend2.fresh:
;;   mov rdi, [r15+free_list0]
;;   test rdi, rdi
;;   je L14
;;   mov rax, [rdi+next]
;;   mov [r15+free_list0], rax
;; L9:
;;   mov rax, site2
;;   cmp rax, [rdi+site]
;;   je L10
;;   mov [rdi+site], rax
;;   lea rax, [door2]
;;   mov [rdi+resume], rax
;;   lea rax, [door2]
;;   mov [rdi+resume_address], rax
;;   mov dword ptr [rdi+flags], 0
;;   mov dword ptr [rdi+counter], 0
;;   mov qword ptr [rdi+task_context], 0
;; L10:
;;   mov rax, [rbp+spill0]
;;   mov [rdi+image0], rax
;;   mov rax, [rbp+spill1]
;;   mov [rdi+image1], rax
;;   mov rax, [r15+chain_tail]
;;   mov [rax+next], rdi
;;   mov [r15+chain_tail], rdi
;;   mov edx, 1
;;   leave
;;   ret
;; door2:
;;   push rbp
;;   mov rbp, rsp
;; door2.tier0:
;;   lea rsp, [rbp+frame_end]
;;   mov rax, [r15+results.int0]
;;   mov rcx, [rdi+image1]
;;   mov r12, [rdi+image0]
;;   jmp L2
;; ...
;; site0 @0x37: image of 1 words; local0=image0 local1=0x0
;; site1 @0x37: image of 2 words; local0=image0 local1=image1
;; site2 @0x3d: image of 2 words; local0=image0 stack0=image1
