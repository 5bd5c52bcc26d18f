;;! A nest of three loops; the innermost is the hot one.
;;! invoke "run" (i32 3) (i32 4) (i32 5) => (i32 7020)
;;! invoke "run" (i32 1) (i32 1) (i32 1) => (i32 0)
;;! invoke "run" (i32 8) (i32 8) (i32 8) => (i32 198912)
;;! osr headers: 3
(module
  (func (export "run") (param $a i32) (param $b i32) (param $c i32) (result i32)
    (local $i i32) (local $j i32) (local $k i32) (local $sum i32)
    (loop $outer
      (local.set $j (i32.const 0))
      (loop $middle
        (local.set $k (i32.const 0))
        (loop $inner
          (local.set $sum (i32.add (local.get $sum)
            (i32.add (i32.mul (local.get $i) (i32.const 100)) (i32.add (i32.mul (local.get $j) (i32.const 10)) (local.get $k)))))
          (br_if $inner (i32.lt_s (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $c))))
        (br_if $middle (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $b))))
      (br_if $outer (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $a))))
    (local.get $sum)))
