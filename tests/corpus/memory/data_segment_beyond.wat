;;! A data segment that does not fit: the module cannot be instantiated.
;;! instantiate => trap "out of bounds memory access"
(module
  (memory (export "memory") 1)
  (data (i32.const 65535) "ab"))
