;; A load that tests its bounds.
;;! guard = off
;;! counters = off
;;! sections = body trap.*
(module
  (memory 1)
  (func (export "load") (param i32) (result i64)
    (i64.load offset=24 (local.get 0))))

;; tier-0 load: frame 32, code 375
;; ...
;; body:
;;   mov eax, [rbp+local0]
;;   lea r11, [rax+20h]
;;   cmp r11, [r15+memory_len]
;;   ja trap.MemoryOutOfBounds@0x2a
;;   mov rcx, [r15+memory_base]
;;   mov rax, [rcx+rax+18h]
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; trap.StackOverflow@0x28:
;;   mov edx, 28h
;;   jmp trap.StackOverflow
;; trap.MemoryOutOfBounds@0x2a:
;;   mov edx, 2Ah
;;   jmp trap.MemoryOutOfBounds
;; trap.StackOverflow:
;;   mov rdi, r15
;;   mov esi, 6
;;   mov rcx, rbp
;;   lea r8, [L4]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L4:
;;   mov edx, 80000000h
;;   leave
;;   ret
;; trap.MemoryOutOfBounds:
;;   mov rdi, r15
;;   mov esi, 2
;;   mov rcx, rbp
;;   lea r8, [L5]
;;   mov rax, [r15+helpers]
;;   call qword ptr [rax+helper::trap]
;; L5:
;;   mov edx, 80000000h
;;   leave
;;   ret
;; site0 @0x28: image of 1 words; local0=image0
