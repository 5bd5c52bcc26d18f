//! Out of line: copy the live slots into a continuation, link it, return the exit word *suspended*.
//!
//! ```text
//! before                            after
//!   call callee                       call callee
//!   ...                               test edx, edx
//!                                     jne suspend_k
//!                                   resumption point:
//!                                     ...
//!                                   suspend_k:                      ; cold
//!                                     js leave                      ; a trap passes through
//!                                     resumed from a continuation of this very point?
//!                                       write what has changed into it
//!                                       mov edx, SUSPENDED_AGAIN; leave; ret
//!                                     take a block, fill it, link it
//!                                     mov edx, SUSPENDED; leave; ret
//! ```
//!
//! **The kept continuation.** Only the outermost native frame can have been resumed, and while it runs, the continuation it
//! came from is kept in the context. If it is suspended at the same point again, which only a loop can bring about, header
//! and link are as they must be, and so are the words of values that no such loop changes: an awaiting loop writes the slots
//! that its turns change, and hangs the kept continuation behind its callee's.
//!
//! Else a block comes from the free list, and has the header it had there. If it was made at this very point, that saves
//! filling it in.
//!
//! **Invariant (code outlives the free lists).** A block's `site` may be compared long after the block was given back,
//! because no code is freed before the store that has the lists.
//!
//! The optimizer and the register allocator never learn of it: every value that lives across a call lies in a frame slot.

#![forbid(unsafe_code)]

use crate::{
    arch::{
        masm::{Alu, Cc, Label, Masm, Mem, Width},
        regs,
    },
    code::draft::{CodeKind, RelocTarget},
    frame::abi::{EXIT_SUSPENDED, EXIT_SUSPENDED_AGAIN},
    options::ResumptionPath,
    runtime::context::offsets,
    wasm::types::{CodeOffset, FrameOffset, WasmOffset},
};
use midair_continuation::{
    header::{FLAG_COUNT_RESUMES, HEADER_SIZE},
    recycle::{NO_CLASS, class_for_words},
};

/// The labels of one suspension point. Made at the call, bound by the functions of this module and of
/// [`resume`](super::resume).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteLabels {
    /// Out of line: suspend here.
    pub suspend: Label,
    /// Right behind the exit-word test; whoever emits the call binds it.
    pub resumption: Label,
    /// See `SiteDraft::door`.
    pub door: Label,
    /// See `SiteDraft::tier0_door`; bound for every direct door, published for OSR code only.
    pub tier0_door: Label,
}

impl SiteLabels {
    /// Fresh labels.
    pub fn new(masm: &mut Masm) -> Self {
        Self {
            suspend: masm.label(),
            resumption: masm.label(),
            door: masm.label(),
            tier0_door: masm.label(),
        }
    }
}

/// What the `resume` field of a continuation is set to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeEntry {
    /// A place in this code.
    Here(Label),
    /// The tier-0 resume entry of the same function.
    Tier0,
}

impl SiteLabels {
    /// `resume` and `resume_address` of continuations made at this site by code of that kind. `tier0_resume` is the resume
    /// entry that tier-0 code has in itself.
    ///
    /// # Panics
    /// If tier-0 code names no resume entry.
    pub fn resume_fields(
        &self,
        kind: CodeKind,
        resumption: ResumptionPath,
        tier0_resume: Option<Label>,
    ) -> (ResumeEntry, Option<Label>) {
        match (kind, resumption) {
            (CodeKind::Tier0, _) => (
                ResumeEntry::Here(tier0_resume.expect("tier-0 code has a resume entry")),
                None,
            ),
            (CodeKind::Tier1, _) | (CodeKind::Osr(_), ResumptionPath::Direct) => {
                (ResumeEntry::Here(self.door), Some(self.resumption))
            }
            (
                CodeKind::Osr(_),
                ResumptionPath::Patchpoint
                | ResumptionPath::PatchpointFp
                | ResumptionPath::ViaTier0,
            ) => (ResumeEntry::Tier0, Some(self.tier0_door)),
        }
    }
}

/// What suspending at one point writes into the continuation.
#[derive(Clone, Copy, Debug)]
pub struct Suspend<'a> {
    /// Number of the site in this draft.
    pub site: u32,
    /// The slots to copy, in order.
    pub image: &'a [FrameOffset],
    /// `resume`.
    pub resume: ResumeEntry,
    /// `resume_address`; `None` is null: go on in tier-0.
    pub resume_address: Option<Label>,
    /// The slot of the patchpoint counter (tier-0); `None` writes 0.
    pub counter: Option<FrameOffset>,
    /// Whether the runtime is told of each resumption.
    pub count_resumes: bool,
    /// Which.
    pub again: Again<'a>,
}

/// Whether a frame that was resumed at a point can be suspended there again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again<'a> {
    /// No: the point is in no loop.
    Never,
    /// Yes, and any word may have changed.
    Changed,
    /// Yes, if it is the same activation still; these words, one flag per word of the image, may have changed.
    Some(&'a [bool]),
}

impl Again<'_> {
    fn may_change(self, word: usize) -> bool {
        match self {
            Self::Never | Self::Changed => true,
            Self::Some(changed) => changed[word],
        }
    }
}

/// The exit-word test behind a call; binds the resumption point.
pub fn emit_exit_test(masm: &mut Masm, site: &SiteLabels) {
    masm.test(Width::W32, regs::EXIT, regs::EXIT);
    masm.jcc(Cc::NotEqual, site.suspend);
    masm.bind(site.resumption);
}

/// The hot part of a checkpoint: test the word, go to `cold` if it is set. Binds the resumption point.
pub fn emit_checkpoint_test(masm: &mut Masm, site: &SiteLabels, cold: Label) {
    masm.alu_imm(Alu::Cmp, Width::W32, Mem::context(offsets::CHECKPOINT), 0);
    masm.jcc(Cc::NotEqual, cold);
    masm.bind(site.resumption);
}

/// The cold part of a checkpoint: call the helper, then go on or suspend. All values that live across the point must be
/// in their slots. Gives the helper call's return address.
pub fn emit_checkpoint_cold(
    masm: &mut Masm,
    site: &SiteLabels,
    cold: Label,
    at: WasmOffset,
) -> CodeOffset {
    masm.bind(cold);
    masm.mov(Width::W64, regs::HELPER_ARGS[0], regs::CONTEXT);
    masm.call_helper(offsets::HELPER_CHECKPOINT);
    let return_offset = masm.offset();
    masm.note(at);
    masm.mov(Width::W32, regs::EXIT, regs::HELPER_RESULT);
    masm.test(Width::W32, regs::EXIT, regs::EXIT);
    masm.jcc(Cc::NotEqual, site.suspend);
    masm.jmp(site.resumption);
    return_offset
}

/// `leave; ret`, the exit word as it is. One per function.
pub fn emit_leave(masm: &mut Masm, leave: Label) {
    masm.bind_named(leave, "leave");
    masm.leave();
    masm.ret();
}

/// Binds `site.suspend` and emits what stands there.
///
/// # Machine contract
/// *On entry*: `edx` is an exit word other than *returned*, and the flags are those of its test; the frame is whole, `rsp` at
/// its end. *On exit*: the frame is gone, `edx` is the exit word. *Clobbers*: everything but the pinned registers.
pub fn emit_suspend(masm: &mut Masm, site: &SiteLabels, suspend: &Suspend<'_>, leave: Label) {
    const BLOCK: regs::Gpr = regs::CONTINUATION;
    let words = image_words(suspend.image);
    masm.bind_named(site.suspend, format!("suspend{}", suspend.site));
    masm.jcc(Cc::Sign, leave);
    if suspend.again != Again::Never {
        emit_suspend_again(masm, suspend);
    }

    // take a block
    let class = class_for_words(words);
    if let Some(class) = class {
        let list = Mem::context(free_list(class));
        let slow = masm.label();
        let taken = masm.label();
        masm.mov(Width::W64, BLOCK, list);
        masm.test(Width::W64, BLOCK, BLOCK);
        masm.jcc(Cc::Equal, slow);
        masm.mov(Width::W64, regs::RAX, Mem::new(BLOCK, offsets::NEXT));
        masm.store(Width::W64, list, regs::RAX);
        masm.bind(taken);
        masm.defer(move |masm| {
            masm.bind(slow);
            emit_allocate(masm, words);
            masm.jmp(taken);
        });
    } else {
        emit_allocate(masm, words);
    }

    // fill it, unless it was this very point's before: then its header is as it was
    let filled = masm.label();
    masm.mov_reloc(regs::RAX, RelocTarget::Site(suspend.site));
    masm.alu(
        Alu::Cmp,
        Width::W64,
        regs::RAX,
        Mem::new(BLOCK, offsets::SITE),
    );
    masm.jcc(Cc::Equal, filled);
    masm.store(Width::W64, Mem::new(BLOCK, offsets::SITE), regs::RAX);
    match suspend.resume {
        ResumeEntry::Here(label) => masm.lea_label(regs::RAX, label),
        ResumeEntry::Tier0 => masm.mov_reloc(regs::RAX, RelocTarget::Tier0ResumeEntry),
    }
    masm.store(Width::W64, Mem::new(BLOCK, offsets::RESUME), regs::RAX);
    match suspend.resume_address {
        Some(label) => {
            masm.lea_label(regs::RAX, label);
            masm.store(
                Width::W64,
                Mem::new(BLOCK, offsets::RESUME_ADDRESS),
                regs::RAX,
            );
        }
        None => masm.store_imm(Width::W64, Mem::new(BLOCK, offsets::RESUME_ADDRESS), 0),
    }
    let flags = u32::from(class.unwrap_or(NO_CLASS))
        | if suspend.count_resumes {
            FLAG_COUNT_RESUMES
        } else {
            0
        };
    masm.store_imm(
        Width::W32,
        Mem::new(BLOCK, offsets::FLAGS),
        flags.cast_signed(),
    );
    if suspend.counter.is_none() {
        masm.store_imm(Width::W32, Mem::new(BLOCK, offsets::COUNTER), 0);
    }
    masm.store_imm(Width::W64, Mem::new(BLOCK, offsets::TASK_CONTEXT), 0);
    masm.bind(filled);
    if let Some(slot) = suspend.counter {
        masm.mov(Width::W32, regs::RAX, slot);
        masm.store(Width::W32, Mem::new(BLOCK, offsets::COUNTER), regs::RAX);
    }
    copy_image(masm, suspend.image, |_| true, Direction::ToContinuation);

    // link it behind the chain so far; its own link is written by whoever comes next, at last by the dispatch loop
    let tail = Mem::context(offsets::CHAIN_TAIL);
    masm.mov(Width::W64, regs::RAX, tail);
    masm.store(Width::W64, Mem::new(regs::RAX, offsets::NEXT), BLOCK);
    masm.store(Width::W64, tail, BLOCK);
    masm.mov_imm(regs::EXIT, u64::from(EXIT_SUSPENDED));
    masm.leave();
    masm.ret();
}

/// The outermost frame, resumed at this very point, is suspended there again; for any other it falls through.
fn emit_suspend_again(masm: &mut Masm, suspend: &Suspend<'_>) {
    const BLOCK: regs::Gpr = regs::CONTINUATION;
    let fresh = masm.label();
    masm.comment("the outermost frame?");
    masm.alu_imm(Alu::Cmp, Width::W64, Mem::new(regs::FRAME, 0), 0);
    masm.jcc(Cc::NotEqual, fresh);
    masm.mov(Width::W64, BLOCK, Mem::context(offsets::KEPT));
    masm.mov_reloc(regs::RAX, RelocTarget::Site(suspend.site));
    masm.alu(
        Alu::Cmp,
        Width::W64,
        regs::RAX,
        Mem::new(BLOCK, offsets::SITE),
    );
    masm.jcc(Cc::NotEqual, fresh);
    if let Some(slot) = suspend.counter {
        masm.mov(Width::W32, regs::RAX, slot);
        masm.store(Width::W32, Mem::new(BLOCK, offsets::COUNTER), regs::RAX);
    }
    copy_image(
        masm,
        suspend.image,
        |word| suspend.again.may_change(word),
        Direction::ToContinuation,
    );
    masm.mov(Width::W64, regs::RAX, Mem::context(offsets::CHAIN_TAIL));
    masm.store(Width::W64, Mem::new(regs::RAX, offsets::NEXT), BLOCK);
    masm.mov_imm(regs::EXIT, u64::from(EXIT_SUSPENDED_AGAIN));
    masm.leave();
    masm.ret();
    masm.bind_named(fresh, format!("suspend{}.fresh", suspend.site));
}

fn emit_allocate(masm: &mut Masm, words: u32) {
    masm.helper_args_context_imm(words);
    masm.call_helper(offsets::HELPER_ALLOCATE);
    masm.mov(Width::W64, regs::CONTINUATION, regs::HELPER_RESULT);
}

/// Number of words of an image.
///
/// # Panics
/// Beyond 2^32; frames are bounded far below.
pub(super) fn image_words(image: &[FrameOffset]) -> u32 {
    u32::try_from(image.len()).expect("an image fits its frame")
}

/// Offset in the context of a size class's free list.
pub(super) fn free_list(class: u8) -> i32 {
    offsets::FREE_LISTS + 8 * i32::from(class)
}

/// Offset in a continuation of a word of its image.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the header is 48 bytes long, and an image fits its frame"
)]
pub(super) fn image_word(word: usize) -> i32 {
    (HEADER_SIZE + 8 * word) as i32
}

/// Which way an image is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    ToContinuation,
    ToFrame,
}

/// Runs of neighbouring slots that are at least this long are copied by a loop.
const LOOP_WORDS: usize = 24;

/// Copies the chosen words of the image between the frame and the continuation in `rdi`. Loses `rax`, `rdx` and `rsi`.
pub(super) fn copy_image(
    masm: &mut Masm,
    image: &[FrameOffset],
    chosen: impl Fn(usize) -> bool,
    direction: Direction,
) {
    const BLOCK: regs::Gpr = regs::CONTINUATION;
    let mut word = 0;
    while word < image.len() {
        if !chosen(word) {
            word += 1;
            continue;
        }
        // homes lie downwards: find out how many neighbours follow
        let run = 1
            + (word + 1..image.len())
                .take_while(|&next| chosen(next) && image[next].0 == image[next - 1].0 - 8)
                .count();
        if run < LOOP_WORDS {
            for (i, &slot) in image.iter().enumerate().skip(word).take(run) {
                let place = Mem::new(BLOCK, image_word(i));
                match direction {
                    Direction::ToContinuation => {
                        masm.mov(Width::W64, regs::RAX, slot);
                        masm.store(Width::W64, place, regs::RAX);
                    }
                    Direction::ToFrame => {
                        masm.mov(Width::W64, regs::RAX, place);
                        masm.store(Width::W64, slot, regs::RAX);
                    }
                }
            }
        } else {
            let slot = Mem::new(regs::RSI, 0);
            let place = Mem::indexed(BLOCK, regs::RDX, 8, image_word(word));
            masm.lea(Width::W64, regs::RSI, image[word]);
            masm.zero(regs::RDX);
            let again = masm.here();
            match direction {
                Direction::ToContinuation => {
                    masm.mov(Width::W64, regs::RAX, slot);
                    masm.store(Width::W64, place, regs::RAX);
                }
                Direction::ToFrame => {
                    masm.mov(Width::W64, regs::RAX, place);
                    masm.store(Width::W64, slot, regs::RAX);
                }
            }
            masm.alu_imm(Alu::Sub, Width::W64, regs::RSI, 8);
            masm.alu_imm(Alu::Add, Width::W64, regs::RDX, 1);
            masm.alu_imm(
                Alu::Cmp,
                Width::W64,
                regs::RDX,
                i32::try_from(run).expect("a run fits its frame"),
            );
            masm.jcc(Cc::NotEqual, again);
        }
        word += run;
    }
}
