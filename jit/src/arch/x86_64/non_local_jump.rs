//! The non-local jump, for code that cannot jump by itself: leave every frame below a recorded one and go on there.
//!
//! Tier-0's patchpoint, its resume entry and the resume doors *are* jumps (`jmp rax`, in their own code). This file serves
//! [`ResumptionPath::Patchpoint`](crate::options::ResumptionPath::Patchpoint) alone, which captures the whole register
//! context, lets Rust find where to go, and restores it there.

/// Every register guest code may use, as captured and restored.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub struct RegisterContext {
    /// `xmm0`..`xmm15`.
    pub xmm: [[u64; 2]; 16],
    /// `rax rcx rdx rbx rsp rbp rsi rdi r8`..`r15`, by their numbers.
    pub gpr: [u64; 16],
    /// The instruction pointer.
    pub rip: u64,
}

/// Number of the stack register in [`RegisterContext::gpr`].
pub const RSP: usize = 4;
/// Number of the frame register.
pub const RBP: usize = 5;
/// Number of the continuation register.
pub const RDI: usize = 7;
/// Number of the context register.
pub const R15: usize = 15;

const SIZE: usize = size_of::<RegisterContext>();
const GPR: usize = std::mem::offset_of!(RegisterContext, gpr);
const RIP: usize = std::mem::offset_of!(RegisterContext, rip);

/// Called by the tier-0 resume entry with a continuation whose resume address is set. Captures the registers as they were
/// at the call, asks Rust to change them, and restores them: it returns to wherever they say.
///
/// # Machine contract
/// *On entry*: by a call from tier-0 code; `rdi` = continuation, `r15` = context, `rbp` = its frame, stack aligned before
/// the call. *On exit*: never to the caller; all registers but `rax` are those of the changed context.
///
/// # Safety
/// Only tier-0 resume entries call it.
#[unsafe(naked)]
pub unsafe extern "C" fn patchpoint_resume() {
    std::arch::naked_asm!(
        // [rsp] = return address; the context goes below it, 16-aligned
        "sub rsp, {room}",
        "movaps [rsp], xmm0",
        "movaps [rsp + 16], xmm1",
        "movaps [rsp + 32], xmm2",
        "movaps [rsp + 48], xmm3",
        "movaps [rsp + 64], xmm4",
        "movaps [rsp + 80], xmm5",
        "movaps [rsp + 96], xmm6",
        "movaps [rsp + 112], xmm7",
        "movaps [rsp + 128], xmm8",
        "movaps [rsp + 144], xmm9",
        "movaps [rsp + 160], xmm10",
        "movaps [rsp + 176], xmm11",
        "movaps [rsp + 192], xmm12",
        "movaps [rsp + 208], xmm13",
        "movaps [rsp + 224], xmm14",
        "movaps [rsp + 240], xmm15",
        "mov [rsp + {gpr}], rax",
        "mov [rsp + {gpr} + 8], rcx",
        "mov [rsp + {gpr} + 16], rdx",
        "mov [rsp + {gpr} + 24], rbx",
        "mov [rsp + {gpr} + 40], rbp",
        "mov [rsp + {gpr} + 48], rsi",
        "mov [rsp + {gpr} + 56], rdi",
        "mov [rsp + {gpr} + 64], r8",
        "mov [rsp + {gpr} + 72], r9",
        "mov [rsp + {gpr} + 80], r10",
        "mov [rsp + {gpr} + 88], r11",
        "mov [rsp + {gpr} + 96], r12",
        "mov [rsp + {gpr} + 104], r13",
        "mov [rsp + {gpr} + 112], r14",
        "mov [rsp + {gpr} + 120], r15",
        "mov rax, [rsp + {room}]",
        "mov [rsp + {rip}], rax",
        "lea rax, [rsp + {room} + 8]",
        "mov [rsp + {gpr} + 32], rax",
        "mov rdi, rsp",
        "call {find}",
        // the context now says where to go; its own memory lies below the new stack pointer
        "mov rax, [rsp + {gpr} + 32]",
        "mov rcx, [rsp + {rip}]",
        "mov [rax - 8], rcx",
        "movaps xmm0, [rsp]",
        "movaps xmm1, [rsp + 16]",
        "movaps xmm2, [rsp + 32]",
        "movaps xmm3, [rsp + 48]",
        "movaps xmm4, [rsp + 64]",
        "movaps xmm5, [rsp + 80]",
        "movaps xmm6, [rsp + 96]",
        "movaps xmm7, [rsp + 112]",
        "movaps xmm8, [rsp + 128]",
        "movaps xmm9, [rsp + 144]",
        "movaps xmm10, [rsp + 160]",
        "movaps xmm11, [rsp + 176]",
        "movaps xmm12, [rsp + 192]",
        "movaps xmm13, [rsp + 208]",
        "movaps xmm14, [rsp + 224]",
        "movaps xmm15, [rsp + 240]",
        "mov rcx, [rsp + {gpr} + 8]",
        "mov rdx, [rsp + {gpr} + 16]",
        "mov rbx, [rsp + {gpr} + 24]",
        "mov rbp, [rsp + {gpr} + 40]",
        "mov rsi, [rsp + {gpr} + 48]",
        "mov rdi, [rsp + {gpr} + 56]",
        "mov r8, [rsp + {gpr} + 64]",
        "mov r9, [rsp + {gpr} + 72]",
        "mov r10, [rsp + {gpr} + 80]",
        "mov r11, [rsp + {gpr} + 88]",
        "mov r12, [rsp + {gpr} + 96]",
        "mov r13, [rsp + {gpr} + 104]",
        "mov r14, [rsp + {gpr} + 112]",
        "mov r15, [rsp + {gpr} + 120]",
        "mov rsp, rax",
        "jmp [rsp - 8]",
        room = const ROOM,
        gpr = const GPR,
        rip = const RIP,
        find = sym crate::runtime::old_path::find_osr_code,
    )
}

/// The context, and 8 bytes that align it below the return address.
const ROOM: usize = SIZE + 8;

const _: () = assert!(SIZE.is_multiple_of(16), "ROOM aligns the context");
