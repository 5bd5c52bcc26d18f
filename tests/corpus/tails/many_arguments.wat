;;! More arguments than registers, in another order on each turn: through the transfer area, a hundred thousand times.
;;! invoke "run" (i32 100000) => (i64 1) (i64 2) (i64 3) (f64 4) (f32 5) (i32 6) (i64 7) (i64 8) (i64 9) (i64 10) (f64 11) (f64 12)
;;! invoke "run" (i32 99999) => (i64 10) (i64 9) (i64 8) (f64 12) (f32 5) (i32 6) (i64 7) (i64 3) (i64 2) (i64 1) (f64 11) (f64 4)
(module
  (type $f (func (param i32 i64 i64 i64 f64 f32 i32 i64 i64 i64 i64 f64 f64 f64 f64 f64 f64 f64 f64) (result i64 i64 i64 f64 f32 i32 i64 i64 i64 i64 f64 f64)))
  (func (export "run") (param i32) (result i64 i64 i64 f64 f32 i32 i64 i64 i64 i64 f64 f64)
    (return_call $turn (local.get 0) (i64.const 1) (i64.const 2) (i64.const 3) (f64.const 4) (f32.const 5) (i32.const 6)
      (i64.const 7) (i64.const 8) (i64.const 9) (i64.const 10) (f64.const 11) (f64.const 12)
      (f64.const 13) (f64.const 14) (f64.const 15) (f64.const 16) (f64.const 17) (f64.const 18)))
  (func $turn (type $f)
    (if (i32.eqz (local.get 0)) (then
      (return (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)
        (local.get 8) (local.get 9) (local.get 10) (local.get 11) (local.get 12))))
    (return_call $turn (i32.sub (local.get 0) (i32.const 1))
      (local.get 10) (local.get 9) (local.get 8) (local.get 12) (local.get 5) (local.get 6) (local.get 7)
      (local.get 3) (local.get 2) (local.get 1) (local.get 11) (local.get 4)
      (local.get 18) (local.get 17) (local.get 16) (local.get 15) (local.get 14) (local.get 13))))
