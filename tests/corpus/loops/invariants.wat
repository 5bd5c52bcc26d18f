;;! Loop-invariant expressions, one of which would trap if it were computed where it is not asked for.
;;! invoke "run" (i32 100) (i32 7) (i32 3) => (i32 1000)
;;! invoke "run" (i32 100) (i32 7) (i32 0) => (i32 700)
;;! invoke "run" (i32 1) (i32 -7) (i32 2) => (i32 -4)
;;! osr headers: 1
(module
  (func (export "run") (param $n i32) (param $a i32) (param $b i32) (result i32) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum)
        (if (result i32) (local.get $b)
          (then (i32.add (i32.div_s (local.get $a) (local.get $b))
                         (i32.add (i32.rem_s (local.get $a) (local.get $b)) (i32.mul (i32.ne (local.get $b) (i32.const 2)) (i32.const 7)))))
          (else (local.get $a)))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
