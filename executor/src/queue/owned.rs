//! The registry: every spawned task that is not complete, so that a shutdown finds them all.

use std::ptr::{self, NonNull};

use crate::task::cell::{self, Links};
use crate::task::header::TaskHeader;

/// One part of the registry. Used under a lock, or by one thread.
#[derive(Debug)]
pub(crate) struct Owned {
    head: *mut TaskHeader,
    /// Registered and not yet forgotten.
    live: usize,
    closed: bool,
}

// SAFETY: the tasks in it are only reached through the lock around it, and only their links and states are used.
unsafe impl Send for Owned {}

/// What a registry is after a removal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removed {
    /// Others are in it.
    Others,
    /// It is empty.
    Last,
    /// It is empty, and closed: it stays so.
    LastOfAll,
}

impl Owned {
    pub(crate) const fn new() -> Self {
        Self {
            head: ptr::null_mut(),
            live: 0,
            closed: false,
        }
    }

    /// Tasks that are not complete.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Registers a task. `false`: too late, the executor has ended.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable of `task`, a spawned one that is not registered.
    /// 2. [`remove`](Self::remove) is called on the same registry before the task is freed.
    pub(crate) unsafe fn insert(&mut self, task: NonNull<TaskHeader>) -> bool {
        if self.closed {
            return false;
        }
        let next = self.head;
        // SAFETY: (1).
        unsafe {
            set(
                task,
                Links {
                    previous: ptr::null_mut(),
                    next,
                },
            );
        };
        if let Some(next) = NonNull::new(next) {
            // SAFETY: what is linked is alive (2).
            unsafe { set_previous(next, task.as_ptr()) };
        }
        self.head = task.as_ptr();
        self.live += 1;
        true
    }

    /// Forgets a task, if it is registered.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable of `task`, which was registered here and not removed yet.
    pub(crate) unsafe fn remove(&mut self, task: NonNull<TaskHeader>) -> Removed {
        // SAFETY: (1).
        let links = unsafe { links(task) };
        if links != Links::UNLINKED {
            // SAFETY: (1).
            unsafe { self.unlink(task) };
        }
        self.live -= 1;
        match (self.live, self.closed) {
            (0, true) => Removed::LastOfAll,
            (0, false) => Removed::Last,
            _ => Removed::Others,
        }
    }

    unsafe fn unlink(&mut self, task: NonNull<TaskHeader>) {
        // SAFETY: a linked task is alive.
        let Links { previous, next } = unsafe { links(task) };
        match NonNull::new(previous) {
            None => self.head = next,
            // SAFETY: what is linked is alive.
            Some(previous) => unsafe { set_next(previous, next) },
        }
        if let Some(next) = NonNull::new(next) {
            // SAFETY: what is linked is alive.
            unsafe { set_previous(next, previous) };
        }
        // SAFETY: a linked task is alive.
        unsafe { set(task, Links::UNLINKED) };
    }

    /// Refuses new tasks from now on.
    pub(crate) fn close(&mut self) {
        self.closed = true;
    }

    /// Closes tasks until one is found whose runnable that makes ours. `None`: the others are queued somewhere.
    pub(crate) fn close_next(&mut self) -> Option<NonNull<TaskHeader>> {
        while let Some(task) = NonNull::new(self.head) {
            // SAFETY: it is linked.
            unsafe { self.unlink(task) };
            // SAFETY: a task is not complete before it is forgotten, which waits for our lock: it is alive.
            if unsafe { task.as_ref() }.state.close() {
                return Some(task);
            }
        }
        None
    }
}

unsafe fn links(task: NonNull<TaskHeader>) -> Links {
    // SAFETY: the caller knows it alive.
    let core = unsafe { cell::core(task) };
    // SAFETY: links are used under the lock of the registry.
    core.links.with(|links| unsafe { *links })
}

unsafe fn set(task: NonNull<TaskHeader>, value: Links) {
    // SAFETY: the caller knows it alive.
    let core = unsafe { cell::core(task) };
    // SAFETY: links are used under the lock of the registry.
    core.links.with_mut(|links| unsafe { *links = value });
}

unsafe fn set_next(task: NonNull<TaskHeader>, next: *mut TaskHeader) {
    // SAFETY: the caller knows it alive.
    let links = unsafe { links(task) };
    // SAFETY: as above.
    unsafe { set(task, Links { next, ..links }) };
}

unsafe fn set_previous(task: NonNull<TaskHeader>, previous: *mut TaskHeader) {
    // SAFETY: the caller knows it alive.
    let links = unsafe { links(task) };
    // SAFETY: as above.
    unsafe { set(task, Links { previous, ..links }) };
}
