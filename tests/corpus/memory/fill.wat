;;! Filling takes the low byte, writes the whole range or nothing, and may fill nothing at the very end.
;;! invoke "fill" (i32 8) (i32 0x1234ab) (i32 5)
;;! memory 6 => 00 00 ab ab ab ab ab 00
;;! invoke "fill" (i32 65536) (i32 1) (i32 0)
;;! invoke "fill" (i32 65537) (i32 1) (i32 0) => trap "out of bounds memory access"
;;! invoke "fill" (i32 65500) (i32 1) (i32 37) => trap "out of bounds memory access"
;;! invoke "fill" (i32 1) (i32 1) (i32 -1) => trap "out of bounds memory access"
;;! memory 65500 => 00 00 00 00
;;! invoke "fill" (i32 65500) (i32 -1) (i32 36)
;;! memory 65498 => 00 00 ff ff
;;! invoke "known" (i32 100) (i32 0x77)
;;! memory 99 => 00 77 77 77 77 77 77 77 77 77 77 77 00
;;! invoke "known" (i32 65526) (i32 0x55) => trap "out of bounds memory access"
;;! memory 65526 => ff ff
(module
  (memory (export "memory") 1)
  (func (export "fill") (param i32 i32 i32)
    (memory.fill (local.get 0) (local.get 1) (local.get 2)))
  (func (export "known") (param i32 i32)
    (memory.fill (local.get 0) (local.get 1) (i32.const 11))))
