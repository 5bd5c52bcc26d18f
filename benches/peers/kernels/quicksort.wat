;; Recursion, memory, unpredictable branches: n pseudo-random i32s, sorted in place.
(module
  (memory 80)
  (func $sort (param $low i32) (param $high i32) (local $i i32) (local $j i32) (local $pivot i32) (local $a i32) (local $b i32)
    (block $sorted
      (br_if $sorted (i32.ge_s (local.get $low) (local.get $high)))
      (local.set $pivot (i32.load (i32.shl (i32.shr_u (i32.add (local.get $low) (local.get $high)) (i32.const 1)) (i32.const 2))))
      (local.set $i (local.get $low))
      (local.set $j (local.get $high))
      (block $parted (loop $partition
        (loop $up
          (local.set $a (i32.load (i32.shl (local.get $i) (i32.const 2))))
          (if (i32.lt_s (local.get $a) (local.get $pivot)) (then
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $up))))
        (loop $down
          (local.set $b (i32.load (i32.shl (local.get $j) (i32.const 2))))
          (if (i32.gt_s (local.get $b) (local.get $pivot)) (then
            (local.set $j (i32.sub (local.get $j) (i32.const 1)))
            (br $down))))
        (if (i32.le_s (local.get $i) (local.get $j)) (then
          (i32.store (i32.shl (local.get $i) (i32.const 2)) (local.get $b))
          (i32.store (i32.shl (local.get $j) (i32.const 2)) (local.get $a))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (local.set $j (i32.sub (local.get $j) (i32.const 1)))))
        (br_if $partition (i32.le_s (local.get $i) (local.get $j)))))
      (call $sort (local.get $low) (local.get $j))
      (call $sort (local.get $i) (local.get $high))))
  (func (export "run") (param $n i32) (result i64) (local $i i32) (local $x i32) (local $sum i64)
    (local.set $x (i32.const 12345))
    (loop $fill
      (i32.store (i32.shl (local.get $i) (i32.const 2)) (local.tee $x
        (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345))))
      (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (call $sort (i32.const 0) (i32.sub (local.get $n) (i32.const 1)))
    (local.set $i (i32.const 0))
    (loop $check
      (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (i64.load32_s (i32.shl (local.get $i) (i32.const 2)))))
      (br_if $check (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum)))
