;;! The host grows memory during the await; the next access is to the page that did not exist before.
;;! invoke "run" (i32 8) => (i32 36)
;;! pages => 9
;;! invoke "refused" => (i32 -1) (i32 9)
;;! invoke "zero" => (i32 9)
;;! osr headers: 1
(module
  (import "host" "grow" (func $grow (param i32) (result i32)))
  (memory (export "memory") 1 12)
  (func (export "run") (param $n i32) (result i32) (local $at i32) (local $sum i32)
    (loop $l
      (local.set $at (i32.mul (call $grow (i32.const 1)) (i32.const 65536)))
      (i32.store offset=65532 (local.get $at) (local.get $n))
      (local.set $sum (i32.add (local.get $sum) (i32.load offset=65532 (local.get $at))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "refused") (result i32 i32) (call $grow (i32.const 100)) (memory.size))
  (func (export "zero") (result i32) (call $grow (i32.const 0))))
