;; From Rust to a guest function: one word per parameter becomes registers.
;;! tier = entry
(module
  (func (export "f") (param i32 i64 f32 f64) (result i32)
    (local.get 0)))

;; entry stub: code 23
;;   mov rsi, [rdi+10h]
;;   movsd xmm0, [rdi+18h]
;;   movsd xmm1, [rdi+20h]
;;   mov rax, [rdi]
;;   mov rdi, [rdi+8]
;;   jmp rax
