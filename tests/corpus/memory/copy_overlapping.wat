;;! Copies whose ranges overlap, forwards and backwards, and onto themselves; of lengths known and unknown.
;;! invoke "copy" (i32 2) (i32 0) (i32 8)
;;! memory 0 => 61 62 61 62 63 64 65 66 67 68 00
;;! invoke "copy" (i32 0) (i32 2) (i32 8)
;;! memory 0 => 61 62 63 64 65 66 67 68 67 68 00
;;! invoke "copy" (i32 4) (i32 4) (i32 6)
;;! memory 0 => 61 62 63 64 65 66 67 68 67 68 00
;;! invoke "known"
;;! memory 64 => 61 61 62 63 64 65 66 67 68 67 68 00 00 00 00 00 00 00 00 00 00
;;! memory 1000 => 62 63 64 00
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "abcdefgh")
  (func (export "copy") (param i32 i32 i32)
    (memory.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "known")
    (memory.copy (i32.const 64) (i32.const 0) (i32.const 16))
    (memory.copy (i32.const 65) (i32.const 64) (i32.const 13))
    (memory.copy (i32.const 1000) (i32.const 1) (i32.const 3))
    (memory.copy (i32.const 3000) (i32.const 1) (i32.const 0))))
