;;! The callee grows the memory; the caller's next access is to the new page.
;;! invoke "run" => (i32 77)
;;! invoke "run" => (i32 77)
;;! pages => 3
(module
  (memory (export "memory") 1)
  (func $more (result i32) (i32.mul (memory.grow (i32.const 1)) (i32.const 65536)))
  (func (export "run") (result i32) (local $a i32)
    (drop (i32.load (i32.const 0)))
    (local.set $a (call $more))
    (i32.store offset=100 (local.get $a) (i32.const 77))
    (i32.load offset=100 (local.get $a))))
