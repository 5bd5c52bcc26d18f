//! What this thread is doing: for which executor it runs, which task, with how much budget left.

use std::cell::Cell;
use std::ptr::{self, NonNull};

use crate::scheduler::Shared;
use crate::sync::thread_local;
use crate::task::header::TaskHeader;

/// The index of a thread that is no worker.
const NO_WORKER: usize = usize::MAX;

/// The state of a thread.
pub(crate) struct Current {
    scheduler: Cell<*const Shared>,
    worker: Cell<usize>,
    running: Cell<*mut TaskHeader>,
    self_woken: Cell<bool>,
}

impl Current {
    const fn new() -> Self {
        Self {
            scheduler: Cell::new(ptr::null()),
            worker: Cell::new(NO_WORKER),
            running: Cell::new(ptr::null_mut()),
            self_woken: Cell::new(false),
        }
    }
}

#[cfg(not(loom))]
thread_local! {
    static CURRENT: Current = const { Current::new() };
}

#[cfg(loom)]
thread_local! {
    static CURRENT: Current = Current::new();
}

/// The executor this thread works for, or null.
#[inline]
pub(crate) fn scheduler() -> *const Shared {
    CURRENT.with(|current| current.scheduler.get())
}

/// The index of this worker in its executor. Meaningful if the current executor is a pool.
#[inline]
pub(crate) fn worker() -> usize {
    CURRENT.with(|current| current.worker.get())
}

/// A number that differs between most threads.
pub(crate) fn thread_number() -> usize {
    CURRENT.with(|current| ptr::from_ref(current).addr() / align_of::<Current>() / 8)
}

/// While it lives, this thread works for an executor. What it did before comes back at its end.
#[derive(Debug)]
pub(crate) struct Entered {
    before: *const Shared,
    worker: usize,
    running: *mut TaskHeader,
    self_woken: bool,
}

/// Begins to work for a local executor, which outlives the answer.
pub(crate) fn enter(scheduler: *const Shared) -> Entered {
    enter_worker(scheduler, NO_WORKER)
}

/// Begins to work as a worker of an executor, which outlives the answer.
pub(crate) fn enter_worker(scheduler: *const Shared, worker: usize) -> Entered {
    CURRENT.with(|current| Entered {
        before: current.scheduler.replace(scheduler),
        worker: current.worker.replace(worker),
        running: current.running.replace(ptr::null_mut()),
        self_woken: current.self_woken.replace(false),
    })
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| {
            current.scheduler.set(self.before);
            current.worker.set(self.worker);
            current.running.set(self.running);
            current.self_woken.set(self.self_woken);
        });
    }
}

/// Says that the body of `task` is polled on this thread from now on.
#[inline]
pub(crate) fn begin_poll(task: NonNull<TaskHeader>) {
    CURRENT.with(|current| {
        current.running.set(task.as_ptr());
        current.self_woken.set(false);
    });
}

/// Says that the poll is over. `true`: the body woke itself.
#[inline]
pub(crate) fn end_poll() -> bool {
    CURRENT.with(|current| {
        current.running.set(ptr::null_mut());
        current.self_woken.get()
    })
}

/// Notes a wake of the very task that this thread is polling. `false`: it is another one.
///
/// Such a wake needs no atomic operation: the poller looks at the note when the poll ends, and the queue orders the
/// next poll after it.
#[inline]
pub(crate) fn wake_running(task: NonNull<TaskHeader>) -> bool {
    CURRENT.with(|current| {
        let same = current.running.get() == task.as_ptr();
        if same {
            current.self_woken.set(true);
        }
        same
    })
}
