;;! A loop continued from two places, with different changes in hand.
;;! invoke "gcd" (i32 1071) (i32 462) => (i32 21)
;;! invoke "gcd" (i32 7919) (i32 1000) => (i32 1)
;;! invoke "gcd" (i32 5) (i32 5) => (i32 5)
;;! osr headers: 1
(module
  (func (export "gcd") (param $a i32) (param $b i32) (result i32)
    (loop $next
      (if (i32.gt_u (local.get $a) (local.get $b))
        (then (local.set $a (i32.sub (local.get $a) (local.get $b))) (br $next)))
      (if (i32.lt_u (local.get $a) (local.get $b))
        (then (local.set $b (i32.sub (local.get $b) (local.get $a))) (br $next))))
    (local.get $a)))
