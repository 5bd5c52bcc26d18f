;;! Nine loops inside each other, each turned twice, all with a value beneath.
;;! invoke "run" => (i32 512)
;;! osr headers: 9
(module
  (func (export "run") (result i32) (local $count i32)
    (local $c0 i32) (local $c1 i32) (local $c2 i32) (local $c3 i32) (local $c4 i32) (local $c5 i32) (local $c6 i32) (local $c7 i32) (local $c8 i32)
    (local.set $c0 (i32.const 2))
    (i32.const 0)
    (loop $l0
    (local.set $c1 (i32.const 2))
    (i32.const 1)
    (loop $l1
    (local.set $c2 (i32.const 2))
    (i32.const 2)
    (loop $l2
    (local.set $c3 (i32.const 2))
    (i32.const 3)
    (loop $l3
    (local.set $c4 (i32.const 2))
    (i32.const 4)
    (loop $l4
    (local.set $c5 (i32.const 2))
    (i32.const 5)
    (loop $l5
    (local.set $c6 (i32.const 2))
    (i32.const 6)
    (loop $l6
    (local.set $c7 (i32.const 2))
    (i32.const 7)
    (loop $l7
    (local.set $c8 (i32.const 2))
    (i32.const 8)
    (loop $l8
    (local.set $count (i32.add (local.get $count) (i32.const 1)))
    (br_if $l8 (local.tee $c8 (i32.sub (local.get $c8) (i32.const 1)))))
    (drop)
    (br_if $l7 (local.tee $c7 (i32.sub (local.get $c7) (i32.const 1)))))
    (drop)
    (br_if $l6 (local.tee $c6 (i32.sub (local.get $c6) (i32.const 1)))))
    (drop)
    (br_if $l5 (local.tee $c5 (i32.sub (local.get $c5) (i32.const 1)))))
    (drop)
    (br_if $l4 (local.tee $c4 (i32.sub (local.get $c4) (i32.const 1)))))
    (drop)
    (br_if $l3 (local.tee $c3 (i32.sub (local.get $c3) (i32.const 1)))))
    (drop)
    (br_if $l2 (local.tee $c2 (i32.sub (local.get $c2) (i32.const 1)))))
    (drop)
    (br_if $l1 (local.tee $c1 (i32.sub (local.get $c1) (i32.const 1)))))
    (drop)
    (br_if $l0 (local.tee $c0 (i32.sub (local.get $c0) (i32.const 1)))))
    (drop)
    (local.get $count)))
