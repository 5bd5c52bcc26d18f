;;! Doubles in a nest: the number of steps until points of a small picture escape.
;;! invoke "run" (i32 12) => (i32 1845)
;;! osr headers: 3
(module
  (func (export "run") (param $n i32) (result i32)
    (local $px i32) (local $py i32) (local $i i32) (local $sum i32)
    (local $x f64) (local $y f64) (local $cx f64) (local $cy f64) (local $t f64)
    (loop $rows
      (local.set $cy (f64.sub (f64.div (f64.mul (f64.convert_i32_s (local.get $py)) (f64.const 2)) (f64.convert_i32_s (local.get $n))) (f64.const 1)))
      (local.set $px (i32.const 0))
      (loop $columns
        (local.set $cx (f64.sub (f64.div (f64.mul (f64.convert_i32_s (local.get $px)) (f64.const 3)) (f64.convert_i32_s (local.get $n))) (f64.const 2)))
        (local.set $x (f64.const 0)) (local.set $y (f64.const 0)) (local.set $i (i32.const 0))
        (block $out
          (loop $steps
            (br_if $out (f64.gt (f64.add (f64.mul (local.get $x) (local.get $x)) (f64.mul (local.get $y) (local.get $y))) (f64.const 4)))
            (local.set $t (f64.add (f64.sub (f64.mul (local.get $x) (local.get $x)) (f64.mul (local.get $y) (local.get $y))) (local.get $cx)))
            (local.set $y (f64.add (f64.mul (f64.const 2) (f64.mul (local.get $x) (local.get $y))) (local.get $cy)))
            (local.set $x (local.get $t))
            (local.set $sum (i32.add (local.get $sum) (i32.const 1)))
            (br_if $steps (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 32)))))
        (br_if $columns (i32.lt_s (local.tee $px (i32.add (local.get $px) (i32.const 1))) (local.get $n))))
      (br_if $rows (i32.lt_s (local.tee $py (i32.add (local.get $py) (i32.const 1))) (local.get $n))))
    (local.get $sum)))
