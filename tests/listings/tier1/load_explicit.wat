;; A load that tests its bounds.
;;! guard = off
;;! tier = 1
;;! sections = entry block* trap.*
(module
  (memory 1)
  (func (export "load") (param i32) (result i64)
    (i64.load offset=24 (local.get 0))))

;; tier-1 load: frame 16, code 394
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
;;   lea r11, [rdi+20h]
;;   cmp r11, [r15+memory_len]
;;   ja trap.MemoryOutOfBounds@0x2a
;;   mov rsi, [r15+memory_base]
;;   mov rax, [rsi+rdi+18h]
;;   mov ecx, 0
;;   leave
;;   ret
;; ...
;; trap.MemoryOutOfBounds@0x2a:
;;   mov edx, 2Ah
;;   jmp trap.MemoryOutOfBounds
;; trap.StackOverflow@0x28:
;;   mov edx, 28h
;;   jmp trap.StackOverflow
;; trap.MemoryOutOfBounds:
;;   mov rdi, r15
;;   mov esi, 2
;;   mov rcx, rbp
;;   lea r8, [L7]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L7:
;;   mov ecx, 2
;;   leave
;;   ret
;; trap.StackOverflow:
;;   mov rdi, r15
;;   mov esi, 6
;;   mov rcx, rbp
;;   lea r8, [L8]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L8:
;;   mov ecx, 2
;;   leave
;;   ret
;; site0 @0x28: image of 1 words; local0=image0
