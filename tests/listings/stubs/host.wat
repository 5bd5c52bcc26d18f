;; From guest code to a host function and back.
;;! tier = host
(module
  (func (export "f") (param i32 f64) (result i64)
    (i64.const 0)))

;; host stub: code 44
;;   push rbp
;;   mov rbp, rsp
;;   lea rsp, [rbp-10h]
;;   mov [rbp-10h], rdi
;;   movsd [rbp-8], xmm0
;;   mov rdi, r15
;;   mov rsi, r10
;;   mov rdx, rsp
;;   call qword ptr [r10]
;;   test edx, edx
;;   jne L0
;;   mov rax, [rbp-10h]
;; L0:
;;   leave
;;   ret
