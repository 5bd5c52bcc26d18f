;;! Code behind `br`, `return` and `unreachable`, polymorphic stacks included.
;;! invoke "run" (i32 64) => (i32 64)
;;! invoke "poly" (i32 0) => (i32 3)
;;! invoke "poly" (i32 1) => (i32 8)
;;! osr headers: 2
(module
  (func (export "run") (param $n i32) (result i32) (local $i i32)
    (block $end
      (loop $next
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $end (i32.eq (local.get $i) (local.get $n)))
        (br $next)
        (drop (i32.add (i32.mul)))
        (loop $dead (br_if $dead (i32.const 1)) (local.set $i (i32.const 77)))
        (unreachable)))
    (local.get $i)
    (return)
    (f64.const 1) (drop) (i32.const 3))
  (func (export "poly") (param $x i32) (result i32)
    (block $b (result i32)
      (if (local.get $x) (then (br $b (i32.const 8)) (i64.add) (drop) (select) (drop)))
      (br_table $b $b (i32.const 3) (i32.const 0))
      (f32.add) (i32.trunc_f32_s))))
