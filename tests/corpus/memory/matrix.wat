;;! Matrix product: three loops, indexed addresses, doubles accumulated across the inner one.
;;! invoke "run" (i32 8) => (f64 17920) (f64 952) (f64 84)
;;! osr headers: 5
(module
  (memory (export "memory") 1)
  (func $at (param $base i32) (param $n i32) (param $i i32) (param $j i32) (result i32)
    (i32.add (local.get $base) (i32.shl (i32.add (i32.mul (local.get $i) (local.get $n)) (local.get $j)) (i32.const 3))))
  (func (export "run") (param $n i32) (result f64 f64 f64)
    (local $i i32) (local $j i32) (local $k i32) (local $x f64) (local $sum f64)
    (loop $fi
      (local.set $j (i32.const 0))
      (loop $fj
        (f64.store (call $at (i32.const 0) (local.get $n) (local.get $i) (local.get $j)) (f64.convert_i32_s (i32.add (local.get $i) (local.get $j))))
        (f64.store (call $at (i32.const 4096) (local.get $n) (local.get $i) (local.get $j)) (f64.convert_i32_s (i32.sub (i32.mul (local.get $i) (i32.const 2)) (local.get $j))))
        (br_if $fj (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
      (br_if $fi (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.set $i (i32.const 0))
    (loop $rows
      (local.set $j (i32.const 0))
      (loop $columns
        (local.set $k (i32.const 0))
        (local.set $x (f64.const 0))
        (loop $products
          (local.set $x (f64.add (local.get $x) (f64.mul
            (f64.load (call $at (i32.const 0) (local.get $n) (local.get $i) (local.get $k)))
            (f64.load (call $at (i32.const 4096) (local.get $n) (local.get $k) (local.get $j))))))
          (br_if $products (i32.lt_s (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $n))))
        (f64.store (call $at (i32.const 8192) (local.get $n) (local.get $i) (local.get $j)) (local.get $x))
        (local.set $sum (f64.add (local.get $sum) (local.get $x)))
        (br_if $columns (i32.lt_s (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $n))))
      (br_if $rows (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum)
    (f64.add (f64.load (i32.const 8192)) (f64.load offset=8192 (i32.const 448)))
    (f64.load offset=8192 (i32.const 56))))
