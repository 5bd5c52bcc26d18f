;; An indirect call: bounds, null, type; a function of this instance is called through its table of functions.
;;! tier = 1
;;! func = caller
;;! sections = entry block* L*
(module
  (type $f (func (param i32) (result i32)))
  (table 4 4 funcref)
  (func $callee (param i32) (result i32) (local.get 0))
  (elem (i32.const 0) $callee)
  (func (export "caller") (param i32) (result i32)
    (call_indirect (type $f) (i32.const 7) (local.get 0))))
