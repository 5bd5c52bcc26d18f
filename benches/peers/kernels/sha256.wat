;; Rotations, additions and many live values: the compression function of SHA-256 on n blocks, with a made-up key schedule.
(module
  (memory 1)
  (func $keys (local $i i32) (local $x i32)
    (local.set $x (i32.const 0x428a2f98))
    (loop $again
      (i32.store offset=1024 (local.get $i) (local.get $x))
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 256)))))
  (func $schedule (param $seed i32) (local $i i32) (local $x i32)
    (loop $first
      (i32.store (local.get $i) (local.get $seed))
      (local.set $seed (i32.add (i32.mul (local.get $seed) (i32.const 22695477)) (i32.const 1)))
      (br_if $first (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 64))))
    (loop $more
      (i32.store (local.get $i) (i32.add
        (i32.add (i32.load (i32.sub (local.get $i) (i32.const 64))) (i32.load (i32.sub (local.get $i) (i32.const 28))))
        (i32.add
          (i32.xor (i32.xor
            (i32.rotr (local.tee $x (i32.load (i32.sub (local.get $i) (i32.const 60)))) (i32.const 7))
            (i32.rotr (local.get $x) (i32.const 18)))
            (i32.shr_u (local.get $x) (i32.const 3)))
          (i32.xor (i32.xor
            (i32.rotr (local.tee $x (i32.load (i32.sub (local.get $i) (i32.const 8)))) (i32.const 17))
            (i32.rotr (local.get $x) (i32.const 19)))
            (i32.shr_u (local.get $x) (i32.const 10))))))
      (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 256)))))
  (func $compress (param $seed i32) (result i32)
    (local $a i32) (local $b i32) (local $c i32) (local $d i32) (local $e i32) (local $f i32) (local $g i32) (local $h i32)
    (local $i i32) (local $t i32) (local $u i32)
    (call $schedule (local.get $seed))
    (local.set $a (i32.const 0x6a09e667)) (local.set $b (i32.const 0xbb67ae85))
    (local.set $c (i32.const 0x3c6ef372)) (local.set $d (i32.const 0xa54ff53a))
    (local.set $e (i32.const 0x510e527f)) (local.set $f (i32.const 0x9b05688c))
    (local.set $g (i32.const 0x1f83d9ab)) (local.set $h (i32.const 0x5be0cd19))
    (loop $rounds
      (local.set $t (i32.add (i32.add (i32.add (local.get $h)
        (i32.xor (i32.xor (i32.rotr (local.get $e) (i32.const 6)) (i32.rotr (local.get $e) (i32.const 11)))
          (i32.rotr (local.get $e) (i32.const 25))))
        (i32.xor (i32.and (local.get $e) (local.get $f)) (i32.and (i32.xor (local.get $e) (i32.const -1)) (local.get $g))))
        (i32.add (i32.load offset=1024 (local.get $i)) (i32.load (local.get $i)))))
      (local.set $u (i32.add
        (i32.xor (i32.xor (i32.rotr (local.get $a) (i32.const 2)) (i32.rotr (local.get $a) (i32.const 13)))
          (i32.rotr (local.get $a) (i32.const 22)))
        (i32.xor (i32.xor (i32.and (local.get $a) (local.get $b)) (i32.and (local.get $a) (local.get $c)))
          (i32.and (local.get $b) (local.get $c)))))
      (local.set $h (local.get $g)) (local.set $g (local.get $f)) (local.set $f (local.get $e))
      (local.set $e (i32.add (local.get $d) (local.get $t)))
      (local.set $d (local.get $c)) (local.set $c (local.get $b)) (local.set $b (local.get $a))
      (local.set $a (i32.add (local.get $t) (local.get $u)))
      (br_if $rounds (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 256))))
    (i32.xor (i32.xor (i32.xor (local.get $a) (local.get $b)) (i32.xor (local.get $c) (local.get $d)))
      (i32.xor (i32.xor (local.get $e) (local.get $f)) (i32.xor (local.get $g) (local.get $h)))))
  (func (export "run") (param $n i32) (result i64) (local $sum i32)
    (call $keys)
    (loop $again
      (local.set $sum (i32.add (local.get $sum) (call $compress (local.get $n))))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i64.extend_i32_u (local.get $sum))))
