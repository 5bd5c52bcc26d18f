;;! An awaiting loop that traps in a late turn; the state it left can be read, and the call made again.
;;! invoke "run" (i32 60) => trap "integer divide by zero"
;;! global "turns" => (i32 60)
;;! invoke "run" (i32 5) => trap "integer divide by zero"
;;! global "turns" => (i32 65)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (global $turns (export "turns") (mut i32) (i32.const 0))
  (func (export "run") (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
      (local.set $n (call $await_i32 (i32.sub (local.get $n) (i32.const 1))))
      (local.set $sum (i32.add (local.get $sum) (i32.div_s (i32.const 840) (local.get $n))))
      (br $l))
    (local.get $sum)))
