;;! An imported function that is exported again can be called by its new name, as can one export under two names.
;;! invoke "plus" (i32 41) => (i32 42)
;;! invoke "a" (i32 1) => (i32 3)
;;! invoke "b" (i32 -1) => (i32 1)
(module
  (import "host" "add1" (func $add1 (param i32) (result i32)))
  (export "plus" (func $add1))
  (func (export "a") (export "b") (param i32) (result i32) (call $add1 (call $add1 (local.get 0)))))
