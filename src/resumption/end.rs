//! How an owned call ends: done, or without its handle.

use super::{
    home::Right,
    park::Nobody,
    state::{DONE, FINISHED, LEFT, OPEN, ORPHANED, OwnedCall},
    thread::{Answer, HERE, answer_of},
};
use crate::{
    dispatch::{Mode, Outcome},
    store::StoreCore,
};
use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr::{self, NonNull},
    sync::atomic::Ordering,
};

impl OwnedCall {
    /// The call has ended.
    ///
    /// # Safety
    /// As for `offer`.
    #[cold]
    pub(super) unsafe fn done(core: NonNull<StoreCore>, outcome: Outcome) {
        // SAFETY: the caller's.
        let store = unsafe { &mut *core.as_ptr() };
        // the call's task-locals end with it
        drop(Nobody);
        store.activations.mode = Mode::Idle;
        store.call.leaf = ptr::null_mut();
        store.call.context = if let Outcome::Returned(context) = outcome {
            context
        } else {
            ptr::null_mut()
        };
        // SAFETY: the caller's.
        if !unsafe { Self::hand_over(core, FINISHED, DONE) } {
            // SAFETY: the handle is gone.
            unsafe { Self::free(core) };
        }
    }

    /// The handle is gone, and this thread has the right to run the call: it ends here.
    ///
    /// # Safety
    /// That.
    #[cold]
    pub(super) unsafe fn cancel_orphan(core: NonNull<StoreCore>) {
        // SAFETY: the caller's.
        let store = unsafe { &mut *core.as_ptr() };
        let released = store.release_call();
        // SAFETY: the caller's.
        unsafe { Self::free(core) };
        if let Err(panic) = released
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }

    /// The token of a call whose handle is gone, or going, is used or dropped: whoever comes last cancels the call.
    ///
    /// # Safety
    /// The caller holds the token's right and gives it up; `home` is [`ORPHAN`](super::state::ORPHAN).
    #[cold]
    unsafe fn token_of_orphan(core: NonNull<StoreCore>) {
        // SAFETY: alive until the second of the two comes here.
        let claim = &unsafe { Self::of(core) }.claim;
        if claim
            .compare_exchange(OPEN, LEFT, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // SAFETY: the handle was here before.
            unsafe { Self::cancel_orphan(core) };
        }
    }

    /// The token of a cancelled call is used or dropped: whoever comes last frees the store.
    ///
    /// # Safety
    /// The caller holds the token's right and gives it up; `home` is [`CANCELLED`](super::state::CANCELLED).
    #[cold]
    unsafe fn token_of_cancelled(core: NonNull<StoreCore>) {
        // SAFETY: alive until the second of the two comes here.
        if unsafe { Self::of(core) }
            .claim
            .swap(FINISHED, Ordering::AcqRel)
            == ORPHANED
        {
            // SAFETY: the handle was here before.
            unsafe { Self::free(core) };
        }
    }

    /// # Safety
    /// Nobody uses the store any more.
    pub(super) unsafe fn free(core: NonNull<StoreCore>) {
        // SAFETY: the caller's.
        let drop_store = unsafe { (*core.as_ptr()).drop_store };
        // SAFETY: the caller's.
        unsafe { drop_store(core) };
    }

    /// The token is no good any more: its handle is gone, or has cancelled the call.
    ///
    /// # Safety
    /// The caller holds the token's right and gives it up; `right` is what became of it.
    #[cold]
    pub(super) unsafe fn no_right(core: NonNull<StoreCore>, right: Right) -> Answer {
        if let Right::Cancelled = right {
            // SAFETY: the caller's.
            unsafe { Self::token_of_cancelled(core) };
        } else {
            // SAFETY: the caller's.
            unsafe { Self::token_of_orphan(core) };
        }
        Answer::None
    }

    /// Drops the chain of a parked call whose token is out and inert; the store goes with the token.
    ///
    /// # Safety
    /// The caller has the handle and has set `home` to [`CANCELLED`](super::state::CANCELLED).
    #[cold]
    pub(super) unsafe fn cancel_here(core: NonNull<StoreCore>) {
        // Dropping the awaiter may drop the token, here and now; then it answers us instead of freeing the store.
        let before = HERE.replace(core.addr().get());
        // SAFETY: the caller's.
        let store = unsafe { &mut *core.as_ptr() };
        let released = NonNull::new(mem::replace(&mut store.call.leaf, ptr::null_mut()))
            .map(|leaf| catch_unwind(AssertUnwindSafe(|| store.release(leaf))));
        let answer = answer_of(core, HERE.replace(before));
        let token_gone = answer != Answer::None;
        if token_gone
            // SAFETY: alive until the second of the two comes here.
            || unsafe { Self::of(core) }
                .claim
                .swap(ORPHANED, Ordering::AcqRel)
                == FINISHED
        {
            // SAFETY: the token is gone.
            unsafe { Self::free(core) };
        }
        if let Some(Err(panic)) = released
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
