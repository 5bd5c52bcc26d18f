;;! Awaits that make the parameters of a loop, before it and at its back edge.
;;! invoke "run" (i32 40) => (i32 820) (i64 41)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (func (export "run") (param $n i32) (result i32 i64) (local $s i32) (local $k i64)
    (call $await_i32 (i32.const 0))
    (call $await_i64 (i64.const 1))
    (loop $l (param i32 i64) (result i32 i64)
      (local.set $k)
      (local.set $s)
      (i32.add (local.get $s) (call $await_i32 (i32.wrap_i64 (local.get $k))))
      (call $await_i64 (i64.add (local.get $k) (i64.const 1)))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
