;;! Awaits that are the results of blocks, ifs and loops, and the parameters of blocks.
;;! invoke "run" (i32 1) => (i32 33)
;;! invoke "run" (i32 0) => (i32 34)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func (export "run") (param $x i32) (result i32)
    (block (result i32) (call $await_i32 (i32.const 1)))
    (if (result i32) (local.get $x) (then (call $await_i32 (i32.const 2))) (else (call $await_i32 (i32.const 3))))
    (loop (result i32) (call $await_i32 (i32.const 10)))
    (call $await_i32 (i32.const 20))
    (block (param i32 i32) (result i32) (i32.add))
    (i32.add) (i32.add)))
