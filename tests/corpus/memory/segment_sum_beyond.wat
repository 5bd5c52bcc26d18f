;;! A computed offset beyond the memory: instantiation traps.
;;! instantiate => trap "out of bounds memory access"
(module
  (import "host" "base" (global $base i32))
  (memory (export "memory") 1)
  (data (i32.const 0) "x")
  (data (i32.mul (global.get $base) (i32.const 4096)) "y"))
