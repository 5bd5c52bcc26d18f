//! The guest has left: who goes on with its call.

use super::{
    home::Right,
    state::{LEAVING, LOADED, OFFERED, OPEN, OwnedCall, PARKED_FUTURE, Parking},
    thread::{Answer, FIRST_THREAD, HERE, THREAD, answer_of},
    token::Resumption,
};
use crate::{
    dispatch::Outcome,
    error::Pending,
    host::{LeafKind, context_of, vtable_of},
    store::StoreCore,
    task_context,
};
use midair_continuation::Header;
use midair_executor::{
    context::Context as TaskContext,
    resumption::{bind_here, is_bound_here},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr::NonNull,
    sync::atomic::Ordering,
};

impl OwnedCall {
    /// The guest has left: hands the call to whoever goes on with it. The answer says if that is this loop; if it is `None`,
    /// the call is not ours any more.
    ///
    /// # Safety
    /// The caller has the right to run the call, on this thread.
    #[inline(never)]
    pub(super) unsafe fn park(core: NonNull<StoreCore>, mut outcome: Outcome) -> Answer {
        loop {
            let leaf = match outcome {
                Outcome::Suspended(leaf) => leaf,
                Outcome::Returned(_) | Outcome::Trapped => {
                    // SAFETY: ours to run.
                    unsafe { Self::done(core, outcome) };
                    return Answer::None;
                }
            };
            // SAFETY: the leaf of the chain that was just parked.
            let vtable = unsafe { vtable_of(leaf) };
            // SAFETY: ours to run.
            let call = unsafe { &mut (*core.as_ptr()).call };
            call.leaf = leaf.as_ptr();
            match vtable.kind {
                // SAFETY: ours to run, and given up.
                LeafKind::Awaiter => return unsafe { Self::park_token(core, leaf) },
                LeafKind::Future => {
                    // SAFETY: the chain that was just parked.
                    unsafe { task_context::park(leaf) };
                    // SAFETY: ours to run, and given up.
                    unsafe { Self::offer(core) };
                    return Answer::None;
                }
                LeafKind::Yield => {
                    // SAFETY: the same leaf.
                    let context = unsafe { context_of(leaf) };
                    // SAFETY: ours to run; a forced suspension has no payload.
                    outcome = unsafe { StoreCore::leaf_done(core, context, leaf, Ok(())) };
                }
            }
        }
    }

    /// The guest waits for an awaiter, which gets the token.
    ///
    /// # Safety
    /// As for `park`; `leaf` is the awaiter's.
    #[inline(always)]
    pub(super) unsafe fn park_token(core: NonNull<StoreCore>, leaf: NonNull<Header>) -> Answer {
        // SAFETY: ours to run; nobody but its token enters it while it is parked.
        unsafe { StoreCore::mark_straight(core, leaf) };
        // SAFETY: ours to run.
        let call = unsafe { &mut (*core.as_ptr()).call };
        call.leaf = leaf.as_ptr();
        if !TaskContext::current_is_empty() || !is_bound_here(&call.task) {
            // SAFETY: ours to run.
            return unsafe { Self::park_bound(core, leaf) };
        }
        // SAFETY: ours to run.
        unsafe { Self::tell(core, leaf) }
    }

    /// As `park_token`, for a leaf that is straight still: [`HERE`] says that this call runs, and this thread's
    /// number again afterwards.
    ///
    /// # Safety
    /// As for `park_token`.
    #[inline(always)]
    pub(super) unsafe fn park_straight(core: NonNull<StoreCore>, leaf: NonNull<Header>) {
        // SAFETY: ours to run.
        let call = unsafe { &mut (*core.as_ptr()).call };
        if !TaskContext::current_is_empty() || !is_bound_here(&call.task) {
            // SAFETY: ours to run.
            return unsafe { Self::run_on(core, Outcome::Suspended(leaf)) };
        }
        call.leaf = leaf.as_ptr();
        // SAFETY: the leaf of the chain that was just parked.
        let vtable = unsafe { vtable_of(leaf) };
        let parking = Parking::new(&call.state);
        // SAFETY: an awaiter's leaf; the token is the only one.
        let told = catch_unwind(AssertUnwindSafe(|| unsafe {
            (vtable.on_completed)(leaf, Resumption::owned(core), parking);
        }));
        if told.is_err() {
            // SAFETY: ours to run if the token came back.
            return unsafe { Self::came_back_straight(core, told) };
        }
        if HERE.get() != core.addr().get() {
            // SAFETY: ours to run if the token came back.
            return unsafe { Self::came_back_straight(core, Ok(())) };
        }
        if !TaskContext::current_is_empty() {
            drop(Nobody);
        }
        HERE.set(THREAD.get());
    }

    /// As `came_back`; goes on with it.
    ///
    /// # Safety
    /// The same.
    #[cold]
    #[inline(never)]
    unsafe fn came_back_straight(core: NonNull<StoreCore>, told: Result<(), crate::host::Panic>) {
        let after = HERE.replace(THREAD.get());
        // SAFETY: the caller's.
        let answer = unsafe { Self::came_back(core, after, told) };
        // SAFETY: the token came back, if there is an answer.
        unsafe { Self::go_on(core, answer) };
    }

    /// Gives an awaiter its token.
    ///
    /// # Safety
    /// As for `park`; the chain begins at `leaf`, the awaiter's.
    #[inline(always)]
    unsafe fn tell(core: NonNull<StoreCore>, leaf: NonNull<Header>) -> Answer {
        // SAFETY: the leaf of the chain that was just parked.
        let vtable = unsafe { vtable_of(leaf) };
        // SAFETY: ours to run.
        let call = unsafe { &mut (*core.as_ptr()).call };
        let parking = Parking::new(&call.state);
        let before = HERE.replace(core.addr().get());
        // SAFETY: an awaiter's leaf; the token is the only one.
        let told = catch_unwind(AssertUnwindSafe(|| unsafe {
            (vtable.on_completed)(leaf, Resumption::owned(core), parking);
        }));
        let after = HERE.replace(before);
        if told.is_ok() && after == core.addr().get() && TaskContext::current_is_empty() {
            return Answer::None;
        }
        // SAFETY: ours to run if the token came back.
        unsafe { Self::came_back(core, after, told) }
    }

    /// Parks a call at an awaiter, with what it takes along: its task-locals, which are nobody's here afterwards, and this
    /// thread's executor.
    ///
    /// # Safety
    /// As for `park`; `leaf` is the awaiter's.
    #[cold]
    unsafe fn park_bound(core: NonNull<StoreCore>, leaf: NonNull<Header>) -> Answer {
        // SAFETY: ours to run.
        let call = unsafe { &mut (*core.as_ptr()).call };
        if !is_bound_here(&call.task) {
            bind_here(&mut call.task);
        }
        // SAFETY: the chain that was just parked.
        unsafe { task_context::park_shared(leaf) };
        if !TaskContext::current_is_empty() {
            let home = call.home.load(Ordering::Relaxed);
            // if it is no thread any more, whoever comes next takes the longer way anyhow
            let _replaced = home >= FIRST_THREAD && call.replace_home(home, home | LOADED);
        }
        // SAFETY: ours to run.
        unsafe { Self::tell(core, leaf) }
    }

    /// The token came back on this thread, or `on_completed` panicked. If both, the call is ours and ends with the panic; if
    /// only the panic is there, it is all there is to pass on.
    ///
    /// # Safety
    /// `after` is what [`HERE`] was at the end; the caller has the right to run the call if it says so.
    #[cold]
    unsafe fn came_back(
        core: NonNull<StoreCore>,
        after: usize,
        told: Result<(), crate::host::Panic>,
    ) -> Answer {
        // what `on_completed` set is nobody's
        drop(Nobody);
        let answer = answer_of(core, after);
        let Err(panic) = told else { return answer };
        if answer == Answer::None {
            resume_unwind(panic);
        }
        // the token that came back may not be the one that was given out, nor the call parked where it was then
        // SAFETY: the token's right is here.
        match unsafe { Self::take_home(core) } {
            Right::Yes => (),
            right => {
                // SAFETY: the token's right is given up.
                unsafe { Self::no_right(core, right) };
                resume_unwind(panic);
            }
        }
        // SAFETY: ours to run.
        let store = unsafe { &mut *core.as_ptr() };
        store.set_pending(Pending::Panic(panic), Default::default());
        // a second panic, of a payload's destructor, is only reported
        drop(store.release_call());
        // SAFETY: ours to run.
        unsafe { Self::done(core, Outcome::Trapped) };
        Answer::None
    }

    /// Offers the call to its handle, which is to poll a future; the last thing this thread does with it.
    ///
    /// # Safety
    /// The caller has the right to run the call and gives it up.
    #[cold]
    unsafe fn offer(core: NonNull<StoreCore>) {
        // SAFETY: the caller's.
        if !unsafe { Self::hand_over(core, OFFERED, PARKED_FUTURE) } {
            // SAFETY: the handle is gone, the right is here.
            unsafe { Self::cancel_orphan(core) };
        }
    }

    /// Leaves the call to its handle, as the last thing this thread does with it, and wakes the handle. False if the handle
    /// is gone: the call is still this thread's.
    ///
    /// # Safety
    /// The caller has the right to run the call, and gives it up if this is true.
    pub(super) unsafe fn hand_over(core: NonNull<StoreCore>, claim: u8, state: u8) -> bool {
        // SAFETY: the caller's.
        let call = unsafe { Self::of(core) };
        call.state.store(LEAVING, Ordering::SeqCst);
        if call
            .claim
            .compare_exchange(OPEN, claim, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            return false;
        }
        // once the state is settled the handle may free the store, so the waker is taken before
        let waker = call.waker.take();
        call.state.store(state, Ordering::SeqCst);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

/// When it is dropped, no task-locals are current: those of the call that ran have gone with it.
pub(super) struct Nobody;

impl Drop for Nobody {
    #[inline]
    fn drop(&mut self) {
        if !TaskContext::current_is_empty() {
            drop(TaskContext::swap(TaskContext::empty()));
        }
    }
}
