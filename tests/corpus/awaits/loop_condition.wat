;;! The awaited value itself decides whether a loop turns again; nothing else happens in it.
;;! invoke "run" (i32 70) => (i32 0)
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func (export "run") (param $x i32) (result i32)
    (loop $l (br_if $l (call $await_i32 (local.tee $x (i32.sub (local.get $x) (i32.const 1))))))
    (local.get $x)))
