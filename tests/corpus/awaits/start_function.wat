;;! The start function awaits before the first export is called.
;;! invoke "get" => (i32 10)
;;! log 1
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "log" (func $log (param i32)))
  (global $g (mut i32) (i32.const 0))
  (func $start (local $i i32)
    (call $log (i32.const 1))
    (loop $l
      (global.set $g (i32.add (global.get $g) (call $await_i32 (local.get $i))))
      (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5)))))
  (start $start)
  (func (export "get") (result i32) (global.get $g)))
