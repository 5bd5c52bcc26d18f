;;! Nested loops with references as block parameters and results: replaced while they run, at each header.
;;! invoke "run" (i32 6) (i32 4) => (i32 3) (i32 60)
;;! osr headers: 2
(module
  (import "host" "ref" (func $ref (param i32) (result externref)))
  (import "host" "unref" (func $unref (param externref) (result i32)))
  (func (export "run") (param $n i32) (param $m i32) (result i32 i32)
    (local $i i32) (local $sum i32) (local $spare externref)
    (local.set $spare (call $ref (i32.const 3)))
    (loop $outer
      (local.set $i (local.get $m))
      (call $ref (local.get $i))
      (loop $inner (param externref)
        (call $unref)
        (local.set $sum (i32.add (local.get $sum)))
        (call $ref (local.tee $i (i32.sub (local.get $i) (i32.const 1))))
        (br_if $inner (local.get $i))
        (drop))
      (br_if $outer (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (call $unref (local.get $spare))
    (local.get $sum)))
