//! Running an owned call: by its token, by an executor, or by its handle, which polls a future.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use super::{
    home::Right,
    state::{OFFERED, OPEN, OwnedCall, PARKED_FUTURE, RUNNING},
    thread::{Answer, HERE, RESUMED, THREAD, answer},
};
use crate::{
    dispatch::{self, Mode, Outcome, complete},
    error::{Error, NotCurrent, Pending},
    host::{LeafKind, Panic, context_of, vtable_of},
    store::StoreCore,
    task_context::{self, Outside},
};
use midair_continuation::{Header, header::FLAG_STRAIGHT};
use midair_executor::{
    context::Context as TaskContext,
    resumption::{TaskHeader, TaskVtable},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

pub(super) static TASK: TaskVtable = TaskVtable::new(run_scheduled, cancel_scheduled);

/// # Safety
/// Scheduled by a token.
unsafe fn run_scheduled(task: NonNull<TaskHeader>) {
    let core = task.cast::<StoreCore>();
    // An awaiter's `on_completed` may panic; there is nobody on this thread to tell but the panic hook, which was told.
    // SAFETY: the queue gives the token's right back.
    drop(catch_unwind(AssertUnwindSafe(|| unsafe {
        OwnedCall::run_token(core);
    })));
}

/// # Safety
/// Scheduled by a token.
unsafe fn cancel_scheduled(task: NonNull<TaskHeader>) {
    let core = task.cast::<StoreCore>();
    // SAFETY: the queue gives the token's right back.
    drop(catch_unwind(AssertUnwindSafe(|| unsafe {
        OwnedCall::fail(core, NotCurrent::Cancelled);
    })));
}

impl OwnedCall {
    /// Resumes a call whose home is this thread, whose store is not watched, and that has no task-locals where none are current.
    ///
    /// This is the way that a call takes which awaits in a loop, written out: each step that can go another way leaves it.
    ///
    /// # Safety
    /// That, and as for `run`.
    #[inline(always)]
    pub(super) unsafe fn run_at_home(core: NonNull<StoreCore>) {
        // SAFETY: ours to run.
        let call = unsafe { &mut (*core.as_ptr()).call };
        // SAFETY: parked, so there is one.
        let leaf = unsafe { NonNull::new_unchecked(call.leaf) };
        // SAFETY: the leaf of the parked chain.
        let context = unsafe { context_of(leaf) };
        // SAFETY: the same.
        if !unsafe { dispatch::is_roomy(context) } {
            // SAFETY: the caller's.
            return unsafe { Self::run_plainly(core, leaf) };
        }
        call.state.store(RUNNING, Ordering::Relaxed);
        // while guest code runs, too: what is resumed beneath it is not its token
        HERE.set(core.addr().get());
        // SAFETY: the leaf of the parked chain.
        let vtable = unsafe { vtable_of(leaf) };
        // SAFETY: an awaiter's leaf, completed once; its context is alive.
        let completed = catch_unwind(AssertUnwindSafe(|| unsafe {
            (vtable.complete)(leaf, &mut *context);
        }));
        // SAFETY: the same leaf; a failure took the mark away.
        if completed.is_err() || unsafe { leaf.as_ref() }.flags & FLAG_STRAIGHT == 0 {
            // SAFETY: the caller's; completed just now.
            return unsafe { Self::run_completed(core, leaf, completed) };
        }
        // SAFETY: ours to run; there is room on the stack.
        match unsafe { StoreCore::resume_straight(core, leaf) } {
            // SAFETY: ours to run; a straight leaf is an awaiter's.
            Ok(leaf) => unsafe { Self::park_straight(core, leaf) },
            // SAFETY: ours to run.
            Err(outcome) => unsafe { Self::run_on(core, outcome) },
        }
    }

    /// As `run_at_home`, by the longer way.
    ///
    /// # Safety
    /// The same.
    #[cold]
    #[inline(never)]
    unsafe fn run_plainly(core: NonNull<StoreCore>, leaf: NonNull<Header>) {
        // SAFETY: ours to run.
        let call = unsafe { &mut (*core.as_ptr()).call };
        call.state.store(RUNNING, Ordering::Relaxed);
        // SAFETY: the caller's.
        let answer = unsafe { Self::turn_plain::<false>(core, leaf) };
        // SAFETY: the token came back, if there is an answer.
        unsafe { Self::go_on(core, answer) };
    }

    /// An awaiter was completed that had failed, or whose leaf is not straight.
    ///
    /// # Safety
    /// As for `run_at_home`.
    #[cold]
    #[inline(never)]
    unsafe fn run_completed(
        core: NonNull<StoreCore>,
        leaf: NonNull<Header>,
        completed: Result<(), Panic>,
    ) {
        // SAFETY: the leaf of the parked chain.
        let context = unsafe { context_of(leaf) };
        let completed = match completed {
            // SAFETY: its context is alive.
            Ok(()) => unsafe { dispatch::completed(leaf, &*context) },
            Err(panic) => Err(Pending::Panic(panic)),
        };
        let outcome = match completed {
            // SAFETY: ours to run; the payload is gone.
            Ok(()) => unsafe { StoreCore::leaf_ready::<false>(core, context, leaf) },
            // SAFETY: the same.
            Err(pending) => unsafe { StoreCore::leaf_failed(core, context, leaf, pending) },
        };
        // SAFETY: ours to run.
        unsafe { Self::run_on(core, outcome) };
    }

    /// The guest has left otherwise than by awaiting again.
    ///
    /// # Safety
    /// As for `run_at_home`.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn run_on(core: NonNull<StoreCore>, outcome: Outcome) {
        HERE.set(THREAD.get());
        // SAFETY: ours to run.
        unsafe { Self::drive(core, outcome) };
    }

    /// Resumes a call that waits for its token.
    ///
    /// # Safety
    /// The caller holds the token's right and gives it up.
    #[inline(always)]
    pub(super) unsafe fn run_token(core: NonNull<StoreCore>) {
        // two questions, and two answers: of one, the compiler would compute whether it is both
        // SAFETY: the caller's.
        if unsafe { Self::of(core) }.home.load(Ordering::Relaxed) != HERE.get() {
            // SAFETY: the caller's.
            return unsafe { Self::resume_elsewhere(core) };
        }
        if !TaskContext::current_is_empty() {
            // SAFETY: the caller's.
            return unsafe { Self::resume_from_context(core) };
        }
        // SAFETY: the caller's; no task-locals are anywhere, and nobody watches.
        unsafe { Self::run_at_home(core) };
    }

    /// A token was used where there are task-locals, which are not the call's.
    ///
    /// # Safety
    /// As for `run`.
    #[cold]
    #[inline(never)]
    unsafe fn resume_from_context(core: NonNull<StoreCore>) {
        // SAFETY: the caller's; its call is not being told of anything, or it would not be at home.
        unsafe { Self::run(core) };
    }

    /// A token was used that is not at home here, or whose use may be the answer to an `on_completed`.
    ///
    /// # Safety
    /// As for `run`.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn resume_elsewhere(core: NonNull<StoreCore>) {
        if !answer(core, RESUMED) {
            // SAFETY: the caller's.
            unsafe { Self::run(core) };
        }
    }

    /// Resumes a call that waits for its token.
    ///
    /// # Safety
    /// The caller holds the token's right and gives it up.
    unsafe fn run(core: NonNull<StoreCore>) {
        // SAFETY: the caller's.
        match unsafe { Self::turn(core) } {
            Answer::None => (),
            // SAFETY: the token came back.
            answer => unsafe { Self::go_on(core, answer) },
        }
    }

    /// Fails a call that waits for its token.
    ///
    /// # Safety
    /// As for `run`.
    #[cold]
    pub(super) unsafe fn fail(core: NonNull<StoreCore>, reason: NotCurrent) {
        // SAFETY: the caller's.
        let answer = unsafe { Self::failing_turn(core, reason) };
        // SAFETY: the token came back, if there is an answer.
        unsafe { Self::go_on(core, answer) };
    }

    /// Goes on for as long as tokens come back at once: a loop, not a recursion.
    ///
    /// # Safety
    /// The caller holds the answer of a token, and gives it up.
    #[inline(never)]
    pub(super) unsafe fn go_on(core: NonNull<StoreCore>, mut answer: Answer) {
        loop {
            answer = match answer {
                Answer::None => return,
                // SAFETY: the token came back.
                Answer::Resumed => unsafe { Self::turn(core) },
                // SAFETY: the token came back.
                Answer::Dropped => unsafe {
                    Self::failing_turn(core, NotCurrent::ResumptionDropped)
                },
            };
        }
    }

    /// One turn: takes the awaiter's result, runs the guest until it waits for something else, and hands the call on.
    ///
    /// # Safety
    /// The caller holds the token's right, or its answer, and gives it up.
    unsafe fn turn(core: NonNull<StoreCore>) -> Answer {
        // in a later turn, too: the token that came back may have been on another thread meanwhile
        // SAFETY: the token's right is here.
        match unsafe { Self::take_home(core) } {
            Right::Yes => (),
            // SAFETY: the token's right is given up.
            right => return unsafe { Self::no_right(core, right) },
        }
        // SAFETY: ours to run.
        let call = unsafe { &mut (*core.as_ptr()).call };
        call.state.store(RUNNING, Ordering::Relaxed);
        // SAFETY: parked, so there is one.
        let leaf = unsafe { NonNull::new_unchecked(call.leaf) };
        // SAFETY: the leaf of the parked chain.
        if !unsafe { task_context::is_plain(leaf) } {
            // SAFETY: the caller's.
            return unsafe { Self::turn_in_context(core, leaf) };
        }
        // SAFETY: the caller's.
        unsafe { Self::turn_plain::<true>(core, leaf) }
    }

    /// A turn with task-locals.
    ///
    /// # Safety
    /// The call is this thread's to run; it is parked at `leaf`.
    #[cold]
    unsafe fn turn_in_context(core: NonNull<StoreCore>, leaf: NonNull<Header>) -> Answer {
        // SAFETY: the caller's.
        let _outside = unsafe { Outside::replace(leaf) };
        // SAFETY: the caller's.
        unsafe { Self::turn_plain::<true>(core, leaf) }
    }

    /// # Safety
    /// As for `turn_in_context`; the call's task-locals are current. `WATCHED` may be false only if the store is not.
    #[inline(always)]
    unsafe fn turn_plain<const WATCHED: bool>(
        core: NonNull<StoreCore>,
        leaf: NonNull<Header>,
    ) -> Answer {
        // SAFETY: the leaf of the parked chain.
        let vtable = unsafe { vtable_of(leaf) };
        // SAFETY: the same.
        let context = unsafe { context_of(leaf) };
        // SAFETY: an awaiter's leaf, completed once; its context is alive.
        let outcome = match unsafe { complete(vtable, leaf, &mut *context) } {
            // SAFETY: ours to run; the payload is gone.
            Ok(()) => unsafe { StoreCore::leaf_ready::<WATCHED>(core, context, leaf) },
            // SAFETY: the same.
            Err(pending) => unsafe { StoreCore::leaf_failed(core, context, leaf, pending) },
        };
        if let Outcome::Suspended(leaf) = outcome
            // SAFETY: the leaf of the chain that was just parked.
            && unsafe { vtable_of(leaf) }.kind == LeafKind::Awaiter
        {
            // SAFETY: ours to run.
            return unsafe { Self::park_token(core, leaf) };
        }
        // SAFETY: ours to run.
        unsafe { Self::park(core, outcome) }
    }

    /// A turn in which the awaiter fails.
    ///
    /// # Safety
    /// As for `turn`.
    #[cold]
    unsafe fn failing_turn(core: NonNull<StoreCore>, reason: NotCurrent) -> Answer {
        // SAFETY: the token's right is here.
        match unsafe { Self::take_home(core) } {
            Right::Yes => (),
            // SAFETY: the token's right is given up.
            right => return unsafe { Self::no_right(core, right) },
        }
        // SAFETY: ours to run.
        let call = unsafe { &mut (*core.as_ptr()).call };
        call.state.store(RUNNING, Ordering::Relaxed);
        // SAFETY: parked, so there is one.
        let leaf = unsafe { NonNull::new_unchecked(call.leaf) };
        // SAFETY: ours to run.
        let _outside = unsafe { Outside::replace(leaf) };
        // SAFETY: the leaf of the parked chain.
        let context = unsafe { context_of(leaf) };
        // SAFETY: an awaiter's leaf, given up once.
        let pending = unsafe { give_up(leaf, reason) };
        // SAFETY: ours to run; the payload is gone.
        let outcome = unsafe { StoreCore::leaf_failed(core, context, leaf, pending) };
        // SAFETY: ours to run.
        unsafe { Self::park(core, outcome) }
    }

    /// Hands the call on, and goes on with it for as long as its tokens come back at once.
    ///
    /// # Safety
    /// The caller has the right to run the call, on this thread.
    pub(super) unsafe fn drive(core: NonNull<StoreCore>, outcome: Outcome) {
        // SAFETY: the caller's.
        let answer = unsafe { Self::park(core, outcome) };
        // SAFETY: the token came back, if there is an answer.
        unsafe { Self::go_on(core, answer) };
    }

    /// Polls the future that the call waits for, and goes on.
    ///
    /// # Safety
    /// The call is parked at a future; the caller has its handle.
    pub(super) unsafe fn poll_future(core: NonNull<StoreCore>, cx: &mut Context<'_>) {
        // SAFETY: the caller's.
        let call = unsafe { Self::of(core) };
        // SAFETY: the caller's.
        let home = unsafe { Self::home_here(core) };
        call.home.store(home, Ordering::Relaxed);
        call.state.store(RUNNING, Ordering::Relaxed);
        call.claim.store(OPEN, Ordering::Relaxed);
        let _outside = Outside::share();
        // SAFETY: parked, so there is one.
        let mut leaf = unsafe { NonNull::new_unchecked(call.leaf) };
        let mut fresh = false;
        loop {
            let mode = Mode::Poll(NonNull::from(&mut *cx).cast());
            // SAFETY: ours to run.
            let progress = unsafe { dispatch::poll_once(core, cx, mode, leaf, fresh) };
            let outcome = match progress {
                Poll::Ready(outcome) => outcome,
                Poll::Pending => {
                    // SAFETY: ours to run. No token is out, so nothing but this thread knows the call.
                    unsafe {
                        (*core.as_ptr()).call.leaf = leaf.as_ptr();
                        let call = Self::of(core);
                        call.claim.store(OFFERED, Ordering::Relaxed);
                        call.state.store(PARKED_FUTURE, Ordering::SeqCst);
                    }
                    return;
                }
            };
            match outcome {
                // SAFETY: the leaf of the chain that was just parked.
                Outcome::Suspended(next) if unsafe { vtable_of(next).kind } == LeafKind::Future => {
                    leaf = next;
                    fresh = true;
                }
                Outcome::Suspended(_) | Outcome::Returned(_) | Outcome::Trapped => {
                    // SAFETY: ours to run.
                    return unsafe { Self::drive(core, outcome) };
                }
            }
        }
    }
}

/// Drops the awaiter of a call whose token was not used; that is the error.
///
/// # Safety
/// `leaf` is a live awaiter leaf; its payload is gone afterwards.
#[cold]
unsafe fn give_up(leaf: NonNull<Header>, reason: NotCurrent) -> Pending {
    // SAFETY: the caller's.
    let drop_payload = unsafe { vtable_of(leaf) }.drop_payload();
    // SAFETY: the caller's.
    match catch_unwind(AssertUnwindSafe(|| unsafe { drop_payload(leaf) })) {
        Ok(()) => Pending::Error(Error::new(reason)),
        Err(panic) => Pending::Panic(panic),
    }
}
