;;! After the inner loop has been replaced once, control returns to it through both outer headers.
;;! invoke "run" (i32 20) => (i32 2870) (i32 210)
;;! osr headers: 3
(module
  (func (export "run") (param $n i32) (result i32 i32) (local $i i32) (local $j i32) (local $k i32) (local $inner i32) (local $middle i32)
    (block $end
      (loop $outer
        (br_if $end (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (local.set $j (i32.const 0))
        (loop $rows
          (local.set $middle (i32.add (local.get $middle) (i32.const 1)))
          (local.set $k (i32.const 0))
          (loop $cells
            (local.set $inner (i32.add (local.get $inner) (i32.const 1)))
            (br_if $cells (i32.lt_u (local.tee $k (i32.add (local.get $k) (i32.const 1))) (local.get $i))))
          (br_if $outer (i32.ge_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get $i)))
          (br $rows))))
    (local.get $inner) (local.get $middle)))
