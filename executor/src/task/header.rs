//! The front that every queued thing has: what to call, the link of its queue, its state, its executor.
//!
//! ```text
//! offset  field
//!  0      vtable      how to run, cancel and free this kind of body
//!  8      next        link of the one queue that holds the task
//! 16      state       see `state.rs`; unused by a task the embedder embeds
//! 24      scheduler   the executor it belongs to, or null: whichever one is at hand
//! ```
//!
//! **Invariant (one runnable).** At most one *runnable* exists per task: the right to run it. Whoever moves the
//! wakes of the state from zero creates it; it is in exactly one queue, slot or worker; only its holder touches the
//! body and `next`.

use std::fmt;
use std::ptr::{self, NonNull};

use crate::scheduler::Shared;
use crate::sync::atomic::{AtomicPtr, Ordering};
use crate::task::state::State;

/// The front of every task: of those made by `spawn`, and of those an embedder embeds in a structure of its own.
///
/// See [`resumption`](crate::resumption) for the second use.
#[repr(C)]
pub struct TaskHeader {
    pub(crate) vtable: &'static TaskVtable,
    pub(crate) next: AtomicPtr<Self>,
    pub(crate) state: State,
    pub(crate) scheduler: AtomicPtr<Shared>,
}

/// What can be done with a queued task.
#[derive(Debug)]
pub struct TaskVtable {
    pub(crate) run: unsafe fn(NonNull<TaskHeader>),
    pub(crate) cancel: unsafe fn(NonNull<TaskHeader>),
    pub(crate) dealloc: unsafe fn(NonNull<TaskHeader>),
    pub(crate) take_output: unsafe fn(NonNull<TaskHeader>, *mut ()),
    pub(crate) drop_output: unsafe fn(NonNull<TaskHeader>),
    /// A continuation of the embedder: its runs are counted as resumes.
    pub(crate) embedded: bool,
}

impl TaskVtable {
    /// The table of an embedded task: `run` when its turn comes, `cancel` when the executor ends first.
    ///
    /// Exactly one of the two is called for each time the task is scheduled, and the call hands the task back:
    /// the function may free it, or schedule it again.
    pub const fn new(
        run: unsafe fn(NonNull<TaskHeader>),
        cancel: unsafe fn(NonNull<TaskHeader>),
    ) -> Self {
        Self {
            run,
            cancel,
            dealloc: |_| unreachable!("an embedded task is freed by its embedder"),
            take_output: |_, _| unreachable!("an embedded task has no output here"),
            drop_output: |_| unreachable!("an embedded task has no output here"),
            embedded: true,
        }
    }
}

impl TaskHeader {
    /// A header that is on no queue and bound to no executor.
    pub fn new(vtable: &'static TaskVtable) -> Self {
        Self::with_state(vtable, State::idle(), ptr::null_mut())
    }

    pub(crate) fn with_state(
        vtable: &'static TaskVtable,
        state: State,
        scheduler: *mut Shared,
    ) -> Self {
        Self {
            vtable,
            next: AtomicPtr::new(ptr::null_mut()),
            state,
            scheduler: AtomicPtr::new(scheduler),
        }
    }

    #[inline]
    pub(crate) fn scheduler(&self) -> *const Shared {
        self.scheduler.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for TaskHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHeader")
            .field("embedded", &self.vtable.embedded)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<TaskHeader>() == 32, "half a cache line");
