;;! Results left from inside blocks and loops, with other operands still on the stack.
;;! invoke "run" (i32 0) => (i32 1) (f32 1.5)
;;! invoke "run" (i32 1) => (i32 2) (f32 2.5)
;;! invoke "run" (i32 2) => (i32 3) (f32 3.5)
;;! invoke "run" (i32 3) => (i32 4) (f32 4.5)
;;! osr headers: 1
(module
  (func (export "run") (param $x i32) (result i32 f32)
    (i64.const 99)
    (if (i32.eqz (local.get $x)) (then (return (i32.const 1) (f32.const 1.5))))
    (f64.const 9)
    (block
      (i32.const 5)
      (if (i32.eq (local.get $x) (i32.const 1)) (then (i32.const 2) (f32.const 2.5) (return)))
      (drop))
    (loop
      (i32.const 3) (f32.const 3.5)
      (br_if 1 (i32.eq (local.get $x) (i32.const 2)))
      (drop) (drop))
    (drop) (drop)
    (i32.const 4) (f32.const 4.5)))
