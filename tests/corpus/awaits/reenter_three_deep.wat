;;! Guest, host, guest, three times over, with awaits at each level before and after.
;;! invoke "callback" (i32 0) => (i32 0)
;;! invoke "callback" (i32 3) => (i32 9)
;;! invoke "run" (i32 3) => (i32 10)
;;! log 0 3 2 1 0 -1 -2 -3 3 2 1 0 -1 -2 -3
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "log" (func $log (param i32)))
  (import "host" "reenter" (func $reenter (param i32) (result i32)))
  (func $callback (export "callback") (param $n i32) (result i32) (local $inner i32)
    (call $log (call $await_i32 (local.get $n)))
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (local.set $inner (call $reenter (i32.sub (local.get $n) (i32.const 1))))
    (call $log (call $await_i32 (i32.sub (i32.const 0) (local.get $n))))
    (i32.add (local.get $inner) (i32.const 2)))
  (func (export "run") (param $n i32) (result i32) (call $reenter (local.get $n))))
