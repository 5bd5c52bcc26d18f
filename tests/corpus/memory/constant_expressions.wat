;;! Constant expressions compute: of constants, of imported globals, of globals defined before; for globals and segments.
;;! global "a" => (i32 42)
;;! global "b" => (i64 -2)
;;! global "c" => (i32 -1)
;;! global "d" => (i32 1764)
;;! global "e" => (i64 1099511627775)
;;! invoke "sum" => (i32 1805)
;;! memory 15 => 00 61 62 00
;;! memory 58 => 63 64
(module
  (import "host" "base" (global $base i32))
  (import "host" "limit" (global $limit i64))
  (global $a (export "a") i32 (i32.add (i32.const 40) (i32.const 2)))
  (global $b (export "b") i64 (i64.mul (i64.sub (i64.const 3) (i64.const 2)) (i64.const -2)))
  (global $c (export "c") i32 (i32.sub (i32.const 0x7fffffff) (i32.const -0x80000000)))
  (global $d (export "d") i32 (i32.mul (i32.add (global.get $base) (i32.const 26)) (i32.const 42)))
  (global $e (export "e") i64 (i64.sub (global.get $limit) (i64.const 1)))
  (memory (export "memory") 1)
  (data (i32.mul (global.get $base) (i32.const 1)) "ab")
  (data (i32.add (global.get $base) (i32.sub (i32.const 43) (i32.const 1))) "cd")
  (func (export "sum") (result i32)
    (i32.add (i32.add (global.get $a) (global.get $c)) (global.get $d))))
