;;! An await as each of the three operands of `select`, for every type.
;;! invoke "run" (i32 1) => (i32 3) (i32 1) (i64 5) (f32 7.5) (f64 9.5)
;;! invoke "run" (i32 0) => (i32 4) (i32 0) (i64 6) (f32 8.5) (f64 10.5)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_f32" (func $await_f32 (param f32) (result f32)))
  (import "host" "await_f64" (func $await_f64 (param f64) (result f64)))
  (func (export "run") (param $x i32) (result i32 i32 i64 f32 f64)
    (select (call $await_i32 (i32.const 3)) (i32.const 4) (local.get $x))
    (select (local.get $x) (call $await_i32 (i32.const 0)) (local.get $x))
    (select (i64.const 5) (i64.const 6) (call $await_i32 (local.get $x)))
    (select (call $await_f32 (f32.const 7.5)) (call $await_f32 (f32.const 8.5)) (call $await_i32 (local.get $x)))
    (select (f64.const 9.5) (call $await_f64 (f64.const 10.5)) (local.get $x))))
