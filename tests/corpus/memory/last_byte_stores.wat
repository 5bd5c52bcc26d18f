;;! Stores of every width at the end of the memory and just beyond; a store that traps has written nothing.
;;! invoke "store64" (i32 65529) (i64 -1) => trap "out of bounds memory access"
;;! invoke "store32" (i32 65533) (i32 -1) => trap "out of bounds memory access"
;;! invoke "store16" (i32 65535) (i32 -1) => trap "out of bounds memory access"
;;! invoke "store8" (i32 65536) (i32 -1) => trap "out of bounds memory access"
;;! invoke "storef64" (i32 65530) (f64 1) => trap "out of bounds memory access"
;;! invoke "storef32" (i32 65535) (f32 1) => trap "out of bounds memory access"
;;! memory 65520 => 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
;;! invoke "store8" (i32 65535) (i32 0x112)
;;! invoke "store16" (i32 65533) (i32 0x33445566)
;;! invoke "store64" (i32 65520) (i64 0x0102030405060708)
;;! memory 65520 => 08 07 06 05 04 03 02 01 00 00 00 00 00 66 55 12
(module
  (memory (export "memory") 1)
  (func (export "store8") (param i32 i32) (i32.store8 (local.get 0) (local.get 1)))
  (func (export "store16") (param i32 i32) (i32.store16 (local.get 0) (local.get 1)))
  (func (export "store32") (param i32 i32) (i32.store (local.get 0) (local.get 1)))
  (func (export "store64") (param i32 i64) (i64.store (local.get 0) (local.get 1)))
  (func (export "storef32") (param i32 f32) (f32.store (local.get 0) (local.get 1)))
  (func (export "storef64") (param i32 f64) (f64.store (local.get 0) (local.get 1))))
