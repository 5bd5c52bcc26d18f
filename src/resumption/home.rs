//! Taking the right to run a call to this thread.

use super::{
    state::{CANCELLED, LOADED, LOCKED, ORPHAN, OwnedCall, WATCHED},
    thread::{HERE, THREAD, this_thread},
};
use crate::store::StoreCore;
use std::{ptr::NonNull, sync::atomic::Ordering};

/// Whether whoever holds the token may run the call.
pub(super) enum Right {
    Yes,
    /// The handle has cancelled it; only the store is left to be freed.
    Cancelled,
    /// The handle is gone; the call is to be cancelled here.
    Orphaned,
}

impl OwnedCall {
    /// Takes the right to run the call to this thread.
    ///
    /// # Safety
    /// The caller holds the token's right.
    #[inline]
    pub(super) unsafe fn take_home(core: NonNull<StoreCore>) -> Right {
        // SAFETY: the caller's.
        let call = unsafe { Self::of(core) };
        // a thread without a number is nobody's home
        let home = call.home.load(Ordering::Relaxed);
        if home & !(WATCHED | LOADED) == THREAD.get() {
            if HERE.get() == 0 {
                HERE.set(THREAD.get());
            }
            // what it was parked with is taken now; if that fails, the handle is just going
            if home & LOADED == 0 || call.replace_home(home, home & !LOADED) {
                return Right::Yes;
            }
        }
        // SAFETY: the caller's.
        unsafe { Self::move_home(core) }
    }

    /// # Safety
    /// As for `take_home`.
    #[cold]
    unsafe fn move_home(core: NonNull<StoreCore>) -> Right {
        // SAFETY: the caller's.
        let call = unsafe { Self::of(core) };
        let mut before = call.home.load(Ordering::Acquire);
        loop {
            match before {
                CANCELLED => return Right::Cancelled,
                ORPHAN => return Right::Orphaned,
                LOCKED => {
                    // the handle looks at the chain, on another thread
                    std::thread::yield_now();
                    before = call.home.load(Ordering::Acquire);
                    continue;
                }
                _ => (),
            }
            let moved = call.home.compare_exchange(
                before,
                // SAFETY: the store's `watched` never changes.
                unsafe { Self::home_here(core) },
                Ordering::AcqRel,
                Ordering::Acquire,
            );
            match moved {
                Ok(_) => break,
                Err(now) => before = now,
            }
        }
        // stack limits were those of the other thread
        // SAFETY: the right is here.
        unsafe { &mut *core.as_ptr() }.forget_stack_limits();
        Right::Yes
    }

    pub(super) fn replace_home(&self, before: usize, after: usize) -> bool {
        self.home
            .compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Replaces `home`, if it is this thread. Gives what it was.
    pub(super) fn leave_home(&self, after: usize) -> Option<usize> {
        let home = self.home.load(Ordering::Relaxed);
        (home & !(WATCHED | LOADED) == this_thread() && self.replace_home(home, after))
            .then_some(home)
    }

    /// What `home` is while the call runs on this thread.
    ///
    /// # Safety
    /// The store is alive.
    pub(super) unsafe fn home_here(core: NonNull<StoreCore>) -> usize {
        // SAFETY: the caller's; this never changes.
        let watched = unsafe { (*core.as_ptr()).watched };
        this_thread() | if watched { WATCHED } else { 0 }
    }
}
