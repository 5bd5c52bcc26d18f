//! What a thread knows: the leaf that is polled on it, and how much stack guests may use.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "this thread is asked for in the call that uses it"
)]

use crate::{error::NotCurrent, store::StoreCore};
use midair_jit::runtime::{context::VmContext, helpers::HELPER_STACK};
use std::{
    cell::Cell,
    ptr::{self, NonNull},
};

/// Which leaf is polled on this thread right now.
#[derive(Clone, Copy)]
struct Current {
    core: NonNull<StoreCore>,
    store: u64,
    /// 0: none of its leaves, but it is being used here.
    number: u64,
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
    /// Lowest address guest code may use on this thread's stack; 0: not known yet.
    static STACK_LOW: Cell<usize> = const { Cell::new(0) };
}

/// Runs `body` while leaf `number` of a store is the one that is polled on this thread.
pub(crate) fn with_current<R>(
    core: NonNull<StoreCore>,
    number: u64,
    body: impl FnOnce() -> R,
) -> R {
    struct Restore(Option<Current>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    // SAFETY: the caller uses the store.
    let store = unsafe { (*core.as_ptr()).id };
    let _restore = Restore(CURRENT.replace(Some(Current {
        core,
        store,
        number,
    })));
    body()
}

/// The store of leaf `number`, if that leaf is being polled on this thread; it is not current while the guard lives.
pub(crate) fn current(store: u64, number: u64) -> Result<NonNull<StoreCore>, NotCurrent> {
    match CURRENT.get() {
        Some(current) if current.store == store && current.number == number => Ok(current.core),
        _ => Err(NotCurrent::AsyncCaller),
    }
}

/// A store, if it is being used on this thread.
pub(crate) fn current_store(store: u64) -> Option<NonNull<StoreCore>> {
    CURRENT
        .get()
        .filter(|current| current.store == store)
        .map(|current| current.core)
}

/// The lowest address guest code may use: set for this thread, and no more than `max` bytes from here.
#[inline(always)]
pub(crate) fn stack_limit(max: usize) -> usize {
    let here = here();
    let mut low = STACK_LOW.get();
    if low == 0 {
        low = thread_stack_low();
        STACK_LOW.set(low);
    }
    low.max(here.saturating_sub(max))
}

/// Whether a poll of a host future beneath another one has no more room on this thread's stack than guest code may use.
pub(crate) fn stack_is_short() -> bool {
    here() < stack_limit(usize::MAX)
}

/// Whether there is as much room on the stack as a resumed call should have, so that its limit may stay as it is.
///
/// # Safety
/// The context is live.
#[inline(always)]
pub(crate) unsafe fn is_roomy(context: *const VmContext) -> bool {
    // SAFETY: the caller's.
    here() >= unsafe { (*context).resume_floor }
}

/// About where the stack pointer is.
#[inline(always)]
pub(super) fn here() -> usize {
    let here: usize;
    // SAFETY: reads a register.
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) here, options(nomem, nostack, preserves_flags));
    };
    here
}

/// The end of this thread's stack, and room for helpers.
#[cold]
fn thread_stack_low() -> usize {
    // SAFETY: all zeros is a valid value to be overwritten.
    let mut attributes = unsafe { std::mem::zeroed::<libc::pthread_attr_t>() };
    // SAFETY: this thread.
    let found = unsafe { libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) };
    if found != 0 {
        // unknown: only the distance from here counts
        return 1;
    }
    let mut low = ptr::null_mut();
    let mut size = 0;
    // SAFETY: initialized above.
    unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size) };
    // SAFETY: initialized above, used no longer.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    low.addr() + HELPER_STACK + 4 * 4096
}
