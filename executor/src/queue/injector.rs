//! The queue that any thread may push to: a list behind a lock, with a length that is read without it.

use std::ptr::NonNull;

use crate::queue::list::List;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::task::header::TaskHeader;

/// The queue.
#[derive(Debug)]
pub(crate) struct Injector {
    len: AtomicUsize,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    list: List,
    phase: Phase,
}

/// How far the executor has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Draining,
    Closed,
}

/// A runnable was taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Wake whom you like.
    Open,
    /// The executor is ending: its workers sleep without having said so. Wake them all.
    Draining,
}

impl Injector {
    pub(crate) fn new() -> Self {
        Self {
            len: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                list: List::new(),
                phase: Phase::Open,
            }),
        }
    }

    /// Appends a runnable. `Err`: the queue is closed and the runnable still the caller's.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable of `task` and gives it to the queue.
    pub(crate) unsafe fn push(
        &self,
        task: NonNull<TaskHeader>,
    ) -> Result<Pushed, NonNull<TaskHeader>> {
        let mut inner = self.inner.lock();
        if inner.phase == Phase::Closed {
            return Err(task);
        }
        // SAFETY: (1).
        unsafe { inner.list.push_back(task) };
        self.len.store(inner.list.len(), Ordering::Release);
        Ok(match inner.phase {
            Phase::Draining => Pushed::Draining,
            Phase::Open | Phase::Closed => Pushed::Open,
        })
    }

    /// Is there anything, as far as this thread knows?
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many there are, as far as this thread knows.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    /// Takes all runnables.
    pub(crate) fn take_all(&self) -> List {
        if self.is_empty() {
            return List::new();
        }
        let mut inner = self.inner.lock();
        self.len.store(0, Ordering::Release);
        std::mem::replace(&mut inner.list, List::new())
    }

    /// From now on, every push wakes all workers. To be called before they are told to end.
    ///
    /// The lock orders it: whoever pushed before, its runnable is seen by a worker that was told to end.
    pub(crate) fn drain(&self) {
        let mut inner = self.inner.lock();
        if inner.phase == Phase::Open {
            inner.phase = Phase::Draining;
        }
    }

    /// Refuses everything from now on, and hands out what is there.
    pub(crate) fn close(&self) -> List {
        let mut inner = self.inner.lock();
        inner.phase = Phase::Closed;
        self.len.store(0, Ordering::Release);
        std::mem::replace(&mut inner.list, List::new())
    }
}
