;;! The guest called back by the host changes an imported global while its caller waits.
;;! invoke "run" (i32 30) => (i32 37) (i32 67)
;;! osr headers: 1
(module
  (import "host" "counter" (global $counter (mut i32)))
  (import "host" "reenter" (func $reenter (param i32) (result i32)))
  (import "host" "yield" (func $yield))
  (func (export "callback") (param i32) (result i32)
    (call $yield)
    (global.set $counter (i32.add (global.get $counter) (local.get 0)))
    (i32.const 0))
  (func (export "run") (param $n i32) (result i32 i32) (local $before i32) (local $changes i32)
    (loop $next
      (local.set $before (global.get $counter))
      (drop (call $reenter (i32.const 1)))
      (local.set $changes (i32.add (local.get $changes) (i32.sub (global.get $counter) (local.get $before))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (global.get $counter) (i32.add (global.get $counter) (local.get $changes))))
