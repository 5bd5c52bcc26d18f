;; A load from a guarded memory.
;;! tier = 1
;;! sections = entry block* trap.*
(module
  (memory 1)
  (func (export "load") (param i32) (result i64)
    (i64.load offset=24 (local.get 0))))

;; tier-1 load: frame 16, code 370
;; entry:
;;   push rbp
;;   mov rbp, rsp
;;   lea rsp, [rbp+frame_end]
;;   cmp rsp, [r15+stack_limit]
;;   jb L4
;; block0:
;;   cmp dword ptr [r15+checkpoint], 0
;;   jne checkpoint0
;; L0:
;;   mov rbx, [r15+memory_base]
;;   mov rax, [rbx+rdi+18h]                        ; or trap.MemoryOutOfBounds@0x2a
;;   mov ecx, 0
;;   leave
;;   ret
;; ...
;; trap.StackOverflow@0x28:
;;   mov edx, 28h
;;   jmp trap.StackOverflow
;; trap.StackOverflow:
;;   mov rdi, r15
;;   mov esi, 6
;;   mov rcx, rbp
;;   lea r8, [L7]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L7:
;;   mov ecx, 2
;;   leave
;;   ret
;; trap.MemoryOutOfBounds:
;;   mov rdi, r15
;;   mov esi, 2
;;   mov rcx, rbp
;;   lea r8, [L8]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L8:
;;   mov ecx, 2
;;   leave
;;   ret
;; site0 @0x28: image of 1 words; local0=image0
