;;! A nest of three with awaits at each level and values beneath every loop.
;;! invoke "run" (i32 3) (i32 4) (i32 5) => (i32 7020) (i32 19)
;;! osr headers: 3
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func (export "run") (param $a i32) (param $b i32) (param $c i32) (result i32 i32)
    (local $i i32) (local $j i32) (local $k i32) (local $sum i32) (local $awaited i32)
    (i32.const 4)
    (loop $outer
      (local.set $j (i32.const 0))
      (call $await_i32 (i32.const 1))
      (loop $middle
        (local.set $k (i32.const 0))
        (call $await_i32 (i32.const 1))
        (loop $inner
          (local.set $sum (i32.add (local.get $sum) (call $await_i32
            (i32.add (i32.mul (local.get $i) (i32.const 100)) (i32.add (i32.mul (local.get $j) (i32.const 10)) (local.get $k))))))
          (br_if $inner (i32.lt_s (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $c))))
        (local.set $awaited (i32.add (local.get $awaited)))
        (br_if $middle (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $b))))
      (local.set $awaited (i32.add (local.get $awaited)))
      (br_if $outer (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $a))))
    (local.set $awaited (i32.add (local.get $awaited)))
    (local.get $sum) (local.get $awaited)))
