;;! An await as the second operand: the first waits on the stack, as local, constant, and computed value.
;;! invoke "run" (i32 9) => (i32 -9) (i32 1) (i64 72) (f32 0.25) (f64 -7)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (import "host" "await_f32" (func $await_f32 (param f32) (result f32)))
  (import "host" "await_f64" (func $await_f64 (param f64) (result f64)))
  (func (export "run") (param $x i32) (result i32 i32 i64 f32 f64)
    (i32.sub (i32.const 0) (call $await_i32 (local.get $x)))
    (i32.div_s (local.get $x) (call $await_i32 (local.get $x)))
    (i64.mul (i64.extend_i32_s (i32.sub (local.get $x) (i32.const 1))) (call $await_i64 (i64.const 9)))
    (f32.div (f32.const 2) (call $await_f32 (f32.const 8)))
    (f64.sub (f64.sqrt (f64.const 4)) (call $await_f64 (f64.convert_i32_s (local.get $x))))))
