;;! Data segments in order, overlapping, empty, and at the very end.
;;! invoke "get" (i32 0) => (i32 0x64636261)
;;! invoke "get" (i32 4) => (i32 0x0000595a)
;;! memory 65532 => 00 00 00 21
;;! memory 256 => 68 69
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "abcdefgh")
  (data (i32.const 4) "ZY\00\00")
  (data (i32.const 65536) "")
  (data (i32.const 65535) "!")
  (data (i32.const 256) "hi")
  (func (export "get") (param i32) (result i32) (i32.load (local.get 0))))
