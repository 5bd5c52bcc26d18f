;;! A table grows in the loop that calls through it: its elements move, its length changes.
;;! invoke "run" (i32 300) => (i32 300) (i32 301)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await (param i32) (result i32)))
  (type $f (func (param i32) (result i32)))
  (table 1 funcref)
  (elem (i32.const 0) $await)
  (func (export "run") (param $n i32) (result i32 i32)
    (local $i i32) (local $sum i32) (local $base i32)
    (local.set $base (i32.sub (table.size) (i32.const 1)))
    (loop $again
      (if (i32.ne (i32.add (local.get $base) (local.get $i)) (i32.sub (table.size) (i32.const 1))) (then (unreachable)))
      (local.set $sum (i32.add (local.get $sum)
        (call_indirect (type $f) (i32.const 1) (local.get $i))))
      (if (i32.ne (table.grow (table.get (local.get $i)) (i32.const 1))
                  (i32.add (local.get $base) (i32.add (local.get $i) (i32.const 1))))
        (then (unreachable)))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $sum) (i32.sub (table.size) (local.get $base))))
