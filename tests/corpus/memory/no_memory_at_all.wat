;;! A module whose memory has no pages: every access traps, growing works.
;;! invoke "load" (i32 0) => trap "out of bounds memory access"
;;! invoke "size" => (i32 0)
;;! invoke "grow" (i32 1) => (i32 0)
;;! invoke "load" (i32 0) => (i32 0)
(module
  (memory 0)
  (func (export "load") (param i32) (result i32) (i32.load8_u (local.get 0)))
  (func (export "size") (result i32) (memory.size))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))
