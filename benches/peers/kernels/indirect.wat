;; Indirect calls: four shapes behind one table, n calls.
(module
  (type $shape (func (param i32 i32) (result i32)))
  (table funcref (elem $square $rectangle $triangle $frame))
  (func $square (type $shape) (i32.mul (local.get 0) (local.get 0)))
  (func $rectangle (type $shape) (i32.mul (local.get 0) (local.get 1)))
  (func $triangle (type $shape) (i32.shr_u (i32.mul (local.get 0) (local.get 1)) (i32.const 1)))
  (func $frame (type $shape) (i32.shl (i32.add (local.get 0) (local.get 1)) (i32.const 1)))
  (func (export "run") (param $n i32) (result i64) (local $sum i64)
    (loop $again
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u
        (call_indirect (type $shape) (local.get $n) (i32.wrap_i64 (local.get $sum)) (i32.and (local.get $n) (i32.const 3))))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
