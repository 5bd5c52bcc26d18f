;;! An await as the condition of `if`, with and without else, with results.
;;! invoke "run" (i32 0) => (i32 20) (i32 0)
;;! invoke "run" (i32 1) => (i32 10) (i32 5)
;;! invoke "run" (i32 -7) => (i32 10) (i32 5)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func (export "run") (param $x i32) (result i32 i32) (local $y i32)
    (if (result i32) (call $await_i32 (local.get $x)) (then (i32.const 10)) (else (i32.const 20)))
    (if (call $await_i32 (local.get $x)) (then (local.set $y (i32.const 5))))
    (local.get $y)))
