;;! A hot loop calls the host, which calls a guest function with a hot awaiting loop of its own.
;;! invoke "run" (i32 12) => (i32 376)
;;! osr headers: 2
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "reenter" (func $reenter (param i32) (result i32)))
  (func (export "callback") (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call $await_i32 (local.get $n))))
      (br_if $l (i32.gt_s (local.tee $n (i32.sub (local.get $n) (i32.const 1))) (i32.const 0))))
    (local.get $sum))
  (func (export "run") (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call $reenter (local.get $n))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
