//! What this thread is doing: for which executor it runs, which task, with how much budget left.

use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use crate::context::Context;
use crate::scheduler::Shared;
use crate::sync::thread_local;
use crate::task::header::TaskHeader;

/// The index of a thread that is no worker.
const NO_WORKER: usize = usize::MAX;

/// The state of a thread.
pub(crate) struct Current {
    scheduler: Cell<*const Shared>,
    worker: Cell<usize>,
    /// The executor whose `block_on` waits here, or null.
    ambient: Cell<*const Shared>,
    /// The one of the two that [`home`] says.
    home: Cell<*const Shared>,
    number: Cell<usize>,
    running: Cell<*mut TaskHeader>,
    self_woken: Cell<bool>,
    /// Wakes go to the back of the queue, not into the slot of the newest.
    wakes_to_back: Cell<bool>,
    /// Units left, see `coop.rs`; `UNLIMITED` outside of tasks.
    budget: Cell<u8>,
    /// Task-locals. Not dropped with the thread, so that the thread-local needs no registration.
    context: Cell<ManuallyDrop<Context>>,
}

/// Units of a poll.
const BUDGET: u8 = 128;

const UNLIMITED: u8 = u8::MAX;

impl Current {
    const fn new() -> Self {
        Self {
            scheduler: Cell::new(ptr::null()),
            worker: Cell::new(NO_WORKER),
            ambient: Cell::new(ptr::null()),
            home: Cell::new(ptr::null()),
            number: Cell::new(0),
            running: Cell::new(ptr::null_mut()),
            self_woken: Cell::new(false),
            wakes_to_back: Cell::new(false),
            budget: Cell::new(UNLIMITED),
            context: Cell::new(ManuallyDrop::new(Context::empty())),
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

/// The executor that new tasks and timers of this thread belong to: the one it works for, or waits for; or null.
#[inline]
pub(crate) fn home() -> *const Shared {
    CURRENT.with(|current| current.home.get())
}

impl Current {
    /// To be called when either of the two has changed.
    #[inline]
    fn settle_home(&self) {
        let scheduler = self.scheduler.get();
        self.home.set(if scheduler.is_null() {
            self.ambient.get()
        } else {
            scheduler
        });
    }
}

/// Is that the executor of [`home`]?
#[inline(always)]
pub(crate) fn is_home(scheduler: *const Shared) -> bool {
    ptr::eq(home(), scheduler)
}

/// The executor whose `block_on` waits on this thread, or null.
pub(crate) fn ambient() -> *const Shared {
    CURRENT.with(|current| current.ambient.get())
}

/// While it lives, this thread waits for an executor that is not its own.
#[derive(Debug)]
pub(crate) struct Ambient(*const Shared);

/// Begins to wait for an executor, which outlives the answer.
#[inline]
pub(crate) fn wait_for(scheduler: *const Shared) -> Ambient {
    CURRENT.with(|current| {
        let before = current.ambient.replace(scheduler);
        current.settle_home();
        Ambient(before)
    })
}

impl Drop for Ambient {
    #[inline]
    fn drop(&mut self) {
        CURRENT.with(|current| {
            current.ambient.set(self.0);
            current.settle_home();
        });
    }
}

/// The index of this worker in its executor. Meaningful if the current executor is a pool.
#[inline]
pub(crate) fn worker() -> usize {
    CURRENT.with(|current| current.worker.get())
}

/// A number that differs from the last one, and most often from those of other threads.
///
/// So that tasks that are spawned in a row do not become neighbours in the registry, where the end of one would touch
/// the memory of the next. In a model, which must repeat itself, it is always the same.
pub(crate) fn next_number() -> usize {
    if cfg!(loom) {
        return 0;
    }
    CURRENT.with(|current| {
        let number = match current.number.get() {
            0 => ptr::from_ref(current).addr() / align_of::<Current>(),
            number => number,
        };
        current.number.set(number.wrapping_add(1));
        number
    })
}

/// While it lives, this thread works for an executor. What it did before comes back at its end.
#[derive(Debug)]
pub(crate) struct Entered {
    before: *const Shared,
    worker: usize,
    running: *mut TaskHeader,
    self_woken: bool,
    budget: u8,
    context: Context,
}

/// Begins to work for a local executor, which outlives the answer.
pub(crate) fn enter(scheduler: *const Shared) -> Entered {
    enter_worker(scheduler, NO_WORKER)
}

/// Begins to work as a worker of an executor, which outlives the answer.
pub(crate) fn enter_worker(scheduler: *const Shared, worker: usize) -> Entered {
    CURRENT.with(|current| {
        let before = current.scheduler.replace(scheduler);
        current.settle_home();
        Entered {
            before,
            worker: current.worker.replace(worker),
            running: current.running.replace(ptr::null_mut()),
            self_woken: current.self_woken.replace(false),
            budget: current.budget.replace(UNLIMITED),
            context: swap_context(Context::empty()),
        }
    })
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| {
            current.scheduler.set(self.before);
            current.settle_home();
            current.worker.set(self.worker);
            current.running.set(self.running);
            current.self_woken.set(self.self_woken);
            current.budget.set(self.budget);
        });
        drop(swap_context(std::mem::take(&mut self.context)));
    }
}

/// Says that the body of `task` is polled on this thread from now on, with these task-locals.
#[inline]
pub(crate) fn begin_poll(task: NonNull<TaskHeader>, context: Context) -> Context {
    CURRENT.with(|current| {
        current.running.set(task.as_ptr());
        current.self_woken.set(false);
        current.budget.set(BUDGET);
        let context = ManuallyDrop::new(context);
        ManuallyDrop::into_inner(current.context.replace(context))
    })
}

/// Says that the poll is over. `true`: the body woke itself. Gives the body's task-locals back.
#[inline]
pub(crate) fn end_poll(outer: Context) -> (bool, Context) {
    CURRENT.with(|current| {
        current.running.set(ptr::null_mut());
        current.budget.set(UNLIMITED);
        let context = current.context.replace(ManuallyDrop::new(outer));
        (current.self_woken.get(), ManuallyDrop::into_inner(context))
    })
}

/// Calls `wake`; what it wakes goes to the back of the queue.
#[inline]
pub(crate) fn wake_to_back(wake: impl FnOnce()) {
    CURRENT.with(|current| {
        current.wakes_to_back.set(true);
        wake();
        current.wakes_to_back.set(false);
    });
}

#[inline]
pub(crate) fn wakes_to_back() -> bool {
    CURRENT.with(|current| current.wakes_to_back.get())
}

/// Makes other task-locals current.
#[inline]
pub(crate) fn swap_context(next: Context) -> Context {
    CURRENT.with(|current| {
        let next = ManuallyDrop::new(next);
        ManuallyDrop::into_inner(current.context.replace(next))
    })
}

/// Are no task-locals set?
#[inline(always)]
pub(crate) fn context_is_empty() -> bool {
    CURRENT.with(|current| {
        // SAFETY: this thread's, and nothing runs meanwhile that could replace it.
        unsafe { (*current.context.as_ptr()).is_empty() }
    })
}

/// A clone of the current task-locals.
#[inline]
pub(crate) fn context_clone() -> Context {
    CURRENT.with(|current| {
        let context = current.context.replace(ManuallyDrop::new(Context::empty()));
        let clone = Context::clone(&context);
        // the empty one that stood in for it needs no drop
        let _empty = current.context.replace(context);
        clone
    })
}

struct ClearContext;

impl Drop for ClearContext {
    fn drop(&mut self) {
        drop(swap_context(Context::empty()));
    }
}

std::thread_local! {
    static AT_END: ClearContext = const { ClearContext };
}

/// Sees to it that this thread's task-locals are dropped when it ends.
pub(crate) fn clear_context_at_thread_end() {
    AT_END.with(|_| {});
}

/// Spends a unit. `false`: none is left.
#[inline]
pub(crate) fn consume_budget() -> bool {
    CURRENT.with(|current| match current.budget.get() {
        0 => false,
        UNLIMITED => true,
        left => {
            current.budget.set(left - 1);
            true
        }
    })
}

pub(crate) fn has_budget() -> bool {
    CURRENT.with(|current| current.budget.get() != 0)
}

/// While it lives, the budget is not spent.
#[derive(Debug)]
pub(crate) struct UnlimitedBudget(u8);

pub(crate) fn unlimited_budget() -> UnlimitedBudget {
    CURRENT.with(|current| UnlimitedBudget(current.budget.replace(UNLIMITED)))
}

impl Drop for UnlimitedBudget {
    fn drop(&mut self) {
        CURRENT.with(|current| current.budget.set(self.0));
    }
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
