;;! An asynchronous host function that is ready at once, mixed with one that is not.
;;! invoke "run" (i32 99) => (i32 4950) (i32 33)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "ready" (func $ready (param i32) (result i32)))
  (func (export "run") (param $n i32) (result i32 i32) (local $sum i32) (local $waits i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum)
        (if (result i32) (i32.rem_u (local.get $n) (i32.const 3))
          (then (call $ready (local.get $n)))
          (else (local.set $waits (i32.add (local.get $waits) (i32.const 1))) (call $await_i32 (local.get $n))))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum) (local.get $waits)))
