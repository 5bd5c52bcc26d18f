;;! A hot loop calls a function with a hot loop of its own, which calls a third.
;;! invoke "a" (i32 6) => (i32 266)
;;! osr headers: 3
(module
  (func $c (param $n i32) (result i32) (local $x i32)
    (loop $l (local.set $x (i32.add (local.get $x) (i32.const 1)))
      (br_if $l (i32.lt_s (local.get $x) (local.get $n))))
    (local.get $x))
  (func $b (param $n i32) (result i32) (local $x i32) (local $i i32)
    (loop $l
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $x (i32.add (local.get $x) (call $c (local.get $i))))
      (br_if $l (i32.lt_s (local.get $i) (local.get $n))))
    (local.get $x))
  (func (export "a") (param $n i32) (result i32) (local $x i32) (local $i i32)
    (loop $l
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (local.set $x (i32.add (local.get $x) (i32.mul (local.get $i) (call $b (local.get $i)))))
      (br_if $l (i32.lt_s (local.get $i) (local.get $n))))
    (local.get $x)))
