;;! A loop that carries one value of each type around on the operand stack, swapped in their roles each time.
;;! invoke "run" (i32 1) => (i32 1) (i64 20) (f32 2.5) (f64 0.75)
;;! invoke "run" (i32 10) => (i32 10) (i64 10240) (f32 7) (f64 0.00146484375)
;;! osr headers: 1
(module
  (type $all (func (param i32 i64 f32 f64) (result i32 i64 f32 f64)))
  (func (export "run") (param $n i32) (result i32 i64 f32 f64)
    (local $i i32) (local $l i64) (local $f f32) (local $d f64)
    (i32.const 0) (i64.const 10) (f32.const 2) (f64.const 1.5)
    (loop $next (type $all)
      (local.set $d (f64.mul (f64.const 0.5)))
      (local.set $f (f32.add (f32.const 0.5)))
      (local.set $l (i64.mul (i64.const 2)))
      (local.set $i (i32.add (i32.const 1)))
      (local.get $i) (local.get $l) (local.get $f) (local.get $d)
      (br_if $next (i32.lt_s (local.get $i) (local.get $n))))))
