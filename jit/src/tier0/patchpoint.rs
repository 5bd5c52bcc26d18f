//! Loop headers count down; on zero they call out.

use super::compile::Compiler;
use crate::{
    arch::{
        masm::{Cc, Label, Width},
        regs,
    },
    code::draft::{PatchpointDraft, RelocTarget},
    frame::layout::COUNTER_OFFSET,
    runtime::context::offsets,
};

impl Compiler<'_> {
    /// Counts down; everything is in its home.
    pub(super) fn emit_patchpoint(&mut self) {
        if !self.options.patchpoints {
            return;
        }
        let n = self.patchpoints.len();
        let stack: Box<[_]> = self.stack.types().collect();
        self.count_site_entries(stack.len());
        self.patchpoints.push(PatchpointDraft {
            offset: self.at,
            stack,
        });
        let hit = self.masm.label();
        self.masm.comment(format!("patchpoint {n} {}", self.at));
        self.masm.dec(Width::W32, COUNTER_OFFSET);
        self.masm.jcc(Cc::LessEqual, hit);
        let after = self.masm.here();
        self.hits.push((hit, after));
    }

    /// Out of line: the helper resets the counter and says where to go on, in OSR code or behind the patchpoint.
    pub(super) fn emit_patchpoint_hits(&mut self) {
        let masm = &mut self.masm;
        for (&(hit, after), (patchpoint, n)) in
            self.hits.iter().zip(self.patchpoints.iter().zip(0u32..))
        {
            masm.bind_named(hit, format!("patchpoint{n}.hit"));
            masm.mov(Width::W64, regs::HELPER_ARGS[0], regs::CONTEXT);
            masm.mov(Width::W64, regs::HELPER_ARGS[1], regs::FRAME);
            masm.mov_reloc(regs::HELPER_ARGS[2], RelocTarget::Patchpoint(n));
            masm.lea_label(regs::HELPER_ARGS[3], after);
            masm.call_helper(offsets::HELPER_PATCHPOINT_HIT);
            masm.note(patchpoint.offset);
            masm.comment("the non-local jump, or back");
            masm.jmp_to(regs::HELPER_RESULT);
        }
    }

    /// The cold label of the checkpoint added last.
    pub(super) fn checkpoint_cold(&self) -> Label {
        self.sites
            .last()
            .and_then(|site| site.cold)
            .expect("the last site is a checkpoint")
    }
}
