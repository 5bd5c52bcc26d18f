;;! A trap in a guest that the host called passes through the host to the first guest and out; so does a host error.
;;! invoke "run" (i32 0) => trap "integer divide by zero"
;;! invoke "run" (i32 2) => (i32 51)
;;! invoke "run" (i32 -1) => trap "host error 9"
;;! invoke "run_sync" (i32 0) => trap "integer divide by zero"
;;! invoke "run_sync" (i32 4) => (i32 26)
;;! log 2 4
(module
  (import "host" "yield" (func $yield))
  (import "host" "fail" (func $fail (param i32)))
  (import "host" "log" (func $log (param i32)))
  (import "host" "reenter" (func $reenter (param i32) (result i32)))
  (import "host" "reenter_sync" (func $reenter_sync (param i32) (result i32)))
  (func (export "callback") (param $x i32) (result i32)
    (if (i32.eq (local.get $x) (i32.const -1)) (then (call $fail (i32.const 9))))
    (i32.div_s (i32.const 100) (local.get $x)))
  (func (export "run") (param $x i32) (result i32) (local $y i32)
    (call $yield)
    (local.set $y (call $reenter (local.get $x)))
    (call $log (local.get $x))
    (local.get $y))
  (func (export "run_sync") (param $x i32) (result i32) (local $y i32)
    (local.set $y (call $reenter_sync (local.get $x)))
    (call $log (local.get $x))
    (local.get $y)))
