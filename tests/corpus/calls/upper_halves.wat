;;! An i32 that came out of 64-bit work has no upper half: extended, compared, used as an address, passed and returned.
;;! invoke "run" (i64 0xffffffff00000001) => (i64 1) (i64 1) (i32 1) (i32 0x2a) (i64 1)
;;! invoke "run" (i64 0x12345678fffffffe) => (i64 4294967294) (i64 -2) (i32 0) (i32 0) (i64 4294967294)
(module
  (memory 1)
  (data (i32.const 1) "\2a")
  (func $pass (param i32) (result i32) (local.get 0))
  (func (export "run") (param $x i64) (result i64 i64 i32 i32 i64) (local $y i32)
    (local.set $y (i32.wrap_i64 (local.get $x)))
    (i64.extend_i32_u (local.get $y))
    (i64.extend_i32_s (local.get $y))
    (i32.eq (local.get $y) (i32.const 1))
    (i32.load8_u (i32.and (local.get $y) (i32.const 1)))
    (i64.extend_i32_u (call $pass (i32.wrap_i64 (local.get $x))))))
