;; Loads and stores: 32 KiB copied byte by byte, then word by word, n times.
(module
  (memory 2)
  (func $bytes (param $to i32) (param $from i32) (param $len i32)
    (loop $again
      (i32.store8 (local.get $to) (i32.load8_u (local.get $from)))
      (local.set $to (i32.add (local.get $to) (i32.const 1)))
      (local.set $from (i32.add (local.get $from) (i32.const 1)))
      (br_if $again (local.tee $len (i32.sub (local.get $len) (i32.const 1))))))
  (func $words (param $to i32) (param $from i32) (param $len i32) (local $i i32)
    (loop $again
      (i64.store (i32.add (local.get $to) (local.get $i))
        (i64.add (i64.load (i32.add (local.get $from) (local.get $i))) (i64.const 1)))
      (i64.store offset=8 (i32.add (local.get $to) (local.get $i))
        (i64.add (i64.load offset=8 (i32.add (local.get $from) (local.get $i))) (i64.const 3)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 16))) (local.get $len)))))
  (func (export "run") (param $n i32) (result i64)
    (loop $again
      (call $bytes (i32.const 65536) (i32.const 0) (i32.const 32768))
      (call $words (i32.const 0) (i32.const 65536) (i32.const 32768))
      (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i64.load (i32.const 32))))
