;;! The start function runs before anything else and may call the host.
;;! invoke "get" => (i32 12)
;;! global "g" => (i32 12)
;;! log 11
(module
  (import "host" "add1" (func $add1 (param i32) (result i32)))
  (import "host" "log" (func $log (param i32)))
  (global $g (export "g") (mut i32) (i32.const 11))
  (func $start
    (call $log (global.get $g))
    (global.set $g (call $add1 (global.get $g))))
  (start $start)
  (func (export "get") (result i32) (global.get $g)))
