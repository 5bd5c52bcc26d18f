//! Every pass, in order, on one screen.

use crate::{
    code::draft::CodeDraft,
    error::NotOptimized,
    ir::value::Entry,
    options::CompileOptions,
    runtime::context::VmLayout,
    wasm::{
        liveness::Liveness,
        module::Module,
        types::{FuncIndex, ValType},
    },
};

/// What is to be compiled.
#[derive(Debug)]
pub struct Request<'a> {
    /// The module.
    pub module: &'a Module,
    /// The function.
    pub func: FuncIndex,
    /// Where the code starts.
    pub entry: Entry,
    /// Its live locals.
    pub liveness: &'a Liveness,
    /// OSR: types of the operand stack at the header.
    pub osr_stack: &'a [ValType],
    /// OSR: bytes of the tier-0 frame.
    pub tier0_frame_size: u32,
    /// Where globals and imports lie.
    pub layout: &'a VmLayout,
    /// The engine's options.
    pub options: &'a CompileOptions,
}

/// From Wasm to machine code.
///
/// # Errors
/// Why the function is not optimized.
pub fn compile(request: &Request<'_>) -> Result<CodeDraft, NotOptimized> {
    let _ = request;
    Err(NotOptimized::UnreachableEntry)
}
