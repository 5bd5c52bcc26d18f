;;! Conversions of floats to integers up to the last value that fits, and the first that does not.
;;! invoke "f64i32" (f64 2147483647.9) => (i32 2147483647)
;;! invoke "f64i32" (f64 2147483648) => trap "integer overflow"
;;! invoke "f64i32" (f64 -2147483648.9) => (i32 -2147483648)
;;! invoke "f64i32" (f64 -2147483649) => trap "integer overflow"
;;! invoke "f64i32" (f64 nan) => trap "invalid conversion to integer"
;;! invoke "f64u32" (f64 4294967295.9) => (i32 -1)
;;! invoke "f64u32" (f64 4294967296) => trap "integer overflow"
;;! invoke "f64u32" (f64 -0.9) => (i32 0)
;;! invoke "f64u32" (f64 -1) => trap "integer overflow"
;;! invoke "f32i32" (f32 2147483520) => (i32 2147483520)
;;! invoke "f32i32" (f32 2147483648) => trap "integer overflow"
;;! invoke "f32i32" (f32 -2147483648) => (i32 -2147483648)
;;! invoke "f32i32" (f32 -2147483904) => trap "integer overflow"
;;! invoke "f32u32" (f32 4294967040) => (i32 0xffffff00)
;;! invoke "f32u32" (f32 inf) => trap "integer overflow"
;;! invoke "f32u32" (f32 nan) => trap "invalid conversion to integer"
;;! invoke "f64i64" (f64 9223372036854774784) => (i64 9223372036854774784)
;;! invoke "f64i64" (f64 9223372036854775808) => trap "integer overflow"
;;! invoke "f64i64" (f64 -9223372036854775808) => (i64 -9223372036854775808)
;;! invoke "f64i64" (f64 -9223372036854777856) => trap "integer overflow"
;;! invoke "f64u64" (f64 18446744073709549568) => (i64 18446744073709549568)
;;! invoke "f64u64" (f64 18446744073709551616) => trap "integer overflow"
;;! invoke "f64u64" (f64 9223372036854775808) => (i64 0x8000000000000000)
;;! invoke "f64u64" (f64 -0.99) => (i64 0)
;;! invoke "f64u64" (f64 -1) => trap "integer overflow"
;;! invoke "f64u64" (f64 nan) => trap "invalid conversion to integer"
;;! invoke "f32i64" (f32 9223371487098961920) => (i64 9223371487098961920)
;;! invoke "f32i64" (f32 9223372036854775808) => trap "integer overflow"
;;! invoke "f32u64" (f32 18446742974197923840) => (i64 18446742974197923840)
;;! invoke "f32u64" (f32 -inf) => trap "integer overflow"
(module
  (func (export "f32i32") (param f32) (result i32) (i32.trunc_f32_s (local.get 0)))
  (func (export "f32u32") (param f32) (result i32) (i32.trunc_f32_u (local.get 0)))
  (func (export "f64i32") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
  (func (export "f64u32") (param f64) (result i32) (i32.trunc_f64_u (local.get 0)))
  (func (export "f32i64") (param f32) (result i64) (i64.trunc_f32_s (local.get 0)))
  (func (export "f32u64") (param f32) (result i64) (i64.trunc_f32_u (local.get 0)))
  (func (export "f64i64") (param f64) (result i64) (i64.trunc_f64_s (local.get 0)))
  (func (export "f64u64") (param f64) (result i64) (i64.trunc_f64_u (local.get 0))))
