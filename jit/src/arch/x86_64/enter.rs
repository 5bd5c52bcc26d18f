//! Rust to guest code and back.
//!
//! ```text
//!   Rust frame (dispatch loop): whatever it needs of rbx, r12..r15 it has saved itself, where it was inlined to
//!   ├─ rbx rbp                        the two that an asm block cannot say it loses
//!   ├─ return address into the Rust function
//!   guest frame                       its saved frame register is 0: backtraces end here
//! ```
//!
//! This is an inlined block and not a function: the six registers that a function would save and restore at each entry are
//! saved once, outside of whatever loop resumes calls.

use crate::runtime::context::VmContext;

/// How guest code left.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    /// The exit word.
    pub word: u32,
    /// The context that was current when it left.
    pub context: *mut VmContext,
    /// What its result registers held: results if it returned.
    ints: [u64; 2],
    floats: [f64; 2],
}

impl Exit {
    /// Guest code has returned: its results wait in the context for whoever goes on.
    ///
    /// # Safety
    /// The context is live, and nobody else uses its store meanwhile.
    #[inline(always)]
    pub unsafe fn keep_results(&self) {
        let [int0, int1] = self.ints;
        let [float0, float1] = self.floats;
        // SAFETY: the caller's.
        unsafe { (*self.context).results = [int0, int1, float0.to_bits(), float1.to_bits()] };
    }
}

/// Calls `target` with `argument` in the continuation register.
///
/// # Machine contract
/// *At the target*: `r15` = context, `rdi` = argument, `rbp` = 0, stack as after a call. *On exit*: `r15` = the context that
/// is current then, `edx` = exit word, result registers as guest code left them. *Clobbers*: every register but the stack's,
/// and `rbx` and `rbp`, which are restored.
///
/// # Safety
/// 1. `target` is a resume door, a tier-0 resume entry (`argument` is a continuation made for it, owned by the caller, who
///    gives it up) or an entry stub (`argument` points to its arguments).
/// 2. `context` is the live context of the instance that code belongs to, and nobody else uses its store meanwhile.
/// 3. `context.stack_limit` is set for this thread.
#[inline(always)]
pub unsafe fn enter(context: *mut VmContext, target: usize, argument: usize) -> Exit {
    let word: u32;
    let left: *mut VmContext;
    let (int0, int1): (u64, u64);
    let (float0, float1): (f64, f64);
    // SAFETY: (1), (2), (3). The block names every register that guest code loses.
    unsafe {
        std::arch::asm!(
            "push rbx",
            "push rbp",
            "xor ebp, ebp",
            "call rsi",
            "pop rbp",
            "pop rbx",
            inout("r15") context => left,
            inout("rdi") argument => _,
            inout("rsi") target => _,
            lateout("rax") int0,
            lateout("rcx") int1,
            lateout("edx") word,
            lateout("xmm0") float0,
            lateout("xmm1") float1,
            lateout("r12") _,
            lateout("r13") _,
            lateout("r14") _,
            clobber_abi("C"),
        );
    }
    Exit {
        word,
        context: left,
        ints: [int0, int1],
        floats: [float0, float1],
    }
}
