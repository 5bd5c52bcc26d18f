;; Suspended and resumed in OSR code, resumption patchpoint.
;;! tier = osr
;;! resumption = patchpoint
;;! sections = block* suspend1* door1*
(module
  (import "host" "next" (func $next (param i64) (result i64)))
  (func (export "collect") (param i64) (result i64) (local i64)
    (loop $again
      (local.set 1 (i64.add (local.get 1) (call $next (local.get 0))))
      (br_if $again (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
    (local.get 1)))

;; osr@0x37 collect: frame 64, code 619
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
;;   test edx, edx
;;   jne suspend1
;;   mov rcx, [rbp+spill1]
;;   mov rsi, [rbp+spill0]
;; L1:
;;   add rcx, rax
;;   mov [rbp+spill1], rcx
;;   add rsi, 0FFFFFFFFFFFFFFFFh
;;   jne block3
;; block4:
;;   mov rax, [rbp+spill1]
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; suspend1:
;;   js leave
;;   cmp qword ptr [rbp+caller_frame], 0           ; the outermost frame?
;;   jne suspend1.fresh
;;   mov rdi, [r15+kept]
;;   mov rax, site1
;;   cmp rax, [rdi+site]
;;   jne suspend1.fresh
;;   mov rax, [rbp+spill0]
;;   mov [rdi+image0], rax
;;   mov rax, [rbp+spill1]
;;   mov [rdi+image1], rax
;;   mov rax, [r15+chain_tail]
;;   mov [rax+next], rdi
;;   mov edx, 2
;;   leave
;;   ret
;; suspend1.fresh:
;;   mov rdi, [r15+free_list0]
;;   test rdi, rdi
;;   je L8
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
;;   mov edx, 1
;;   leave
;;   ret
;; door1:
;;   push rbp
;;   mov rbp, rsp
;; door1.tier0:
;;   lea rsp, [rbp+frame_end]
;;   mov rax, [r15+results.int0]
;;   mov rcx, [rdi+image1]
;;   mov rsi, [rdi+image0]
;;   jmp L1
;; ...
;; site0 @0x37: image of 2 words; local0=image0 local1=image1
;; site1 @0x3d: image of 2 words; local0=image0 stack0=image1
