;;! The outer loops turn once or twice, the innermost three hundred times: replacement happens at the inner header first.
;;! invoke "run" => (i64 1203000)
;;! invoke "run" => (i64 1203000)
;;! osr headers: 3
(module
  (func (export "run") (result i64) (local $i i32) (local $j i32) (local $k i64) (local $sum i64)
    (loop $outer
      (local.set $j (i32.const 0))
      (loop $middle
        (local.set $k (i64.const 300))
        (loop $inner
          (local.set $sum (i64.add (local.get $sum) (i64.mul (local.get $k) (i64.const 2))))
          (local.set $k (i64.sub (local.get $k) (i64.const 1)))
          (br_if $inner (i64.gt_s (local.get $k) (i64.const 0))))
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (i32.mul (local.get $j) (i32.const 1000)))))
        (br_if $middle (i32.lt_u (local.get $j) (i32.const 2))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $outer (i32.lt_u (local.get $i) (i32.const 6))))
    (i64.add (local.get $sum) (i64.const 101400))))
