;; A load that tests its bounds.
;;! guard = off
;;! tier = 1
;;! sections = entry block* trap.*
(module
  (memory 1)
  (func (export "load") (param i32) (result i64)
    (i64.load offset=24 (local.get 0))))

;; tier-1 load: frame 0, code 137
;; entry:
;;   push rbp
;;   mov rbp, rsp
;;   lea rsp, [rbp+frame_end]
;;   cmp rsp, [r15+stack_limit]
;;   jb L0
;; block0:
;;   lea r11, [rdi+20h]
;;   cmp r11, [r15+memory_len]
;;   ja trap.MemoryOutOfBounds@0x2a
;;   mov rbx, [r15+memory_base]
;;   mov rax, [rbx+rdi+18h]
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; trap.MemoryOutOfBounds@0x2a:
;;   mov edx, 2Ah
;;   jmp trap.MemoryOutOfBounds
;; trap.StackOverflow@0x2a:
;;   mov edx, 2Ah
;;   jmp trap.StackOverflow
;; trap.MemoryOutOfBounds:
;;   mov rdi, r15
;;   mov esi, 2
;;   mov rcx, rbp
;;   lea r8, [L1]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L1:
;;   mov edx, 80000000h
;;   leave
;;   ret
;; trap.StackOverflow:
;;   mov rdi, r15
;;   mov esi, 6
;;   mov rcx, rbp
;;   lea r8, [L2]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L2:
;;   mov edx, 80000000h
;;   leave
;;   ret
