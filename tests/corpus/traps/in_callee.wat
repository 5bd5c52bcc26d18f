;;! A trap two calls down, out of a loop in each caller; the next call starts afresh.
;;! invoke "a" (i32 5) => trap "unreachable"
;;! invoke "a" (i32 -5) => (i32 28)
;;! global "depth" => (i32 8)
;;! osr headers: 2
(module
  (global $depth (export "depth") (mut i32) (i32.const 0))
  (func $c (param $x i32) (result i32)
    (if (i32.eq (local.get $x) (i32.const 2)) (then (unreachable)))
    (i32.const 7))
  (func $b (param $x i32) (result i32) (local $i i32) (local $sum i32)
    (loop $l
      (global.set $depth (i32.add (global.get $depth) (i32.const 1)))
      (local.set $sum (i32.add (local.get $sum) (call $c (i32.add (local.get $i) (local.get $x)))))
      (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2))))
    (local.get $sum))
  (func (export "a") (param $x i32) (result i32) (local $i i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call $b (select (local.get $i) (local.get $x) (i32.gt_s (local.get $x) (i32.const 0))))))
      (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (select (local.get $x) (i32.const 2) (i32.gt_s (local.get $x) (i32.const 0))))))
    (local.get $sum)))
