//! Every knob: what changes meaning apart from what only tunes.

use crate::observe::dump::Dump;

/// Which way a continuation made by OSR code is resumed. Continuations of tier-0 always resume in tier-0, those of
/// tier-1 always directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum ResumptionPath {
    /// Through the tier-0 entry and the patchpoint helper: capture the registers, find the tier-0 frame by its CFI, look the
    /// OSR code up, restore the registers in it. What others do; kept to measure against.
    Patchpoint,
    /// The same, but the tier-0 frame is found by following frame registers instead of CFI.
    PatchpointFp,
    /// Through the tier-0 entry, which tests the resume address and jumps there.
    ViaTier0,
    /// Straight to the resumption point.
    #[default]
    Direct,
}

/// What the compilers need to know of the engine's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileOptions {
    /// How OSR continuations resume.
    pub resumption: ResumptionPath,
    /// Tier-0 code has counters at its loop headers.
    pub patchpoints: bool,
    /// A fresh frame's patchpoint counter.
    pub patchpoint_counter: u32,
    /// Tier-0 code counts its calls.
    pub count_calls: bool,
    /// Tier-0 and OSR continuations carry `FLAG_COUNT_RESUMES`.
    pub count_resumes: bool,
    /// All functions can be suspended at their entry, those without loops and calls too, and so none is copied into its
    /// callers: for stress. Otherwise optimized code of such a function has no checkpoint.
    pub entry_checkpoints: bool,
    /// Memories are guarded: address space is reserved around them, and an access beyond them faults. Code tests no
    /// bounds then that a fault finds as well.
    pub memory_guard: bool,
    /// regalloc2's checker runs after each allocation, and the IR is verified after each pass.
    pub checkers: bool,
    /// Upper bound on SSA instructions of one optimized body, duplicated iterations included.
    pub max_optimized_insts: u32,
    /// Optimize (and dump) only the function of that name.
    pub only: Option<Box<str>>,
    /// Stages of compilation to print.
    pub dump: Dump,
    /// Write `/tmp/perf-PID.map`, by which `perf` names guest functions.
    pub perf_map: bool,
}

impl Default for CompileOptions {
    fn default() -> Self {
        Self {
            resumption: ResumptionPath::default(),
            patchpoints: true,
            patchpoint_counter: 1000,
            count_calls: true,
            count_resumes: true,
            entry_checkpoints: false,
            memory_guard: false,
            checkers: cfg!(debug_assertions),
            max_optimized_insts: 200_000,
            only: None,
            dump: Dump::default(),
            perf_map: false,
        }
    }
}
