;;! A start function that awaits and then fails.
;;! instantiate => trap "host error 12"
;;! osr headers: 1
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "await_fail" (func $await_fail (param i32)))
  (func $start (local $i i32)
    (loop $l
      (if (i32.eq (call $await_i32 (local.tee $i (i32.add (local.get $i) (i32.const 1)))) (i32.const 12))
        (then (call $await_fail (local.get $i))))
      (br $l)))
  (start $start))
