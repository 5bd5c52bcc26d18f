;; Suspended and resumed in OSR code, resumption patchpoint.
;;! tier = osr
;;! resumption = patchpoint
;;! sections = block* suspend1 door1*
(module
  (import "host" "next" (func $next (param i64) (result i64)))
  (func (export "collect") (param i64) (result i64) (local i64)
    (loop $again
      (local.set 1 (i64.add (local.get 1) (call $next (local.get 0))))
      (br_if $again (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
    (local.get 1)))

;; osr@0x37 collect: frame 64, code 643
;; ...
;; block0:
;;   mov rsi, [rbp+local0]
;;   mov [rbp+spill0], rsi
;;   mov rax, [rbp+local1]
;;   mov [rbp+spill1], rax
;;   jmp block2
;; block3:
;;   mov [rbp+spill0], rsi
;; block2:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint0
;; L0:
;;   mov rdi, [rbp+spill0]
;;   mov r10, [r15+import0.environment]
;;   call qword ptr [r15+import0.code]
;;   test ecx, ecx
;;   jne suspend1
;;   mov rcx, [rbp+spill1]
;; L1:
;;   add rcx, rax
;;   mov rsi, [rbp+spill0]
;;   mov [rbp+spill1], rcx
;;   add rsi, 0FFFFFFFFFFFFFFFFh
;;   jne block3
;; block4:
;;   mov rax, [rbp+spill1]
;;   mov ecx, 0
;;   leave
;;   ret
;; ...
;; suspend1:
;;   cmp ecx, 1
;;   jne leave
;;   mov rdi, [r15+free_list0]
;;   test rdi, rdi
;;   je L9
;;   mov rax, [rdi+next]
;;   mov [r15+free_list0], rax
;; L5:
;;   mov rax, site1
;;   cmp rax, [rdi+site]
;;   je L6
;;   mov [rdi+site], rax
;;   mov rax, tier0::resume
;;   mov [rdi+resume], rax
;;   lea rax, [door1.tier0]
;;   mov [rdi+resume_address], rax
;;   mov dword ptr [rdi+flags], 200h
;;   mov dword ptr [rdi+counter], 0
;;   mov qword ptr [rdi+task_context], 0
;; L6:
;;   mov rax, [rbp+spill0]
;;   mov [rdi+image0], rax
;;   mov rax, [rbp+spill1]
;;   mov [rdi+image1], rax
;;   mov rax, [r15+chain_tail]
;;   mov [rax+next], rdi
;;   mov [r15+chain_tail], rdi
;;   mov ecx, 1
;;   leave
;;   ret
;; door1:
;;   push rbp
;;   mov rbp, rsp
;; door1.tier0:
;;   lea rsp, [rbp+frame_end]
;;   cmp rsp, [r15+stack_limit]
;;   jb L10
;;   mov rax, [rdi+image0]
;;   mov [rbp+spill0], rax
;;   mov rax, [rdi+image1]
;;   mov [rbp+spill1], rax
;;   mov rcx, [rdi+image1]
;;   mov r11, [r15+free_list0]
;;   mov [rdi+next], r11
;;   mov [r15+free_list0], rdi
;;   mov rax, [r15+results.int0]
;;   jmp L1
;; ...
;; site0 @0x37: image of 2 words; local0=image0 local1=image1
;; site1 @0x3d: image of 2 words; local0=image0 stack0=image1
