;;! A call's several results are the next call's arguments, without a local between.
;;! invoke "run" (i32 3) (i64 4) => (i64 4) (i32 3)
;;! invoke "chain" (i32 30) => (i32 832040)
;;! osr headers: 1
(module
  (func $swap (param i32 i64) (result i64 i32) (local.get 1) (local.get 0))
  (func $back (param i64 i32) (result i32 i64) (local.get 1) (local.get 0))
  (func $step (param i32 i32) (result i32 i32) (local.get 1) (i32.add (local.get 0) (local.get 1)))
  (func (export "run") (param i32 i64) (result i64 i32)
    (call $swap (call $back (call $swap (local.get 0) (local.get 1)))))
  (func (export "chain") (param $n i32) (result i32)
    (i32.const 0) (i32.const 1)
    (loop $next (param i32 i32) (result i32 i32)
      (call $step)
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (drop)))
