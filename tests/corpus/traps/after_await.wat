;;! Traps of every code right behind an await, with the awaited value as the culprit.
;;! invoke "run" (i32 0) => (i32 100)
;;! invoke "run" (i32 1) => trap "unreachable"
;;! invoke "run" (i32 2) => trap "integer divide by zero"
;;! invoke "run" (i32 3) => trap "integer overflow"
;;! invoke "run" (i32 4) => trap "out of bounds memory access"
;;! invoke "run" (i32 5) => trap "invalid conversion to integer"
;;! invoke "run" (i32 6) => trap "host error 6"
;;! invoke "run" (i32 7) => trap "host error 7"
;;! invoke "run" (i32 8) => (i32 100)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_i64" (func $await_i64 (param i64) (result i64)))
  (import "host" "await_f32" (func $await_f32 (param f32) (result f32)))
  (import "host" "await_fail" (func $await_fail (param i32)))
  (import "host" "fail" (func $fail (param i32)))
  (memory 1)
  (func (export "run") (param $x i32) (result i32) (local $y i32)
    (block $end
      (block $7 (block $6 (block $5 (block $4 (block $3 (block $2 (block $1 (block $0
        (br_table $0 $1 $2 $3 $4 $5 $6 $7 $end (call $await_i32 (local.get $x))))
        (br $end))
        (unreachable))
        (drop (i32.div_u (local.get $x) (call $await_i32 (i32.const 0)))) (br $end))
        (drop (i64.div_s (call $await_i64 (i64.const 0x8000000000000000)) (call $await_i64 (i64.const -1)))) (br $end))
        (drop (f64.load (call $await_i32 (i32.const 65529)))) (br $end))
        (drop (i32.trunc_f32_s (call $await_f32 (f32.const nan)))) (br $end))
        (call $fail (call $await_i32 (local.get $x))) (br $end))
      (call $await_fail (local.get $x)))
    (i32.const 100)))
