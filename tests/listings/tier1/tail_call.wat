;; Tail calls: the frame goes, the callee is jumped to; through a table as well.
;;! tier = 1
;;! func = caller
;;! sections = entry block* L*
(module
  (type $f (func (param i32 f64) (result i32)))
  (table 4 4 funcref)
  (func $callee (type $f) (local.get 0))
  (elem (i32.const 0) $callee)
  (func (export "caller") (type $f)
    (if (local.get 0) (then (return_call $callee (i32.const 7) (local.get 1))))
    (return_call_indirect (type $f) (i32.const 8) (local.get 1) (local.get 0))))
