;;! A hot loop calls functions by index; one of them awaits, and what lives across the call is an address-free frame.
;;! invoke "run" (i32 40) => (i64 2367)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await (param i32) (result i32)))
  (type $f (func (param i32) (result i32)))
  (table 3 funcref)
  (elem (i32.const 0) $plain $awaiting $await)
  (func $plain (param i32) (result i32) (i32.add (local.get 0) (i32.const 1)))
  (func $awaiting (param i32) (result i32) (i32.mul (call $await (local.get 0)) (i32.const 2)))
  (func (export "run") (param $n i32) (result i64)
    (local $i i32) (local $sum i64) (local $twice i32)
    (loop $again
      (local.set $twice (i32.shl (local.get $i) (i32.const 1)))
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u
        (call_indirect (type $f) (local.get $i) (i32.rem_u (local.get $i) (i32.const 3))))))
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $twice))))
      (local.set $sum (i64.sub (local.get $sum) (i64.extend_i32_u (local.get $i))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (i64.add (local.get $sum) (i64.const 546))))
