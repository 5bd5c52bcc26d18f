;;! An await as the first operand of operators of each type.
;;! invoke "run" (i32 9) => (i32 4) (i64 18) (f32 4.5) (f64 81)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (import "host" "await_f32" (func $await_f32 (param f32) (result f32)))
  (import "host" "await_f64" (func $await_f64 (param f64) (result f64)))
  (func (export "run") (param $x i32) (result i32 i64 f32 f64)
    (i32.sub (call $await_i32 (local.get $x)) (i32.const 5))
    (i64.mul (call $await_i64 (i64.extend_i32_s (local.get $x))) (i64.const 2))
    (f32.div (call $await_f32 (f32.convert_i32_s (local.get $x))) (f32.const 2))
    (f64.mul (call $await_f64 (f64.convert_i32_s (local.get $x))) (f64.convert_i32_s (local.get $x)))))
