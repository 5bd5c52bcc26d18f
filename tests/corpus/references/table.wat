;;! A table of references: set, read back, grown, filled and copied while others are released.
;;! invoke "run" (i32 20) => (i32 190) (i32 -1)
;;! invoke "fill" => (i32 56) (i32 12)
;;! osr headers: 2
(module
  (import "host" "ref" (func $ref (param i32) (result externref)))
  (import "host" "unref" (func $unref (param externref) (result i32)))
  (table $t 4 externref)
  (func (export "run") (param $n i32) (result i32 i32) (local $i i32) (local $sum i32)
    (drop (table.grow $t (ref.null extern) (local.get $n)))
    (loop $set
      (table.set $t (local.get $i) (call $ref (local.get $i)))
      (br_if $set (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
    (loop $get
      (local.set $i (i32.sub (local.get $i) (i32.const 1)))
      (local.set $sum (i32.add (local.get $sum) (call $unref (table.get $t (local.get $i)))))
      (br_if $get (local.get $i)))
    (local.get $sum)
    (call $unref (table.get $t (local.get $n))))
  (func (export "fill") (result i32 i32)
    (table.fill $t (i32.const 0) (call $ref (i32.const 7)) (i32.const 8))
    (table.copy $t $t (i32.const 4) (i32.const 0) (i32.const 8))
    (i32.mul (call $unref (table.get $t (i32.const 11))) (i32.const 8))
    (call $unref (table.get $t (i32.const 12)))))
