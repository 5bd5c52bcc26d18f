;;! Awaits as both operands, in nests of expressions, in the order of the text.
;;! invoke "run" => (i32 -111)
;;! log 1 2 3 4 5 6 7 8
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (import "host" "log" (func $log (param i32)))
  (func $a (param i32) (result i32) (call $log (local.get 0)) (call $await_i32 (local.get 0)))
  (func (export "run") (result i32)
    (i32.sub
      (i32.sub (i32.mul (call $a (i32.const 1)) (call $a (i32.const 2)))
               (i32.mul (call $a (i32.const 3)) (call $a (i32.const 4))))
      (i32.add (i32.add (i32.mul (call $a (i32.const 5)) (call $a (i32.const 6)))
                        (i32.mul (call $a (i32.const 7)) (call $a (i32.const 8))))
               (i32.const 15)))))
