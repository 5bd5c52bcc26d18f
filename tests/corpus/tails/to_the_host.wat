;;! Tail calls of host functions: at once, awaiting, with more results than registers; the caller sees what they return.
;;! invoke "ready" (i32 4) => (i32 5)
;;! invoke "awaits" (i32 4) => (i32 4)
;;! invoke "mix" (i32 1) (i64 2) (f32 3) (f64 4) => (f64 4) (f32 3) (i64 2) (i32 1) (f64 4) (f32 3) (i64 2) (i32 1)
;;! invoke "twice" (i32 20) => (i32 420)
;;! invoke "fails" (i32 3) => trap "host error 3"
;;! log 7
;;! osr headers: 1
(module
  (import "host" "add1" (func $add1 (param i32) (result i32)))
  (import "host" "log" (func $log (param i32)))
  (import "host" "await_i32" (func $await (param i32) (result i32)))
  (import "host" "await_mix8" (func $mix (param i32 i64 f32 f64 i32 i64 f32 f64) (result f64 f32 i64 i32 f64 f32 i64 i32)))
  (import "host" "await_fail" (func $fail (param i32)))
  (func (export "ready") (param i32) (result i32) (return_call $add1 (local.get 0)))
  (func $awaits (export "awaits") (param i32) (result i32) (return_call $await (local.get 0)))
  (func (export "mix") (param i32 i64 f32 f64) (result f64 f32 i64 i32 f64 f32 i64 i32)
    (return_call $mix (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "twice") (param $n i32) (result i32) (local $sum i32)
    (loop $next
      (local.set $sum (i32.add (local.get $sum) (call $awaits (i32.mul (local.get $n) (i32.const 2)))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum))
  (func (export "fails") (param i32) (call $say) (return_call $fail (local.get 0)))
  (func $say (return_call $log (i32.const 7))))
