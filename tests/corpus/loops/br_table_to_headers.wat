;;! A `br_table` whose targets are three loop headers at once, with values beneath them.
;;! invoke "run" (i32 40) => (i32 40) (i32 14) (i32 7) (i32 5)
;;! invoke "run" (i32 1) => (i32 1) (i32 1) (i32 1) (i32 5)
;;! osr headers: 3
(module
  (func (export "run") (param $n i32) (result i32 i32 i32 i32)
    (local $i i32) (local $a i32) (local $b i32) (local $c i32) (local $five i32)
    (i32.const 5)
    (loop $x
      (local.set $a (i32.add (local.get $a) (i32.const 1)))
      (block $out
        (loop $y
          (local.set $b (i32.add (local.get $b) (i32.const 1)))
          (loop $z
            (local.set $c (i32.add (local.get $c) (i32.const 1)))
            (br_if $out (i32.ge_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n)))
            (br_table $z $z $y $z $x $z (i32.rem_u (local.get $i) (i32.const 6)))))))
    (local.set $five)
    (local.get $c) (local.get $b) (local.get $a) (local.get $five)))
