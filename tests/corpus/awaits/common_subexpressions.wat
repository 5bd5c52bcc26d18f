;;! The same pure expression before and after an await, and one that only looks the same.
;;! invoke "run" (i32 6) (i32 7) => (i32 84) (i32 42) (i32 99)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "yield" (func $yield))
  (global $g (mut i32) (i32.const 1))
  (func (export "run") (param $a i32) (param $b i32) (result i32 i32 i32) (local $first i32)
    (local.set $first (i32.mul (local.get $a) (local.get $b)))
    (call $yield)
    (i32.add (local.get $first) (i32.mul (local.get $a) (local.get $b)))
    (local.set $first (i32.mul (global.get $g) (i32.add (local.get $a) (local.get $b))))
    (global.set $g (call $await_i32 (i32.const 5)))
    (i32.mul (local.get $a) (local.get $b))
    (i32.add (i32.const 21) (i32.add (local.get $first) (i32.mul (global.get $g) (i32.add (local.get $a) (local.get $b)))))))
