;;! Functions without parameters and results, called from a loop.
;;! invoke "run" (i32 25)
;;! global "count" => (i32 25)
;;! invoke "nothing"
;;! osr headers: 1
(module
  (global $count (export "count") (mut i32) (i32.const 0))
  (func $nothing (export "nothing"))
  (func $tick (global.set $count (i32.add (global.get $count) (i32.const 1))))
  (func (export "run") (param $n i32)
    (loop $next
      (call $nothing)
      (call $tick)
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
