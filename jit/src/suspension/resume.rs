//! Doors: make the frame again, copy the slots back, load the call's results, jump to the resumption point.
//!
//! ```text
//! door_k:                           ; the direct door: called with the continuation in rdi
//!   push rbp; mov rbp, rsp
//! tier0_door_k:                     ; from the tier-0 resume entry, which has made that much already
//!   lea rsp, [rbp - frame size]     ; a large frame: cmp rsp, limit; jb overflow_k
//!   slots = image                   ; or registers, where the code "lands in registers"
//!   result registers = context.results
//!   jmp resumption point
//! ```
//!
//! The continuation stays whoever's it was: the dispatch loop [keeps](super::suspend) it while the frame runs.
//!
//! A tier-0 frame is the frame register and what lies below it, so one sequence serves both doors of an optimized site
//! and the refill door of a tier-0 site: they differ in the instruction they enter at.

#![forbid(unsafe_code)]

use super::suspend::{Direction, SiteLabels, copy_image, image_word};
use crate::{
    arch::{
        masm::{Cc, Label, Masm, Mem, Width},
        regs,
    },
    frame::abi::{Place, Places},
    ir::value::TrapCode,
    options::ResumptionPath,
    runtime::context::offsets,
    wasm::types::{FrameOffset, ValType, WasmOffset},
};

/// A register of either kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// General-purpose.
    Int(regs::Gpr),
    /// Vector.
    Float(regs::Xmm),
}

/// Landing in registers: what the code right behind the call would reload, and where it goes on then.
#[derive(Clone, Copy, Debug)]
pub struct Landing<'a> {
    /// `(image word, register)`, all 64 bits. Neither result registers nor scratch registers.
    pub loads: &'a [(u32, Register)],
    /// Which slots are read behind the landing before they are written; one flag per word of the image.
    pub slots: &'a [bool],
    /// Where to go on.
    pub label: Label,
}

/// Which kind of door.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DoorKind {
    /// Entered by a call, and from the tier-0 resume entry at `tier0_door`.
    Direct,
    /// Tier-0's refill door, entered from its resume entry.
    Refill,
}

/// What going on at one point takes.
#[derive(Clone, Copy, Debug)]
pub struct Door<'a> {
    /// Number of the site in this draft.
    pub site: u32,
    /// Which kind.
    pub kind: DoorKind,
    /// The Wasm operator, for the trap when there is no room on the stack.
    pub at: WasmOffset,
    /// Bytes below the frame register.
    pub frame_size: u32,
    /// The slots to refill.
    pub image: &'a [FrameOffset],
    /// Result types of the call; empty at checkpoints.
    pub results: &'a [ValType],
    /// The slot of the patchpoint counter (tier-0).
    pub counter: Option<FrameOffset>,
    /// Whether it lands in registers.
    pub landing: Option<Landing<'a>>,
}

/// Binds the doors of a site and emits what stands there.
///
/// # Machine contract
/// *On entry*: `rdi` the continuation, `r15` the context; at `tier0_door` and a refill door also `rbp`, the frame register
/// of a frame of this function. Whoever entered has tested the stack limit. *On exit*: at the resumption point, as if the
/// call had just returned. Without room on the stack for a large frame the activation traps.
pub fn emit_door(masm: &mut Masm, site: &SiteLabels, door: &Door<'_>) {
    const BLOCK: regs::Gpr = regs::CONTINUATION;
    let large = (door.frame_size > UNTESTED_FRAME).then(|| masm.label());
    match door.kind {
        DoorKind::Direct => {
            masm.bind_named(site.door, format!("door{}", door.site));
            masm.enter_frame();
            masm.bind_named(site.tier0_door, format!("door{}.tier0", door.site));
        }
        DoorKind::Refill => {
            masm.bind_named(site.door, format!("refill{}", door.site));
            masm.bind(site.tier0_door);
        }
    }
    match large {
        Some(overflow) => masm.make_room(door.frame_size, overflow),
        None => {
            let size = door.frame_size.cast_signed();
            masm.lea(Width::W64, regs::STACK, Mem::new(regs::FRAME, -size));
        }
    }
    if let Some(slot) = door.counter {
        masm.mov(Width::W32, regs::RAX, Mem::new(BLOCK, offsets::COUNTER));
        masm.store(Width::W32, slot, regs::RAX);
    }
    copy_image(
        masm,
        door.image,
        |word| door.landing.is_none_or(|landing| landing.slots[word]),
        Direction::ToFrame,
    );
    let mut places = Places::results();
    for &ty in door.results {
        let width = if ty.is_64() { Width::W64 } else { Width::W32 };
        let kept = |n: usize| {
            let n = i32::try_from(n).expect("there are four result registers");
            Mem::context(offsets::RESULTS + 8 * n)
        };
        match places.next(ty) {
            Place::Int(n) => {
                let n = usize::from(n);
                masm.mov(width, regs::RESULTS[n], kept(n));
            }
            Place::Float(n) => {
                let n = usize::from(n);
                masm.fload(
                    width,
                    regs::FLOAT_RESULT_REGISTERS[n],
                    kept(regs::RESULTS.len() + n),
                );
            }
            // the code at the return point reads it from the transfer area, as after an ordinary call
            Place::Transfer(_) => {}
        }
    }
    let mut target = site.resumption;
    if let Some(landing) = door.landing {
        // the block's own register last
        let own = |&&(_, register): &&(u32, Register)| register == Register::Int(BLOCK);
        let (last, first): (Vec<_>, Vec<_>) = landing.loads.iter().partition(own);
        for &(word, register) in first.into_iter().chain(last) {
            let place = Mem::new(BLOCK, image_word(word as usize));
            match register {
                Register::Int(register) => masm.mov(Width::W64, register, place),
                Register::Float(register) => masm.fload(Width::W64, register, place),
            }
        }
        target = landing.label;
    }
    masm.jmp(target);

    if let Some(overflow) = large {
        let trap = masm.trap_site(TrapCode::StackOverflow, door.at);
        masm.defer(move |masm| {
            masm.bind(overflow);
            masm.reset_stack();
            masm.jmp(trap);
        });
    }
}

/// A resumed frame of that many bytes is made without a test of the stack limit: it may reach so far into the room that
/// helpers have below the limit, and what it calls tests again. Must leave most of `runtime::helpers::HELPER_STACK`.
pub const UNTESTED_FRAME: u32 = 256;

/// The tier-0 resume entry: goes to the site's refill door if the resume address is null, else leaves for optimized code by
/// the non-local jump.
///
/// # Machine contract
/// *On entry* (a call): `rdi` the continuation, `r15` the context. *On exit*: `rbp` the frame register of a tier-0 frame
/// without contents, `rdi` and `r15` as they were; whoever is jumped to makes room below `rbp` and tests the stack limit.
/// (In the patchpoint modes the helper is called with the whole tier-0 frame made.)
pub fn emit_tier0_resume_entry(
    masm: &mut Masm,
    entry: Label,
    frame_size: u32,
    resumption: ResumptionPath,
) {
    let jump = masm.label();
    masm.bind_named(entry, "resume");
    masm.enter_frame();
    masm.mov(
        Width::W64,
        regs::RAX,
        Mem::new(regs::CONTINUATION, offsets::RESUME_ADDRESS),
    );
    masm.test(Width::W64, regs::RAX, regs::RAX);
    masm.jcc(Cc::NotEqual, jump);
    masm.mov(
        Width::W64,
        regs::RAX,
        Mem::new(regs::CONTINUATION, offsets::SITE),
    );
    masm.comment("first word of a site: its refill door");
    masm.jmp_to(Mem::new(regs::RAX, 0));
    masm.bind_named(jump, "resume.jump");
    match resumption {
        ResumptionPath::ViaTier0 | ResumptionPath::Direct => {
            masm.comment("the non-local jump");
            masm.jmp_to(regs::RAX);
        }
        ResumptionPath::Patchpoint | ResumptionPath::PatchpointFp => {
            // no room even for this frame: the door finds out again, and traps
            let overflow = masm.label();
            masm.make_room(frame_size, overflow);
            masm.call_helper(offsets::HELPER_PATCHPOINT_RESUME);
            masm.int3();
            masm.bind(overflow);
            masm.jmp_to(regs::RAX);
        }
    }
}
