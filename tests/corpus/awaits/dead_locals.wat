;;! Locals that are dead at the await, rewritten before they are read; and some that are never read at all.
;;! invoke "run" (i32 30) => (i32 60)
;;! osr headers: 1
(module
  (import "host" "yield" (func $yield))
  (func (export "run") (param $n i32) (result i32) (local $dead i64) (local $temp i32) (local $never f64) (local $sum i32)
    (loop $l
      (local.set $never (f64.const 3))
      (local.set $dead (i64.const 77))
      (local.set $temp (i32.wrap_i64 (local.get $dead)))
      (call $yield)
      (local.set $temp (i32.const 2))
      (local.set $sum (i32.add (local.get $sum) (local.get $temp)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
