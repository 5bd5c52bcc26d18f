;;! Synchronous host functions, in a loop and as operands; their effects come in order.
;;! invoke "run" (i32 4) => (i32 18)
;;! log 4 3 2 1
;;! osr headers: 1
(module
  (import "host" "add1" (func $add1 (param i32) (result i32)))
  (import "host" "log" (func $log (param i32)))
  (func (export "run") (param $n i32) (result i32) (local $sum i32)
    (loop $next
      (call $log (local.get $n))
      (local.set $sum (i32.add (call $add1 (local.get $sum)) (call $add1 (i32.sub (local.get $n) (i32.const 0)))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
