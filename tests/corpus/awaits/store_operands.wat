;;! An await as the address of a store, as its value, as both, and as the address of a load.
;;! invoke "run" => (i32 14)
;;! memory 16 => 0a 00 00 00 0b 00 00 00 0c 00 00 00 0d 00 00 00
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (memory (export "memory") 1)
  (func (export "run") (result i32)
    (i32.store (call $await_i32 (i32.const 16)) (i32.const 10))
    (i32.store (i32.const 20) (call $await_i32 (i32.const 11)))
    (i32.store (call $await_i32 (i32.const 24)) (call $await_i32 (i32.const 12)))
    (i64.store32 offset=4 (call $await_i32 (i32.const 24)) (call $await_i64 (i64.const 13)))
    (i32.add (i32.load (call $await_i32 (i32.const 28))) (i32.const 1))))
