//! What a borrowed call and its token share: it is woken, and asks what has become of the token.

use futures::task::AtomicWaker;
use std::{
    sync::atomic::{AtomicU8, Ordering},
    task::Waker,
};

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

    pub(super) fn settle(&self, state: TicketState) {
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
