;; A continuation enters tier-0: null address, the frame is refilled.
;;! sections = resume resume.jump refill1
(module
  (import "host" "next" (func $next (param i64) (result i64)))
  (func (export "collect") (param i64) (result i64) (local i64)
    (loop $again
      (local.set 1 (i64.add (local.get 1) (call $next (local.get 0))))
      (br_if $again (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
    (local.get 1)))

;; tier-0 collect: frame 48, code 1018
;; ...
;; resume:
;;   push rbp
;;   mov rbp, rsp
;;   mov rax, [rdi+resume_address]
;;   test rax, rax
;;   jne resume.jump
;;   mov rax, [rdi+site]
;;   jmp qword ptr [rax]                           ; first word of a site: its refill door
;; resume.jump:
;;   jmp rax                                       ; the non-local jump
;; ...
;; refill1:
;;   lea rsp, [rbp+frame_end]
;;   mov eax, [rdi+counter]
;;   mov [rbp+patchpoint_counter], eax
;;   mov rax, [rdi+image0]
;;   mov [rbp+local0], rax
;;   mov rax, [rdi+image1]
;;   mov [rbp+local1], rax
;;   jmp loop0.body
;; ...
;; site0 @0x37: image of 2 words; local0=image0 local1=image1
;; site1 @0x37: image of 2 words; local0=image0 local1=image1
;; site2 @0x3d: image of 2 words; local0=image0 stack0=image1
