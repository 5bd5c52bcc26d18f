;;! A host function called in tail position calls back, and the callback ends in a tail call that awaits.
;;! invoke "run" (i32 5) => (i32 18)
(module
  (import "host" "reenter" (func $reenter (param i32) (result i32)))
  (import "host" "await_i32" (func $await (param i32) (result i32)))
  (func $double (param i32) (result i32) (return_call $await (i32.add (local.get 0) (local.get 0))))
  (func (export "callback") (param i32) (result i32) (return_call $double (i32.add (local.get 0) (i32.const 3))))
  (func $go (param i32) (result i32) (return_call $reenter (local.get 0)))
  (func (export "run") (param i32) (result i32) (i32.add (call $go (local.get 0)) (i32.const 1))))
