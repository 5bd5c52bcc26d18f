;;! Locals that are read in the loop before anything wrote them hold zero, also where the loop was entered late.
;;! invoke "run" (i32 5) => (i32 4) (i64 0) (f32 0) (f64 4)
;;! invoke "run" (i32 300) => (i32 299) (i64 0) (f32 0) (f64 299)
;;! osr headers: 1
(module
  (func (export "run") (param $n i32) (result i32 i64 f32 f64)
    (local $late i32) (local $never i64) (local $never_f f32) (local $late_d f64) (local $sum_d f64) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (local.get $late)))
      (local.set $sum_d (f64.add (local.get $sum_d) (local.get $late_d)))
      (local.set $late (i32.const 1))
      (local.set $late_d (f64.const 1))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum) (local.get $never) (local.get $never_f) (local.get $sum_d)))
