;;! Trapping instructions that are invariant in a loop but guarded: they must not run before their turn, nor run at all.
;;! invoke "guarded" (i32 50) (i32 0) => (i32 50)
;;! invoke "late" (i32 50) (i32 0) => trap "integer divide by zero"
;;! global "turns" => (i32 26)
;;! invoke "load" (i32 50) (i32 -1) => (i32 50)
;;! osr headers: 3
(module
  (memory 1)
  (global $turns (export "turns") (mut i32) (i32.const 0))
  (func (export "guarded") (param $n i32) (param $d i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum)
        (if (result i32) (local.get $d) (then (i32.div_s (i32.const 8) (local.get $d))) (else (i32.const 1)))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "late") (param $n i32) (param $d i32) (result i32) (local $sum i32)
    (loop $l
      (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
      (if (i32.eq (local.get $n) (i32.const 25))
        (then (local.set $sum (i32.div_s (i32.const 8) (local.get $d)))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "load") (param $n i32) (param $at i32) (result i32) (local $sum i32)
    (loop $l
      (local.set $sum (i32.add (local.get $sum)
        (if (result i32) (i32.lt_u (local.get $at) (i32.const 65000)) (then (i32.load (local.get $at))) (else (i32.const 1)))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
