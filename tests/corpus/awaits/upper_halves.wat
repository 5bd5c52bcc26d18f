;;! Awaited i32 values, and i32 values that lived across an await, have no upper half.
;;! invoke "run" (i64 0xffffffff80000001) => (i64 0x80000001) (i64 0x80000001) (i64 0xffffffff80000001) (i64 0x80000001) (f64 2147483649)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "yield" (func $yield))
  (func (export "run") (param $x i64) (result i64 i64 i64 i64 f64) (local $y i32)
    (local.set $y (i32.wrap_i64 (local.get $x)))
    (i64.extend_i32_u (call $await_i32 (i32.wrap_i64 (local.get $x))))
    (i64.extend_i32_u (local.get $y))
    (i64.extend_i32_s (local.get $y))
    (i32.wrap_i64 (local.get $x))
    (call $yield)
    (i64.extend_i32_u)
    (f64.convert_i64_u (i64.extend_i32_u (local.get $y)))))
