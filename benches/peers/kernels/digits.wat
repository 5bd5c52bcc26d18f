;; Division: decimal digits by constant divisors, greatest common divisors by variable ones, of n numbers.
(module
  (func $digits (param $x i64) (result i64) (local $sum i64)
    (loop $again
      (local.set $sum (i64.add (local.get $sum) (i64.rem_u (local.get $x) (i64.const 10))))
      (br_if $again (i64.ne (local.tee $x (i64.div_u (local.get $x) (i64.const 10))) (i64.const 0))))
    (local.get $sum))
  (func $seconds (param $x i32) (result i32)
    (i32.add (i32.rem_s (local.get $x) (i32.const 60))
      (i32.add (i32.rem_s (i32.div_s (local.get $x) (i32.const 60)) (i32.const 60))
        (i32.div_u (local.get $x) (i32.const 86400)))))
  (func $gcd (param $a i32) (param $b i32) (result i32) (local $t i32)
    (block $done (loop $again
      (br_if $done (i32.eqz (local.get $b)))
      (local.set $t (i32.rem_u (local.get $a) (local.get $b)))
      (local.set $a (local.get $b))
      (local.set $b (local.get $t))
      (br $again)))
    (local.get $a))
  (func (export "run") (param $n i32) (result i64) (local $sum i64) (local $x i64)
    (loop $again
      (local.set $x (i64.mul (i64.extend_i32_u (local.get $n)) (i64.const 0x9E3779B97F4A7C15)))
      (local.set $sum (i64.add (local.get $sum) (call $digits (local.get $x))))
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (call $seconds (i32.wrap_i64 (local.get $x))))))
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u
        (call $gcd (i32.wrap_i64 (local.get $x)) (i32.or (local.get $n) (i32.const 1))))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
