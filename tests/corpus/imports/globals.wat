;;! Imported globals: constant and changing ones, read and written in a loop, also across awaits, and exported again.
;;! invoke "run" (i32 5) => (i32 12) (i64 5497558138880) (f64 2.5) (f32 4)
;;! global "counter" => (i32 12)
;;! global "bias" => (f32 4)
;;! global "limit" => (i64 1099511627776)
;;! osr headers: 1
(module
  (import "host" "counter" (global $counter (mut i32)))
  (import "host" "limit" (global $limit i64))
  (import "host" "ratio" (global $ratio f64))
  (import "host" "bias" (global $bias (mut f32)))
  (import "host" "yield" (func $yield))
  (export "counter" (global $counter))
  (export "limit" (global $limit))
  (export "bias" (global $bias))
  (func (export "run") (param $n i32) (result i32 i64 f64 f32) (local $l i64) (local $d f64)
    (loop $next
      (global.set $counter (i32.add (global.get $counter) (i32.const 1)))
      (local.set $l (i64.add (local.get $l) (global.get $limit)))
      (call $yield)
      (local.set $d (f64.add (local.get $d) (global.get $ratio)))
      (global.set $bias (f32.add (global.get $bias) (f32.const 1)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (global.get $counter) (local.get $l) (local.get $d) (global.get $bias)))
