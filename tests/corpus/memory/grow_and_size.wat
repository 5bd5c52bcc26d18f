;;! Growing: sizes before and after, refusal above the maximum, zeroes in what is new.
;;! invoke "size" => (i32 1)
;;! invoke "load" (i32 65536) => trap "out of bounds memory access"
;;! invoke "grow" (i32 1) => (i32 1)
;;! invoke "load" (i32 65536) => (i32 0)
;;! invoke "load" (i32 131068) => (i32 0)
;;! invoke "load" (i32 131069) => trap "out of bounds memory access"
;;! invoke "grow" (i32 3) => (i32 -1)
;;! invoke "grow" (i32 -1) => (i32 -1)
;;! invoke "grow" (i32 0) => (i32 2)
;;! invoke "size" => (i32 2)
;;! pages => 2
;;! invoke "grow" (i32 2) => (i32 2)
;;! pages => 4
;;! invoke "load" (i32 0) => (i32 0x12345678)
(module
  (memory (export "memory") 1 4)
  (data (i32.const 0) "\78\56\34\12")
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))
