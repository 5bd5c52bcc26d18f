;;! A start function that traps after it has logged: there is no instance.
;;! instantiate => trap "unreachable"
;;! log 5
(module
  (import "host" "log" (func $log (param i32)))
  (func $start (call $log (i32.const 5)) (unreachable))
  (start $start)
  (func (export "never") (call $log (i32.const 6))))
