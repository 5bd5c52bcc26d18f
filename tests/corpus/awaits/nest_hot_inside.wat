;;! The innermost loop is hot and never awaits; the awaits lie in the loops around it.
;;! invoke "run" => (i64 45306)
;;! osr headers: 3
(module
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (func (export "run") (result i64) (local $i i32) (local $j i32) (local $k i64) (local $sum i64)
    (loop $outer
      (local.set $j (i32.const 0))
      (loop $middle
        (local.set $k (i64.const 0))
        (loop $inner
          (local.set $k (i64.add (local.get $k) (i64.const 1)))
          (local.set $sum (i64.add (local.get $sum) (local.get $k)))
          (br_if $inner (i64.lt_u (local.get $k) (i64.const 100))))
        (local.set $sum (i64.add (local.get $sum) (call $await_i64 (i64.const -1))))
        (br_if $middle (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (i32.const 3))))
      (local.set $sum (call $await_i64 (local.get $sum)))
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 3))))
    (i64.sub (local.get $sum) (i64.const 135))))
