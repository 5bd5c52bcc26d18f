;;! Addresses known when compiling: inside, at the edge, beyond; the trap comes only when the code is reached.
;;! invoke "inside" => (i32 65)
;;! invoke "edge" => (i32 0)
;;! invoke "beyond" (i32 0) => (i32 1)
;;! invoke "beyond" (i32 1) => trap "out of bounds memory access"
;;! invoke "dropped" => trap "out of bounds memory access"
(module
  (memory 1 1)
  (data (i32.const 1000) "A")
  (func (export "inside") (result i32) (i32.load8_s offset=999 (i32.const 1)))
  (func (export "edge") (result i32) (i32.load offset=4 (i32.const 65528)))
  (func (export "beyond") (param i32) (result i32)
    (if (local.get 0) (then (return (i32.load (i32.const 65533)))))
    (i32.const 1))
  (func (export "dropped") (drop (i32.load (i32.const -1)))))
