;;! The host writes memory during the await: a load before it must not stand for the load after it.
;;! invoke "run" (i32 10) => (i32 165)
;;! memory 64 => 0a 00 00 00
;;! osr headers: 1
(module
  (import "host" "poke" (func $poke (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "run") (param $n i32) (result i32) (local $i i32) (local $sum i32)
    (i32.store (i32.const 64) (i32.const 5))
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 64))))
      (call $poke (i32.const 64) (local.tee $i (i32.add (local.get $i) (i32.const 1))))
      (local.set $sum (i32.add (local.get $sum) (i32.load (i32.const 64))))
      (br_if $l (i32.lt_s (local.get $i) (local.get $n))))
    (i32.add (local.get $sum) (i32.const 60))))
