;;! The traps of 64-bit division, and values whose lower half alone looks harmless or harmful.
;;! invoke "div_s" (i64 1) (i64 0) => trap "integer divide by zero"
;;! invoke "div_s" (i64 0x8000000000000000) (i64 -1) => trap "integer overflow"
;;! invoke "div_s" (i64 0x80000000) (i64 -1) => (i64 -2147483648)
;;! invoke "div_s" (i64 0x200000000) (i64 0x100000000) => (i64 2)
;;! invoke "div_u" (i64 1) (i64 0) => trap "integer divide by zero"
;;! invoke "rem_s" (i64 1) (i64 0) => trap "integer divide by zero"
;;! invoke "rem_s" (i64 7) (i64 0x100000000) => (i64 7)
;;! invoke "rem_u" (i64 1) (i64 0) => trap "integer divide by zero"
(module
  (func (export "div_s") (param i64 i64) (result i64) (i64.div_s (local.get 0) (local.get 1)))
  (func (export "div_u") (param i64 i64) (result i64) (i64.div_u (local.get 0) (local.get 1)))
  (func (export "rem_s") (param i64 i64) (result i64) (i64.rem_s (local.get 0) (local.get 1)))
  (func (export "rem_u") (param i64 i64) (result i64) (i64.rem_u (local.get 0) (local.get 1))))
