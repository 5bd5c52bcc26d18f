;;! Insertion sort in memory: an inner loop that leaves in its middle and carries a value.
;;! invoke "fill" (i32 60)
;;! invoke "sort" (i32 60)
;;! invoke "ordered" (i32 60) => (i32 1)
;;! osr headers: 4
(module
  (memory (export "memory") 1)
  (func (export "fill") (param $n i32) (local $x i32)
    (local.set $x (i32.const 12345))
    (loop $next
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1103515245)) (i32.const 12345)))
      (i32.store (i32.shl (local.get $n) (i32.const 2)) (i32.shr_s (local.get $x) (i32.const 8)))
      (br_if $next (local.get $n))))
  (func (export "sort") (param $n i32) (local $i i32) (local $j i32) (local $x i32)
    (local.set $i (i32.const 1))
    (loop $outer
      (local.set $x (i32.load (i32.shl (local.get $i) (i32.const 2))))
      (local.set $j (local.get $i))
      (block $place
        (loop $shift
          (br_if $place (i32.eqz (local.get $j)))
          (br_if $place (i32.le_s (i32.load (i32.shl (i32.sub (local.get $j) (i32.const 1)) (i32.const 2))) (local.get $x)))
          (i32.store (i32.shl (local.get $j) (i32.const 2)) (i32.load (i32.shl (i32.sub (local.get $j) (i32.const 1)) (i32.const 2))))
          (local.set $j (i32.sub (local.get $j) (i32.const 1)))
          (br $shift)))
      (i32.store (i32.shl (local.get $j) (i32.const 2)) (local.get $x))
      (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))))
  (func (export "ordered") (param $n i32) (result i32) (local $i i32)
    (local.set $i (i32.const 1))
    (loop $next
      (if (i32.gt_s (i32.load (i32.shl (i32.sub (local.get $i) (i32.const 1)) (i32.const 2)))
                    (i32.load (i32.shl (local.get $i) (i32.const 2))))
        (then (return (i32.const 0))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (i32.const 1)))
