//! The old way back into OSR code, kept to measure against: through the patchpoint helper.
//!
//! Tier-0's resume entry has built its frame and found a resume address; instead of jumping there it calls the helper. The
//! helper's register context is captured ([`non_local_jump`](crate::arch::x86_64::non_local_jump)), the tier-0 frame is
//! found from it by interpreting call frame information (or by its frame register), the OSR code is looked up by code
//! version and Wasm offset, and the context is changed to go on there. Nothing is cached that a runtime that unwinds here
//! would not cache, and nothing is done twice.

use super::context::VmContext;
use crate::{
    arch::x86_64::non_local_jump::{R15, RBP, RDI, RSP, RegisterContext},
    code::{
        cfi::dwarf_register,
        draft::CodeKind,
        published::{PublishedCode, Site},
    },
    options::ResumptionPath,
};
use gimli::{
    BaseAddresses, CfaRule, EhFrame, LittleEndian, ReaderOffset, Register, RegisterRule,
    UnwindContext, UnwindContextStorage, UnwindSection, UnwindTableRow,
};
use midair_continuation::Header;

/// Changes `registers`, captured in the helper called by a tier-0 resume entry, so that the continuation goes on in its OSR
/// code.
///
/// # Panics
/// Never in a consistent process: what it looks up was published before a continuation could point to it. (A panic here
/// aborts, as guest frames lie above.)
///
/// # Safety
/// Only `patchpoint_resume` calls it, with the context it has captured.
pub unsafe extern "C" fn find_osr_code(registers: *mut RegisterContext) {
    // SAFETY: the caller's own memory.
    let registers = unsafe { &mut *registers };
    let context = std::ptr::with_exposed_provenance_mut::<VmContext>(address(registers.gpr[R15]));
    // SAFETY: the context register of guest code.
    let context = unsafe { &mut *context };
    context.helper_calls = context.helper_calls.wrapping_add(1);
    // SAFETY: kept alive by the instance whose code is running.
    let module = unsafe { &*context.module };
    let pc = address(registers.rip);
    let tier0 = module
        .shared
        .pc_table
        .lookup(pc)
        .expect("called by tier-0 code");
    let frame = match module.shared.options.resumption {
        // SAFETY: the captured registers are those of the frame that `pc` lies in.
        ResumptionPath::Patchpoint => unsafe { frame_by_cfi(&tier0, registers) },
        ResumptionPath::PatchpointFp | ResumptionPath::ViaTier0 | ResumptionPath::Direct => {
            address(registers.gpr[RBP])
        }
    };

    let continuation = std::ptr::with_exposed_provenance::<Header>(address(registers.gpr[RDI]));
    // SAFETY: the continuation register at a resume entry.
    let site = unsafe { (*continuation).site }.cast::<Site>();
    // SAFETY: a guest continuation's site lives as long as its code.
    let site = unsafe { &*site };
    let CodeKind::Osr(entry) = site.kind else {
        unreachable!("only OSR continuations have a resume address here")
    };
    let osr = module
        .published_osr(tier0.func, entry)
        .expect("published before it could suspend");
    // one operator can be several suspension points of OSR code, which repeats the rest of enclosing iterations; the
    // continuation says which it was
    debug_assert!(
        osr.sites.iter().any(|known| std::ptr::eq(known, site)),
        "the site is of the code that was found"
    );

    registers.gpr[RBP] = frame as u64;
    registers.gpr[RSP] = (frame - tier0.frame_size as usize) as u64;
    registers.rip = site.tier0_door as u64;
}

fn address(register: u64) -> usize {
    usize::try_from(register).expect("registers have 64 bits, and so have addresses")
}

/// Room for unwinding without the heap: our tables have a handful of rules and remember no rows.
struct OnStack;

impl<T: ReaderOffset> UnwindContextStorage<T> for OnStack {
    type Rules = [(Register, RegisterRule<T>); 8];
    type Stack = [UnwindTableRow<T, Self>; 2];
}

/// The frame register of the frame that the captured context stands in, computed from its canonical frame address.
///
/// # Safety
/// `registers` are those of a live frame of `code`.
unsafe fn frame_by_cfi(code: &PublishedCode, registers: &RegisterContext) -> usize {
    let table = EhFrame::new(code.eh_frame(), LittleEndian);
    let bases = BaseAddresses::default();
    let mut unwind = UnwindContext::<usize, OnStack>::new_in();
    let row = table
        .unwind_info_for_address(&bases, &mut unwind, registers.rip, EhFrame::cie_from_offset)
        .expect("the table covers its code");
    let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else {
        unreachable!("our tables use no expressions")
    };
    let number = (0..16)
        .find(|&n| dwarf_register(n) == register)
        .expect("a general register");
    let cfa = address(registers.gpr[number].wrapping_add_signed(offset));
    let Some(RegisterRule::Offset(saved)) = row.register(gimli::X86_64::RBP) else {
        unreachable!("a frame has saved its caller's frame register")
    };
    // our frame register points to where the caller's is saved
    cfa.wrapping_add_signed(isize::try_from(saved).expect("a small offset"))
}
