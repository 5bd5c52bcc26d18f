;;! Conditionals in a hot loop: with and without else, nested, with a result, with parameters.
;;! invoke "run" (i32 1000) => (i32 4288)
;;! osr headers: 1
(module
  (type $one (func (param i32) (result i32)))
  (func (export "run") (param $n i32) (result i32) (local $sum i32)
    (loop $next
      (if (i32.and (local.get $n) (i32.const 1)) (then (local.set $sum (i32.add (local.get $sum) (i32.const 1)))))
      (local.set $sum (i32.add (local.get $sum)
        (if (result i32) (i32.eqz (i32.rem_u (local.get $n) (i32.const 3)))
          (then
            (if (result i32) (i32.eqz (i32.rem_u (local.get $n) (i32.const 5)))
              (then (i32.const 15)) (else (i32.const 3))))
          (else
            (i32.rem_u (local.get $n) (i32.const 5))
            (if (type $one) (i32.eqz (i32.rem_u (local.get $n) (i32.const 7)))
              (then (i32.add (i32.const 7)))
              (else))))))
      (br_if $next (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
    (local.get $sum)))
