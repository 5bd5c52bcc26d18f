;;! The host grows memory under a callee; its caller's addresses and sizes are the new ones.
;;! invoke "run" (i32 65536) => (i32 2) (i32 99)
;;! invoke "run" (i32 196608) => trap "out of bounds memory access"
;;! pages => 3
(module
  (import "host" "grow" (func $grow (param i32) (result i32)))
  (memory (export "memory") 1)
  (func $leaf (param $at i32) (drop (call $grow (i32.const 1))) (i32.store (local.get $at) (i32.const 99)))
  (func (export "run") (param $at i32) (result i32 i32)
    (drop (i32.load (i32.const 0)))
    (call $leaf (local.get $at))
    (memory.size)
    (i32.load (local.get $at))))
