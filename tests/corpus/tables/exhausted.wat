;;! Endless recursion through a table exhausts the stack, and the instance goes on.
;;! invoke "run" (i32 1) => trap "call stack exhausted"
;;! invoke "fine" => (i32 4)
(module
  (type $f (func (param i32) (result i32)))
  (table funcref (elem $run $four))
  (func $run (export "run") (param i32) (result i32)
    (i32.add (i32.const 1) (call_indirect (type $f) (i32.add (local.get 0) (i32.const 1)) (i32.const 0))))
  (func $four (param i32) (result i32) (i32.const 4))
  (func (export "fine") (result i32) (call_indirect (type $f) (i32.const 0) (i32.const 1))))
