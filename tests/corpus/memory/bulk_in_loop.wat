;;! Bulk operations in a hot loop, between loads that must see them and values that must survive them, across awaits.
;;! invoke "run" (i32 6) => (i32 6) (i64 21) (f64 3) (i32 0x06060606)
;;! memory 32 => 06 06 06 06 06 06 06 06 01
;;! osr headers: 1
(module
  (import "host" "yield" (func $yield))
  (memory (export "memory") 1)
  (data $p "\00\01\02\03\04\05\06\07\08")
  (func (export "run") (param $n i32) (result i32 i64 f64 i32)
    (local $i i32) (local $sum i64) (local $half f64) (local $last i32)
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (memory.fill (i32.const 0) (local.get $i) (i32.const 32))
      (local.set $last (i32.load (i32.const 32)))
      (memory.copy (i32.const 32) (i32.const 0) (i32.add (i32.const 7) (i32.ne (local.get $i) (i32.const 0))))
      (local.set $last (i32.load (i32.const 32)))
      (memory.init $p (i32.const 40) (i32.const 1) (i32.const 1))
      (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (i32.mul (i32.load8_u (i32.const 33)) (i32.load8_u (i32.const 40))))))
      (call $yield)
      (local.set $half (f64.add (local.get $half) (f64.const 0.5)))
      (br_if $next (i32.lt_u (local.get $i) (local.get $n))))
    (data.drop $p)
    (local.get $i) (local.get $sum) (local.get $half) (local.get $last)))
