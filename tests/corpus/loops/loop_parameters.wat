;;! A loop with parameters and results: its state lives on the operand stack only.
;;! invoke "fib" (i32 0) => (i64 0) (i64 1)
;;! invoke "fib" (i32 1) => (i64 1) (i64 1)
;;! invoke "fib" (i32 50) => (i64 12586269025) (i64 20365011074)
;;! osr headers: 1
(module
  (type $step (func (param i64 i64) (result i64 i64)))
  (func (export "fib") (param $n i32) (result i64 i64) (local $a i64) (local $b i64)
    (i64.const 0) (i64.const 1)
    (block $done (type $step)
      (loop $next (type $step)
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (local.set $b)
        (local.set $a)
        (local.get $b)
        (i64.add (local.get $a) (local.get $b))
        (br $next)))))
