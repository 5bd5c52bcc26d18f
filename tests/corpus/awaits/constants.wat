;;! Constants of each type that live across awaits in locals and on the stack; odd bit patterns included.
;;! invoke "run" (i32 3) => (i32 -2147483648) (i64 0x8000000080000000) (f32 bits:0x7fa00001) (f64 -0.0) (i32 45)
;;! osr headers: 1
(module
  (import "host" "yield" (func $yield))
  (func (export "run") (param $n i32) (result i32 i64 f32 f64 i32) (local $a i32) (local $b i64) (local $c f32) (local $d f64) (local $sum i32)
    (local.set $a (i32.const 0x80000000)) (local.set $b (i64.const 0x8000000080000000))
    (local.set $c (f32.const nan:0x200001)) (local.set $d (f64.const -0.0))
    (loop $l
      (i32.const 7) (i64.const 8)
      (call $yield)
      (i32.wrap_i64) (i32.add)
      (local.set $sum (i32.add (local.get $sum)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $sum)))
