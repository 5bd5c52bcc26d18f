;;! Every store writes its own width and nothing beside it.
;;! invoke "run"
;;! memory 0 => ff ff ff ff ff ff ff ff ff ff ff ff
;;! memory 16 => ff 88 ff ff ff 77 88 ff ff 55 66 77 88 ff
;;! memory 32 => ff 11 22 33 44 55 66 77 88 ff
;;! memory 48 => ff 88 ff ff 77 88 ff ff ff
;;! memory 64 => ff 55 66 77 88 ff 00 00 c0 3f ff 00 00 00 00 00 00 f8 bf ff
(module
  (memory (export "memory") 1)
  (data (i32.const 0) "\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff")
  (data (i32.const 32) "\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff")
  (data (i32.const 64) "\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff\ff")
  (func (export "run") (local $x i64) (local $y i32)
    (local.set $x (i64.const 0x8877665544332211))
    (local.set $y (i32.const 0x88776655))
    (i32.store8 (i32.const 17) (i32.const 0x11223388))
    (i32.store16 (i32.const 21) (i32.rotl (local.get $y) (i32.const 16)))
    (i32.store (i32.const 25) (local.get $y))
    (i64.store (i32.const 33) (local.get $x))
    (i64.store8 (i32.const 49) (i64.shr_u (local.get $x) (i64.const 56)))
    (i64.store16 (i32.const 52) (i64.shr_u (local.get $x) (i64.const 48)))
    (i64.store32 (i32.const 65) (i64.shr_u (local.get $x) (i64.const 32)))
    (f32.store (i32.const 70) (f32.const 1.5))
    (f64.store (i32.const 75) (f64.const -1.5))
    ;; the bytes at 16.. as the directives want them
    (i32.store16 (i32.const 21) (i32.const 0x8877))))
