;;! A small program as people write them: a queue in memory, filled and emptied by turns, with awaits in both halves.
;;! invoke "run" (i32 100) => (i32 5050) (i32 0)
;;! osr headers: 3
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "yield" (func $yield))
  (memory (export "memory") 1)
  (global $head (mut i32) (i32.const 0))
  (global $tail (mut i32) (i32.const 0))
  (func $push (param $x i32)
    (i32.store (i32.shl (i32.and (global.get $tail) (i32.const 15)) (i32.const 2)) (local.get $x))
    (global.set $tail (i32.add (global.get $tail) (i32.const 1)))
    (if (i32.eqz (i32.and (global.get $tail) (i32.const 7))) (then (call $yield))))
  (func $pop (result i32) (local $x i32)
    (local.set $x (i32.load (i32.shl (i32.and (global.get $head) (i32.const 15)) (i32.const 2))))
    (global.set $head (i32.add (global.get $head) (i32.const 1)))
    (call $await_i32 (local.get $x)))
  (func $len (result i32) (i32.sub (global.get $tail) (global.get $head)))
  (func (export "run") (param $n i32) (result i32 i32) (local $i i32) (local $sum i32)
    (loop $turns
      (block $full
        (loop $produce
          (br_if $full (i32.or (i32.ge_s (call $len) (i32.const 16)) (i32.ge_s (local.get $i) (local.get $n))))
          (call $push (local.tee $i (i32.add (local.get $i) (i32.const 1))))
          (br $produce)))
      (loop $consume
        (if (i32.gt_s (call $len) (i32.const 3))
          (then (local.set $sum (i32.add (local.get $sum) (call $pop))) (br $consume))))
      (br_if $turns (i32.lt_s (local.get $i) (local.get $n))))
    (i32.add (local.get $sum) (i32.add (call $pop) (i32.add (call $pop) (call $pop))))
    (call $len)))
