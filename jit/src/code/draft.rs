//! Code being written: position-independent bytes, the few absolute words to fill in, and what is known about places in
//! it.

use super::faults::Faults;
use crate::{
    suspension::point::SiteDraft,
    wasm::types::{CodeOffset, FrameOffset, FuncIndex, WasmOffset},
};

/// Which kind of code this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CodeKind {
    /// Baseline code.
    Tier0,
    /// Optimized code entered at a loop header, in a tier-0 frame.
    Osr(WasmOffset),
    /// Optimized code entered at the top.
    Tier1,
}

/// An absolute 8-byte word in the code, known when it is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloc {
    /// Where the word lies.
    pub at: CodeOffset,
    /// What goes there.
    pub target: RelocTarget,
}

/// What an absolute word points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelocTarget {
    /// The published description of suspension point n of this draft.
    Site(u32),
    /// The shared state of patchpoint n of this draft.
    Patchpoint(u32),
    /// The tier-0 resume entry of the same function (in OSR code).
    Tier0ResumeEntry,
}

/// A patchpoint of a tier-0 draft.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchpointDraft {
    /// Offset of the `loop` operator.
    pub offset: WasmOffset,
    /// Types of the whole operand stack at the header, from the bottom, the loop's parameters last.
    pub stack: Box<[crate::wasm::types::ValType]>,
}

/// Code that is complete but not published.
#[derive(Clone, Debug)]
pub struct CodeDraft {
    /// The function.
    pub func: FuncIndex,
    /// The kind of code.
    pub kind: CodeKind,
    /// Machine code, position-independent but for `relocs`.
    pub bytes: Vec<u8>,
    /// Absolute words to fill in.
    pub relocs: Vec<Reloc>,
    /// Where a call enters. For OSR code: where the patchpoint's jump enters, in a tier-0 frame.
    pub entry: CodeOffset,
    /// Tier-0 only: where a continuation enters (see `tier0::entry`).
    pub resume_entry: Option<CodeOffset>,
    /// Bytes below the frame register in this code's frames (for OSR code the tier-0 part included).
    pub frame_size: u32,
    /// Suspension points, in order of emission.
    pub sites: Vec<SiteDraft>,
    /// Patchpoints, in order of emission.
    pub patchpoints: Vec<PatchpointDraft>,
    /// Return addresses of calls and of trap helpers, by rising offset, with the Wasm operator they belong to.
    pub notes: Vec<(CodeOffset, WasmOffset)>,
    /// Instructions whose fault is a trap.
    pub faults: Faults,
    /// Names of places, for listings, by rising offset.
    pub labels: Vec<(CodeOffset, String)>,
    /// Comments on instructions, for listings, by rising offset.
    pub comments: Vec<(CodeOffset, String)>,
    /// Names of frame slots, for listings.
    pub slots: Vec<(FrameOffset, String)>,
}
