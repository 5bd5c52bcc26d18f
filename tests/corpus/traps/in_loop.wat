;;! A trap in a late turn of a hot loop; what the loop did before it stays done.
;;! invoke "run" (i32 100) => trap "integer divide by zero"
;;! global "turns" => (i32 100)
;;! memory 0 => 01
;;! invoke "run" (i32 10) => trap "integer divide by zero"
;;! global "turns" => (i32 110)
;;! osr headers: 1
(module
  (memory (export "memory") 1)
  (global $turns (export "turns") (mut i32) (i32.const 0))
  (func (export "run") (param $n i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
      (i32.store8 (i32.const 0) (i32.add (local.get $n) (i32.const 1)))
      (local.set $sum (i32.add (local.get $sum) (i32.div_u (i32.const 1000) (local.get $n))))
      (br $l))
    (local.get $sum)))
