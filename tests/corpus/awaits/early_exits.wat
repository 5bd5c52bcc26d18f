;;! Awaits behind which control leaves loops and blocks early, past operands that were live across them.
;;! invoke "run" (i32 3) => (i32 3)
;;! invoke "run" (i32 50) => (i32 149)
;;! invoke "run" (i32 150) => (i32 -100)
;;! osr headers: 2
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func (export "run") (param $x i32) (result i32) (local $i i32)
    (block $out (result i32)
      (loop $l
        (i64.const 5)
        (f32.const 6)
        (if (i32.eq (call $await_i32 (local.tee $i (i32.add (local.get $i) (i32.const 1)))) (local.get $x))
          (then (if (i32.lt_s (local.get $x) (i32.const 10)) (then (return (local.get $i)))) (br $out (i32.add (local.get $i) (i32.const 99)))))
        (drop) (drop)
        (br_if $l (i32.lt_s (local.get $i) (i32.const 100))))
      (loop (result i32) (i32.sub (i32.const 0) (call $await_i32 (local.get $i)))))))
