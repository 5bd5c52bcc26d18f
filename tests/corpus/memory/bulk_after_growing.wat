;;! Memory that has grown is there for bulk operations at once, also when a callee or a host function made it grow.
;;! invoke "run" => (i32 0x07070707) (i32 1) (i32 4)
;;! invoke "beyond" => trap "out of bounds memory access"
;;! pages => 4
(module
  (import "host" "grow" (func $grow (param i32) (result i32)))
  (memory (export "memory") 1 4)
  (func $by (param i32) (result i32) (memory.grow (local.get 0)))
  (func (export "run") (result i32 i32 i32)
    (drop (memory.grow (i32.const 1)))
    (memory.fill (i32.const 65530) (i32.const 7) (i32.const 65542))
    (drop (call $by (i32.const 1)))
    (memory.copy (i32.const 131072) (i32.const 65536) (i32.const 65536))
    (drop (call $grow (i32.const 1)))
    (memory.copy (i32.const 262140) (i32.const 196604) (i32.const 4))
    (i32.load (i32.const 262140))
    (i32.eq (i32.load8_u (i32.const 65529)) (i32.const 0))
    (memory.size))
  (func (export "beyond") (memory.fill (i32.const 262140) (i32.const 7) (i32.const 5))))
