//! The back half of the pipeline: SSA to a code draft.

use super::{
    emit::emit,
    lower::lower,
    minst::MInst,
    regalloc::{self, Allocated},
};
use crate::{
    code::draft::{CodeDraft, CodeKind},
    error::NotOptimized,
    ir::value::{Function, Value},
    options::CompileOptions,
    runtime::context::VmLayout,
};

/// Compiles a function whose passes have run. `tier0_frame_size` is the size of the tier-0 frame that OSR code is entered
/// in, and 0 for tier-1 code.
///
/// # Errors
/// If the function is too large for this tier, or the allocator gives up.
///
/// # Panics
/// If the IR breaks its invariants: a bug of the front half.
pub fn compile_ir(
    function: &mut Function,
    kind: CodeKind,
    tier0_frame_size: u32,
    layout: &VmLayout,
    options: &CompileOptions,
) -> Result<CodeDraft, NotOptimized> {
    compile_ir_watched(function, kind, tier0_frame_size, layout, options, |_| ())
}

/// [`compile_ir`], showing what the allocator made.
pub(super) fn compile_ir_watched(
    function: &mut Function,
    kind: CodeKind,
    tier0_frame_size: u32,
    layout: &VmLayout,
    options: &CompileOptions,
    watch: impl Fn(&Allocated),
) -> Result<CodeDraft, NotOptimized> {
    let mut lowered = lower(function, layout, options.memory_guard);
    let values = function.values.len();
    let sites = &mut lowered.sites;
    regalloc::add_live_across(&mut lowered.function, |site, vreg| {
        let value = (vreg.vreg() < values).then(|| Value::new(vreg.vreg()));
        sites[site as usize].values.push(value);
    })?;
    let allocated = regalloc::allocate(lowered.function, options)?;
    watch(&allocated);
    for (inst, _) in &allocated.insts {
        if let MInst::Call { site, live, .. } | MInst::Checkpoint { site, live, .. } = inst {
            // second places of values: nothing says of which
            lowered.sites[*site as usize]
                .values
                .resize(live.len(), None);
        }
    }
    emit(
        function,
        &allocated,
        lowered.sites,
        kind,
        tier0_frame_size,
        options,
    )
}
