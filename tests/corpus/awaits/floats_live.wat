;;! Floats of both widths, NaN payloads and signed zeros live across awaits, bit for bit.
;;! invoke "run" (f32 bits:0xffa12345) (f64 bits:0xfff4123456789abc) (f32 -0.0) => (f32 bits:0xffa12345) (f64 bits:0xfff4123456789abc) (f32 -0.0) (f32 bits:0xffa12345) (f64 bits:0xfff4123456789abc)
;;! invoke "accumulate" (i32 60) => (f32 30) (f64 15)
;;! osr headers: 1
(module
  (import "host" "await_f32" (func $await_f32 (param f32) (result f32)))
  (import "host" "await_f64" (func $await_f64 (param f64) (result f64)))
  (func (export "run") (param $a f32) (param $b f64) (param $c f32) (result f32 f64 f32 f32 f64)
    (call $await_f32 (local.get $a))
    (call $await_f64 (local.get $b))
    (call $await_f32 (local.get $c))
    (local.get $a) (local.get $b))
  (func (export "accumulate") (param $n i32) (result f32 f64) (local $a f32) (local $b f64)
    (loop $l
      (local.set $a (f32.add (local.get $a) (call $await_f32 (f32.const 0.5))))
      (local.set $b (f64.add (call $await_f64 (f64.const 0.25)) (local.get $b)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $a) (local.get $b)))
