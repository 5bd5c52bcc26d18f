//! Every numeric operator, with operands in every kind of place, at the edges of its domain.

use crate::{
    machine::{Machine, Outcome},
    oracle::Oracle,
};
use midair_jit::{arch::masm::CpuFeatures, options::CompileOptions};
use std::fmt::Write;

const I32: &[u64] = &[
    0,
    1,
    2,
    3,
    7,
    31,
    32,
    33,
    63,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0x8000,
    0xffff,
    0x1234_5678,
    0x7fff_fffe,
    0x7fff_ffff,
    0x8000_0000,
    0x8000_0001,
    0xffff_fffe,
    0xffff_ffff,
];
const I64: &[u64] = &[
    0,
    1,
    2,
    5,
    31,
    32,
    63,
    64,
    65,
    0x80,
    0xff80,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x0123_4567_89ab_cdef,
    0x7fff_ffff_ffff_fffe,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0x8000_0000_0000_0001,
    0x8000_0000_0000_0400,
    0xffff_ffff_8000_0000,
    0xffff_ffff_7fff_ffff,
    0xffff_ffff_ffff_fbff,
    0xffff_ffff_ffff_fffe,
    0xffff_ffff_ffff_ffff,
];
const F32: &[f32] = &[
    0.0,
    -0.0,
    0.5,
    -0.5,
    0.499_999_97,
    1.0,
    -1.0,
    1.5,
    -1.5,
    2.5,
    -2.5,
    0.99,
    -0.99,
    3.7,
    -3.7,
    8_388_607.5,
    8_388_608.0,
    16_777_216.0,
    -8_388_609.0,
    2_147_483_520.0,
    2_147_483_648.0,
    -2_147_483_648.0,
    -2_147_483_904.0,
    4_294_967_040.0,
    4_294_967_296.0,
    9.223_371e18,
    9.223_372e18,
    -9.223_372e18,
    -9.223_373e18,
    1.844_674_3e19,
    1.844_674_4e19,
    f32::MIN_POSITIVE,
    1e-45,
    f32::MAX,
    f32::MIN,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
];
const F64: &[f64] = &[
    0.0,
    -0.0,
    0.5,
    -0.5,
    0.499_999_999_999_999_94,
    1.0,
    -1.0,
    1.5,
    -1.5,
    2.5,
    -2.5,
    0.99,
    -0.99,
    3.7,
    -3.7,
    4_503_599_627_370_495.5,
    4_503_599_627_370_496.0,
    -9_007_199_254_740_993.0,
    2_147_483_647.0,
    2_147_483_647.9,
    2_147_483_648.0,
    -2_147_483_648.0,
    -2_147_483_648.9,
    -2_147_483_649.0,
    4_294_967_295.0,
    4_294_967_295.9,
    4_294_967_296.0,
    9_223_372_036_854_774_784.0,
    9_223_372_036_854_775_808.0,
    -9_223_372_036_854_775_808.0,
    -9_223_372_036_854_777_856.0,
    18_446_744_073_709_549_568.0,
    18_446_744_073_709_551_616.0,
    f64::MIN_POSITIVE,
    5e-324,
    f64::MAX,
    f64::MIN,
    f64::INFINITY,
    f64::NEG_INFINITY,
    f64::NAN,
    1e300,
    3.402_823_669_209_385e38,
];

fn samples(ty: &str) -> Vec<u64> {
    match ty {
        "i32" => I32.to_vec(),
        "i64" => I64.to_vec(),
        "f32" => {
            let signalling = [0x7fa0_0000, 0xffc0_0001];
            let plain = F32.iter().map(|value| u64::from(value.to_bits()));
            plain.chain(signalling).collect()
        }
        _ => {
            let signalling = [0x7ff4_0000_0000_0000, 0xfff8_0000_0000_0001];
            F64.iter()
                .map(|value| value.to_bits())
                .chain(signalling)
                .collect()
        }
    }
}

fn constant(ty: &str, bits: u64) -> String {
    match ty {
        "i32" | "i64" => format!("({ty}.const {})", {
            if ty == "i32" {
                i64::from(bits as u32 as i32)
            } else {
                bits as i64
            }
        }),
        "f32" => format!("(f32.reinterpret_i32 (i32.const {}))", bits as u32 as i32),
        _ => format!("(f64.reinterpret_i64 (i64.const {}))", bits as i64),
    }
}

/// A float constant proper, where text can say it.
fn float_constant(ty: &str, bits: u64) -> String {
    let is_nan = if ty == "f32" {
        f32::from_bits(bits as u32).is_nan()
    } else {
        f64::from_bits(bits).is_nan()
    };
    if is_nan {
        return constant(ty, bits);
    }
    if ty == "f32" {
        let value = f32::from_bits(bits as u32);
        if value.is_infinite() {
            return format!("(f32.const {}inf)", if value < 0.0 { "-" } else { "" });
        }
        format!("(f32.const {value:?})")
    } else {
        let value = f64::from_bits(bits);
        if value.is_infinite() {
            return format!("(f64.const {}inf)", if value < 0.0 { "-" } else { "" });
        }
        format!("(f64.const {value:?})")
    }
}

fn same(result: &str, ours: &Outcome, theirs: &Outcome) -> bool {
    match (ours, theirs) {
        (Outcome::Returned(ours), Outcome::Returned(theirs)) => {
            let (ours, theirs) = (ours[0], theirs[0]);
            let both_nan = match result {
                "f32" => {
                    f32::from_bits(ours as u32).is_nan()
                        && f32::from_bits(theirs as u32).is_nan()
                        && ours & 0x40_0000 != 0
                }
                "f64" => {
                    f64::from_bits(ours).is_nan()
                        && f64::from_bits(theirs).is_nan()
                        && ours & 0x8_0000_0000_0000 != 0
                }
                _ => false,
            };
            both_nan || ours == theirs
        }
        (Outcome::Trapped(ours, _), Outcome::Trapped(theirs, _)) => ours == theirs,
        _ => false,
    }
}

/// `(name, result type, operand type)`.
fn binary_operators() -> Vec<(String, &'static str, &'static str)> {
    let mut all = Vec::new();
    for ty in ["i32", "i64"] {
        for op in
            "add sub mul div_s div_u rem_s rem_u and or xor shl shr_s shr_u rotl rotr".split(' ')
        {
            all.push((format!("{ty}.{op}"), ty, ty));
        }
        for op in "eq ne lt_s lt_u gt_s gt_u le_s le_u ge_s ge_u".split(' ') {
            all.push((format!("{ty}.{op}"), "i32", ty));
        }
    }
    for ty in ["f32", "f64"] {
        for op in "add sub mul div min max copysign".split(' ') {
            all.push((format!("{ty}.{op}"), ty, ty));
        }
        for op in "eq ne lt gt le ge".split(' ') {
            all.push((format!("{ty}.{op}"), "i32", ty));
        }
    }
    all
}

fn unary_operators() -> Vec<(String, &'static str, &'static str)> {
    let mut all = Vec::new();
    for ty in ["i32", "i64"] {
        for op in "clz ctz popcnt extend8_s extend16_s".split(' ') {
            all.push((format!("{ty}.{op}"), ty, ty));
        }
        all.push((format!("{ty}.eqz"), "i32", ty));
        for float in ["f32", "f64"] {
            for sign in ["s", "u"] {
                all.push((format!("{ty}.trunc_{float}_{sign}"), ty, float));
                all.push((format!("{ty}.trunc_sat_{float}_{sign}"), ty, float));
                all.push((format!("{float}.convert_{ty}_{sign}"), float, ty));
            }
        }
    }
    for ty in ["f32", "f64"] {
        for op in "abs neg ceil floor trunc nearest sqrt".split(' ') {
            all.push((format!("{ty}.{op}"), ty, ty));
        }
    }
    for (op, result, operand) in [
        ("i64.extend32_s", "i64", "i64"),
        ("i32.wrap_i64", "i32", "i64"),
        ("i64.extend_i32_s", "i64", "i32"),
        ("i64.extend_i32_u", "i64", "i32"),
        ("f32.demote_f64", "f32", "f64"),
        ("f64.promote_f32", "f64", "f32"),
        ("i32.reinterpret_f32", "i32", "f32"),
        ("i64.reinterpret_f64", "i64", "f64"),
        ("f32.reinterpret_i32", "f32", "i32"),
        ("f64.reinterpret_i64", "f64", "i64"),
    ] {
        all.push((op.to_owned(), result, operand));
    }
    all
}

struct Case {
    name: String,
    op: String,
    result: &'static str,
    params: Vec<&'static str>,
    /// Arguments to try.
    args: Vec<Vec<u64>>,
}

fn compare(text: &str, cases: &[Case], features: CpuFeatures) {
    let mut ours = Machine::new(text, features, &CompileOptions::default());
    let mut theirs = Oracle::new(text);
    let mut wrong = Vec::new();
    for case in cases {
        for args in &case.args {
            let ours = ours.call(&case.name, args);
            let theirs = theirs.call(&case.name, args);
            if !same(case.result, &ours, &theirs) {
                wrong.push(format!(
                    "{} {} {args:x?}: {ours:x?}, not {theirs:x?}",
                    case.op, case.name
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} differences, among them:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

fn pairs(a: &[u64], b: &[u64]) -> Vec<Vec<u64>> {
    a.iter()
        .flat_map(|&a| b.iter().map(move |&b| vec![a, b]))
        .collect()
}

fn binary_cases(text: &mut String) -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, result, ty) in binary_operators() {
        let samples = samples(ty);
        let n = cases.len();
        let mut add = |suffix: &str, params: &[&'static str], body: String, args: Vec<Vec<u64>>| {
            let name = format!("f{n}.{suffix}");
            let list = params.join(" ");
            writeln!(
                text,
                "(func (export \"{name}\") (param {list}) (result {result}) {body})"
            )
            .expect("a string");
            cases.push(Case {
                name,
                op: op.clone(),
                result,
                params: params.to_vec(),
                args,
            });
        };
        let plain = format!("({op} (local.get 0) (local.get 1))");
        add(
            "locals",
            &[ty, ty],
            plain.clone(),
            pairs(&samples, &samples),
        );
        // through blocks: the operands come from their homes
        let homes = format!("local.get 0 local.get 1 (block) {op}");
        add("homes", &[ty, ty], homes, pairs(&samples, &samples));
        // through selects: the operands come in registers
        let in_register =
            |n: u32| format!("(select (local.get {n}) (local.get {n}) (i32.eqz (i32.const 0)))");
        let registers = format!("({op} {} {})", in_register(0), in_register(1));
        add("registers", &[ty, ty], registers, pairs(&samples, &samples));
        let mixed = format!("({op} (local.get 0) {})", in_register(1));
        add("mixed", &[ty, ty], mixed, pairs(&samples, &samples));
        add(
            "same",
            &[ty],
            format!("({op} (local.get 0) (local.get 0))"),
            samples.iter().map(|&a| vec![a]).collect(),
        );
        for (i, &bits) in samples.iter().enumerate() {
            let constant = if ty.starts_with('f') {
                float_constant(ty, bits)
            } else {
                constant(ty, bits)
            };
            let args: Vec<Vec<u64>> = samples.iter().map(|&a| vec![a]).collect();
            add(
                &format!("right{i}"),
                &[ty],
                format!("({op} (local.get 0) {constant})"),
                args.clone(),
            );
            add(
                &format!("left{i}"),
                &[ty],
                format!("({op} {constant} (local.get 0))"),
                args,
            );
        }
        if result == "i32" && !op.contains("i32.")
            || op.contains("eq")
            || op.contains("_s")
            || op.contains("_u")
        {
            // a comparison and who consumes it
            if result == "i32" {
                add(
                    "if",
                    &[ty, ty],
                    format!(
                        "(if (result i32) {plain} (then (i32.const 10)) (else (i32.const 20)))"
                    ),
                    pairs(&samples, &samples),
                );
                add(
                    "br_if",
                    &[ty, ty],
                    format!("(block (br_if 0 {plain}) (return (i32.const 3))) (i32.const 4)"),
                    pairs(&samples, &samples),
                );
                add(
                    "eqz_if",
                    &[ty, ty],
                    format!(
                        "(if (result i32) (i32.eqz {plain}) (then (i32.const 10)) (else (i32.const 20)))"
                    ),
                    pairs(&samples, &samples),
                );
                add(
                    "eqz",
                    &[ty, ty],
                    format!("(i32.eqz {plain})"),
                    pairs(&samples, &samples),
                );
                add(
                    "br_if_value",
                    &[ty, ty],
                    format!(
                        "(block (result i32) (i32.const 7) {plain} br_if 0 drop (i32.const 8))"
                    ),
                    pairs(&samples, &samples),
                );
                add(
                    "select",
                    &[ty, ty],
                    format!("(select (i32.const 5) (i32.const 6) {plain})"),
                    pairs(&samples, &samples),
                );
            }
        }
    }
    cases
}

fn unary_cases(text: &mut String) -> Vec<Case> {
    let mut cases = Vec::new();
    for (op, result, ty) in unary_operators() {
        let samples = samples(ty);
        let n = cases.len();
        let args: Vec<Vec<u64>> = samples.iter().map(|&a| vec![a]).collect();
        let mut add = |suffix: &str, body: String, args: Vec<Vec<u64>>| {
            let name = format!("f{n}.{suffix}");
            writeln!(
                text,
                "(func (export \"{name}\") (param {ty}) (result {result}) {body})"
            )
            .expect("a string");
            cases.push(Case {
                name,
                op: op.clone(),
                result,
                params: vec![ty],
                args,
            });
        };
        add("local", format!("({op} (local.get 0))"), args.clone());
        add("home", format!("local.get 0 (block) {op}"), args.clone());
        add(
            "register",
            format!("({op} (select (local.get 0) (local.get 0) (i32.eqz (i32.const 0))))"),
            args,
        );
        for (i, &bits) in samples.iter().enumerate() {
            add(
                &format!("constant{i}"),
                format!("({op} {})", constant(ty, bits)),
                vec![vec![0]],
            );
        }
    }
    cases
}

fn all(features: CpuFeatures) {
    let mut text = String::from("(module\n");
    let mut cases = binary_cases(&mut text);
    text.push_str(")\n");
    compare(&text, &cases, features);
    let mut text = String::from("(module\n");
    cases = unary_cases(&mut text);
    text.push_str(")\n");
    assert!(cases.iter().all(|case| case.params.len() == 1));
    compare(&text, &cases, features);
}

#[test]
fn every_operator_agrees_with_wasmi_on_this_machine() {
    all(CpuFeatures::detect());
}

#[test]
fn every_operator_agrees_with_wasmi_on_a_machine_without_extensions() {
    all(CpuFeatures::BASELINE);
}
