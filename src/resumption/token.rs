//! The one-shot token that resumes a suspended call.

use super::{
    state::OwnedCall,
    thread::{DROPPED, answer},
    ticket::{Ticket, TicketState},
};
use crate::{error::NotCurrent, store::StoreCore};
use midair_executor::resumption::{TaskHeader, schedule};
use std::{fmt, mem, ptr::NonNull, sync::Arc};

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
    pub(super) fn owned(core: NonNull<StoreCore>) -> Self {
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
    fn take(self) -> Result<NonNull<StoreCore>, Arc<Ticket>> {
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
    /// An owned call ([`TypedFunc::start`](crate::TypedFunc::start)) runs here and now, until it waits again or ends; inside its own `on_completed`
    /// it goes on when that returns. A borrowed one ([`TypedFunc::call_async`](crate::TypedFunc::call_async)) is woken: it runs when it is polled.
    #[inline]
    pub fn resume(self) {
        match self.take() {
            // SAFETY: the token is the right to run it.
            Ok(core) => unsafe { OwnedCall::run_token(core) },
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
