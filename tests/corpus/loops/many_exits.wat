;;! A loop left through four exits: fall-through, two blocks around it, and return.
;;! invoke "run" (i32 3) => (i32 103)
;;! invoke "run" (i32 50) => (i32 1007)
;;! invoke "run" (i32 -200) => (i32 22)
;;! invoke "run" (i32 6) => (i32 106)
;;! invoke "sweep" => (i32 27335)
;;! osr headers: 2
(module
  (func $run (export "run") (param $x i32) (result i32) (local $i i32)
    (block $b (result i32)
      (block $a
        (loop $next
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (if (i32.eq (local.get $i) (local.get $x)) (then (br $b (i32.add (local.get $i) (i32.const 100)))))
          (br_if $a (i32.gt_s (i32.add (local.get $x) (local.get $i)) (i32.const 56)))
          (if (i32.gt_s (local.get $i) (i32.const 20)) (then (return (i32.add (local.get $i) (i32.const 1)))))
          (br_if $next (i32.lt_s (local.get $i) (i32.const 1000))))
        (return (i32.const 1)))
      (i32.add (i32.const 1000) (local.get $i))))
  (func (export "sweep") (result i32) (local $x i32) (local $sum i32)
    (local.set $x (i32.const -20))
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (call $run (local.get $x))))
      (br_if $next (i32.lt_s (local.tee $x (i32.add (local.get $x) (i32.const 1))) (i32.const 60))))
    (local.get $sum)))
