;; Bytes of memory, strided: the sieve of Eratosthenes, n rounds over 100,000 numbers.
(module
  (memory 2)
  (func $sieve (result i32)
    (local $i i32) (local $j i32) (local $count i32)
    (loop $clear
      (i32.store8 (local.get $i) (i32.const 1))
      (br_if $clear (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000))))
    (local.set $i (i32.const 2))
    (block $done (loop $next
      (br_if $done (i32.ge_u (local.get $i) (i32.const 100000)))
      (if (i32.load8_u (local.get $i)) (then
        (local.set $count (i32.add (local.get $count) (i32.const 1)))
        (local.set $j (i32.shl (local.get $i) (i32.const 1)))
        (block $struck (loop $strike
          (br_if $struck (i32.ge_u (local.get $j) (i32.const 100000)))
          (i32.store8 (local.get $j) (i32.const 0))
          (local.set $j (i32.add (local.get $j) (local.get $i)))
          (br $strike)))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next)))
    (local.get $count))
  (func (export "run") (param $n i32) (result i64) (local $sum i64)
    (loop $again
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (call $sieve))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
