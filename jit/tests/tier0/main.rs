//! Tier-0 code, run and compared with wasmi.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the test machine plays the whole runtime; one argument covers a step of it"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "bits are cut and reinterpreted on purpose"
)]

mod hostile;
mod machine;
mod numeric;
mod oracle;
mod programs;
mod random;
#[path = "../support/segments.rs"]
mod segments;

use midair_jit::{
    arch::masm::CpuFeatures,
    code::draft::CodeDraft,
    options::CompileOptions,
    runtime::context::VmLayout,
    wasm::{liveness::Liveness, module::Module, types::FuncIndex},
};

/// Every function is compiled by tier-0; its counters and sites can be looked at.
const ONLY_TIER0: bool = true;

/// How the machine's functions are compiled.
fn compile(
    features: CpuFeatures,
    module: &Module,
    func: FuncIndex,
    layout: &VmLayout,
    options: &CompileOptions,
    liveness: &Liveness,
) -> CodeDraft {
    midair_jit::tier0::compile_for(features, module, func, layout, options, liveness)
        .expect("tier-0 compiles everything")
}
