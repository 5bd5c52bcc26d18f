;;! A loop that is a loop in name only, one without exit but `return`, and one that is never reached.
;;! invoke "once" => (i32 5)
;;! invoke "forever" (i32 100) => (i32 100)
;;! invoke "skipped" => (i32 9)
;;! osr headers: 3
(module
  (func (export "once") (result i32) (loop (result i32) (i32.const 5)))
  (func (export "forever") (param $n i32) (result i32) (local $i i32)
    (loop $next
      (if (i32.eq (local.get $i) (local.get $n)) (then (return (local.get $i))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br $next))
    (unreachable))
  (func (export "skipped") (result i32)
    (return (i32.const 9))
    (loop $x (br $x))
    (i32.const 0)))
