;;! An await as the value of `return`, at the end, and as one of several results.
;;! invoke "a" (i32 1) => (i32 1)
;;! invoke "a" (i32 0) => (i32 2)
;;! invoke "b" (i32 7) => (i32 7) (i32 8) (i32 7)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func (export "a") (param i32) (result i32)
    (if (local.get 0) (then (return (call $await_i32 (local.get 0)))))
    (call $await_i32 (i32.const 2)))
  (func (export "b") (param i32) (result i32 i32 i32)
    (local.get 0)
    (call $await_i32 (i32.const 8))
    (local.get 0)))
