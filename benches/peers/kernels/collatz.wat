;; 64-bit integers with division by a constant: the longest Collatz sequence below n.
(module
  (func (export "run") (param $n i32) (result i64)
    (local $start i64) (local $x i64) (local $steps i64) (local $best i64) (local $sum i64) (local $end i64)
    (local.set $end (i64.extend_i32_u (local.get $n)))
    (local.set $start (i64.const 1))
    (loop $starts
      (local.set $x (local.get $start))
      (local.set $steps (i64.const 0))
      (block $one (loop $walk
        (br_if $one (i64.eq (local.get $x) (i64.const 1)))
        (local.set $x (if (result i64) (i64.eqz (i64.rem_u (local.get $x) (i64.const 2)))
          (then (i64.div_u (local.get $x) (i64.const 2)))
          (else (i64.add (i64.mul (local.get $x) (i64.const 3)) (i64.const 1)))))
        (local.set $steps (i64.add (local.get $steps) (i64.const 1)))
        (br $walk)))
      (local.set $best (select (local.get $steps) (local.get $best) (i64.gt_u (local.get $steps) (local.get $best))))
      (local.set $sum (i64.add (local.get $sum) (local.get $steps)))
      (br_if $starts (i64.lt_u (local.tee $start (i64.add (local.get $start) (i64.const 1))) (local.get $end))))
    (i64.add (i64.mul (local.get $best) (i64.const 1000000000)) (local.get $sum))))
