;; Integers and a table in memory: CRC-32 of 64 KiB, n times.
(module
  (memory 2)
  (func $prepare (local $i i32) (local $c i32) (local $k i32)
    (loop $entries
      (local.set $c (local.get $i))
      (local.set $k (i32.const 8))
      (loop $bits
        (local.set $c (i32.xor (i32.shr_u (local.get $c) (i32.const 1))
          (i32.and (i32.const 0xedb88320) (i32.sub (i32.const 0) (i32.and (local.get $c) (i32.const 1))))))
        (br_if $bits (local.tee $k (i32.sub (local.get $k) (i32.const 1)))))
      (i32.store (i32.shl (local.get $i) (i32.const 2)) (local.get $c))
      (br_if $entries (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 256))))
    (local.set $i (i32.const 0))
    (loop $data
      (i32.store8 offset=1024 (local.get $i) (i32.mul (local.get $i) (i32.const 37)))
      (br_if $data (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 65536)))))
  (func $crc (param $c i32) (param $at i32) (param $len i32) (result i32)
    (local.set $c (i32.xor (local.get $c) (i32.const -1)))
    (loop $bytes
      (local.set $c (i32.xor (i32.shr_u (local.get $c) (i32.const 8))
        (i32.load (i32.shl (i32.and (i32.xor (local.get $c) (i32.load8_u (local.get $at))) (i32.const 255)) (i32.const 2)))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $bytes (local.tee $len (i32.sub (local.get $len) (i32.const 1)))))
    (i32.xor (local.get $c) (i32.const -1)))
  (func (export "run") (param $n i32) (result i64) (local $c i32)
    (call $prepare)
    (loop $again
      (local.set $c (call $crc (local.get $c) (i32.const 1024) (i32.const 65536)))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i64.extend_i32_u (local.get $c))))
