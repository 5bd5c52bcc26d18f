;;! The same in a loop, with the i32 used as an address and compared with 64-bit immediates afterwards.
;;! invoke "run" (i64 0x1234567800000010) (i32 20) => (i32 840) (i64 320)
;;! osr headers: 1
(module
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (memory 1)
  (data (i32.const 16) "\2a")
  (func (export "run") (param $x i64) (param $n i32) (result i32 i64) (local $a i32) (local $sum i32) (local $wide i64)
    (loop $l
      (local.set $a (i32.wrap_i64 (local.get $x)))
      (local.set $x (call $await_i64 (local.get $x)))
      (local.set $sum (i32.add (local.get $sum) (i32.load8_u (local.get $a))))
      (local.set $wide (i64.add (local.get $wide) (i64.extend_i32_u (local.get $a))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum) (local.get $wide)))
