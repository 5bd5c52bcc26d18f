;;! Traps behind tail calls, and an argument that traps before the frame is gone.
;;! invoke "run" (i32 1000) => trap "unreachable"
;;! invoke "divide" (i32 0) => trap "integer divide by zero"
;;! invoke "divide" (i32 5) => (i32 20)
;;! invoke "memory" (i32 65536) => trap "out of bounds memory access"
;;! invoke "memory" (i32 0) => (i32 100)
;;! invoke "deep" => trap "call stack exhausted"
;;! invoke "divide" (i32 50) => (i32 2)
(module
  (memory 1)
  (func $run (export "run") (param i32)
    (if (i32.eqz (local.get 0)) (then (unreachable)))
    (return_call $run (i32.sub (local.get 0) (i32.const 1))))
  (func $id (param i32) (result i32) (local.get 0))
  (func $hundred (param i32) (result i32) (i32.add (local.get 0) (i32.const 100)))
  (func (export "divide") (param i32) (result i32) (return_call $id (i32.div_u (i32.const 100) (local.get 0))))
  (func (export "memory") (param i32) (result i32) (return_call $hundred (i32.load (local.get 0))))
  (func $deep (export "deep") (drop (i32.const 1)) (call $deeper))
  (func $deeper (call $deep) (return_call $deep)))
