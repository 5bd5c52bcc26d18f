;;! Three functions, each a loop that calls the next; the last one awaits.
;;! invoke "a" (i32 5) => (i32 75) (i32 35)
;;! osr headers: 3
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func $c (param $n i32) (result i32) (local $x i32)
    (loop $l (local.set $x (i32.add (local.get $x) (call $await_i32 (i32.const 1))))
      (br_if $l (i32.lt_s (local.get $x) (local.get $n))))
    (local.get $x))
  (func $b (param $n i32) (result i32 i32) (local $x i32) (local $i i32)
    (loop $l
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $x (i32.add (local.get $x) (call $c (local.get $i))))
      (br_if $l (i32.lt_s (local.get $i) (local.get $n))))
    (local.get $x) (local.get $i))
  (func (export "a") (param $n i32) (result i32 i32) (local $x i32) (local $y i32) (local $i i32)
    (loop $l
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (call $b (local.get $i))
      (local.set $y (i32.add (local.get $y)))
      (local.set $x (i32.add (local.get $x)))
      (br_if $l (i32.lt_s (local.get $i) (local.get $n))))
    (i32.add (local.get $x) (i32.const 40)) (i32.add (local.get $y) (i32.const 20))))
