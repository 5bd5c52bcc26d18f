//! A woken continuation becomes a task: the one file that knows both the queue and what is not a future.
//!
//! The executor does not know what a continuation is. An embedder embeds a [`TaskHeader`] at the front of a
//! structure of its own and queues that: nothing is allocated, no waker is made, no state is counted.
//!
//! # Who owns a scheduled task
//!
//! | moment | owner | may |
//! |---|---|---|
//! | before [`schedule`] | the embedder | anything |
//! | from the call of [`schedule`] on | the queue | the embedder: nothing, not even read the header |
//! | `run` is called | the callee, as if it had never been queued | free it, keep it, schedule it again |
//! | `cancel` is called | the same; the executor ends and will not run it | the same; scheduling it again cancels it again |
//!
//! For every call of [`schedule`] there is exactly one call of `run` or of `cancel`. `run` is called on a thread of
//! the executor; `cancel` on a thread of the executor, or, if the executor has ended already, within [`schedule`].
//! Neither may unwind; a panic that leaves one ends the process.
//!
//! # Which executor
//!
//! [`schedule`] takes the executor that the task was [bound](bind) to; without one, that of the current thread;
//! without one, the global one. It never runs the task in place: on a worker, the task goes to the back of the
//! worker's own queue; if that is long, to the back of those that are in the cache, a few times in a row at most.
//!
//! # Examples
//!
//! ```
//! use std::cell::Cell;
//! use std::ptr::NonNull;
//! use midair_executor::resumption::{self, TaskHeader, TaskVtable};
//! use midair_executor::LocalExecutor;
//!
//! #[repr(C)]
//! struct Scheduled {
//!     header: TaskHeader, // first: the queue's pointer is ours
//!     resumed: Cell<u32>,
//! }
//!
//! unsafe fn run(task: NonNull<TaskHeader>) {
//!     // SAFETY: only `Scheduled` is queued with this table, and the queue has given it back.
//!     let scheduled = unsafe { task.cast::<Scheduled>().as_ref() };
//!     scheduled.resumed.set(scheduled.resumed.get() + 1);
//! }
//!
//! static VTABLE: TaskVtable = TaskVtable::new(run, run);
//!
//! let scheduled = Box::leak(Box::new(Scheduled {
//!     header: TaskHeader::new(&VTABLE),
//!     resumed: Cell::new(0),
//! }));
//! let pointer = NonNull::from(scheduled);
//! let executor = LocalExecutor::new();
//! executor.block_on(async {
//!     // SAFETY: it is queued nowhere, and alive until it has run.
//!     unsafe { resumption::schedule(pointer.cast()) };
//! });
//! executor.run_until_idle();
//! // SAFETY: it was leaked above, and has run.
//! let scheduled = unsafe { Box::from_raw(pointer.as_ptr()) };
//! assert_eq!(scheduled.resumed.get(), 1);
//! ```

use std::ptr::{self, NonNull};

use crate::config::{TaskId, TaskInfo};
use crate::context::Context;
use crate::current;
use crate::executor::{self, Handle};
use crate::local::LocalExecutor;
use crate::metrics::Counters;
use crate::scheduler::{self, Shared};
use crate::sync::Arc;
use crate::sync::atomic::Ordering;
use crate::task::cell;

pub use crate::task::header::{TaskHeader, TaskVtable};

/// Puts a task on its executor's queue.
///
/// # Safety
///
/// 1. `task` is the first field of a `repr(C)` structure, and the pointer may be used for all of it.
/// 2. It is alive, on no queue, and nobody touches it until its `run` or `cancel` is called.
/// 3. If the executor is not a [`LocalExecutor`] of this very thread, `run` and `cancel` may
///    be called on any thread.
#[inline]
pub unsafe fn schedule(task: NonNull<TaskHeader>) {
    // SAFETY: (2).
    let bound = unsafe { task.as_ref() }.scheduler();
    let here = current::scheduler();
    let chosen = if bound.is_null() { here } else { bound };
    if chosen.is_null() {
        // SAFETY: (2): the runnable is ours to give.
        unsafe { executor::global().shared().inject(task) };
    } else if ptr::eq(chosen, here) {
        // SAFETY: 1. (2). It is the current one, so it is alive.
        unsafe { scheduler::schedule_here(chosen, task) };
    } else {
        // SAFETY: 1. (2). 2. the header holds its executor, and is alive until the runnable is given up.
        unsafe { scheduler::schedule_foreign(chosen, task) };
    }
}

/// Where a task belongs: an executor, without the right to spawn on it. Cheap to clone, `Send`, may outlive it.
#[derive(Debug, Clone)]
pub struct Home {
    shared: Arc<Shared>,
}

impl Home {
    pub(crate) fn new(shared: &Arc<Shared>) -> Self {
        Self {
            shared: Arc::clone(shared),
        }
    }

    /// The executor of the current thread, of either kind.
    pub fn current() -> Option<Self> {
        let here = current::scheduler();
        if here.is_null() {
            return None;
        }
        // SAFETY: the current one is alive, and all of them are made in an `Arc`.
        let shared = unsafe { scheduler::retain(here) };
        Some(Self { shared })
    }
}

impl From<&Handle> for Home {
    fn from(handle: &Handle) -> Self {
        Self::new(handle.shared())
    }
}

impl From<&LocalExecutor> for Home {
    fn from(executor: &LocalExecutor) -> Self {
        Self::new(executor.shared())
    }
}

/// Binds a task to an executor: that is where [`schedule`] will put it, whatever thread calls it.
///
/// The header holds the executor's queue (not its threads) until it is [unbound](unbind) or bound again.
pub fn bind(header: &mut TaskHeader, home: Home) {
    unbind(header);
    let raw = Arc::into_raw(home.shared);
    header.scheduler.store(raw.cast_mut(), Ordering::Relaxed);
}

/// Is the task bound to the executor of this thread, or to none on a thread that has none?
#[inline(always)]
pub fn is_bound_here(header: &TaskHeader) -> bool {
    current::is_home(header.scheduler())
}

/// Binds a task to the executor that this thread works for, or waits for in `block_on`; where there is none,
/// [unbinds](unbind) it. To be called where a call is suspended that is to go on there.
#[cold]
pub fn bind_here(header: &mut TaskHeader) {
    let here = current::home();
    if here.is_null() {
        unbind(header);
    } else {
        // SAFETY: the current one and the ambient one are alive, and all of them are made in an `Arc`.
        let shared = unsafe { scheduler::retain(here) };
        bind(header, Home { shared });
    }
}

/// Undoes [`bind`]. To be called before a bound header is freed; does nothing to one that is not bound.
pub fn unbind(header: &mut TaskHeader) {
    let raw = header.scheduler.swap(ptr::null_mut(), Ordering::Relaxed);
    if !raw.is_null() {
        // SAFETY: `bind` made it from an `Arc` that it forgot.
        drop(unsafe { Arc::<Shared>::from_raw(raw) });
    }
}

/// Runs what a queue gave out.
///
/// # Safety
///
/// 1. The caller holds the runnable and gives it up.
/// 2. This thread is entered into the executor of the task, which is `shared`.
#[inline]
pub(crate) unsafe fn run(shared: &Shared, counters: &Counters, task: NonNull<TaskHeader>) {
    // SAFETY: (1).
    let vtable = unsafe { task.as_ref() }.vtable;
    counters.add_run(vtable.embedded);
    if shared.instrumented {
        // SAFETY: 1. and 2. are ours.
        unsafe { run_instrumented(shared, counters, task) };
        return;
    }
    let bomb = AbortOnUnwind;
    // SAFETY: (1) and (2).
    unsafe { (vtable.run)(task) };
    std::mem::forget(bomb);
    if vtable.embedded {
        restore_context();
    }
}

/// Ends the process when it is dropped, which only an unwinding `run` or `cancel` lets happen: nobody could tell who
/// owns the task then.
struct AbortOnUnwind;

impl Drop for AbortOnUnwind {
    fn drop(&mut self) {
        std::process::abort();
    }
}

/// Whatever task-locals an embedded task has left behind are nobody's.
#[inline]
fn restore_context() {
    drop(current::swap_context(Context::empty()));
}

#[inline(never)]
unsafe fn run_instrumented(shared: &Shared, counters: &Counters, task: NonNull<TaskHeader>) {
    // SAFETY: the caller holds the runnable.
    let vtable = unsafe { task.as_ref() }.vtable;
    let id = TaskId(task.addr().get());
    if let Some(hooks) = &shared.config.hooks {
        let core = if vtable.embedded {
            None
        } else {
            // SAFETY: 1. what is not embedded was spawned. 2. the caller holds the runnable.
            Some(unsafe { cell::core(task) })
        };
        hooks.before_poll(&TaskInfo {
            id,
            name: core.and_then(|core| core.name()),
            embedded: vtable.embedded,
        });
    }
    let begin = counters.begin_timed();
    let bomb = AbortOnUnwind;
    // SAFETY: the caller's runnable and thread.
    unsafe { (vtable.run)(task) };
    std::mem::forget(bomb);
    let took = counters.end_timed(begin);
    if vtable.embedded {
        restore_context();
    }
    if let Some(hooks) = &shared.config.hooks {
        hooks.after_poll(id, took);
    }
}

/// Ends what a queue gave out.
///
/// # Safety
///
/// As [`run`].
pub(crate) unsafe fn cancel(task: NonNull<TaskHeader>) {
    // SAFETY: (1).
    let cancel = unsafe { task.as_ref() }.vtable.cancel;
    let bomb = AbortOnUnwind;
    // SAFETY: (1) and (2).
    unsafe { cancel(task) };
    std::mem::forget(bomb);
}
