//! The memory of a spawned future: header, what any code may use, and the body.
//!
//! ```text
//!  0      header         32 bytes, see `header.rs`
//! 32      links          registry: neighbours
//! 48      join_waker     rule 7 of `state.rs`
//! 64      context        task-locals, while the task does not run
//! 72      meta           its name, if it has one
//! 80      stage          the future, then its output
//! ```

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::task::{Context, Poll, Waker};

use crate::context::Context as TaskContext;

use crate::current;
use crate::scheduler::{self, Shared};
use crate::sync::UnsafeCell;
use crate::task::handle::JoinError;
use crate::task::header::{TaskHeader, TaskVtable};
use crate::task::memory;
use crate::task::state::{Begin, Completed, End, Finish, State};
use crate::task::waker;

/// Futures larger than this live in a box of their own, so that a spawn moves a pointer.
pub(crate) const LARGE_FUTURE: usize = 16 * 1024;

/// What code that does not know the future may use.
#[repr(C)]
pub(crate) struct TaskCore {
    pub(crate) header: TaskHeader,
    /// Neighbours in the registry; used under its lock.
    pub(crate) links: UnsafeCell<Links>,
    /// Rule 7 of `state.rs`.
    pub(crate) join_waker: UnsafeCell<Option<Waker>>,
    /// Task-locals; touched by the holder of the runnable.
    context: UnsafeCell<TaskContext>,
    /// Never changes.
    meta: Option<Box<Meta>>,
}

/// What only some tasks have.
#[derive(Debug)]
struct Meta {
    name: String,
}

/// The place of a task in the registry: its neighbours, null at the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Links {
    pub(crate) previous: *mut TaskHeader,
    pub(crate) next: *mut TaskHeader,
}

impl Links {
    /// Not in it.
    pub(crate) const UNREGISTERED: Self = Self {
        previous: ptr::without_provenance_mut(1),
        next: ptr::without_provenance_mut(1),
    };

    /// Taken out by the shutdown, and still to be counted out.
    pub(crate) const UNLINKED: Self = Self {
        previous: ptr::without_provenance_mut(2),
        next: ptr::without_provenance_mut(2),
    };
}

#[repr(C)]
struct TaskCell<F: Future> {
    core: TaskCore,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Running(F),
    Finished(Result<F::Output, JoinError>),
    Consumed,
}

/// The core of a spawned task.
///
/// # Safety
///
/// 1. `task` was made by [`allocate`].
/// 2. It is not freed while the answer is used.
#[inline]
pub(crate) unsafe fn core<'a>(task: NonNull<TaskHeader>) -> &'a TaskCore {
    // SAFETY: (1) the header is the first field of the core, the core of the cell; the pointer carries the right to
    // the whole cell. (2) it is alive.
    unsafe { task.cast::<TaskCore>().as_ref() }
}

/// Allocates the cell of a future: the caller holds its runnable and its join handle's interest.
pub(crate) fn allocate<F: Future>(
    future: F,
    scheduler: *const Shared,
    shard: usize,
    name: Option<String>,
) -> NonNull<TaskHeader> {
    let cell = TaskCell {
        core: TaskCore {
            header: TaskHeader::with_state(
                const { &table::<F>() },
                State::spawned(shard),
                scheduler.cast_mut(),
            ),
            links: UnsafeCell::new(Links::UNREGISTERED),
            join_waker: UnsafeCell::new(None),
            context: UnsafeCell::new(TaskContext::capture()),
            meta: name.map(|name| Box::new(Meta { name })),
        },
        stage: UnsafeCell::new(Stage::Running(future)),
    };
    let place = memory::allocate::<TaskCell<F>>();
    // SAFETY: the block is made for such a cell.
    unsafe { place.write(cell) };
    place.cast()
}

const fn table<F: Future>() -> TaskVtable {
    TaskVtable {
        run: run::<F>,
        cancel: cancel::<F>,
        dealloc: dealloc::<F>,
        take_output: take_output::<F>,
        drop_output: drop_output::<F>,
        embedded: false,
    }
}

unsafe fn cell<'a, F: Future>(task: NonNull<TaskHeader>) -> &'a TaskCell<F> {
    // SAFETY: the table that leads here is that of the cell's own type.
    unsafe { task.cast::<TaskCell<F>>().as_ref() }
}

/// Runs the task once. The caller holds the runnable and gives it up.
unsafe fn run<F: Future>(task: NonNull<TaskHeader>) {
    // SAFETY: the runnable keeps the task alive.
    let cell = unsafe { cell::<F>(task) };
    let observed = match cell.core.header.state.begin_run() {
        Begin::Run(observed) => observed,
        Begin::Closed => {
            // SAFETY: the runnable is ours.
            unsafe { close::<F>(task) };
            return;
        }
    };
    // SAFETY: a task made by `spawn`; we hold its runnable until the end of this function.
    let waker = unsafe { waker::borrowed(task) };
    let mut context = Context::from_waker(&waker);
    // SAFETY: the context is touched by the holder of the runnable.
    let locals = (cell.core.context).with_mut(|place| std::mem::take(unsafe { &mut *place }));
    let outer = current::begin_poll(task, locals);
    let polled = catch_unwind(AssertUnwindSafe(|| cell.poll(&mut context)));
    let (self_woken, locals) = current::end_poll(outer);
    let output = match polled {
        Ok(Poll::Pending) => {
            // SAFETY: as above; what is overwritten is empty.
            (cell.core.context).with_mut(|place| unsafe { place.write(locals) });
            let state = &cell.core.header.state;
            let end = if self_woken {
                state.end_run_self_woken()
            } else {
                state.end_run(observed)
            };
            match end {
                End::Parked => {}
                // SAFETY: the runnable is still ours.
                End::Again => unsafe { scheduler::schedule_again(task) },
                // SAFETY: the runnable is still ours.
                End::Closed => unsafe { close::<F>(task) },
            }
            return;
        }
        Ok(Poll::Ready(output)) => Ok(output),
        Err(payload) => {
            // SAFETY: we run for the executor of the task.
            unsafe { (*cell.core.header.scheduler()).on_panic() };
            Err(JoinError::panicked(payload))
        }
    };
    let _ = drop_guarded(locals);
    // SAFETY: the runnable is still ours.
    unsafe { complete::<F>(task, output) };
}

/// Runs a task for the last time, to drop its body.
unsafe fn cancel<F: Future>(task: NonNull<TaskHeader>) {
    // SAFETY: the runnable is ours, so the task is alive.
    let must_schedule = unsafe { task.as_ref() }.state.close();
    debug_assert!(!must_schedule, "a runnable existed");
    // SAFETY: the runnable is ours.
    unsafe { close::<F>(task) };
}

/// Drops the body of a closed task and completes it.
#[cold]
unsafe fn close<F: Future>(task: NonNull<TaskHeader>) {
    // SAFETY: the caller gives us the runnable.
    unsafe { complete::<F>(task, Err(JoinError::aborted())) };
}

/// Replaces the body by the output and completes the task. The caller gives up the runnable.
unsafe fn complete<F: Future>(task: NonNull<TaskHeader>, output: Result<F::Output, JoinError>) {
    // SAFETY: the runnable keeps the task alive.
    let cell = unsafe { cell::<F>(task) };
    let state = &cell.core.header.state;
    let output = match cell.replace_guarded(Stage::Consumed) {
        None => output,
        Some(payload) => {
            let _ = drop_guarded(output);
            Err(JoinError::panicked(payload))
        }
    };
    // SAFETY: the context is touched by the holder of the runnable.
    let locals = (cell.core.context).with_mut(|place| std::mem::take(unsafe { &mut *place }));
    if !locals.is_empty() {
        let _ = drop_guarded(locals);
    }
    // SAFETY: it is registered with its own scheduler, if at all, and on its thread.
    unsafe { scheduler::forget(task) };
    if state.has_join_interest() {
        cell.replace_guarded(Stage::Finished(output));
        match state.complete(true) {
            Some(Completed::Nothing) => return,
            Some(Completed::Free) => {
                // SAFETY: that transition left the memory to us.
                unsafe { dealloc::<F>(task) };
                return;
            }
            Some(Completed::WakeJoiner) => {
                cell.core.join_waker.with(|waker| {
                    // SAFETY: JOIN_WAKER was set when COMPLETE was: until we clear it, the cell is only read (rule 7).
                    if let Some(waker) = unsafe { &*waker } {
                        // a parent that awaits many children is run when they are done, not after each
                        current::wake_to_back(|| {
                            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake_by_ref()));
                        });
                    }
                });
                let mut finish = state.finish_completion();
                if finish == Finish::DropWaker {
                    let waker = cell.core.join_waker.with_mut(|waker| {
                        // SAFETY: the handle has gone: nobody else reaches the cell (rule 7).
                        unsafe { (*waker).take() }
                    });
                    let _ = drop_guarded(waker);
                    finish = state.finish_completion();
                }
                if finish == Finish::Free {
                    // SAFETY: that transition left the memory to us.
                    unsafe { dealloc::<F>(task) };
                }
                return;
            }
            // the handle went away in between: the output is ours again (rule 8)
            None => {
                cell.replace_guarded(Stage::Consumed);
            }
        }
    } else {
        let _ = drop_guarded(output);
    }
    if state.complete(false) == Some(Completed::Free) {
        // SAFETY: that transition left the memory to us.
        unsafe { dealloc::<F>(task) };
    }
}

unsafe fn dealloc<F: Future>(task: NonNull<TaskHeader>) {
    let cell = task.cast::<TaskCell<F>>();
    // SAFETY: `allocate` made this very cell, and by rule 5 nobody else can reach it.
    unsafe { cell.drop_in_place() };
    // SAFETY: 1. `allocate` took the block from there.
    unsafe { memory::free(cell) };
}

/// Moves the output to `place`, a `*mut Option<Result<F::Output, JoinError>>`.
unsafe fn take_output<F: Future>(task: NonNull<TaskHeader>, place: *mut ()) {
    // SAFETY: the join handle keeps the task alive.
    let cell = unsafe { cell::<F>(task) };
    // SAFETY: COMPLETE was seen by the join handle: the stage is its own (rule 8).
    let stage = cell
        .stage
        .with_mut(|stage| std::mem::replace(unsafe { &mut *stage }, Stage::Consumed));
    if let Stage::Finished(output) = stage {
        // SAFETY: the caller gives a place of that type.
        unsafe { *place.cast::<Option<Result<F::Output, JoinError>>>() = Some(output) };
    }
}

/// Drops the output in its place.
unsafe fn drop_output<F: Future>(task: NonNull<TaskHeader>) {
    // SAFETY: the join handle keeps the task alive.
    let cell = unsafe { cell::<F>(task) };
    // the handle owns the stage now (rule 8)
    if let Some(payload) = cell.replace_guarded(Stage::Consumed) {
        std::panic::resume_unwind(payload);
    }
}

impl<F: Future> TaskCell<F> {
    /// Polls the body. Called by the holder of the runnable.
    #[inline]
    fn poll(&self, context: &mut Context<'_>) -> Poll<F::Output> {
        self.stage.with_mut(|stage| {
            // SAFETY: the holder of the runnable is the only one to touch the stage before COMPLETE (rule 1).
            let Stage::Running(future) = (unsafe { &mut *stage }) else {
                unreachable!("a runnable exists only while the body does");
            };
            // SAFETY: the future is in a cell that never moves, and is dropped in its place.
            let future = unsafe { Pin::new_unchecked(future) };
            future.poll(context)
        })
    }

    /// Drops what the stage holds, in its place, and puts `next` there. Answers the payload if the drop panicked.
    ///
    /// Called by the one who owns the stage (rules 1 and 8).
    fn replace_guarded(&self, next: Stage<F>) -> Option<Box<dyn Any + Send>> {
        self.stage.with_mut(|stage| {
            let dropped = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: the caller owns the stage; it is overwritten below without being dropped again.
                unsafe { stage.drop_in_place() }
            }));
            // SAFETY: the caller owns the stage, whose old value is gone.
            unsafe { stage.write(next) };
            dropped.err()
        })
    }
}

/// Drops a value that may panic; answers the payload.
fn drop_guarded<T>(value: T) -> Option<Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(|| drop(value))).err()
}

impl TaskCore {
    /// The name it was spawned with.
    pub(crate) fn name(&self) -> Option<&str> {
        self.meta.as_ref().map(|meta| meta.name.as_str())
    }
}

impl fmt::Debug for TaskCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskCore")
            .field("header", &self.header)
            .finish_non_exhaustive()
    }
}
