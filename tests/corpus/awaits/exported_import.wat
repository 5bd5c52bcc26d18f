;;! A host function that awaits, exported again by the guest and called from outside.
;;! invoke "wait" (i64 -5) => (i64 -5)
;;! invoke "mix" (i32 1) (i64 2) (f32 3) (f64 4) (i32 5) (i64 6) (f32 7) (f64 8) => (f64 8) (f32 7) (i64 6) (i32 5) (f64 4) (f32 3) (i64 2) (i32 1)
(module
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (import "host" "await_mix8" (func $await_mix8 (param i32 i64 f32 f64 i32 i64 f32 f64) (result f64 f32 i64 i32 f64 f32 i64 i32)))
  (export "wait" (func $await_i64))
  (export "mix" (func $await_mix8)))
