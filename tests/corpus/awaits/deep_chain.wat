;;! An await two hundred calls deep, each caller with something to do afterwards; then again at half the depth.
;;! invoke "down" (i32 200) => (i64 20100)
;;! invoke "pendulum" (i32 100) => (i32 10100)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (func $down (export "down") (param $n i32) (result i64)
    (if (i32.eqz (local.get $n)) (then (return (call $await_i64 (i64.const 0)))))
    (i64.add (i64.extend_i32_s (local.get $n)) (call $down (i32.sub (local.get $n) (i32.const 1)))))
  (func $pendulum (export "pendulum") (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then
        (i32.add (call $await_i32 (local.get $n))
          (i32.add (call $pendulum (i32.sub (local.get $n) (i32.const 1)))
                   (call $await_i32 (local.get $n)))))
      (else (i32.const 0)))))
