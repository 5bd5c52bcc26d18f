;;! Two functions that call each other in tail position, three hundred thousand deep: the stack stays as it is.
;;! invoke "even" (i32 300000) => (i32 1)
;;! invoke "even" (i32 300001) => (i32 0)
;;! invoke "odd" (i32 299999) => (i32 1)
(module
  (func $even (export "even") (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 1))))
    (return_call $odd (i32.sub (local.get $n) (i32.const 1))))
  (func $odd (export "odd") (param $n i32) (result i32)
    (if (i32.eqz (local.get $n)) (then (return (i32.const 0))))
    (return_call $even (i32.sub (local.get $n) (i32.const 1)))))
