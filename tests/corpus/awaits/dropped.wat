;;! Awaits whose results are dropped, or which have none.
;;! invoke "run" (i32 20) => (i32 20)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_f64" (func $await_f64 (param f64) (result f64)))
  (import "host" "yield" (func $yield))
  (import "host" "await_two" (func $await_two (param i32 i64) (result i64 i32)))
  (func (export "run") (param $n i32) (result i32) (local $i i32)
    (loop $l
      (drop (call $await_f64 (f64.const 1)))
      (call $yield)
      (drop (call $await_i32 (i32.const 7)))
      (call $await_two (i32.const 1) (i64.const 2)) (drop) (drop)
      (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $i)))
