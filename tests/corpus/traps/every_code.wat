;;! Each reason to trap, in the simplest form; the instance goes on after each.
;;! invoke "unreachable" => trap "unreachable"
;;! invoke "div_s" (i32 1) (i32 0) => trap "integer divide by zero"
;;! invoke "div_s" (i32 0x80000000) (i32 -1) => trap "integer overflow"
;;! invoke "div_s" (i32 -8) (i32 -1) => (i32 8)
;;! invoke "div_u" (i32 1) (i32 0) => trap "integer divide by zero"
;;! invoke "div_u" (i32 0x80000000) (i32 -1) => (i32 0)
;;! invoke "rem_s" (i32 5) (i32 0) => trap "integer divide by zero"
;;! invoke "rem_u" (i32 5) (i32 0) => trap "integer divide by zero"
;;! invoke "load" (i32 65536) => trap "out of bounds memory access"
;;! invoke "trunc" (f64 nan) => trap "invalid conversion to integer"
;;! invoke "trunc" (f64 inf) => trap "integer overflow"
;;! invoke "fail" (i32 17) => trap "host error 17"
;;! invoke "div_s" (i32 7) (i32 2) => (i32 3)
(module
  (import "host" "fail" (func $fail (param i32)))
  (memory 1)
  (func (export "unreachable") (unreachable))
  (func (export "div_s") (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
  (func (export "div_u") (param i32 i32) (result i32) (i32.div_u (local.get 0) (local.get 1)))
  (func (export "rem_s") (param i32 i32) (result i32) (i32.rem_s (local.get 0) (local.get 1)))
  (func (export "rem_u") (param i32 i32) (result i32) (i32.rem_u (local.get 0) (local.get 1)))
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "trunc") (param f64) (result i32) (i32.trunc_f64_s (local.get 0)))
  (func (export "fail") (param i32) (call $fail (local.get 0))))
