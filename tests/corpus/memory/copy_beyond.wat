;;! Both ranges of a copy are checked before anything is written; nothing may be copied at the very end, and no further.
;;! invoke "copy" (i32 65536) (i32 0) (i32 0)
;;! invoke "copy" (i32 0) (i32 65536) (i32 0)
;;! invoke "copy" (i32 65537) (i32 0) (i32 0) => trap "out of bounds memory access"
;;! invoke "copy" (i32 0) (i32 65537) (i32 0) => trap "out of bounds memory access"
;;! invoke "copy" (i32 65530) (i32 0) (i32 7) => trap "out of bounds memory access"
;;! invoke "copy" (i32 0) (i32 65530) (i32 7) => trap "out of bounds memory access"
;;! invoke "copy" (i32 -1) (i32 0) (i32 2) => trap "out of bounds memory access"
;;! invoke "copy" (i32 0) (i32 0) (i32 -1) => trap "out of bounds memory access"
;;! invoke "copy" (i32 16) (i32 0) (i32 -8) => trap "out of bounds memory access"
;;! memory 65530 => 00 00 00 00 00 00
;;! memory 0 => 61 62 63 64 65 66 67 68 00
;;! invoke "copy" (i32 65530) (i32 0) (i32 6)
;;! memory 65530 => 61 62 63 64 65 66
;;! invoke "known" (i32 65528) (i32 0)
;;! memory 65528 => 61 62 63 64 65 66 67 68
;;! invoke "known" (i32 65529) (i32 1) => trap "out of bounds memory access"
;;! invoke "known" (i32 1) (i32 65529) => trap "out of bounds memory access"
;;! memory 65528 => 61 62 63 64 65 66 67 68
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "abcdefgh")
  (func (export "copy") (param i32 i32 i32)
    (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "known") (param i32 i32)
    (memory.copy (local.get 0) (local.get 1) (i32.const 8))))
