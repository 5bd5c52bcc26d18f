;;! Tail calls between functions whose parameters differ in number and type; few to many and back.
;;! invoke "none" => (i32 35)
;;! invoke "few" (i32 9) => (i32 60)
(module
  (global $turns (mut i32) (i32.const 0))
  (func $none (export "none") (result i32) (return_call $few (i32.const 4)))
  (func $few (export "few") (param i32) (result i32) (local $unused i64)
    (if (i32.gt_u (global.get $turns) (i32.const 50000)) (then
      (global.set $turns (i32.const 0))
      (return (i32.add (i32.mul (local.get 0) (i32.const 7)) (local.get 0)))))
    (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
    (return_call $many (local.get 0) (i64.const 2) (f64.const 1) (i32.const 3) (i32.const 4) (i32.const 5) (i32.const 6)
      (i64.const 7) (i64.const 8) (f32.const 9) (i32.const 10)))
  (func $many (param i32 i64 f64 i32 i32 i32 i32 i64 i64 f32 i32) (result i32)
    (if (i32.eqz (i32.and (global.get $turns) (i32.const 1))) (then (return_call $middle (local.get 2) (local.get 0))))
    (if (i32.gt_u (global.get $turns) (i32.const 50000)) (then
      (global.set $turns (i32.const 0))
      (return (i32.sub (i32.add (i32.add (local.get 0) (i32.mul (local.get 0) (i32.const 5)))
        (i32.add (local.get 10) (i32.wrap_i64 (local.get 8)))) (i32.add (i32.const 3) (i32.mul (local.get 0) (i32.const 1)))))))
    (return_call $few (local.get 0)))
  (func $middle (param f64 i32) (result i32)
    (return_call $few (i32.add (i32.sub (local.get 1) (i32.const 1)) (i32.trunc_f64_s (local.get 0))))))
