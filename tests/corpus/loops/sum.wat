;;! The smallest hot loop: one counter, one sum.
;;! invoke "sum" (i64 0) => (i64 0)
;;! invoke "sum" (i64 1) => (i64 1)
;;! invoke "sum" (i64 1000) => (i64 500500)
;;! osr headers: 1
(module
  (func (export "sum") (param $n i64) (result i64) (local $sum i64)
    (block $done
      (loop $next
        (br_if $done (i64.eqz (local.get $n)))
        (local.set $sum (i64.add (local.get $sum) (local.get $n)))
        (local.set $n (i64.sub (local.get $n) (i64.const 1)))
        (br $next)))
    (local.get $sum)))
