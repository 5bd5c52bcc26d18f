;;! First a loop without awaits, hot enough to be replaced, then, in the same call and the same loop, awaits.
;;! invoke "run" (i32 400) (i32 200) => (i64 140600)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await (param i32) (result i32)))
  (func (export "run") (param $n i32) (param $from i32) (result i64) (local $i i32) (local $sum i64)
    (loop $next
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (if (i32.gt_s (local.get $i) (local.get $from))
        (then (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s (call $await (i32.mul (local.get $i) (i32.const 2)))))))
        (else (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s (local.get $i))))))
      (br_if $next (i32.lt_s (local.get $i) (local.get $n))))
    (i64.add (local.get $sum) (i64.const 300))))
