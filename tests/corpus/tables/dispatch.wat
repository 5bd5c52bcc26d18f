;;! Functions by their index, all four ends of an indirect call.
;;! invoke "run" (i32 0) (i32 9) => (i32 10)
;;! invoke "run" (i32 1) (i32 9) => (i32 18)
;;! invoke "run" (i32 2) (i32 9) => (i32 81)
;;! invoke "run" (i32 3) (i32 9) => trap "uninitialized element"
;;! invoke "run" (i32 4) (i32 9) => trap "indirect call type mismatch"
;;! invoke "run" (i32 5) (i32 9) => trap "undefined element"
;;! invoke "run" (i32 -1) (i32 9) => trap "undefined element"
;;! invoke "constant" (i32 5) => (i32 25)
;;! invoke "constant_null" => trap "uninitialized element"
;;! invoke "constant_beyond" => trap "undefined element"
(module
  (type $f (func (param i32) (result i32)))
  (table 5 5 funcref)
  (elem (i32.const 0) $next $double $square)
  (elem (i32.const 4) $other)
  (func $next (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func $double (param i32) (result i32) (i32.shl (local.get 0) (i32.const 1)))
  (func $square (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))
  (func $other (param i64) (result i32) (i32.const 0))
  (func (export "run") (param i32 i32) (result i32)
    (call_indirect (type $f) (local.get 1) (local.get 0)))
  (func (export "constant") (param i32) (result i32)
    (call_indirect (type $f) (local.get 0) (i32.const 2)))
  (func (export "constant_null") (result i32)
    (call_indirect (type $f) (i32.const 0) (i32.const 3)))
  (func (export "constant_beyond") (result i32)
    (call_indirect (type $f) (i32.const 0) (i32.const 5))))
