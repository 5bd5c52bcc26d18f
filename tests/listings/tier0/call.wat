;; A call: the operand stack is flushed, the exit word tested.
;;! func = caller
;;! counters = off
;;! sections = body suspend1
(module
  (func $callee (param i32 f64) (result i32) (local.get 0))
  (func (export "caller") (param i32 f64) (result i32)
    (i32.add (call $callee (i32.const 7) (local.get 1)) (local.get 0))))

;; tier-0 caller: frame 48, code 522
;; ...
;; body:
;;   mov edi, 7
;;   movsd xmm0, [rbp+local1]
;;   mov rax, [r15+entries]                        ; call func0 @0x30
;;   call qword ptr [rax+func0.code]
;;   test edx, edx
;;   jne suspend1
;; L0:
;;   add eax, [rbp+local0]
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; suspend1:
;;   js leave
;;   mov rdi, [r15+free_list0]
;;   test rdi, rdi
;;   je L7
;;   mov rax, [rdi+next]
;;   mov [r15+free_list0], rax
;; L3:
;;   mov rax, site1
;;   cmp rax, [rdi+site]
;;   je L4
;;   mov [rdi+site], rax
;;   lea rax, [resume]
;;   mov [rdi+resume], rax
;;   mov qword ptr [rdi+resume_address], 0
;;   mov dword ptr [rdi+flags], 200h
;;   mov qword ptr [rdi+task_context], 0
;; L4:
;;   mov eax, [rbp+patchpoint_counter]
;;   mov [rdi+counter], eax
;;   mov rax, [rbp+local0]
;;   mov [rdi+image0], rax
;;   mov rax, [r15+chain_tail]
;;   mov [rax+next], rdi
;;   mov [r15+chain_tail], rdi
;;   mov edx, 1
;;   leave
;;   ret
;; ...
;; site0 @0x2c: image of 2 words; local0=image0 local1=image1
;; site1 @0x30: image of 1 words; local0=image0
