;;! Two functions that call each other, two hundred deep.
;;! invoke "even" (i32 200) => (i32 1)
;;! invoke "even" (i32 201) => (i32 0)
;;! invoke "odd" (i32 199) => (i32 1)
(module
  (func $even (export "even") (param $n i32) (result i32)
    (if (result i32) (local.get $n) (then (call $odd (i32.sub (local.get $n) (i32.const 1)))) (else (i32.const 1))))
  (func $odd (export "odd") (param $n i32) (result i32)
    (if (result i32) (local.get $n) (then (call $even (i32.sub (local.get $n) (i32.const 1)))) (else (i32.const 0)))))
