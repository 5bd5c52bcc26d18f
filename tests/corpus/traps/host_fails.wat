;;! Host functions that fail: at once, after suspending, from a loop, and beneath parked callers.
;;! invoke "now" (i32 1) => trap "host error 1"
;;! invoke "later" (i32 -2) => trap "host error -2"
;;! invoke "nth" (i32 40) => trap "host error 40"
;;! invoke "deep" (i32 30) => trap "host error 3"
;;! invoke "poke" (i32 65533) => trap "host error 65533"
;;! invoke "poke" (i32 65532)
;;! memory 65532 => 01 00 00 00
;;! log 1 -2 40
;;! osr headers: 1
(module
  (import "host" "yield" (func $yield))
  (import "host" "await_fail" (func $await_fail (param i32)))
  (import "host" "fail" (func $fail (param i32)))
  (import "host" "log" (func $log (param i32)))
  (import "host" "poke" (func $poke (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "now") (param i32) (call $log (local.get 0)) (call $fail (local.get 0)) (call $log (i32.const 99)))
  (func (export "later") (param i32) (call $log (local.get 0)) (call $await_fail (local.get 0)) (call $log (i32.const 99)))
  (func (export "nth") (param $n i32) (local $i i32)
    (loop $l
      (call $yield)
      (if (i32.eq (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))
        (then (call $log (local.get $n)) (call $await_fail (local.get $n))))
      (br $l)))
  (func $deep (export "deep") (param $n i32)
    (if (i32.eqz (local.get $n)) (then (call $await_fail (i32.const 3))))
    (call $deep (i32.sub (local.get $n) (i32.const 1)))
    (call $log (local.get $n)))
  (func (export "poke") (param i32) (call $poke (local.get 0) (i32.const 1))))
