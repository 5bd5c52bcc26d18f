;; A tier-0 function is entered: room, parameters to their homes, counters.
;;! sections = entry body
(module
  (func (export "add") (param i32 i64) (result i64) (local f64)
    (i64.add (i64.extend_i32_u (local.get 0)) (local.get 1))))

;; tier-0 add: frame 48, code 384
;; entry:
;;   push rbp
;;   mov rbp, rsp
;;   lea r11, [rbp+frame_end]
;;   cmp r11, [r15+stack_limit]
;;   jb L3
;;   mov rsp, r11
;;   mov [rbp+local0], rdi
;;   mov [rbp+local1], rsi
;;   mov qword ptr [rbp+local2], 0
;;   mov dword ptr [rbp+patchpoint_counter], 3E8h
;;   mov rax, [r15+entries]                        ; call counter
;;   sub dword ptr [rax+func0.call_counter], 1
;;   jle call_count
;; L0:
;;   cmp dword ptr [r15+checkpoint], 0             ; checkpoint
;;   jne checkpoint0
;; body:
;;   mov eax, [rbp+local0]
;;   add rax, [rbp+local1]
;;   xor edx, edx
;;   leave
;;   ret
;; ...
;; site0 @0x25: image of 2 words; local0=image0 local1=image1
