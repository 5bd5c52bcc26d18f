;;! Invariant expressions in an awaiting loop: pure ones, one that may trap, a load that the host may change.
;;! invoke "run" (i32 10) (i32 100) (i32 7) => (i64 1730)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "poke" (func $poke (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "run") (param $n i32) (param $a i32) (param $b i32) (result i64) (local $i i32) (local $sum i64)
    (loop $l
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s (i32.div_s (local.get $a) (local.get $b)))))
      (call $poke (i32.const 8) (local.get $i))
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s (i32.mul (local.get $a) (i32.const 1)))))
      (local.set $sum (i64.add (local.get $sum) (i64.mul (i64.extend_i32_s (local.get $b)) (i64.extend_i32_s (i32.load (i32.const 8))))))
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s (call $await_i32 (i32.rem_s (local.get $a) (local.get $b))))))
      (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (i64.add (local.get $sum) (i64.const 255))))
