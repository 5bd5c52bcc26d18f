;;! Loads of every width that end at the last byte of the memory, and one byte beyond.
;;! invoke "load8" (i32 65535) => (i32 0x7f)
;;! invoke "load8" (i32 65536) => trap "out of bounds memory access"
;;! invoke "load16" (i32 65534) => (i32 0x7f6f)
;;! invoke "load16" (i32 65535) => trap "out of bounds memory access"
;;! invoke "load32" (i32 65532) => (i32 0x7f6f5f4f)
;;! invoke "load32" (i32 65533) => trap "out of bounds memory access"
;;! invoke "load64" (i32 65528) => (i64 0x7f6f5f4f3f2f1f0f)
;;! invoke "load64" (i32 65529) => trap "out of bounds memory access"
;;! invoke "loadf32" (i32 65532) => (f32 bits:0x7f6f5f4f)
;;! invoke "loadf32" (i32 65534) => trap "out of bounds memory access"
;;! invoke "loadf64" (i32 65528) => (f64 bits:0x7f6f5f4f3f2f1f0f)
;;! invoke "loadf64" (i32 65535) => trap "out of bounds memory access"
;;! invoke "load64" (i32 -1) => trap "out of bounds memory access"
;;! invoke "load8" (i32 -1) => trap "out of bounds memory access"
;;! invoke "load8" (i32 0x80000000) => trap "out of bounds memory access"
(module
  (memory (export "memory") 1)
  (data (i32.const 65528) "\0f\1f\2f\3f\4f\5f\6f\7f")
  (func (export "load8") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "load16") (param i32) (result i32) (i32.load16_u (local.get 0)))
  (func (export "load32") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "load64") (param i32) (result i64) (i64.load (local.get 0)))
  (func (export "loadf32") (param i32) (result f32) (f32.load (local.get 0)))
  (func (export "loadf64") (param i32) (result f64) (f64.load (local.get 0))))
