;; A load from a guarded memory.
;;! tier = 1
;;! sections = entry block* trap.*
(module
  (memory 1)
  (func (export "load") (param i32) (result i64)
    (i64.load offset=24 (local.get 0))))

;; tier-1 load: frame 0, code 113
;; entry:
;;   push rbp
;;   mov rbp, rsp
;;   lea rsp, [rbp+frame_end]
;;   cmp rsp, [r15+stack_limit]
;;   jb L0
;; block0:
;;   mov rdx, [r15+memory_base]
;;   mov rax, [rdx+rdi+18h]                        ; or trap.MemoryOutOfBounds@0x2a
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; trap.StackOverflow@0x2a:
;;   mov edx, 2Ah
;;   jmp trap.StackOverflow
;; trap.StackOverflow:
;;   mov rdi, r15
;;   mov esi, 6
;;   mov rcx, rbp
;;   lea r8, [L1]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L1:
;;   mov edx, 80000000h
;;   leave
;;   ret
;; trap.MemoryOutOfBounds:
;;   mov rdi, r15
;;   mov esi, 2
;;   mov rcx, rbp
;;   lea r8, [L2]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L2:
;;   mov edx, 80000000h
;;   leave
;;   ret
