;;! An imported memory: what was in it, data segments over it, growing up to its own maximum, by guest and by host.
;;! memory 0 => 01 02 41 42 00
;;! invoke "get" (i32 0) => (i32 0x42410201)
;;! invoke "get" (i32 65533) => trap "out of bounds memory access"
;;! invoke "grow" (i32 1) => (i32 1)
;;! invoke "get" (i32 65533) => (i32 0)
;;! invoke "host" (i32 131072) => (i32 2) (i32 9)
;;! invoke "grow" (i32 2) => (i32 -1)
;;! invoke "grow" (i32 1) => (i32 3)
;;! pages => 4
(module
  (import "host" "memory" (memory 1 4))
  (import "host" "grow" (func $grow (param i32) (result i32)))
  (export "memory" (memory 0))
  (data (i32.const 2) "AB")
  (func (export "get") (param i32) (result i32) (i32.load (local.get 0)))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "host") (param i32) (result i32 i32)
    (call $grow (i32.const 1))
    (i32.store (local.get 0) (i32.const 9))
    (i32.load (local.get 0))))
