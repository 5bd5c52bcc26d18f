;;! A state machine: a loop around a `br_table` whose arms set the next state.
;;! invoke "run" (i32 0) => (i32 0)
;;! invoke "run" (i32 1) => (i32 1)
;;! invoke "run" (i32 27) => (i32 112)
;;! invoke "run" (i32 97) => (i32 119)
;;! osr headers: 1
(module
  ;; the Collatz sequence: state 0 looks at n, 1 halves, 2 triples, 3 ends
  (func (export "run") (param $n i32) (result i32) (local $state i32) (local $steps i32)
    (loop $machine
      (block $end
        (block $triple
          (block $halve
            (block $look
              (br_table $look $halve $triple $end (local.get $state)))
            ;; look
            (if (i32.eqz (local.get $n)) (then (local.set $state (i32.const 3)) (br $machine)))
            (local.set $steps (i32.add (local.get $steps) (i32.const 1)))
            (local.set $state
              (if (result i32) (i32.le_u (local.get $n) (i32.const 1))
                (then (i32.const 99))
                (else (i32.add (i32.const 1) (i32.and (local.get $n) (i32.const 1))))))
            (br $machine))
          (local.set $n (i32.shr_u (local.get $n) (i32.const 1)))
          (local.set $state (i32.const 0))
          (br $machine))
        (local.set $n (i32.add (i32.mul (local.get $n) (i32.const 3)) (i32.const 1)))
        (local.set $state (i32.const 0))
        (br $machine)))
    (local.get $steps)))
