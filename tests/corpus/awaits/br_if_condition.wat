;;! An await as the condition of `br_if`: leaving a block with values, and going round a loop.
;;! invoke "run" (i32 5) => (i32 5) (i32 1)
;;! invoke "run" (i32 0) => (i32 2) (i32 1)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func (export "run") (param $x i32) (result i32 i32) (local $turns i32)
    (block $b (result i32)
      (br_if $b (local.get $x) (call $await_i32 (local.get $x)))
      (drop)
      (i32.const 2))
    (local.set $x (i32.const 1))
    (loop $l
      (local.set $turns (i32.add (local.get $turns) (i32.const 1)))
      (br_if $l (i32.lt_s (call $await_i32 (local.get $turns)) (i32.const 30))))
    (i32.div_s (local.get $turns) (i32.const 30))))
