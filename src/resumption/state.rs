//! The words of an owned call: whose it is, where it stands, and what its handle wishes.

use super::turn::TASK;
use crate::store::StoreCore;
use futures::task::AtomicWaker;
use midair_continuation::Header;
use midair_executor::resumption::{TaskHeader, unbind};
use midair_jit::runtime::context::VmContext;
use std::{
    ptr::{self, NonNull},
    sync::atomic::{AtomicU8, AtomicUsize, Ordering},
};

/// `home` of a call that was cancelled.
pub(super) const CANCELLED: usize = 1;
/// `home` of a parked call that its handle looks at.
pub(super) const LOCKED: usize = 2;
/// `home` of a call whose handle is gone, so that whoever comes next takes notice.
pub(super) const ORPHAN: usize = 3;
/// Other values are numbers of threads; none is the address of a call.
pub(super) const FIRST_THREAD: usize = 1 << (usize::BITS - 1);
/// In `home`: the store is watched, so that a token used there takes the longer way.
pub(super) const WATCHED: usize = 1 << (usize::BITS - 2);
/// In `home`: the call was parked with task-locals, so that its token takes the longer way.
pub(super) const LOADED: usize = 1 << (usize::BITS - 3);

/// `claim`: the handle has not been dropped, the call has not ended.
pub(super) const OPEN: u8 = 0;
/// `claim`: the call has ended, or the token of a cancelled call is gone.
pub(super) const FINISHED: u8 = 1;
/// `claim`: the handle is gone.
pub(super) const ORPHANED: u8 = 2;
/// `claim`: the call waits for a future, which is the handle's to poll.
pub(super) const OFFERED: u8 = 3;
/// `claim`: the token found its handle going, and left the call to it.
pub(super) const LEFT: u8 = 4;

/// The call is somebody's: running, or waiting for a token that is out.
pub(super) const RUNNING: u8 = 0;
/// It waits for a token.
pub(super) const PARKED_TOKEN: u8 = 1;
/// It waits for a future, which the handle polls.
pub(super) const PARKED_FUTURE: u8 = 2;
/// It has ended.
pub(super) const DONE: u8 = 3;
/// It is about to be one of the two before, as soon as another thread has let go of it.
pub(super) const LEAVING: u8 = 4;

/// The part of a store that an owned call needs; its front, so that the executor's queue can hold it.
#[repr(C)]
pub(crate) struct OwnedCall {
    pub(super) task: TaskHeader,
    pub(super) home: AtomicUsize,
    pub(super) state: AtomicU8,
    pub(super) claim: AtomicU8,
    /// Where the chain waits.
    pub(crate) leaf: *mut Header,
    /// Where the results are; null: it failed.
    pub(super) context: *mut VmContext,
    pub(super) waker: AtomicWaker,
}

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

impl Drop for OwnedCall {
    fn drop(&mut self) {
        unbind(&mut self.task);
    }
}

impl OwnedCall {
    /// # Safety
    /// The store is alive: it is until the call is done and claimed.
    #[inline]
    pub(super) unsafe fn of<'a>(core: NonNull<StoreCore>) -> &'a Self {
        // SAFETY: the caller's.
        unsafe { &(*core.as_ptr()).call }
    }

    /// Where the call stands, once it stands somewhere.
    pub(super) fn settled_state(&self) -> u8 {
        loop {
            match self.state.load(Ordering::SeqCst) {
                // a few instructions of another thread
                LEAVING => std::thread::yield_now(),
                state => return state,
            }
        }
    }
}
