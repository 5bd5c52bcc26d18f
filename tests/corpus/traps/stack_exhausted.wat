;;! Recursion without end: a trap, after which the instance works.
;;! invoke "forever" (i64 1) => trap "call stack exhausted"
;;! invoke "ping" => trap "call stack exhausted"
;;! invoke "ok" (i32 100) => (i32 5050)
(module
  (func $forever (export "forever") (param $x i64) (result i64)
    (i64.add (local.get $x) (call $forever (i64.add (local.get $x) (i64.const 1)))))
  (func $ping (export "ping") (call $pong (i32.const 1)) )
  (func $pong (param i32) (call $ping))
  (func $ok (export "ok") (param $n i32) (result i32)
    (if (result i32) (local.get $n)
      (then (i32.add (local.get $n) (call $ok (i32.sub (local.get $n) (i32.const 1)))))
      (else (i32.const 0)))))
