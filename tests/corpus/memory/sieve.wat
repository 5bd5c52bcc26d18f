;;! The sieve: byte stores with a growing step, then a count.
;;! invoke "primes" (i32 1000) => (i32 168)
;;! invoke "primes" (i32 100) => (i32 25)
;;! osr headers: 4
(module
  (memory 1)
  (func (export "primes") (param $n i32) (result i32) (local $i i32) (local $j i32) (local $count i32)
    (loop $clear
      (i32.store8 (local.get $i) (i32.const 1))
      (br_if $clear (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.set $i (i32.const 2))
    (loop $numbers
      (if (i32.load8_u (local.get $i))
        (then
          (local.set $j (i32.mul (local.get $i) (local.get $i)))
          (block $done
            (loop $multiples
              (br_if $done (i32.ge_u (local.get $j) (local.get $n)))
              (i32.store8 (local.get $j) (i32.const 0))
              (local.set $j (i32.add (local.get $j) (local.get $i)))
              (br $multiples)))))
      (br_if $numbers (i32.lt_u (i32.mul (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $i)) (local.get $n))))
    (local.set $i (i32.const 2))
    (loop $counting
      (local.set $count (i32.add (local.get $count) (i32.load8_u (local.get $i))))
      (br_if $counting (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $count)))
