;;! The second segment does not fit its table.
;;! instantiate => trap "out of bounds table access"
(module
  (table 3 funcref)
  (memory 1)
  (data (i32.const 65536) "x")
  (elem (i32.const 0) $f $f)
  (elem (i32.const 2) $f $f)
  (func $f))
