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
    closed: bool,
}

impl Injector {
    pub(crate) fn new() -> Self {
        Self {
            len: AtomicUsize::new(0),
            inner: Mutex::new(Inner {
                list: List::new(),
                closed: false,
            }),
        }
    }

    /// Appends a runnable. `Err`: the queue is closed and the runnable still the caller's. `Ok(true)`: it was empty.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable of `task` and gives it to the queue.
    pub(crate) unsafe fn push(
        &self,
        task: NonNull<TaskHeader>,
    ) -> Result<bool, NonNull<TaskHeader>> {
        let mut inner = self.inner.lock();
        if inner.closed {
            return Err(task);
        }
        let was_empty = inner.list.is_empty();
        // SAFETY: (1).
        unsafe { inner.list.push_back(task) };
        self.len.store(inner.list.len(), Ordering::Release);
        Ok(was_empty)
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

    /// Takes up to `count` runnables.
    pub(crate) fn take(&self, count: usize) -> List {
        if self.is_empty() {
            return List::new();
        }
        let mut inner = self.inner.lock();
        let front = inner.list.split_front(count);
        self.len.store(inner.list.len(), Ordering::Release);
        front
    }

    /// Refuses everything from now on, and hands out what is there.
    pub(crate) fn close(&self) -> List {
        let mut inner = self.inner.lock();
        inner.closed = true;
        self.len.store(0, Ordering::Release);
        std::mem::replace(&mut inner.list, List::new())
    }
}
