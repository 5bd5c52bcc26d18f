;;! Square roots by Newton's method in single and double precision, in loops that end on equality.
;;! invoke "f64" (f64 2) => (f64 1.414213562373095)
;;! invoke "f32" (f32 144) => (f32 12)
;;! osr headers: 2
(module
  (func (export "f64") (param $a f64) (result f64) (local $x f64) (local $i i32)
    (local.set $x (local.get $a))
    (loop $next
      (local.set $x (f64.mul (f64.const 0.5) (f64.add (local.get $x) (f64.div (local.get $a) (local.get $x)))))
      (br_if $next (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 40))))
    (local.get $x))
  (func (export "f32") (param $a f32) (result f32) (local $x f32) (local $old f32)
    (local.set $x (local.get $a))
    (loop $next
      (local.set $old (local.get $x))
      (local.set $x (f32.mul (f32.const 0.5) (f32.add (local.get $x) (f32.div (local.get $a) (local.get $x)))))
      (br_if $next (f32.ne (local.get $x) (local.get $old))))
    (local.get $x)))
