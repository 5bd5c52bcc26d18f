;;! Locals that no one has written before the await are zero after it.
;;! invoke "run" (i32 50) => (i32 0) (i64 0) (f32 0) (f64 0) (i32 49)
;;! osr headers: 1
(module
  (import "host" "yield" (func $yield))
  (func (export "run") (param $n i32) (result i32 i64 f32 f64 i32) (local $a i32) (local $b i64) (local $c f32) (local $d f64) (local $late i32) (local $sum i32)
    (call $yield)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (local.get $late)))
      (call $yield)
      (local.set $late (i32.const 1))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $sum)))
