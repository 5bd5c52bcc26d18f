;;! Locals that trade places each time around: the moves at the back edge form cycles.
;;! invoke "run" (i32 1) => (i32 2) (i32 3) (i32 1) (f64 2) (f64 1)
;;! invoke "run" (i32 3) => (i32 1) (i32 2) (i32 3) (f64 2) (f64 1)
;;! invoke "run" (i32 500) => (i32 3) (i32 1) (i32 2) (f64 1) (f64 2)
;;! osr headers: 1
(module
  (func (export "run") (param $n i32) (result i32 i32 i32 f64 f64)
    (local $a i32) (local $b i32) (local $c i32) (local $d f64) (local $e f64)
    (local.set $a (i32.const 1)) (local.set $b (i32.const 2)) (local.set $c (i32.const 3))
    (local.set $d (f64.const 1)) (local.set $e (f64.const 2))
    (loop $next
      (local.get $a)
      (local.set $a (local.get $b)) (local.set $b (local.get $c)) (local.set $c)
      (local.get $d) (local.set $d (local.get $e)) (local.set $e)
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $a) (local.get $b) (local.get $c) (local.get $d) (local.get $e)))
