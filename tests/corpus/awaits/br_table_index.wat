;;! An await as the index of a `br_table`, with a value for the block beneath it.
;;! invoke "run" (i32 0) => (i32 107)
;;! invoke "run" (i32 1) => (i32 17)
;;! invoke "run" (i32 2) => (i32 7)
;;! invoke "run" (i32 -1) => (i32 7)
(module
  (import "host" "await_i32" (func $await_i32 (param i32) (result i32)))
  (func (export "run") (param $x i32) (result i32)
    (block $c (result i32)
      (block $b (result i32)
        (block $a (result i32)
          (br_table $a $b $c (i32.const 7) (call $await_i32 (local.get $x))))
        (return (i32.add (i32.const 100))))
      (return (i32.add (i32.const 10))))))
