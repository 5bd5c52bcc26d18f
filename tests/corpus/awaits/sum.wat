;;! The smallest awaiting loop: every turn awaits its number.
;;! invoke "sum" (i64 1) => (i64 1)
;;! invoke "sum" (i64 300) => (i64 45150)
;;! osr headers: 1
(module
  (import "host" "await_i64" (func $await (param i64) (result i64)))
  (func (export "sum") (param $n i64) (result i64) (local $sum i64)
    (loop $next
      (local.set $sum (i64.add (local.get $sum) (call $await (local.get $n))))
      (br_if $next (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
    (local.get $sum)))
