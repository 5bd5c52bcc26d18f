;;! The trap comes at the bottom of a chain of parked callers, or in one of them after its callee came back.
;;! invoke "run" (i32 20) (i32 0) => trap "unreachable"
;;! invoke "run" (i32 20) (i32 10) => trap "unreachable"
;;! invoke "run" (i32 20) (i32 -1) => (i32 210)
;;! global "entered" => (i32 63)
;;! global "left" => (i32 31)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (global $entered (export "entered") (mut i32) (i32.const 0))
  (global $left (export "left") (mut i32) (i32.const 0))
  (func $run (export "run") (param $n i32) (param $bad i32) (result i32) (local $y i32)
    (global.set $entered (i32.add (global.get $entered) (i32.const 1)))
    (local.set $y (if (result i32) (local.get $n)
      (then (call $run (i32.sub (local.get $n) (i32.const 1)) (local.get $bad)))
      (else (call $await_i32 (i32.const 0)))))
    (if (i32.eq (local.get $n) (local.get $bad)) (then (unreachable)))
    (global.set $left (i32.add (global.get $left) (i32.const 1)))
    (i32.add (local.get $y) (local.get $n))))
