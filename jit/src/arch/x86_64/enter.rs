//! Rust to guest code and back.
//!
//! ```text
//!   Rust frame (dispatch loop)
//!   ├─ return address into Rust
//!   │  rbp rbx r12 r13 r14 r15       saved for Rust
//!   │  padding                        keeps the stack aligned
//!   ├─ return address into `enter`
//!   guest frame                       its saved frame register is 0: backtraces end here
//! ```

use crate::runtime::context::{VmContext, offsets};

/// How guest code left, in the registers of a C return value.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// The exit word.
    pub word: u64,
    /// The context that was current when it left.
    pub context: *mut VmContext,
}

/// Calls `target` with `argument` in the continuation register.
///
/// # Machine contract
/// *On entry* (C convention): context, address of guest code, argument. *At the target*: `r15` = context, `rdi` = argument,
/// `rbp` = 0, stack as after a call. *On exit*: result registers are in [`VmContext::results`] of the context that is
/// current then. *Clobbers*: what the C convention lets a function clobber.
///
/// # Safety
/// 1. `target` is a resume door, a tier-0 resume entry (`argument` is a continuation made for it, owned by the caller, who
///    gives it up) or an entry stub (`argument` points to its arguments).
/// 2. `context` is the live context of the instance that code belongs to, and nobody else uses its store meanwhile.
/// 3. `context.stack_limit` is set for this thread.
#[unsafe(naked)]
pub unsafe extern "C" fn enter(context: *mut VmContext, target: usize, argument: usize) -> Exit {
    std::arch::naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov r15, rdi",
        "mov rdi, rdx",
        "xor ebp, ebp",
        "call rsi",
        // ecx = exit word, r15 = context, results in rax rdx xmm0 xmm1
        "mov [r15 + {results}], rax",
        "mov [r15 + {results} + 8], rdx",
        "movsd [r15 + {results} + 16], xmm0",
        "movsd [r15 + {results} + 24], xmm1",
        "mov eax, ecx",
        "mov rdx, r15",
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        results = const offsets::RESULTS,
    )
}
