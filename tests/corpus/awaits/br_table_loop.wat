;;! A state machine whose arms await, each with another type.
;;! invoke "run" (i32 40) => (i32 14) (i64 13) (f32 13) (f64 0)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (import "host" "await_f32" (func $await_f32 (param f32) (result f32)))
  (func (export "run") (param $n i32) (result i32 i64 f32 f64) (local $i i32) (local $a i32) (local $b i64) (local $c f32) (local $d f64)
    (loop $machine
      (block $three (block $two (block $one (block $zero
        (br_table $zero $one $two $three (i32.rem_u (local.get $i) (i32.const 3))))
        (local.set $a (i32.add (local.get $a) (call $await_i32 (i32.const 1)))) (br $three))
        (local.set $b (i64.add (local.get $b) (call $await_i64 (i64.const 1)))) (br $three))
        (local.set $c (f32.add (call $await_f32 (f32.const 1)) (local.get $c))))
      (br_if $machine (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (local.get $a) (local.get $b) (local.get $c) (local.get $d)))
