;;! A load after a store to the same or an overlapping place sees it, in a loop that would like to keep the value.
;;! invoke "run" (i32 10) => (i32 1023) (i64 0x000003ff000003ff)
;;! invoke "overlap" => (i32 0x11223344) (i32 0x55112233) (i32 0x22)
;;! osr headers: 1
(module
  (memory 1)
  (func (export "run") (param $n i32) (result i32 i64)
    (loop $next
      (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.add (i32.load (i32.const 8)) (i32.const 1))))
      (i32.store offset=4 (i32.const 8) (i32.load (i32.const 8)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.load (i32.const 8)) (i64.load (i32.const 8)))
  (func (export "overlap") (result i32 i32 i32) (local $before i32)
    (i32.store (i32.const 32) (i32.const 0x55667788))
    (i32.store (i32.const 28) (i32.const 0x00000000))
    (i32.store (i32.const 29) (i32.const 0x22334455))
    (local.set $before (i32.load (i32.const 29)))
    (i32.store (i32.const 40) (i32.const 0x11223344))
    (i32.store8 (i32.const 44) (i32.const 0x55))
    (i32.load (i32.const 40))
    (i32.load (i32.const 41))
    (i32.load8_u (i32.const 32))))
