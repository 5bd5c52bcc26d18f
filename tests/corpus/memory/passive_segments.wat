;;! Passive segments are copied by need, in parts, and are empty once dropped; active ones are empty from the start.
;;! memory 0 => 41 43 00
;;! invoke "init" (i32 10) (i32 0) (i32 5)
;;! memory 9 => 00 68 65 6c 6c 6f 00
;;! invoke "init" (i32 20) (i32 2) (i32 3)
;;! memory 20 => 6c 6c 6f 00
;;! invoke "init" (i32 30) (i32 2) (i32 4) => trap "out of bounds memory access"
;;! memory 30 => 00 00 00
;;! invoke "init" (i32 65534) (i32 0) (i32 3) => trap "out of bounds memory access"
;;! memory 65534 => 00 00
;;! invoke "init" (i32 65536) (i32 5) (i32 0)
;;! invoke "init" (i32 0) (i32 6) (i32 0) => trap "out of bounds memory access"
;;! invoke "init" (i32 -1) (i32 -1) (i32 -1) => trap "out of bounds memory access"
;;! invoke "active" (i32 0)
;;! invoke "active" (i32 1) => trap "out of bounds memory access"
;;! invoke "drop"
;;! invoke "drop"
;;! invoke "init" (i32 0) (i32 0) (i32 0)
;;! invoke "init" (i32 0) (i32 0) (i32 1) => trap "out of bounds memory access"
(module
  (memory (export "memory") 1)
  (data $a (i32.const 0) "AB")
  (data $p "hello")
  (data (i32.const 1) "C")
  (func (export "init") (param i32 i32 i32)
    (memory.init $p (local.get 0) (local.get 1) (local.get 2)))
  (func (export "active") (param i32)
    (memory.init $a (i32.const 50) (i32.const 0) (local.get 0)))
  (func (export "drop") (data.drop $p) (data.drop $a)))
