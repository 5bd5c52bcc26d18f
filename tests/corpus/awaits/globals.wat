;;! Globals that change across awaits, in the callee and in the awaiting function itself.
;;! invoke "run" (i32 25) => (i32 25) (i64 50)
;;! global "g" => (i32 25)
;;! global "h" => (f64 12.5)
;;! osr headers: 1
(module
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (import "host" "yield" (func $yield))
  (global $g (export "g") (mut i32) (i32.const 0))
  (global $h (export "h") (mut f64) (f64.const 0))
  (func $bump
    (global.set $g (i32.add (global.get $g) (i32.const 1)))
    (call $yield)
    (global.set $h (f64.add (global.get $h) (f64.const 0.5))))
  (func (export "run") (param $n i32) (result i32 i64) (local $sum i64)
    (loop $l
      (local.set $sum (i64.sub (local.get $sum) (i64.extend_i32_s (global.get $g))))
      (call $bump)
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s (global.get $g))))
      (local.set $sum (i64.add (local.get $sum) (call $await_i64 (i64.const 1))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (global.get $g) (local.get $sum)))
