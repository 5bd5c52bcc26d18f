//! Whole programs, run plainly, with imports that suspend, and with checkpoints that suspend.

use crate::{
    machine::{Behaviour, Machine, Outcome},
    oracle::Oracle,
};
use midair_jit::{
    arch::masm::CpuFeatures, ir::value::TrapCode, options::CompileOptions,
    suspension::point::PointKind,
};
use std::fmt::Write;

/// Runs calls one after the other in every way; each must answer as wasmi does.
fn agree(text: &str, calls: &[(&str, &[u64])]) {
    let mut expected = Vec::new();
    let mut oracle = Oracle::new(text);
    for (name, args) in calls {
        expected.push(oracle.call(name, args));
    }
    let plain = CompileOptions::default();
    let bare = CompileOptions {
        patchpoints: false,
        count_calls: false,
        count_resumes: false,
        ..plain.clone()
    };
    let eager = CompileOptions {
        patchpoint_counter: 1,
        ..plain.clone()
    };
    for options in [plain, bare, eager] {
        for suspend_imports in [false, true] {
            for suspend_checkpoints in [0, 1, 2, 3, 7] {
                let mut machine = Machine::new(text, CpuFeatures::detect(), &options);
                let behaviour = Behaviour {
                    suspend_imports,
                    suspend_checkpoints,
                };
                machine.behave(behaviour);
                for ((name, args), expected) in calls.iter().zip(&expected) {
                    let mut ours = machine.call(name, args);
                    if let Outcome::Trapped(_, offset) = &mut ours {
                        *offset = 0;
                    }
                    assert_eq!(
                        &ours, expected,
                        "{name} {args:x?} with {behaviour:?}, {options:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn loops_and_calls_compute_what_they_should() {
    agree(
        r#"(module
            (func $fib (export "fib") (param i32) (result i32)
                (if (result i32) (i32.lt_s (local.get 0) (i32.const 2))
                    (then (local.get 0))
                    (else (i32.add
                        (call $fib (i32.sub (local.get 0) (i32.const 1)))
                        (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
            (func (export "sum") (param i64) (result i64) (local i64)
                (loop
                    (local.set 1 (i64.add (local.get 1) (local.get 0)))
                    (local.set 0 (i64.sub (local.get 0) (i64.const 1)))
                    (br_if 0 (i64.gt_s (local.get 0) (i64.const 0))))
                (local.get 1))
            (func (export "nested") (param i32) (result i32) (local $i i32) (local $j i32) (local $s i32)
                (loop $outer
                    (local.set $j (i32.const 0))
                    (loop $inner
                        (local.set $s (i32.add (i32.mul (local.get $s) (i32.const 31)) (i32.xor (local.get $i) (local.get $j))))
                        (br_if $inner (i32.lt_u (local.tee $j (i32.add (local.get $j) (i32.const 1))) (local.get 0))))
                    (br_if $outer (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get 0))))
                (local.get $s)))"#,
        &[
            ("fib", &[10]),
            ("sum", &[100]),
            ("nested", &[9]),
            ("fib", &[1]),
        ],
    );
}

#[test]
fn values_live_across_imports_that_suspend() {
    agree(
        r#"(module
            (import "env" "f" (func $f (param i32) (result i32)))
            (import "env" "g" (func $g (param f64 i64 f32) (result f64)))
            (import "env" "h" (func $h (param i32 i64) (result i32 f64 i64 f32 i32 f64 i64)))
            (import "env" "none" (func $none))
            (func (export "loop") (param i32) (result i32) (local $s i32)
                (loop
                    (local.set $s (i32.add (local.get $s) (call $f (local.get 0))))
                    (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
                (local.get $s))
            (func (export "stacked") (param f64) (param i64) (param f32) (result f64)
                (f64.add
                    (f64.mul (local.get 0) (f64.const 2.5))
                    (f64.add
                        (f64.convert_i64_u (i64.add (local.get 1) (i64.const -1)))
                        (f64.add
                            (f64.convert_i32_s (i32.const 77))
                            (call $g (local.get 0) (local.get 1) (local.get 2))))))
            (func (export "many") (param i32 i64) (result i32 f64 i64 f32 i32 f64 i64)
                (call $none)
                (call $h (local.get 0) (local.get 1)))
            (func (export "beneath") (param i32 i64) (result i32 f64 i64 f32 i32 f64 i64 i32)
                (i32.add (local.get 0) (i32.const 5))
                (drop (call $f (i32.const 1)))
                (drop)
                (call $h (local.get 0) (local.get 1))
                (call $f (i32.const 9))))"#,
        &[
            ("loop", &[20]),
            (
                "stacked",
                &[4.5f64.to_bits(), 12, u64::from(1.5f32.to_bits())],
            ),
            ("many", &[3, 1 << 40]),
            ("beneath", &[3, 1 << 40]),
        ],
    );
}

#[test]
fn many_parameters_and_results_travel_through_the_transfer_area() {
    let count = 40;
    let types = ["i32", "i64", "f32", "f64"];
    let list = |n: usize| (0..n).map(|i| types[i % 4]).collect::<Vec<_>>().join(" ");
    let gets = |n: usize| {
        (0..n).fold(String::new(), |mut text, i| {
            write!(text, "(local.get {i}) ").expect("a string");
            text
        })
    };
    let reversed = (0..count)
        .rev()
        .filter(|i| i % 4 == 0)
        .fold(String::new(), |mut text, i| {
            write!(text, "(local.get {i}) ").expect("a string");
            text
        });
    let reversed_types = vec!["i32"; count / 4].join(" ");
    let text = format!(
        r#"(module
            (import "env" "f" (func $f (param {list}) (result {list})))
            (func $identity (export "identity") (param {list}) (result {list}) {gets})
            (func (export "twice") (param {list}) (result {list}) (call $identity (call $identity {gets})))
            (func (export "import") (param {list}) (result {list}) (call $f {gets}))
            (func (export "reversed") (param {list}) (result {reversed_types}) {reversed})
            (func (export "through_block") (param {list}) (result {list}) {gets} (block (param {list}) (result {list}))
                (loop (param {list}) (result {list})))
            (func (export "br") (param {list}) (result {list})
                (i32.const 5) (block (result {list}) (i64.const 9) {gets} (br 0)) (return))
            (func (export "br_if") (param {list}) (result {list})
                (block (result {list}) (i64.const 9) {gets} (br_if 0 (local.get 0)) (br_if 1 (i32.const 1))
                    (unreachable))))"#,
        list = list(count),
        gets = gets(count),
    );
    let args: Vec<u64> = (0..count as u64)
        .map(|i| match i % 4 {
            0 => 0x8000_0000 + i,
            1 => 0x8000_0000_0000_0000 + i,
            2 => u64::from((i as f32).to_bits()),
            _ => (i as f64).to_bits(),
        })
        .collect();
    let names = [
        "identity",
        "twice",
        "import",
        "reversed",
        "through_block",
        "br",
        "br_if",
    ];
    let calls: Vec<(&str, &[u64])> = names.iter().map(|&name| (name, &args[..])).collect();
    agree(&text, &calls);
}

#[test]
fn arguments_in_each_others_registers_are_exchanged() {
    agree(
        r#"(module
            (func $f (param i32 i32 i32 i32 i32 i32 f64 f64 f64) (result i64)
                (i64.add (i64.extend_i32_u (i32.sub (local.get 0) (i32.mul (local.get 1) (i32.const 3))))
                (i64.add (i64.extend_i32_u (i32.sub (i32.mul (local.get 2) (i32.const 7)) (i32.mul (local.get 3) (i32.const 11))))
                (i64.add (i64.extend_i32_u (i32.sub (i32.mul (local.get 4) (i32.const 13)) (i32.mul (local.get 5) (i32.const 17))))
                (i64.trunc_f64_s (f64.sub (f64.mul (local.get 6) (f64.const 19)) (f64.mul (local.get 7) (f64.div (local.get 8) (f64.const 3)))))))))
            (func (export "f") (param i32 i32 i32 i32 i32 i32) (param f64 f64 f64) (result i64)
                (call $f
                    (i32.add (local.get 5) (i32.const 1))
                    (i32.add (local.get 4) (i32.const 2))
                    (i32.add (local.get 3) (i32.const 3))
                    (i32.add (local.get 2) (i32.const 4))
                    (i32.add (local.get 1) (i32.const 5))
                    (i32.add (local.get 0) (i32.const 6))
                    (f64.add (local.get 8) (f64.const 1))
                    (f64.add (local.get 7) (f64.const 2))
                    (f64.add (local.get 6) (f64.const 3)))))"#,
        &[(
            "f",
            &[
                1,
                20,
                300,
                4000,
                50000,
                600_000,
                1.5f64.to_bits(),
                25.25f64.to_bits(),
                300.0f64.to_bits(),
            ],
        )],
    );
}

#[test]
fn blocks_join_with_their_values() {
    agree(
        r#"(module
            (func (export "br_table") (param i32) (result i32)
                (block (block (block (block
                    (br_table 0 1 2 1 3 (local.get 0)))
                    (return (i32.const 10)))
                    (return (i32.const 11)))
                    (return (i32.const 12)))
                (i32.const 13))
            (func (export "br_table_values") (param i32) (result i32)
                (i32.const 1000)
                (block (result i32)
                    (i32.const 7)
                    (block (result i32)
                        (i32.const 70)
                        (block (result i32)
                            (i32.add (local.get 0) (i32.const 3))
                            (br_table 0 1 2 3 0 (local.get 0)))
                        (i32.add) )
                    (i32.add))
                (i32.sub))
            (func (export "empty_table") (param i32) (result i32)
                (block (br_table 0 (local.get 0))) (i32.const 4))
            (func (export "if_params") (param i32 i32) (result i32 i32)
                (local.get 1) (local.get 1)
                (local.get 0)
                (if (param i32 i32) (result i32 i32) (then (i32.add) (i32.const 5)) (else (i32.sub) (i32.const 6))))
            (func (export "if_without_else") (param i32 i32) (result i32)
                (local.get 1) (local.get 0)
                (if (param i32) (result i32) (then (i32.const 1) (i32.add))))
            (func (export "loop_params") (param i32) (result i64)
                (i64.const 1) (local.get 0)
                (loop (param i64 i32) (result i64)
                    (local.set 0)
                    (i64.const 3) (i64.mul)
                    (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))
                    (local.get 0)
                    (br_if 0)
                    (drop)))
            (func (export "lazy") (param i32 i32) (result i32)
                (local.get 0) (local.get 0)
                (local.set 0 (local.get 1))
                (local.get 0)
                (local.tee 1 (i32.const -5))
                (i32.add) (i32.mul) (i32.sub) (local.get 1) (i32.add))
            (func (export "unreachable_code") (param i32) (result i32)
                (block (result i32)
                    (br 0 (local.get 0))
                    (if (i32.const 1) (then (loop (br 0)) (unreachable)) (else (return (i32.const 3))))
                    (block (br_table 0 0 (i32.const 0)))
                    (call 0 (i32.const 2)) (drop) (i32.add)))
            (func (export "both_leave") (param i32) (result i32)
                (if (local.get 0) (then (return (i32.const 1))) (else (return (i32.const 2))))
                (unreachable))
            (func (export "else_after_br") (param i32) (result i32)
                (block (result i32)
                    (if (result i32) (local.get 0) (then (br 1 (i32.const 8))) (else (i32.const 9)))
                    (i32.const 1) (i32.add)))
            (func (export "pressure") (param i64) (result i64)
                (local.get 0) (local.get 0) (i64.const 1) (i64.add)
                (local.get 0) (i64.const 2) (i64.add) (local.get 0) (i64.const 3) (i64.add)
                (local.get 0) (i64.const 4) (i64.add) (local.get 0) (i64.const 5) (i64.add)
                (local.get 0) (i64.const 6) (i64.add) (local.get 0) (i64.const 7) (i64.add)
                (local.get 0) (i64.const 8) (i64.add) (local.get 0) (i64.const 9) (i64.add)
                (local.get 0) (i64.const 10) (i64.add) (local.get 0) (i64.const 11) (i64.add)
                (local.get 0) (i64.const 12) (i64.add) (i64.const 5) (i64.div_u) (i64.const 7) (i64.rem_s)
                (i64.rotl) (i64.mul) (i64.sub) (i64.xor) (i64.add) (i64.mul) (i64.sub) (i64.xor) (i64.sub) (i64.shl) (i64.or) (i64.add)))"#,
        &[
            ("br_table", &[0]),
            ("br_table", &[1]),
            ("br_table", &[2]),
            ("br_table", &[3]),
            ("br_table", &[4]),
            ("br_table", &[0xffff_ffff]),
            ("br_table_values", &[0]),
            ("br_table_values", &[1]),
            ("br_table_values", &[2]),
            ("br_table_values", &[3]),
            ("br_table_values", &[4]),
            ("empty_table", &[3]),
            ("if_params", &[0, 9]),
            ("if_params", &[1, 9]),
            ("if_without_else", &[0, 9]),
            ("if_without_else", &[1, 9]),
            ("loop_params", &[5]),
            ("lazy", &[3, 4]),
            ("unreachable_code", &[6]),
            ("both_leave", &[6]),
            ("both_leave", &[0]),
            ("else_after_br", &[0]),
            ("else_after_br", &[1]),
            ("pressure", &[0x0123_4567_89ab_cdef]),
        ],
    );
}

#[test]
fn memory_is_checked_and_grows() {
    let mut text = String::from(
        r#"(module (memory 1) (global $g (mut i64) (i64.const 7)) (global $h (mut f32) (f32.const 1.5))
            (func (export "grow") (param i32) (result i32 i32 i32)
                (i32.const 17) (i32.store (i32.const 100) (i32.const 0x12345678))
                (memory.grow (local.get 0)) (i32.add (memory.size) (i32.load (i32.const 100))))
            (func (export "global") (param i64 f32) (result i64 f32)
                (global.set $g (i64.add (global.get $g) (local.get 0)))
                (global.set $h (f32.add (global.get $h) (local.get 1)))
                (global.get $g) (global.get $h))"#,
    );
    let mut calls: Vec<(String, Vec<u64>)> = vec![
        ("grow".into(), vec![0]),
        ("global".into(), vec![5, u64::from(2.5f32.to_bits())]),
        ("global".into(), vec![5, u64::from(2.5f32.to_bits())]),
    ];
    let stores = [
        ("i32.store", "i32"),
        ("i64.store", "i64"),
        ("f32.store", "f32"),
        ("f64.store", "f64"),
        ("i32.store8", "i32"),
        ("i32.store16", "i32"),
        ("i64.store8", "i64"),
        ("i64.store16", "i64"),
        ("i64.store32", "i64"),
    ];
    let loads = [
        ("i32.load", "i32"),
        ("i64.load", "i64"),
        ("f32.load", "f32"),
        ("f64.load", "f64"),
        ("i32.load8_s", "i32"),
        ("i32.load8_u", "i32"),
        ("i32.load16_s", "i32"),
        ("i32.load16_u", "i32"),
        ("i64.load8_s", "i64"),
        ("i64.load8_u", "i64"),
        ("i64.load16_s", "i64"),
        ("i64.load16_u", "i64"),
        ("i64.load32_s", "i64"),
        ("i64.load32_u", "i64"),
    ];
    let offsets = [
        0u64,
        3,
        65528,
        65535,
        65536,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
    ];
    for (i, offset) in offsets.iter().enumerate() {
        for (op, ty) in stores {
            let name = format!("{op}.{i}");
            write!(text, "(func (export \"{name}\") (param i32 {ty}) ({op} offset={offset} (local.get 0) (local.get 1)))").expect("a string");
            let value = match ty {
                "f32" => "(f32.const -3.5)",
                "f64" => "(f64.const 1e100)",
                "i32" => "(i32.const -559038737)",
                _ => "(i64.const 0x123456789abcdef0)",
            };
            write!(text, "(func (export \"{name}.const\") (param i32) ({op} offset={offset} (local.get 0) {value}))").expect("a string");
            for address in [
                0u64,
                8,
                100,
                65527,
                65533,
                65535,
                65536,
                0x8000_0000,
                0xffff_fff8,
                0xffff_ffff,
            ] {
                calls.push((
                    name.clone(),
                    vec![
                        address,
                        0xfedc_ba98_7654_3210
                            & if ty.ends_with("32") {
                                0xffff_ffff
                            } else {
                                u64::MAX
                            },
                    ],
                ));
                calls.push((format!("{name}.const"), vec![address]));
            }
        }
        for (op, ty) in loads {
            let name = format!("{op}.{i}");
            write!(text, "(func (export \"{name}\") (param i32) (result {ty}) ({op} offset={offset} (local.get 0)))").expect("a string");
            for address in [
                0u64,
                5,
                8,
                97,
                65520,
                65527,
                65533,
                65535,
                65536,
                0x8000_0000,
                0xffff_fff8,
                0xffff_ffff,
            ] {
                calls.push((name.clone(), vec![address]));
            }
        }
    }
    calls.push(("grow".into(), vec![2]));
    for op in ["i64.load", "i32.load8_u"] {
        calls.push((format!("{op}.4"), vec![8]));
        calls.push((format!("{op}.4"), vec![65536 * 2 - 8]));
        calls.push((format!("{op}.4"), vec![65536 * 2]));
    }
    text.push(')');
    let calls: Vec<(&str, &[u64])> = calls
        .iter()
        .map(|(name, args)| (&name[..], &args[..]))
        .collect();
    agree(&text, &calls);
}

#[test]
fn traps_leave_through_suspended_callers() {
    agree(
        r#"(module
            (import "env" "f" (func $f (param i32) (result i32)))
            (func $g (param i32) (result i32)
                (drop (call $f (local.get 0)))
                (i32.div_u (i32.const 7) (local.get 0)))
            (func (export "f") (param i32) (result i32)
                (i32.add (i32.const 1) (call $g (local.get 0))))
            (func (export "unreachable") (unreachable)))"#,
        &[("f", &[0]), ("f", &[2]), ("unreachable", &[]), ("f", &[3])],
    );
}

#[test]
fn a_trap_names_its_operator() {
    let text = r#"(module (memory 1)
        (func (export "div") (param i32) (result i32) (i32.div_s (i32.const 1) (local.get 0)))
        (func (export "load") (param i32) (result i32) (i32.add (i32.const 1) (i32.load (local.get 0)))))"#;
    let mut machine = Machine::new(text, CpuFeatures::detect(), &CompileOptions::default());
    for (name, arg, code, operator) in [
        ("div", 0, TrapCode::IntegerDivisionByZero, "I32DivS"),
        ("load", 65533, TrapCode::MemoryOutOfBounds, "I32Load "),
    ] {
        let Outcome::Trapped(actual, offset) = machine.call(name, &[arg]) else {
            panic!("{name} traps");
        };
        assert_eq!(actual, code as u32);
        let found = machine.operator_at(machine.exported(name), offset);
        assert!(format!("{found} ").starts_with(operator), "{found}");
    }
}

#[test]
fn endless_recursion_exhausts_the_stack_and_nothing_else() {
    let text = r#"(module
        (func $f (export "f") (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0))))
        (func (export "ok") (result i32) (i32.const 3)))"#;
    let mut machine = Machine::new(text, CpuFeatures::detect(), &CompileOptions::default());
    for _ in 0..3 {
        let outcome = machine.call("f", &[1]);
        assert!(
            matches!(outcome, Outcome::Trapped(code, _) if code == TrapCode::StackOverflow as u32),
            "{outcome:?}"
        );
        assert_eq!(machine.call("ok", &[]), Outcome::Returned(vec![3]));
    }
}

#[test]
fn a_frame_larger_than_the_stack_traps() {
    let locals = vec!["i64"; 49_000].join(" ");
    let pushes = "i64.const 7 i64.eqz i64.extend_i32_u ".repeat(300_000);
    let drops = "drop ".repeat(300_000);
    let text = format!(
        r#"(module
            (func (export "locals") (param i64) (result i64) (local {locals})
                (local.set 40000 (local.get 0)) (i64.add (local.get 40000) (local.get 48999)))
            (func (export "stack") {pushes} {drops}))"#
    );
    let mut machine = Machine::new(&text, CpuFeatures::detect(), &CompileOptions::default());
    assert_eq!(machine.call("locals", &[9]), Outcome::Returned(vec![9]));
    let outcome = machine.call("stack", &[]);
    assert!(matches!(outcome, Outcome::Trapped(code, _) if code == TrapCode::StackOverflow as u32));
}

#[test]
fn a_steady_awaiting_loop_allocates_its_block_once() {
    let text = r#"(module
        (import "env" "f" (func $f (param i32) (result i32)))
        (func (export "loop") (param i32) (result i32) (local $s i32)
            (loop
                (local.set $s (i32.add (local.get $s) (call $f (local.get 0))))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
            (local.get $s)))"#;
    let mut machine = Machine::new(text, CpuFeatures::detect(), &CompileOptions::default());
    machine.behave(Behaviour {
        suspend_imports: true,
        suspend_checkpoints: 0,
    });
    assert_eq!(machine.call("loop", &[100]), Outcome::Returned(vec![5050]));
    let counts = machine.counts();
    assert_eq!(counts.resumptions, 100);
    // a leaf per await by the machine itself; the frame's block is allocated once and kept
    assert_eq!(counts.allocated, 100 + 1);
    assert_eq!(counts.again, 99);
    assert_eq!(counts.released, 0);
}

#[test]
fn large_images_are_copied_whole_and_released() {
    let count = 700;
    let locals = vec!["i64"; count].join(" ");
    let mut body = String::new();
    for i in 0..count {
        write!(
            body,
            "(local.set {} (i64.mul (local.get 0) (i64.const {})))",
            i + 1,
            i * 3 + 1
        )
        .expect("a string");
    }
    let mut sum = String::from("(local.get 0)");
    for i in 0..count {
        write!(
            sum,
            "(i64.mul (i64.const 31)) (i64.add (local.get {}))",
            i + 1
        )
        .expect("a string");
    }
    let text = format!(
        r#"(module
            (import "env" "f" (func $f (param i32) (result i32)))
            (func (export "f") (param i64) (result i64) (local {locals})
                {body} (drop (call $f (i32.const 3))) {sum}))"#
    );
    agree(&text, &[("f", &[12345])]);
    let mut machine = Machine::new(&text, CpuFeatures::detect(), &CompileOptions::default());
    machine.behave(Behaviour {
        suspend_imports: true,
        suspend_checkpoints: 0,
    });
    machine.call("f", &[1]);
    assert_eq!(machine.counts().released, 1);
}

#[test]
fn the_patchpoint_counter_travels_with_the_continuation() {
    if !crate::ONLY_TIER0 {
        return;
    }
    let text = r#"(module
        (import "env" "f" (func $f (param i32) (result i32)))
        (func (export "loop") (param i32)
            (loop
                (drop (call $f (local.get 0)))
                (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;
    let options = CompileOptions {
        patchpoint_counter: 50,
        ..CompileOptions::default()
    };
    let hits = |suspend_imports| {
        let mut machine = Machine::new(text, CpuFeatures::detect(), &options);
        machine.behave(Behaviour {
            suspend_imports,
            suspend_checkpoints: 0,
        });
        machine.call("loop", &[100]);
        machine.counts().hits
    };
    assert!(hits(false) > 5);
    assert_eq!(hits(true), hits(false));
}

#[test]
fn call_counters_run_out() {
    if !crate::ONLY_TIER0 {
        return;
    }
    let text = r#"(module (func $f (param i32)) (func (export "f") (param i32)
        (loop (call $f (local.get 0)) (br_if 0 (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))))"#;
    let mut machine = Machine::new(text, CpuFeatures::detect(), &CompileOptions::default());
    machine.call("f", &[23]);
    assert_eq!(machine.counts().call_counts, 4);
}

#[test]
fn a_site_describes_live_locals_and_the_operand_stack() {
    if !crate::ONLY_TIER0 {
        return;
    }
    let text = r#"(module
        (import "env" "f" (func $f (param i32) (result i32)))
        (func (export "f") (param i32 i64 f32) (result i64)
            (local.get 1)
            (drop (call $f (local.get 0)))
            (i64.add (local.get 1))))"#;
    let machine = Machine::new(text, CpuFeatures::detect(), &CompileOptions::default());
    let draft = &machine.drafts[0];
    assert_eq!(draft.sites.len(), 2);
    assert_eq!(draft.sites[0].layout.kind, PointKind::Entry);
    let site = &draft.sites[1];
    assert_eq!(site.layout.kind, PointKind::Call);
    assert_eq!(site.layout.locals.len(), 1, "only local 1 is read again");
    assert_eq!(site.layout.stack.len(), 1, "the argument is gone");
    assert_eq!(site.image.len(), 2);
    assert_eq!(site.map.len(), 2);
    for pair in draft.notes.windows(2) {
        assert!(pair[0].0 <= pair[1].0);
    }
    for pair in draft.labels.windows(2) {
        assert!(pair[0].0 <= pair[1].0);
    }
    assert!(
        draft
            .notes
            .iter()
            .any(|&(at, offset)| at == site.return_offset && offset == site.layout.offset)
    );
}

#[test]
fn tail_calls_leave_nothing_behind() {
    agree(
        r#"(module
            (func $down (export "down") (param i32 i64) (result i64)
                (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
                (return_call $swapped (i64.add (local.get 1) (i64.const 1)) (i32.sub (local.get 0) (i32.const 1))))
            (func $swapped (param i64 i32) (result i64)
                (return_call $down (local.get 1) (local.get 0)))
            (func (export "many") (param i32) (result i64)
                (i64.const 9) (i64.const 8) (i64.const 7)
                (return_call $many (local.get 0) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)
                    (i64.const 7) (i64.const 8) (f64.const 9)))
            (func $many (param i32 i64 i64 i64 i64 i64 i64 i64 i64 f64) (result i64)
                (if (i32.eqz (local.get 0)) (then (return (i64.sub (i64.mul (local.get 1) (i64.const 100)) (local.get 8)))))
                (return_call $many (i32.sub (local.get 0) (i32.const 1))
                    (local.get 8) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7)
                    (local.get 9))))"#,
        &[
            ("down", &[0, 7]),
            ("down", &[1000, 7]),
            ("many", &[0]),
            ("many", &[11]),
        ],
    );
}

#[test]
fn ranges_of_memory_are_copied_and_filled() {
    agree(
        r#"(module (memory 1)
            (func (export "f") (param i32 i32 i32) (result i64 i32)
                (i32.const 5)
                (memory.fill (i32.const 0) (i32.const 0x31) (i32.const 4))
                (memory.fill (i32.const 4) (i32.const 0x32) (i32.const 12))
                (memory.copy (local.get 0) (local.get 1) (local.get 2))
                (i64.load (i32.const 1)) (i32.load (i32.const 9))
                (i32.add (i32.load (i32.const 65532)))
                (local.set 0) (local.set 2 (i32.wrap_i64)) (local.set 1)
                (i64.extend_i32_u (i32.add (local.get 2) (local.get 1))) (local.get 0)))"#,
        &[
            ("f", &[1, 0, 9]),
            ("f", &[0, 1, 9]),
            ("f", &[65536, 65536, 0]),
            ("f", &[65530, 0, 7]),
            ("f", &[0, 65530, 7]),
            ("f", &[65530, 0, 6]),
            ("f", &[0, 0xffff_ffff, 0xffff_ffff]),
        ],
    );
}
