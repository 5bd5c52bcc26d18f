//! What the spawner holds: await the output, abort, detach.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use crate::coop;
use crate::scheduler;
use crate::task::cell;
use crate::task::header::TaskHeader;
use crate::task::state::{Join, Leave};
use crate::task::waker;

/// Owns the right to a task's output: a future of it.
///
/// Dropping the handle *detaches* the task: it goes on, and its output is dropped. See [`abort`](Self::abort) for
/// the other wish.
///
/// ```
/// let answer = midair_executor::block_on(async {
///     midair_executor::spawn(async { 6 * 7 }).await
/// });
/// assert_eq!(answer.unwrap(), 42);
/// ```
#[must_use = "dropping a join handle detaches its task; call `detach` to say so"]
pub struct JoinHandle<T> {
    task: NonNull<TaskHeader>,
    taken: bool,
    output: PhantomData<T>,
}

// SAFETY: the handle gives its holder the output (T: Send) and an interface that is safe from any thread.
unsafe impl<T: Send> Send for JoinHandle<T> {}
// SAFETY: through a shared handle only the state is read or written, atomically.
unsafe impl<T: Send> Sync for JoinHandle<T> {}

impl<T> Unpin for JoinHandle<T> {}

impl<T> JoinHandle<T> {
    /// # Safety
    ///
    /// 1. `task` was made by `cell::allocate` of a future with output `T`, and its join interest is the caller's to
    ///    give.
    pub(crate) unsafe fn new(task: NonNull<TaskHeader>) -> Self {
        Self {
            task,
            taken: false,
            output: PhantomData,
        }
    }

    fn core(&self) -> &cell::TaskCore {
        // SAFETY: 1. by the contract of `new`; 2. the join interest keeps it alive.
        unsafe { cell::core(self.task) }
    }

    /// Asks for the task to end: its future is dropped by its executor, at once or when the poll in progress is
    /// over. A task that has finished is not changed.
    pub fn abort(&self) {
        if self.core().header.state.close() {
            // SAFETY: that transition gave us the runnable.
            unsafe { scheduler::schedule_woken(self.task) };
        }
    }

    /// A handle that can only abort, and may be cloned.
    pub fn abort_handle(&self) -> AbortHandle {
        self.core().header.state.add_ref();
        AbortHandle { task: self.task }
    }

    /// Lets the task go on by itself.
    pub fn detach(self) {}

    /// A handle that aborts the task when it is dropped.
    pub fn abort_on_drop(self) -> AbortOnDrop<T> {
        AbortOnDrop { handle: self }
    }

    /// The name the task was spawned with.
    pub fn name(&self) -> Option<&str> {
        self.core().name()
    }

    /// Has the task finished, in whatever way?
    pub fn is_finished(&self) -> bool {
        self.core().header.state.is_complete()
    }

    fn take_output(&mut self) -> Result<T, JoinError> {
        assert!(!self.taken, "a join handle was polled after it was ready");
        self.taken = true;
        let take = self.core().header.vtable.take_output;
        let mut place: Option<Result<T, JoinError>> = None;
        // SAFETY: the task is complete, and the place has the type of its output.
        unsafe { take(self.task, (&raw mut place).cast()) };
        place.expect("a complete task has an output until it is taken")
    }

    /// Takes the join waker out. The cell is the handle's at the moment (rule 7).
    fn take_waker(&self) -> Option<std::task::Waker> {
        self.core().join_waker.with_mut(|waker| {
            // SAFETY: JOIN_WAKER is clear and COMPLETE was not set when it was cleared: rule 7.
            unsafe { (*waker).take() }
        })
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let core = self.core();
        let state = &core.header.state;
        match state.join_state() {
            Join::Complete => {
                if coop::poll_consume(context).is_pending() {
                    return Poll::Pending;
                }
                return Poll::Ready(self.take_output());
            }
            Join::Set => {
                let same = core.join_waker.with(|waker| {
                    // SAFETY: while JOIN_WAKER is set and a handle exists, the cell is only read (rule 7).
                    unsafe { (*waker).as_ref() }.is_some_and(|set| set.will_wake(context.waker()))
                });
                if same {
                    return Poll::Pending;
                }
                if !state.unset_join_waker() {
                    return Poll::Ready(self.take_output());
                }
            }
            Join::Unset => {}
        }
        let waker = context.waker().clone();
        let old = core.join_waker.with_mut(|place| {
            // SAFETY: JOIN_WAKER is clear: the cell is the handle's (rule 7).
            unsafe { (*place).replace(waker) }
        });
        drop(old);
        if state.set_join_waker() {
            return Poll::Pending;
        }
        drop(self.take_waker());
        Poll::Ready(self.take_output())
    }
}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        struct Interest(NonNull<TaskHeader>);
        impl Drop for Interest {
            fn drop(&mut self) {
                // SAFETY: the interest keeps the task alive until this very transition.
                if unsafe { self.0.as_ref() }.state.leave_completed() {
                    // SAFETY: as above, and the transition left the memory to us.
                    let dealloc = unsafe { self.0.as_ref() }.vtable.dealloc;
                    // SAFETY: as above.
                    unsafe { dealloc(self.0) };
                }
            }
        }
        loop {
            match self.core().header.state.leave() {
                Leave::Done(released) => {
                    // SAFETY: answered by that transition.
                    unsafe { waker::settle(self.task, released) };
                    return;
                }
                Leave::TakeWaker => {
                    if self.core().header.state.unset_join_waker() {
                        drop(self.take_waker());
                    }
                }
                Leave::DropOutput { waker } => {
                    if waker {
                        drop(self.take_waker());
                    }
                    // the interest is given up even if the drop of the output panics
                    let _interest = Interest(self.task);
                    let drop_output = self.core().header.vtable.drop_output;
                    // SAFETY: the task is complete and its output the handle's (rule 8).
                    unsafe { drop_output(self.task) };
                    return;
                }
            }
        }
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("state", &self.core().header.state)
            .finish()
    }
}

/// A join handle whose task does not outlive it.
///
/// ```
/// let executor = midair_executor::Executor::new(1);
/// let task = executor.spawn(std::future::pending::<()>());
/// let watch = task.abort_handle();
/// drop(task.abort_on_drop());
/// drop(executor);
/// assert!(watch.is_finished());
/// ```
#[derive(Debug)]
#[must_use = "dropping it aborts its task"]
pub struct AbortOnDrop<T> {
    handle: JoinHandle<T>,
}

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.handle).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// Aborts a task, and can do nothing else with it.
pub struct AbortHandle {
    task: NonNull<TaskHeader>,
}

// SAFETY: it only uses the state, atomically, and frees the task under rule 5, which any thread may do: by then the
// body and the output are gone.
unsafe impl Send for AbortHandle {}
// SAFETY: as above.
unsafe impl Sync for AbortHandle {}

impl AbortHandle {
    fn state(&self) -> &crate::task::state::State {
        // SAFETY: this handle is counted in REFS.
        &unsafe { self.task.as_ref() }.state
    }

    /// As [`JoinHandle::abort`].
    pub fn abort(&self) {
        if self.state().close() {
            // SAFETY: that transition gave us the runnable.
            unsafe { scheduler::schedule_woken(self.task) };
        }
    }

    /// Has the task finished, in whatever way?
    pub fn is_finished(&self) -> bool {
        self.state().is_complete()
    }
}

impl Clone for AbortHandle {
    fn clone(&self) -> Self {
        self.state().add_ref();
        Self { task: self.task }
    }
}

impl Drop for AbortHandle {
    fn drop(&mut self) {
        let released = self.state().release_ref();
        // SAFETY: answered by that transition.
        unsafe { waker::settle(self.task, released) };
    }
}

impl fmt::Debug for AbortHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AbortHandle")
            .field("state", self.state())
            .finish()
    }
}

/// Why a task has no output.
pub struct JoinError {
    repr: Repr,
}

enum Repr {
    Aborted,
    Panicked(Box<dyn Any + Send>),
}

impl JoinError {
    pub(crate) fn aborted() -> Self {
        Self {
            repr: Repr::Aborted,
        }
    }

    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        Self {
            repr: Repr::Panicked(payload),
        }
    }

    /// Was it aborted, or ended by a shutdown?
    pub fn is_aborted(&self) -> bool {
        matches!(self.repr, Repr::Aborted)
    }

    /// Did it panic?
    pub fn is_panic(&self) -> bool {
        matches!(self.repr, Repr::Panicked(_))
    }

    /// The payload of the panic.
    ///
    /// # Errors
    ///
    /// The error itself, if it was not a panic.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, Self> {
        match self.repr {
            Repr::Panicked(payload) => Ok(payload),
            Repr::Aborted => Err(self),
        }
    }

    fn message(&self) -> Option<&str> {
        match &self.repr {
            Repr::Aborted => None,
            Repr::Panicked(payload) => payload
                .downcast_ref::<&'static str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str)),
        }
    }
}

// SAFETY: a shared error only ever gives out a `&str` from a payload that is one, which is `Sync`.
unsafe impl Sync for JoinError {}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.repr, self.message()) {
            (Repr::Aborted, _) => f.write_str("the task was aborted"),
            (Repr::Panicked(_), Some(message)) => write!(f, "the task panicked: {message}"),
            (Repr::Panicked(_), None) => f.write_str("the task panicked"),
        }
    }
}

impl std::error::Error for JoinError {}
