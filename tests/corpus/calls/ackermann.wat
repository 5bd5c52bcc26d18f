;;! Recursion in the argument of a recursion.
;;! invoke "ack" (i32 2) (i32 3) => (i32 9)
;;! invoke "ack" (i32 3) (i32 3) => (i32 61)
(module
  (func $ack (export "ack") (param $m i32) (param $n i32) (result i32)
    (if (i32.eqz (local.get $m)) (then (return (i32.add (local.get $n) (i32.const 1)))))
    (if (i32.eqz (local.get $n)) (then (return (call $ack (i32.sub (local.get $m) (i32.const 1)) (i32.const 1)))))
    (call $ack (i32.sub (local.get $m) (i32.const 1))
               (call $ack (local.get $m) (i32.sub (local.get $n) (i32.const 1))))))
