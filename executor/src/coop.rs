//! The cooperative budget: no task keeps its thread for ever only because what it awaits is always ready.
//!
//! A poll begins with a budget of 128 units. Futures of this crate (join handles, timers) and whoever calls
//! [`consume`] spend one for each time they are ready; when none is left they pend once, after waking the task, so
//! that the others have their turn.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project::pin_project;

use crate::current;

/// Pends once, so that every task that is queued already runs before the caller goes on.
///
/// ```
/// use std::{cell::RefCell, rc::Rc};
/// use midair_executor::{LocalExecutor, spawn_local, yield_now};
///
/// let executor = LocalExecutor::new();
/// let order = Rc::new(RefCell::new(Vec::new()));
/// executor.block_on(async {
///     let tasks: Vec<_> = (0..2)
///         .map(|id| {
///             let order = Rc::clone(&order);
///             spawn_local(async move {
///                 order.borrow_mut().push((id, "before"));
///                 yield_now().await;
///                 order.borrow_mut().push((id, "after"));
///             })
///         })
///         .collect();
///     for task in tasks {
///         task.await.unwrap();
///     }
/// });
/// assert_eq!(*order.borrow(), [(0, "before"), (1, "before"), (0, "after"), (1, "after")]);
/// ```
pub fn yield_now() -> YieldNow {
    YieldNow { yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct YieldNow {
    yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Spends one unit, or pends once if none is left. To be called by a leaf future that is about to be ready, before it
/// takes anything.
///
/// Outside of a task it is always ready.
#[inline]
pub fn poll_consume(context: &mut Context<'_>) -> Poll<()> {
    if current::consume_budget() {
        Poll::Ready(())
    } else {
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Spends one unit of the budget; yields if none is left. For loops that never pend by themselves.
///
/// ```
/// # midair_executor::block_on(midair_executor::spawn(async {
/// for _ in 0..1_000 {
///     // some work
///     midair_executor::coop::consume().await;
/// }
/// # })).unwrap();
/// ```
pub async fn consume() {
    poll_fn(poll_consume).await;
}

/// Is there budget left? Always, outside of a task.
pub fn has_budget() -> bool {
    current::has_budget()
}

/// Polls `future` without any budget.
pub fn unconstrained<F: Future>(future: F) -> Unconstrained<F> {
    Unconstrained { future }
}

/// The future of [`unconstrained`].
#[pin_project]
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Unconstrained<F> {
    #[pin]
    future: F,
}

impl<F: Future> Future for Unconstrained<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _unlimited = current::unlimited_budget();
        self.project().future.poll(context)
    }
}
