;;! Selects of every type in a loop, also with both operands the same and with a constant condition.
;;! invoke "run" (i32 101) => (i32 5151) (i64 50) (f32 51) (f64 2.5)
;;! osr headers: 1
(module
  (func (export "run") (param $n i32) (result i32 i64 f32 f64)
    (local $a i32) (local $b i64) (local $c f32) (local $d f64)
    (loop $next
      (local.set $a (i32.add (local.get $a) (select (local.get $n) (local.get $n) (local.get $n))))
      (local.set $b (i64.add (local.get $b) (select (i64.const 0) (i64.const 1) (i32.and (local.get $n) (i32.const 1)))))
      (local.set $c (f32.add (local.get $c) (select (f32.const 1) (f32.const 0) (i32.and (local.get $n) (i32.const 1)))))
      (local.set $d (select (f64.const 2.5) (f64.const -1) (i32.const 1)))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $a) (local.get $b) (local.get $c) (local.get $d)))
