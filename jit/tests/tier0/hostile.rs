//! Bodies made to hurt: compiling stays linear, code bounded, nothing recurses.

use crate::machine::{Machine, Outcome};
use midair_jit::{
    arch::masm::CpuFeatures,
    code::draft::CodeDraft,
    error::CompileError,
    options::CompileOptions,
    runtime::context::{GlobalSlot, VmLayout},
    tier0,
    wasm::{liveness::Liveness, module::Module, types::FuncIndex},
};
use std::fmt::Write;

fn compile(text: &str) -> Result<CodeDraft, CompileError> {
    let bytes = wat::parse_str(text).expect("the text is well-formed");
    let module = Module::new(&bytes).expect("the module is valid");
    let func = FuncIndex(module.imported_functions);
    let liveness = Liveness::compute(&module, func).expect("liveness");
    let layout = VmLayout {
        globals: vec![GlobalSlot::Own(4096); module.globals.len()].into(),
        imports: 8192,
        size: 1 << 20,
        ..VmLayout::default()
    };
    tier0::compile(
        &module,
        func,
        &layout,
        &CompileOptions::default(),
        &liveness,
    )
}

#[test]
fn deep_nesting_does_not_recurse() {
    let depth = 200_000;
    let text = format!(
        "(module (func (export \"f\") (result i32) {} br 1000 {} i32.const 7))",
        "block ".repeat(depth),
        "end ".repeat(depth)
    );
    // the text format's own parser is flat in this form
    let mut machine = Machine::new(&text, CpuFeatures::detect(), &CompileOptions::default());
    assert_eq!(machine.call("f", &[]), Outcome::Returned(vec![7]));
}

#[test]
fn a_branch_table_may_have_very_many_targets() {
    let targets = "0 1 2 ".repeat(40_000);
    let text = format!(
        "(module (func (export \"f\") (param i32) (result i32)
            (block (block (block (br_table {targets} 2 (local.get 0))) (return (i32.const 10))) (return (i32.const 11))) (i32.const 12)))"
    );
    let mut machine = Machine::new(&text, CpuFeatures::detect(), &CompileOptions::default());
    for (index, expected) in [
        (0, 10),
        (119_998, 11),
        (119_999, 12),
        (120_000, 12),
        (0xffff_ffff, 12),
    ] {
        assert_eq!(
            machine.call("f", &[index]),
            Outcome::Returned(vec![expected])
        );
    }
}

#[test]
fn a_high_operand_stack_is_not_walked_by_every_operator() {
    let mut body = String::new();
    for _ in 0..300_000 {
        body.push_str("local.get 0 ");
    }
    for _ in 0..100_000 {
        body.push_str(
            "local.get 1 local.set 1 local.get 0 local.get 1 i32.add local.set 0 block end ",
        );
    }
    write!(body, "{}", "drop ".repeat(300_000)).expect("a string");
    let draft = compile(&format!("(module (func (param i32 i32) {body}))")).expect("it compiles");
    assert!(draft.bytes.len() < 40 << 20);
}

#[test]
fn branches_with_many_values_cost_little_code_each() {
    let types = "i32 ".repeat(900);
    let values = "i32.const 70000 ".repeat(900);
    let branches = "local.get 0 br_if 0 local.get 0 br_if 1 ".repeat(5_000);
    let drops = "drop ".repeat(900);
    let text = format!(
        "(module (func (param i32) block (result {types}) i64.const 1 block (result {types}) i64.const 1 {values} {branches}
            br 0 end {drops} drop {values} end {drops}))"
    );
    let draft = compile(&text).expect("it compiles");
    assert!(draft.bytes.len() < 4 << 20, "{}", draft.bytes.len());
}

#[test]
fn calls_with_many_results_cost_little_code_each() {
    let types = "i32 ".repeat(900);
    let calls = "block call 0 br 0 end ".repeat(3_000);
    let text = format!("(module (import \"\" \"\" (func (result {types}))) (func {calls}))");
    let draft = compile(&text).expect("it compiles");
    assert!(draft.bytes.len() < 4 << 20, "{}", draft.bytes.len());
}

#[test]
fn sites_beyond_all_measure_are_a_limit_and_no_hang() {
    let locals = "i64 ".repeat(40_000);
    let mut uses = String::new();
    for local in 0..40_000 {
        write!(uses, "local.get {local} drop ").expect("a string");
    }
    let calls = "call 0 ".repeat(5_000);
    let text = format!("(module (import \"\" \"\" (func)) (func (local {locals}) {calls} {uses}))");
    assert!(matches!(compile(&text), Err(CompileError::Limit { .. })));
}
