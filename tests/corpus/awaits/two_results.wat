;;! An await with two results, in a loop that feeds them back swapped.
;;! invoke "run" (i32 0) (i64 5) (i32 10) => (i32 20) (i64 15)
;;! osr headers: 1
(module
  (import "host" "await_two" (func $await_two (param i32 i64) (result i64 i32)))
  (func (export "run") (param $a i32) (param $b i64) (param $n i32) (result i32 i64)
    (loop $l
      (call $await_two (local.get $a) (local.get $b))
      (local.set $a) (local.set $b)
      (local.get $a)
      (local.set $a (i32.add (i32.wrap_i64 (local.get $b)) (i32.const 1)))
      (local.set $b (i64.add (i64.extend_i32_s)  (i64.const 1)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (i32.add (local.get $a) (i32.const 10)) (local.get $b)))
