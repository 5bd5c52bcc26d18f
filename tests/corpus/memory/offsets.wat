;;! Constant offsets: large, overflowing 32 bits with the address, and beyond any memory.
;;! invoke "small" (i32 0) => (i32 9)
;;! invoke "small" (i32 65524) => (i32 0)
;;! invoke "small" (i32 65525) => trap "out of bounds memory access"
;;! invoke "small" (i32 -8) => trap "out of bounds memory access"
;;! invoke "small" (i32 -4) => trap "out of bounds memory access"
;;! invoke "page" (i32 0) => trap "out of bounds memory access"
;;! invoke "page" (i32 -65536) => trap "out of bounds memory access"
;;! invoke "huge" (i32 0) => trap "out of bounds memory access"
;;! invoke "huge" (i32 1) => trap "out of bounds memory access"
;;! invoke "huge" (i32 -1) => trap "out of bounds memory access"
;;! invoke "negative" (i32 9) => trap "out of bounds memory access"
(module
  (memory 1)
  (data (i32.const 8) "\09")
  (func (export "small") (param i32) (result i32) (i32.load offset=8 (local.get 0)))
  (func (export "page") (param i32) (result i32) (i32.load8_u offset=65536 (local.get 0)))
  (func (export "huge") (param i32) (result i64) (i64.load offset=4294967295 (local.get 0)))
  (func (export "negative") (param i32) (result i32) (i32.load8_u offset=0xfffffff8 (local.get 0))))
