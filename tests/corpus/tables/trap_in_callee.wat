;;! A function called by its index traps after an await; the instance goes on.
;;! invoke "run" (i32 0) => (i32 7)
;;! invoke "run" (i32 1) => trap "unreachable"
;;! invoke "run" (i32 2) => trap "integer divide by zero"
;;! invoke "run" (i32 0) => (i32 7)
;;! invoke "deep" (i32 200) => trap "uninitialized element"
(module
  (import "host" "await_i32" (func $await (param i32) (result i32)))
  (type $f (func (param i32) (result i32)))
  (table 5 funcref)
  (elem (i32.const 0) $fine $unreachable $divide $deep)
  (func $fine (param i32) (result i32) (call $await (i32.const 7)))
  (func $unreachable (param i32) (result i32) (drop (call $await (i32.const 7))) (unreachable))
  (func $divide (param i32) (result i32) (i32.div_u (local.get 0) (call $await (i32.const 0))))
  (func $deep (export "deep") (param $n i32) (result i32)
    (call_indirect (type $f) (i32.sub (local.get $n) (i32.const 1))
      (select (i32.const 3) (i32.const 4) (local.get $n))))
  (func (export "run") (param i32) (result i32)
    (i32.add (i32.const 0) (call_indirect (type $f) (i32.const 5) (local.get 0)))))
