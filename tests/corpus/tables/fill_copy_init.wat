;;! Elements in bulk: filled, copied over each other, initialized from segments, dropped; all or nothing at the bounds.
;;! invoke "init" (i32 0) (i32 0) (i32 4)
;;! invoke "digits" => (i32 1234)
;;! invoke "copy" (i32 1) (i32 0) (i32 3)
;;! invoke "digits" => (i32 1123)
;;! invoke "copy" (i32 0) (i32 1) (i32 3)
;;! invoke "digits" => (i32 1233)
;;! invoke "fill" (i32 1) (i32 2)
;;! invoke "digits" => (i32 1113)
;;! invoke "fill" (i32 3) (i32 2) => trap "out of bounds table access"
;;! invoke "digits" => (i32 1113)
;;! invoke "fill" (i32 4) (i32 0)
;;! invoke "fill" (i32 5) (i32 0) => trap "out of bounds table access"
;;! invoke "copy" (i32 2) (i32 1) (i32 3) => trap "out of bounds table access"
;;! invoke "copy" (i32 -1) (i32 0) (i32 2) => trap "out of bounds table access"
;;! invoke "init" (i32 2) (i32 1) (i32 3) => trap "out of bounds table access"
;;! invoke "init" (i32 0) (i32 2) (i32 3) => trap "out of bounds table access"
;;! invoke "init" (i32 0) (i32 4) (i32 0)
;;! invoke "init" (i32 2) (i32 0) (i32 2)
;;! invoke "digits" => (i32 1112)
;;! invoke "across" (i32 0) (i32 1) (i32 2)
;;! invoke "digits" => (i32 4312)
;;! invoke "drop"
;;! invoke "init" (i32 0) (i32 0) (i32 0)
;;! invoke "init" (i32 0) (i32 0) (i32 1) => trap "out of bounds table access"
;;! invoke "init_active" (i32 1) => trap "out of bounds table access"
;;! invoke "init_active" (i32 0)
(module
  (type $f (func (result i32)))
  (table $t 4 funcref)
  (table $u 3 funcref)
  (elem $digits func $one $two $three $four)
  (elem $active (table $u) (i32.const 0) func $two $four $three)
  (func $one (result i32) (i32.const 1))
  (func $two (result i32) (i32.const 2))
  (func $three (result i32) (i32.const 3))
  (func $four (result i32) (i32.const 4))
  (func (export "init") (param i32 i32 i32)
    (table.init $t $digits (local.get 0) (local.get 1) (local.get 2)))
  (func (export "init_active") (param i32)
    (table.init $u $active (i32.const 0) (i32.const 0) (local.get 0)))
  (func (export "drop") (elem.drop $digits) (elem.drop $digits))
  (func (export "copy") (param i32 i32 i32) (table.copy (local.get 0) (local.get 1) (local.get 2)))
  (func (export "across") (param i32 i32 i32)
    (table.copy $t $u (local.get 0) (local.get 1) (local.get 2)))
  (func (export "fill") (param i32 i32)
    (table.fill $t (local.get 0) (table.get $t (i32.const 0)) (local.get 1)))
  (func (export "digits") (result i32)
    (local $i i32) (local $sum i32)
    (loop $again
      (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 10))
                               (call_indirect $t (type $f) (local.get $i))))
      (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4))))
    (local.get $sum)))
