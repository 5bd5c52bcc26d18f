;;! A synchronous call back into the guest, which does not await there; awaits around it do.
;;! invoke "run" (i32 15) => (i32 375)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "ready" (func $ready (param i32) (result i32)))
  (import "host" "reenter_sync" (func $reenter_sync (param i32) (result i32)))
  (func (export "callback") (param $n i32) (result i32) (call $ready (i32.mul (local.get $n) (i32.const 2))))
  (func (export "run") (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (i32.add (call $reenter_sync (local.get $n)) (call $await_i32 (local.get $n)))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
