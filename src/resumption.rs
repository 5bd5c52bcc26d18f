//! The one-shot token that resumes a call, and the call that owns its store.
//!
//! [essay: owned calls]
//!
//! A [`Call`] owns its store; while it waits for an awaiter, the *token* owns the right to run it. Using the token is the
//! transfer, so an await takes no atomic read-modify-write. What is left to settle is the handle's own wish to drop a call
//! whose token is still out:
//!
//! | who | where | what |
//! |---|---|---|
//! | token used | the call's home thread | `home` says so: plain loads and stores |
//! | token used | another thread | moves `home` here, by compare-exchange |
//! | handle dropped | the home thread, call parked | cancels at once: `home` becomes [`CANCELLED`], by compare-exchange |
//! | handle dropped | another thread | sets `home` = [`ORPHAN`], then `claim` = [`ORPHANED`]: whoever uses or drops the token next cancels |
//! | the call ends | anywhere | `claim` = [`FINISHED`], by compare-exchange: the loser of that race frees the store |
//!
//! **Invariant (home).** `home` is the thread that ran the call last. Only that thread may run it, or cancel it, without
//! taking `home` first.
//!
//! A token used inside its own `on_completed`, on the same thread, sets a flag, and the loop that called `on_completed`
//! goes on: no recursion, whatever the number of awaits. The flag is the thread's, not the call's, because by then another
//! thread may be running the call.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{
    call::{TypedFunc, unsafe_context},
    dispatch::{self, Mode, Outcome, complete},
    error::{Error, FrameInfo, NotCurrent, Pending, Result},
    host::{LeafKind, context_of, vtable_of},
    store::{Store, StoreCore, StoreInner},
    task_context::{self, Outside},
    values::{WasmParams, WasmResults},
};
use futures::task::AtomicWaker;
use midair_continuation::Header;
use midair_executor::{
    context::Context as TaskContext,
    resumption::{TaskHeader, TaskVtable, bind_here, is_bound_here, schedule, unbind},
};
use midair_jit::{code::draft::CodeKind, runtime::context::VmContext};
use std::{
    cell::Cell,
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    ptr::{self, NonNull},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// A one-shot token that resumes a suspended call: what an [`Awaiter`](crate::Awaiter) gets.
///
/// Dropped unused, it fails its call with [`NotCurrent::ResumptionDropped`]: nothing hangs.
#[must_use = "a resumption that is dropped fails its call"]
pub struct Resumption {
    /// The store of an owned call, or an [`Arc`] of a [`Ticket`] with the lowest bit set.
    tagged: NonNull<u8>,
}

// SAFETY: the right to run a call whose store and chain are `Send` (`start` demands it), or a ticket, which is `Sync`.
unsafe impl Send for Resumption {}
// SAFETY: a shared token can do nothing.
unsafe impl Sync for Resumption {}

const BORROWED: usize = 1;

impl Resumption {
    #[inline]
    fn owned(core: NonNull<StoreCore>) -> Self {
        Self {
            tagged: core.cast(),
        }
    }

    pub(crate) fn borrowed(ticket: Arc<Ticket>) -> Self {
        let raw = Arc::into_raw(ticket).cast_mut().cast::<u8>();
        Self {
            // SAFETY: an `Arc`'s pointer is not null, and tagging its lowest bit, which is clear, keeps it so.
            tagged: unsafe { NonNull::new_unchecked(raw.map_addr(|address| address | BORROWED)) },
        }
    }

    /// The ticket of a borrowed call, or the store of an owned one. The token is used up.
    #[inline]
    fn take(self) -> std::result::Result<NonNull<StoreCore>, Arc<Ticket>> {
        let tagged = self.tagged;
        mem::forget(self);
        if tagged.addr().get() & BORROWED == 0 {
            return Ok(tagged.cast());
        }
        let raw = tagged
            .as_ptr()
            .map_addr(|address| address & !BORROWED)
            .cast::<Ticket>();
        // SAFETY: made by `borrowed`, taken once.
        Err(unsafe { Arc::from_raw(raw) })
    }

    /// Resumes the call.
    ///
    /// An owned call ([`TypedFunc::start`]) runs here and now, until it waits again or ends; inside its own `on_completed`
    /// it goes on when that returns. A borrowed one ([`TypedFunc::call_async`]) is woken: it runs when it is polled.
    #[inline]
    pub fn resume(self) {
        match self.take() {
            Ok(core) => {
                // SAFETY: the token is the right to run it.
                if unsafe { OwnedCall::of(core) }.home.load(Ordering::Relaxed) == HERE.get()
                    && TaskContext::current_is_empty()
                {
                    // SAFETY: the same; no task-locals are anywhere, and nobody watches.
                    unsafe { OwnedCall::run_at_home(core) };
                } else {
                    // SAFETY: the same.
                    unsafe { OwnedCall::resume_elsewhere(core) };
                }
            }
            Err(ticket) => ticket.settle(TicketState::Resumed),
        }
    }

    /// Puts the call on the queue of the executor on whose thread it was suspended, whatever thread this is. If it was on
    /// none, of the executor of this thread, or else the global one. Nothing is allocated.
    ///
    /// A borrowed call is woken instead.
    pub fn schedule(self) {
        match self.take() {
            // SAFETY: the token is the right to run it, and goes to the queue; the header is the front of the store.
            Ok(core) => unsafe { schedule(core.cast::<TaskHeader>()) },
            Err(ticket) => ticket.settle(TicketState::Resumed),
        }
    }
}

impl Drop for Resumption {
    fn drop(&mut self) {
        match (Self {
            tagged: self.tagged,
        })
        .take()
        {
            Ok(core) => {
                if !answer(core, DROPPED) {
                    // SAFETY: the token is the right to run it.
                    unsafe { OwnedCall::fail(core, NotCurrent::ResumptionDropped) };
                }
            }
            Err(ticket) => ticket.settle(TicketState::Dropped),
        }
    }
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tagged.addr().get() & BORROWED == 0 {
            "Resumption(owned)"
        } else {
            "Resumption(borrowed)"
        })
    }
}

// --- Borrowed calls -----------------------------------------------------------------------------------------------------

/// What a borrowed call and its token share.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    state: AtomicU8,
    waker: AtomicWaker,
}

/// What has become of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TicketState {
    Waiting,
    Resumed,
    Dropped,
}

impl Ticket {
    pub(crate) fn state(&self) -> TicketState {
        match self.state.load(Ordering::Acquire) {
            1 => TicketState::Resumed,
            2 => TicketState::Dropped,
            _ => TicketState::Waiting,
        }
    }

    fn settle(&self, state: TicketState) {
        self.state.store(state as u8, Ordering::Release);
        self.waker.wake();
    }

    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// The call is gone: the token is inert.
    pub(crate) fn cancel(&self) {
        drop(self.waker.take());
    }
}

// --- The thread ---------------------------------------------------------------------------------------------------------

/// What has become of a token that was given to an `on_completed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It went elsewhere; the call is not ours any more.
    None,
    /// It was used on this thread meanwhile.
    Resumed,
    /// It was dropped on this thread meanwhile.
    Dropped,
}

/// In [`HERE`]: the token was used.
const RESUMED: usize = 1;
/// In [`HERE`]: the token was dropped.
const DROPPED: usize = 2;

thread_local! {
    /// What a token's call must have as its home to be resumed without further questions: this thread's number. While an
    /// `on_completed` runs here it is the owned call it belongs to, the innermost, with one of the two bits above once its
    /// token came back; no home is that, so tokens used meanwhile ask.
    static HERE: Cell<usize> = const { Cell::new(0) };
    /// This thread's number; 0 until it is first asked for.
    static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// A number no other thread of this process has, or had.
#[inline(always)]
fn this_thread() -> usize {
    match THREAD.get() {
        0 => number_thread(),
        number => number,
    }
}

#[cold]
fn number_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(FIRST_THREAD);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    THREAD.set(number);
    // an `on_completed` that runs here has taken note of the 0 before; `at_home` mends that
    if HERE.get() == 0 {
        HERE.set(number);
    }
    number
}

/// Answers an `on_completed` of this call on this thread, if there is one.
fn answer(core: NonNull<StoreCore>, answer: usize) -> bool {
    let call = core.addr().get();
    let inside = HERE.get() == call;
    if inside {
        HERE.set(call | answer);
    }
    inside
}

/// What [`HERE`] says at the end, of this call.
fn answer_of(core: NonNull<StoreCore>, after: usize) -> Answer {
    match after.wrapping_sub(core.addr().get()) {
        RESUMED => Answer::Resumed,
        DROPPED => Answer::Dropped,
        _ => Answer::None,
    }
}

// --- Owned calls --------------------------------------------------------------------------------------------------------

/// `home` of a call that was cancelled.
const CANCELLED: usize = 1;
/// `home` of a parked call that its handle looks at.
const LOCKED: usize = 2;
/// `home` of a call whose handle is gone, so that whoever comes next takes notice.
const ORPHAN: usize = 3;
/// Other values are numbers of threads; none is the address of a call.
const FIRST_THREAD: usize = 1 << (usize::BITS - 1);
/// In `home`: the store is watched, so that a token used there takes the longer way.
const WATCHED: usize = 1 << (usize::BITS - 2);
/// In `home`: the call was parked with task-locals, so that its token takes the longer way.
const LOADED: usize = 1 << (usize::BITS - 3);

/// `claim`: the handle has not been dropped, the call has not ended.
const OPEN: u8 = 0;
/// `claim`: the call has ended, or the token of a cancelled call is gone.
const FINISHED: u8 = 1;
/// `claim`: the handle is gone.
const ORPHANED: u8 = 2;
/// `claim`: the call waits for a future, which is the handle's to poll.
const OFFERED: u8 = 3;
/// `claim`: the token found its handle going, and left the call to it.
const LEFT: u8 = 4;

/// The call is somebody's: running, or waiting for a token that is out.
const RUNNING: u8 = 0;
/// It waits for a token.
const PARKED_TOKEN: u8 = 1;
/// It waits for a future, which the handle polls.
const PARKED_FUTURE: u8 = 2;
/// It has ended.
const DONE: u8 = 3;
/// It is about to be one of the two before, as soon as another thread has let go of it.
const LEAVING: u8 = 4;

/// The part of a store that an owned call needs; its front, so that the executor's queue can hold it.
#[repr(C)]
pub(crate) struct OwnedCall {
    task: TaskHeader,
    home: AtomicUsize,
    state: AtomicU8,
    claim: AtomicU8,
    /// Where the chain waits.
    pub(crate) leaf: *mut Header,
    /// Where the results are; null: it failed.
    context: *mut VmContext,
    waker: AtomicWaker,
}

static TASK: TaskVtable = TaskVtable::new(run_scheduled, cancel_scheduled);

impl Default for OwnedCall {
    fn default() -> Self {
        Self {
            task: TaskHeader::new(&TASK),
            home: AtomicUsize::new(0),
            state: AtomicU8::new(RUNNING),
            claim: AtomicU8::new(OPEN),
            leaf: ptr::null_mut(),
            context: ptr::null_mut(),
            waker: AtomicWaker::new(),
        }
    }
}

/// # Safety
/// Scheduled by a token.
unsafe fn run_scheduled(task: NonNull<TaskHeader>) {
    let core = task.cast::<StoreCore>();
    // An awaiter's `on_completed` may panic; there is nobody on this thread to tell but the panic hook, which was told.
    // SAFETY: the queue gives the token's right back.
    drop(catch_unwind(AssertUnwindSafe(|| unsafe {
        OwnedCall::run(core);
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

impl Drop for OwnedCall {
    fn drop(&mut self) {
        unbind(&mut self.task);
    }
}

/// When it is dropped, no task-locals are current: those of the call that ran have gone with it.
struct Nobody;

impl Drop for Nobody {
    #[inline]
    fn drop(&mut self) {
        if !TaskContext::current_is_empty() {
            drop(TaskContext::swap(TaskContext::empty()));
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

/// Whether whoever holds the token may run the call.
enum Right {
    Yes,
    /// The handle has cancelled it; only the store is left to be freed.
    Cancelled,
    /// The handle is gone; the call is to be cancelled here.
    Orphaned,
}

impl OwnedCall {
    /// # Safety
    /// The store is alive: it is until the call is done and claimed.
    #[inline]
    unsafe fn of<'a>(core: NonNull<StoreCore>) -> &'a Self {
        // SAFETY: the caller's.
        unsafe { &(*core.as_ptr()).call }
    }

    /// Takes the right to run the call to this thread.
    ///
    /// # Safety
    /// The caller holds the token's right.
    #[inline]
    unsafe fn take_home(core: NonNull<StoreCore>) -> Right {
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

    fn replace_home(&self, before: usize, after: usize) -> bool {
        self.home
            .compare_exchange(before, after, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    /// Replaces `home`, if it is this thread. Gives what it was.
    fn leave_home(&self, after: usize) -> Option<usize> {
        let home = self.home.load(Ordering::Relaxed);
        (home & !(WATCHED | LOADED) == this_thread() && self.replace_home(home, after))
            .then_some(home)
    }

    /// What `home` is while the call runs on this thread.
    ///
    /// # Safety
    /// The store is alive.
    unsafe fn home_here(core: NonNull<StoreCore>) -> usize {
        // SAFETY: the caller's; this never changes.
        let watched = unsafe { (*core.as_ptr()).watched };
        this_thread() | if watched { WATCHED } else { 0 }
    }

    /// Resumes a call whose home is this thread, whose store is not watched, and that has no task-locals where none are current.
    ///
    /// # Safety
    /// That, and as for `run`.
    #[inline]
    unsafe fn run_at_home(core: NonNull<StoreCore>) {
        // SAFETY: ours to run.
        let call = unsafe { &mut (*core.as_ptr()).call };
        call.state.store(RUNNING, Ordering::Relaxed);
        // SAFETY: parked, so there is one.
        let leaf = unsafe { NonNull::new_unchecked(call.leaf) };
        // SAFETY: the caller's.
        match unsafe { Self::turn_plain::<false>(core, leaf) } {
            Answer::None => (),
            // SAFETY: the token came back.
            answer => unsafe { Self::go_on(core, answer) },
        }
    }

    /// A token was used that is not at home here, or whose use may be the answer to an `on_completed`.
    ///
    /// # Safety
    /// As for `run`.
    #[cold]
    #[inline(never)]
    unsafe fn resume_elsewhere(core: NonNull<StoreCore>) {
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
    unsafe fn fail(core: NonNull<StoreCore>, reason: NotCurrent) {
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
    unsafe fn go_on(core: NonNull<StoreCore>, mut answer: Answer) {
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

    /// The token is no good any more: its handle is gone, or has cancelled the call.
    ///
    /// # Safety
    /// The caller holds the token's right and gives it up; `right` is what became of it.
    #[cold]
    unsafe fn no_right(core: NonNull<StoreCore>, right: Right) -> Answer {
        if let Right::Cancelled = right {
            // SAFETY: the caller's.
            unsafe { Self::token_of_cancelled(core) };
        } else {
            // SAFETY: the caller's.
            unsafe { Self::token_of_orphan(core) };
        }
        Answer::None
    }

    /// The guest has left: hands the call to whoever goes on with it. The answer says if that is this loop; if it is `None`,
    /// the call is not ours any more.
    ///
    /// # Safety
    /// The caller has the right to run the call, on this thread.
    #[inline(never)]
    unsafe fn park(core: NonNull<StoreCore>, mut outcome: Outcome) -> Answer {
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
    unsafe fn park_token(core: NonNull<StoreCore>, leaf: NonNull<Header>) -> Answer {
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
        call.state.store(PARKED_TOKEN, Ordering::Release);
        let before = HERE.replace(core.addr().get());
        // SAFETY: an awaiter's leaf; the token is the only one.
        let told = catch_unwind(AssertUnwindSafe(|| unsafe {
            (vtable.on_completed)(leaf, Resumption::owned(core));
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
        told: std::result::Result<(), crate::host::Panic>,
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
    unsafe fn hand_over(core: NonNull<StoreCore>, claim: u8, state: u8) -> bool {
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

    /// The call has ended.
    ///
    /// # Safety
    /// As for `offer`.
    #[cold]
    unsafe fn done(core: NonNull<StoreCore>, outcome: Outcome) {
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
    unsafe fn cancel_orphan(core: NonNull<StoreCore>) {
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
    /// The caller holds the token's right and gives it up; `home` is [`ORPHAN`].
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
    /// The caller holds the token's right and gives it up; `home` is [`CANCELLED`].
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
    unsafe fn free(core: NonNull<StoreCore>) {
        // SAFETY: the caller's.
        let drop_store = unsafe { (*core.as_ptr()).drop_store };
        // SAFETY: the caller's.
        unsafe { drop_store(core) };
    }

    /// Where the call stands, once it stands somewhere.
    fn settled_state(&self) -> u8 {
        loop {
            match self.state.load(Ordering::SeqCst) {
                // a few instructions of another thread
                LEAVING => std::thread::yield_now(),
                state => return state,
            }
        }
    }
}

// --- The handle ---------------------------------------------------------------------------------------------------------

/// A call that owns its store: see [`TypedFunc::start`].
///
/// As a future it gives the store back with the result, and polls the host futures that the guest awaits. A call that waits
/// for a [`Resumption`] needs no poll: the token runs it. Dropping the handle cancels the call; its store goes with it.
#[must_use = "a call that is dropped is cancelled"]
pub struct Call<T: 'static, R> {
    /// `None` once the store was given back.
    store: Option<NonNull<StoreInner<T>>>,
    /// Invariant in `T`: host functions of the store are made for just this type.
    result: PhantomData<fn(T) -> (T, R)>,
}

/// Sets a call's home back when its handle has looked at the chain.
struct Unlock<'a> {
    home: &'a AtomicUsize,
    here: usize,
}

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        self.home.store(self.here, Ordering::Release);
    }
}

// SAFETY: `start` demands a store that is `Send`; all that is shared with tokens is settled by atomics.
unsafe impl<T: Send, R> Send for Call<T, R> {}

impl<T, R> Unpin for Call<T, R> {}

impl<T, R> fmt::Debug for Call<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("finished", &self.is_finished())
            .finish()
    }
}

impl<T: Send + 'static, R> Call<T, R> {
    pub(crate) fn start<P: WasmParams>(store: Store<T>, func: &TypedFunc<P, R>, params: P) -> Self
    where
        R: WasmResults,
    {
        // SAFETY: owned, and nobody else has the right to run it.
        Self::start_with(store, func.func().store, |core| unsafe {
            func.begin(core, params)
        })
    }

    /// Starts a call of a function of the store with this number; `begin` starts the guest.
    pub(crate) fn start_with(
        store: Store<T>,
        id: u64,
        begin: impl FnOnce(NonNull<StoreCore>) -> Outcome,
    ) -> Self {
        let inner = store.inner;
        let core: NonNull<StoreCore> = inner.cast();
        // SAFETY: owned. (A function of another store panics here, while the store is still its owner's.)
        unsafe { &mut *core.as_ptr() }.begin_use(id);
        mem::forget(store);
        let this = Self {
            store: Some(inner),
            result: PhantomData,
        };
        // SAFETY: owned.
        let owned = unsafe { &mut *core.as_ptr() };
        owned.activations.mode = Mode::Owned;
        owned.forget_stack_limits();
        // SAFETY: owned.
        let home = unsafe { OwnedCall::home_here(core) };
        owned.call.home.store(home, Ordering::Relaxed);
        owned.call.state.store(RUNNING, Ordering::Relaxed);
        owned.call.claim.store(OPEN, Ordering::Relaxed);
        let _outside = Outside::share();
        let outcome = begin(core);
        // SAFETY: owned, and nobody else has the right to run it.
        unsafe { OwnedCall::drive(core, outcome) };
        this
    }
}

impl OwnedCall {
    /// Hands the call on, and goes on with it for as long as its tokens come back at once.
    ///
    /// # Safety
    /// The caller has the right to run the call, on this thread.
    unsafe fn drive(core: NonNull<StoreCore>, outcome: Outcome) {
        // SAFETY: the caller's.
        let answer = unsafe { Self::park(core, outcome) };
        // SAFETY: the token came back, if there is an answer.
        unsafe { Self::go_on(core, answer) };
    }
}

impl<T, R> Call<T, R> {
    fn core(&self) -> Option<NonNull<StoreCore>> {
        self.store.map(NonNull::cast)
    }

    /// Whether the call has ended, with a result or an error.
    pub fn is_finished(&self) -> bool {
        // SAFETY: the handle keeps the store.
        self.core()
            .is_some_and(|core| unsafe { OwnedCall::of(core) }.settled_state() == DONE)
    }

    /// Runs `inspect` on the parked chain, if the call is parked and this thread may look at it.
    fn inspect<V>(&self, inspect: impl FnOnce(&mut StoreCore, NonNull<Header>) -> V) -> Option<V> {
        let core = self.core()?;
        // SAFETY: the handle keeps the store.
        let call = unsafe { OwnedCall::of(core) };
        let home = match call.settled_state() {
            PARKED_TOKEN => Some(call.leave_home(LOCKED)?),
            PARKED_FUTURE => None,
            _ => return None,
        };
        // SAFETY: parked, and nobody can start to run it: it is the handle's, or its home is locked.
        let store = unsafe { &mut *core.as_ptr() };
        let leaf = NonNull::new(store.call.leaf).expect("a parked call has a leaf");
        let _unlock = home.map(|here| Unlock {
            home: &call.home,
            here,
        });
        Some(inspect(store, leaf))
    }

    /// The guest frames that wait, innermost first. `None` if the call runs, has ended, or was last run by another thread,
    /// whose token may be running it now.
    pub fn frames(&self) -> Option<Vec<FrameInfo>> {
        self.inspect(|_, leaf| dispatch::logical_frames(leaf))
    }

    /// Which kind of code each waiting guest frame is in, innermost first; `None` as for [`frames`](Self::frames).
    pub fn code_kinds(&self) -> Option<Vec<CodeKind>> {
        self.inspect(|_, leaf| dispatch::code_kinds(leaf))
    }

    /// Rewrites the waiting frames that `choose` picks (the innermost is 0) into their canonical layout: they go on in
    /// tier-0. This never changes a result. Gives how many there were; `None` as for [`frames`](Self::frames).
    ///
    /// A listener of events ([`Config::on_event`](crate::Config::on_event)) must not wait for this call's token meanwhile:
    /// whoever uses the token waits until the frames are rewritten.
    ///
    /// # Errors
    /// If tier-0 code is needed and cannot be made; the frames before are normalized then.
    pub fn normalize(&mut self, choose: impl FnMut(usize) -> bool) -> Option<Result<usize>> {
        // `choose` may do anything, so it is asked while nothing is locked
        let frames = self.frames()?.len();
        let chosen: Vec<bool> = (0..frames).map(choose).collect();
        self.inspect(|store, leaf| {
            // SAFETY: `inspect` says the chain is nobody's but ours.
            unsafe {
                store.normalize_links(leaf, |_, frame| chosen.get(frame).copied().unwrap_or(false))
            }
        })
    }

    /// The store, taken out of the handle.
    fn take_store(&mut self) -> Store<T> {
        Store {
            inner: self.store.take().expect("given back once"),
            data: PhantomData,
        }
    }
}

impl<T, R: WasmResults> Call<T, R> {
    /// The store with the result, if the call has ended.
    ///
    /// # Errors
    /// The handle, if it has not.
    ///
    /// # Panics
    /// With the panic of a host function, if that ended the call.
    pub fn finish(mut self) -> std::result::Result<(Store<T>, Result<R>), Self> {
        if !self.is_finished() {
            return Err(self);
        }
        Ok(self.take_result())
    }

    fn take_result(&mut self) -> (Store<T>, Result<R>) {
        let (store, ended) = self.take_ended();
        (store, ended.map(|context| R::take(unsafe_context(context))))
    }
}

impl<T, R> Call<T, R> {
    /// The store of a call that has ended, and the context with its results.
    pub(crate) fn take_ended(&mut self) -> (Store<T>, Result<*mut VmContext>) {
        let store = self.take_store();
        let core = store.core();
        // SAFETY: done, so the store is ours.
        let context = unsafe { (*core.as_ptr()).call.context };
        if context.is_null() {
            let error = crate::call::failed(core);
            return (store, Err(error));
        }
        (store, Ok(context))
    }

    /// One poll; ready: as `take_ended`.
    pub(crate) fn poll_ended(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(Store<T>, Result<*mut VmContext>)> {
        let core = self
            .core()
            .expect("a call is not polled after it has finished");
        // SAFETY: the handle keeps the store.
        let call = unsafe { OwnedCall::of(core) };
        call.waker.register(cx.waker());
        if call.settled_state() == PARKED_FUTURE {
            // SAFETY: it is the handle's to run.
            unsafe { OwnedCall::poll_future(core, cx) };
        }
        // SAFETY: the handle keeps the store.
        if unsafe { OwnedCall::of(core) }.settled_state() == DONE {
            return Poll::Ready(self.take_ended());
        }
        Poll::Pending
    }
}

impl<T: Send, R: WasmResults> Future for Call<T, R> {
    type Output = (Store<T>, Result<R>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = self.poll_ended(cx);
        ended.map(|(store, ended)| (store, ended.map(|context| R::take(unsafe_context(context)))))
    }
}

impl OwnedCall {
    /// Polls the future that the call waits for, and goes on.
    ///
    /// # Safety
    /// The call is parked at a future; the caller has its handle.
    unsafe fn poll_future(core: NonNull<StoreCore>, cx: &mut Context<'_>) {
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

impl<T, R> Drop for Call<T, R> {
    fn drop(&mut self) {
        let Some(core) = self.core() else { return };
        // SAFETY: the handle keeps the store.
        let call = unsafe { OwnedCall::of(core) };
        if call.settled_state() == PARKED_TOKEN && call.leave_home(CANCELLED).is_some() {
            // SAFETY: parked at a token that can do nothing any more.
            unsafe { OwnedCall::cancel_here(core) };
            return;
        }
        // Whoever has the token, on another thread, takes notice; if it comes first, it leaves the call to us.
        call.home.store(ORPHAN, Ordering::SeqCst);
        match call
            .claim
            .compare_exchange(OPEN, ORPHANED, Ordering::AcqRel, Ordering::Acquire)
        {
            // whoever runs it, or has its token, cancels it
            Ok(_) => (),
            // SAFETY: the token was here, and its right is ours.
            Err(LEFT) => unsafe { OwnedCall::cancel_orphan(core) },
            Err(_) => {
                // offered to the handle, or done: wait until the other thread has let go
                call.settled_state();
                // SAFETY: nobody else knows the call; what it waits for is dropped with it.
                unsafe { OwnedCall::cancel_orphan(core) };
            }
        }
    }
}

impl OwnedCall {
    /// Drops the chain of a parked call whose token is out and inert; the store goes with the token.
    ///
    /// # Safety
    /// The caller has the handle and has set `home` to [`CANCELLED`].
    #[cold]
    unsafe fn cancel_here(core: NonNull<StoreCore>) {
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

impl<T, R> Call<T, R> {
    /// Helper functions that machine code of the call's store has called so far; `None` as for [`frames`](Self::frames).
    pub fn helper_calls(&self) -> Option<u64> {
        self.inspect(|store, _| store.helper_calls())
    }
}
