;;! The awaiting loop runs at depth; the frames above it stay parked while the leaf goes round.
;;! invoke "run" (i32 30) => (i32 515)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func $leaf (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum) (call $await_i32 (local.get $n))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func $a (param $n i32) (result i32) (i32.add (i32.const 20) (call $leaf (local.get $n))))
  (func $b (param $n i32) (result i32) (i32.add (call $a (local.get $n)) (local.get $n)))
  (func (export "run") (param $n i32) (result i32) (call $b (local.get $n))))
