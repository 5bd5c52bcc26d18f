//! The programs of tier-0's tests, compiled by tier-1, and compared with wasmi.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the test machine plays the whole runtime; one argument covers a step of it"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "bits are cut and reinterpreted on purpose"
)]

#[path = "../tier0/machine.rs"]
mod machine;
#[path = "../tier0/numeric.rs"]
mod numeric;
#[path = "../tier0/oracle.rs"]
mod oracle;
#[path = "../tier0/programs.rs"]
mod programs;
#[path = "../tier0/random.rs"]
mod random;
#[path = "../support/segments.rs"]
mod segments;

use midair_jit::{
    arch::masm::CpuFeatures,
    code::draft::{CodeDraft, CodeKind},
    frame::layout::FrameLayout,
    ir::value::Entry,
    options::CompileOptions,
    runtime::context::VmLayout,
    tier1::{build::build, compile_ir, pipeline::optimize},
    wasm::{liveness::Liveness, module::Module, types::FuncIndex},
};

/// Counters and sites are tier-0's own.
const ONLY_TIER0: bool = false;

/// How the machine's functions are compiled: every fifth by tier-0, so that chains mix.
fn compile(
    features: CpuFeatures,
    module: &Module,
    func: FuncIndex,
    layout: &VmLayout,
    options: &CompileOptions,
    liveness: &Liveness,
) -> CodeDraft {
    let tier0 = || {
        midair_jit::tier0::compile_for(features, module, func, layout, options, liveness)
            .expect("tier-0 compiles everything")
    };
    if func.0 % 5 == 4 {
        return tier0();
    }
    let options = CompileOptions {
        checkers: true,
        ..options.clone()
    };
    let frame = FrameLayout::new(0, 0);
    let Ok(mut ir) = build(module, func, Entry::Top, liveness, &frame, &[], &options) else {
        return tier0();
    };
    optimize(&mut ir, &options);
    compile_ir(&mut ir, CodeKind::Tier1, 0, layout, &options).unwrap_or_else(|_| tier0())
}
