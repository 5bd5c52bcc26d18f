;;! Instructions whose result nobody uses trap all the same.
;;! invoke "div" (i32 0) => trap "integer divide by zero"
;;! invoke "div" (i32 1)
;;! invoke "load" (i32 -1) => trap "out of bounds memory access"
;;! invoke "trunc" (f32 nan) => trap "invalid conversion to integer"
;;! invoke "loop" (i32 5) => trap "integer divide by zero"
;;! osr headers: 1
(module
  (memory 1)
  (func (export "div") (param i32) (drop (i32.div_s (i32.const 1) (local.get 0))))
  (func (export "load") (param i32) (drop (i64.load (local.get 0))))
  (func (export "trunc") (param f32) (drop (i64.trunc_f32_u (local.get 0))))
  (func (export "loop") (param $n i32)
    (loop $l
      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
      (drop (i32.rem_u (i32.const 3) (local.get $n)))
      (br_if $l (i32.const 1)))))
