;; Floats in registers: escape times of n by n points.
(module
  (func (export "run") (param $n i32) (result i64)
    (local $x i32) (local $y i32) (local $i i32) (local $sum i64)
    (local $cr f64) (local $ci f64) (local $zr f64) (local $zi f64) (local $rr f64) (local $ii f64) (local $step f64)
    (local.set $step (f64.div (f64.const 3) (f64.convert_i32_s (local.get $n))))
    (loop $rows
      (local.set $x (i32.const 0))
      (loop $columns
        (local.set $cr (f64.sub (f64.mul (f64.convert_i32_s (local.get $x)) (local.get $step)) (f64.const 2)))
        (local.set $ci (f64.sub (f64.mul (f64.convert_i32_s (local.get $y)) (local.get $step)) (f64.const 1.5)))
        (local.set $zr (f64.const 0)) (local.set $zi (f64.const 0))
        (local.set $rr (f64.const 0)) (local.set $ii (f64.const 0))
        (local.set $i (i32.const 0))
        (block $escaped (loop $iterate
          (br_if $escaped (f64.gt (f64.add (local.get $rr) (local.get $ii)) (f64.const 4)))
          (br_if $escaped (i32.ge_u (local.get $i) (i32.const 200)))
          (local.set $zi (f64.add (f64.mul (f64.mul (f64.const 2) (local.get $zr)) (local.get $zi)) (local.get $ci)))
          (local.set $zr (f64.add (f64.sub (local.get $rr) (local.get $ii)) (local.get $cr)))
          (local.set $rr (f64.mul (local.get $zr) (local.get $zr)))
          (local.set $ii (f64.mul (local.get $zi) (local.get $zi)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br $iterate)))
        (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $i))))
        (br_if $columns (i32.lt_s (local.tee $x (i32.add (local.get $x) (i32.const 1))) (local.get $n))))
      (br_if $rows (i32.lt_s (local.tee $y (i32.add (local.get $y) (i32.const 1))) (local.get $n))))
    (local.get $sum)))
