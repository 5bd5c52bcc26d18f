//! Every pass, in order, on one screen.

#![forbid(unsafe_code)]

use super::{
    back::compile_ir_watched,
    build,
    passes::{
        Changed, blocks, critical_edges, dead_code, hoist, layout, number_values, redundant_params,
        simplify,
    },
};
use crate::{
    code::draft::{CodeDraft, CodeKind},
    error::NotOptimized,
    frame::layout::FrameLayout,
    ir::{
        value::{Entry, Function},
        verify::verify_function,
    },
    observe::dump::{self, Dump},
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

/// From Wasm to machine code: build, optimize, and then select, allocate and emit.
///
/// # Errors
/// Why the function is not optimized.
///
/// # Panics
/// On a bug of the compiler that a checker finds.
pub fn compile(request: &Request<'_>) -> Result<CodeDraft, NotOptimized> {
    let Request {
        module,
        func,
        entry,
        options,
        ..
    } = *request;
    let locals =
        u32::try_from(module.locals(func).len()).expect("locals are bounded by validation");
    let stack = u32::try_from(request.osr_stack.len()).expect("bounded by the body's length");
    let frame = FrameLayout::new(locals, stack);
    let mut function = build::build(
        module,
        func,
        entry,
        request.liveness,
        &frame,
        request.osr_stack,
        options,
    )?;
    let name = module.name(func);
    let dump = if options.only.as_deref().is_none_or(|only| only == name) {
        options.dump
    } else {
        Dump::default()
    };
    optimize_watched(&mut function, options, |pass, ir| {
        if dump.ir {
            dump::print(&format!(";; ir {name} behind {pass}\n{ir}"));
        }
    });
    let kind = match entry {
        Entry::Top => CodeKind::Tier1,
        Entry::Osr(offset) => CodeKind::Osr(offset),
    };
    compile_ir_watched(
        &mut function,
        kind,
        request.tier0_frame_size,
        request.layout,
        options,
        |allocated| {
            if dump.regalloc {
                dump::print(&format!(
                    ";; regalloc {}\n{}",
                    dump::title(kind, &name),
                    allocated.text()
                ));
            }
        },
    )
}

type Pass = (&'static str, fn(&mut Function) -> Changed);

/// What the optimizer does.
const PASSES: [Pass; 17] = [
    ("redundant_params", redundant_params::run),
    ("simplify", simplify::run),
    ("blocks", blocks::run),
    ("number_values", number_values::run),
    ("redundant_params", redundant_params::run),
    ("simplify", simplify::run),
    ("blocks", blocks::run),
    ("dead_code", dead_code::run),
    ("hoist", hoist::run),
    ("number_values", number_values::run),
    ("simplify", simplify::run),
    ("redundant_params", redundant_params::run),
    ("blocks", blocks::run),
    ("dead_code", dead_code::run),
    // What the back half relies on.
    ("critical_edges", critical_edges::run),
    ("redundant_params", redundant_params::run),
    ("layout", layout::run),
];

/// Optimizes a function. Behind it only jumps pass arguments, no edge is critical, blocks are in the order of emission,
/// and every block can be reached.
///
/// # Panics
/// If `options.checkers` is set and a pass breaks a rule of the IR: a bug of the compiler.
pub fn optimize(func: &mut Function, options: &CompileOptions) {
    optimize_watched(func, options, |_, _| ());
}

/// [`optimize`], showing the function after it was built and after each pass that changed it.
fn optimize_watched(
    func: &mut Function,
    options: &CompileOptions,
    watch: impl Fn(&str, &Function),
) {
    let check = |func: &Function, pass: &str| {
        if options.checkers
            && let Err(error) = verify_function(func)
        {
            panic!("{} tier-1 {:?}: {pass}: {error}", func.index, func.entry);
        }
    };
    check(func, "build");
    watch("build", func);
    for (name, pass) in PASSES {
        if pass(func) == Changed::Yes {
            check(func, name);
            watch(name, func);
        }
    }
}
