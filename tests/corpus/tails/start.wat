;;! A start function that ends in a tail call.
;;! global "count" => (i32 1000)
;;! invoke "done" => (i32 1000)
(module
  (global $done (export "count") (mut i32) (i32.const 0))
  (func $again
    (if (i32.eq (global.get $done) (i32.const 1000)) (then (return)))
    (global.set $done (i32.add (global.get $done) (i32.const 1)))
    (return_call $again))
  (func $start (return_call $again))
  (func (export "done") (result i32) (global.get $done))
  (start $start))
