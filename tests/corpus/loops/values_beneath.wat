;;! Each loop of a nest of three is entered with operands beneath it on the stack, of every type.
;;! invoke "run" (i32 4) => (i64 64) (f32 2.5) (f64 10) (i32 7)
;;! invoke "run" (i32 1) => (i64 1) (f32 2.5) (f64 1) (i32 7)
;;! osr headers: 3
(module
  (func (export "run") (param $n i32) (result i64 f32 f64 i32)
    (local $i i32) (local $j i32) (local $k i32) (local $count i64) (local $sum f64)
    (local $beneath i32) (local $f f32)
    (i32.const 7)
    (f32.const 2.5)
    (loop $outer
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $j (i32.const 0))
      (f64.convert_i32_s (local.get $i))
      (loop $middle
        (local.set $j (i32.add (local.get $j) (i32.const 1)))
        (local.set $k (i32.const 0))
        (i64.extend_i32_s (local.get $j))
        (loop $inner
          (local.set $count (i64.add (local.get $count) (i64.const 1)))
          (br_if $inner (i32.lt_s (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $n))))
        (drop)
        (br_if $middle (i32.lt_s (local.get $j) (local.get $n))))
      (local.set $sum (f64.add (local.get $sum)))
      (br_if $outer (i32.lt_s (local.get $i) (local.get $n))))
    ;; i32 f32 on the stack
    (local.set $f)
    (local.set $beneath)
    (local.get $count) (local.get $f) (local.get $sum) (local.get $beneath)))
