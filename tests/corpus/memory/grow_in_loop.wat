;;! A loop that grows the memory and touches the new page at once, with the bounds it just changed.
;;! invoke "run" (i32 10) => (i32 66)
;;! pages => 12
;;! osr headers: 1
(module
  (memory (export "memory") 2)
  (func (export "run") (param $n i32) (result i32) (local $page i32) (local $sum i32)
    (loop $next
      (local.set $page (memory.grow (i32.const 1)))
      (i32.store (i32.add (i32.mul (local.get $page) (i32.const 65536)) (i32.const 65532)) (memory.size))
      (local.set $sum (i32.add (local.get $sum) (i32.load offset=65532 (i32.mul (local.get $page) (i32.const 65536)))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.sub (local.get $sum) (i32.const 9))))
