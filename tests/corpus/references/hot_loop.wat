;;! References that change hands in a hot loop: what they stand for is there, whatever was released meanwhile.
;;! invoke "run" (i32 50) => (i32 3821)
;;! invoke "run" (i32 1) => (i32 1)
;;! osr headers: 1
(module
  (import "host" "ref" (func $ref (param i32) (result externref)))
  (import "host" "unref" (func $unref (param externref) (result i32)))
  (func (export "run") (param $n i32) (result i32)
    (local $a externref) (local $b externref) (local $c externref) (local $sum i32)
    (loop $l
      (local.set $c (local.get $b))
      (local.set $b (local.get $a))
      (local.set $a (call $ref (local.get $n)))
      (local.set $sum (i32.add (local.get $sum) (call $unref (local.get $a))))
      (if (i32.eqz (ref.is_null (local.get $c)))
        (then (local.set $sum (i32.add (local.get $sum) (call $unref (local.get $c))))))
      (if (i32.eqz (ref.is_null (local.get $b)))
        (then (local.set $sum (i32.add (local.get $sum) (call $unref (select (result externref) (local.get $b) (local.get $a) (local.get $n)))))))
      (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
