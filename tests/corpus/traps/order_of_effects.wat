;;! What comes before a trap happens, what comes after it does not: stores, globals, host calls.
;;! invoke "run" (i32 0) => trap "integer divide by zero"
;;! global "g" => (i32 1)
;;! memory 0 => 07 00
;;! invoke "run" (i32 2) => (i32 21)
;;! global "g" => (i32 3)
;;! memory 0 => 07 09
;;! log 1 1 2
(module
  (import "host" "log" (func $log (param i32)))
  (memory (export "memory") 1)
  (global $g (export "g") (mut i32) (i32.const 0))
  (func (export "run") (param $x i32) (result i32) (local $y i32)
    (call $log (i32.const 1))
    (global.set $g (i32.add (global.get $g) (i32.const 1)))
    (i32.store8 (i32.const 0) (i32.const 7))
    (local.set $y (i32.div_s (i32.const 42) (local.get $x)))
    (i32.store8 (i32.const 1) (i32.const 9))
    (global.set $g (i32.add (global.get $g) (i32.const 1)))
    (call $log (i32.const 2))
    (local.get $y)))
