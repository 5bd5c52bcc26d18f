;;! Recursion with an await at every leaf and between the two calls.
;;! invoke "fib" (i32 1) => (i32 1)
;;! invoke "fib" (i32 12) => (i32 144)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func $fib (export "fib") (param $n i32) (result i32)
    (if (i32.lt_s (local.get $n) (i32.const 2)) (then (return (call $await_i32 (local.get $n)))))
    (i32.add (call $fib (i32.sub (local.get $n) (i32.const 1)))
             (call $fib (call $await_i32 (i32.sub (local.get $n) (i32.const 2)))))))
