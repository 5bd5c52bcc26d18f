//! Polling what a chain waits for, and going on when it is ready.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use super::{Mode, ModeGuard, Outcome, Parked, Waiting, WaitingGuard, with_current};
use crate::{
    error::{Error, NotCurrent, Pending},
    host::{HostFunc, LeafKind, LeafVtable, cannot_suspend, context_of, vtable_of},
    instance::InstanceInner,
    resumption::{Parking, Resumption, Ticket, TicketState},
    store::StoreCore,
    task_context::{self, Inside},
};
use midair_continuation::{Header, header::FLAG_FAILED, recycle::leaf_key};
use midair_jit::runtime::context::VmContext;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::{Arc, atomic::AtomicU8},
    task::{Context, Poll},
};

/// How far a poll came.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Results are in this context.
    Done(*mut VmContext),
    /// Still waiting.
    Pending(Parked),
    /// The reason is pending in the store.
    Trapped,
}

/// Polls a call: first `outcome` is what just happened in this same poll, or `parked` what it waited for since the last.
///
/// If `fresh`, the call's task-locals are current. Afterwards nobody's are: the caller has an [`Outside`](task_context::Outside).
///
/// # Safety
/// The caller uses the store exclusively, owns the chain, and has set the mode to `Poll` with this context.
pub(crate) unsafe fn poll(
    core: NonNull<StoreCore>,
    cx: &mut Context<'_>,
    parked: Parked,
    fresh: bool,
) -> Progress {
    let mut parked = parked;
    let mut fresh = fresh;
    loop {
        let leaf = parked.leaf;
        // SAFETY: the leaf of a chain the caller owns.
        let context = unsafe { context_of(leaf) };
        // SAFETY: the same.
        let ready = match unsafe { poll_leaf(core, cx, &mut parked, fresh) } {
            Poll::Pending => {
                if fresh {
                    // SAFETY: the same.
                    unsafe { task_context::park(leaf) };
                }
                return Progress::Pending(parked);
            }
            Poll::Ready(ready) => ready,
        };
        // SAFETY: the same; its payload is gone.
        let outcome = unsafe { StoreCore::leaf_done(core, context, leaf, ready) };
        match outcome {
            Outcome::Returned(context) => return Progress::Done(context),
            Outcome::Trapped => return Progress::Trapped,
            Outcome::Suspended(leaf) => {
                parked = Parked { leaf, ticket: None };
                fresh = true;
            }
        }
    }
}

/// Polls the leaf of an owned call once, and runs the guest if it is ready.
///
/// # Safety
/// As for [`poll`], except for the mode, which is `mode` while the guest or the future runs and `Owned` afterwards.
pub(crate) unsafe fn poll_once(
    core: NonNull<StoreCore>,
    cx: &mut Context<'_>,
    mode: Mode,
    leaf: NonNull<Header>,
    fresh: bool,
) -> Poll<Outcome> {
    let mut parked = Parked { leaf, ticket: None };
    // SAFETY: the caller's.
    let _mode = unsafe { ModeGuard::new(core, mode) };
    // SAFETY: the leaf of a chain the caller owns.
    let context = unsafe { context_of(leaf) };
    // SAFETY: the caller's.
    match unsafe { poll_leaf(core, cx, &mut parked, fresh) } {
        Poll::Pending => {
            if fresh {
                // SAFETY: the caller's.
                unsafe { task_context::park(leaf) };
            }
            Poll::Pending
        }
        Poll::Ready(ready) => {
            // SAFETY: the caller's; the payload is gone.
            Poll::Ready(unsafe { StoreCore::leaf_done(core, context, leaf, ready) })
        }
    }
}

/// Polls a leaf. Ready: its payload is gone, and its results, if any, are in its context.
///
/// # Safety
/// As for [`poll`].
unsafe fn poll_leaf(
    core: NonNull<StoreCore>,
    cx: &mut Context<'_>,
    parked: &mut Parked,
    fresh: bool,
) -> Poll<Result<(), Pending>> {
    let leaf = parked.leaf;
    // SAFETY: the leaf of a chain the caller owns.
    let vtable = unsafe { vtable_of(leaf) };
    // SAFETY: alive as long as the store.
    let context = unsafe { &mut *context_of(leaf) };
    match vtable.kind {
        LeafKind::Yield => Poll::Ready(Ok(())),
        LeafKind::Future if fresh => Poll::Pending,
        LeafKind::Future => {
            // SAFETY: the same.
            let number = unsafe { leaf.as_ref() }
                .resume_address
                .map_or(0, |number| number.get() as u64);
            // SAFETY: a live future leaf.
            let inside = unsafe { Inside::again(leaf) };
            let polled = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: the chain waits for this poll.
                let _waiting = unsafe { WaitingGuard::new(core, Waiting::Chain(leaf)) };
                with_current(core, number, || {
                    // SAFETY: a live future leaf.
                    unsafe { (vtable.poll)(leaf, cx, context) }
                })
            }));
            let ready = match polled {
                Ok(Poll::Pending) => {
                    // SAFETY: the same leaf.
                    unsafe { inside.pending(leaf) };
                    return Poll::Pending;
                }
                Ok(Poll::Ready(result)) => result.map_err(Pending::Error),
                Err(panic) => Err(Pending::Panic(panic)),
            };
            let ready = and_drop(core, leaf, vtable, ready);
            drop(inside);
            // SAFETY: the caller's; the guest goes on.
            unsafe { task_context::unpark(leaf) };
            Poll::Ready(ready)
        }
        LeafKind::Awaiter => {
            let ticket = match &parked.ticket {
                Some(ticket) => {
                    ticket.register(cx.waker());
                    Arc::clone(ticket)
                }
                None => {
                    let ticket = Arc::new(Ticket::default());
                    ticket.register(cx.waker());
                    parked.ticket = Some(Arc::clone(&ticket));
                    let token = Resumption::borrowed(Arc::clone(&ticket));
                    // what it sets is nobody's
                    let inside = Inside::begin();
                    // SAFETY: a live awaiter leaf.
                    let told = catch_unwind(AssertUnwindSafe(|| unsafe {
                        (vtable.on_completed)(leaf, token, Parking::new(&AtomicU8::new(0)));
                    }));
                    drop(inside);
                    if let Err(panic) = told {
                        ticket.cancel();
                        return Poll::Ready(and_drop(
                            core,
                            leaf,
                            vtable,
                            Err(Pending::Panic(panic)),
                        ));
                    }
                    ticket
                }
            };
            let state = ticket.state();
            if !fresh && state != TicketState::Waiting {
                // SAFETY: the caller's; the guest goes on, or ends.
                unsafe { task_context::unpark(leaf) };
            }
            match state {
                TicketState::Waiting => Poll::Pending,
                TicketState::Dropped => {
                    let error = Error::new(NotCurrent::ResumptionDropped);
                    Poll::Ready(and_drop(core, leaf, vtable, Err(Pending::Error(error))))
                }
                // SAFETY: a live awaiter leaf, completed once.
                TicketState::Resumed => Poll::Ready(unsafe { complete(vtable, leaf, context) }),
            }
        }
    }
}

/// Takes an awaiter's result; the payload is gone afterwards.
///
/// # Safety
/// `leaf` is a live awaiter leaf of this type.
#[inline]
pub(crate) unsafe fn complete(
    vtable: &LeafVtable,
    leaf: NonNull<Header>,
    context: &mut VmContext,
) -> Result<(), Pending> {
    // SAFETY: the caller's.
    match catch_unwind(AssertUnwindSafe(|| unsafe {
        (vtable.complete)(leaf, context);
    })) {
        // SAFETY: the caller's.
        Ok(()) => unsafe { completed(leaf, context) },
        Err(panic) => Err(Pending::Panic(panic)),
    }
}

/// Whether completing an awaiter's leaf failed.
///
/// # Safety
/// `leaf` is a live leaf of the context, just completed.
#[inline]
pub(crate) unsafe fn completed(
    mut leaf: NonNull<Header>,
    context: &VmContext,
) -> Result<(), Pending> {
    // SAFETY: the caller's.
    let header = unsafe { leaf.as_mut() };
    if header.flags & FLAG_FAILED == 0 {
        return Ok(());
    }
    header.flags &= !FLAG_FAILED;
    // SAFETY: the context is the front of its instance, whose store the caller uses.
    let core = unsafe { &mut *(*context.host.cast::<InstanceInner>()).store.as_ptr() };
    Err(core.pending.take().map_or_else(
        || Pending::Error(Error::msg("no reason was left")),
        |pending| pending.0,
    ))
}

/// A call that cannot wait awaits: drops the awaiter. That is the error.
///
/// # Safety
/// `leaf` is a live awaiter's leaf; the caller owns its chain and uses the store exclusively.
#[cold]
pub(crate) unsafe fn awaited_beneath(core: NonNull<StoreCore>, leaf: NonNull<Header>) -> Pending {
    // SAFETY: the host function that made the leaf is of this store, or of what it has linked.
    let host = unsafe { &*std::ptr::with_exposed_provenance::<HostFunc>(leaf_key(leaf)) };
    // SAFETY: the caller's.
    let error = cannot_suspend(unsafe { core.as_ref() }, host);
    // SAFETY: the caller's.
    let vtable = unsafe { vtable_of(leaf) };
    match and_drop(core, leaf, vtable, Err(Pending::Error(error))) {
        Err(pending) => pending,
        Ok(()) => unreachable!("it was an error before"),
    }
}

/// Drops a leaf's payload; a panic in it is the result, unless there was an error before.
fn and_drop(
    core: NonNull<StoreCore>,
    leaf: NonNull<Header>,
    vtable: &LeafVtable,
    ready: Result<(), Pending>,
) -> Result<(), Pending> {
    let drop_payload: unsafe fn(NonNull<Header>) = vtable.drop_payload();
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the payload of a live leaf, dropped once.
        with_current(core, 0, || unsafe { drop_payload(leaf) });
    }));
    match (ready, dropped) {
        (Ok(()), Err(panic)) => Err(Pending::Panic(panic)),
        (ready, _) => ready,
    }
}
