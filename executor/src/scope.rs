//! Tasks that borrow: a stack frame waits for them.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::task::AtomicWaker;

use crate::executor::Executor;
use crate::task::handle::JoinHandle;

/// Where [`Executor::scope`] spawns.
pub struct Scope<'scope, 'environment: 'scope> {
    executor: &'scope Executor,
    pending: Arc<Pending>,
    scope: PhantomData<&'scope mut &'scope ()>,
    environment: PhantomData<&'environment mut &'environment ()>,
}

#[derive(Default)]
struct Pending {
    /// Futures that are not dropped yet.
    count: AtomicUsize,
    waiter: AtomicWaker,
}

/// Counts one future out, after it was dropped.
struct CountOut(Arc<Pending>);

impl Drop for CountOut {
    fn drop(&mut self) {
        if self.0.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.waiter.wake();
        }
    }
}

/// A future, and after it (fields are dropped in order) its count.
struct Scoped<F> {
    future: Pin<Box<F>>,
    _count: CountOut,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<F::Output> {
        self.future.as_mut().poll(context)
    }
}

impl<'scope> Scope<'scope, '_> {
    /// Starts a task that may borrow what outlives the scope.
    ///
    /// Its output may not borrow: the handle may be kept.
    pub fn spawn<F>(&'scope self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'scope,
        F::Output: Send + 'static,
    {
        self.pending.count.fetch_add(1, Ordering::Relaxed);
        let scoped = Scoped {
            future: Box::pin(future),
            _count: CountOut(Arc::clone(&self.pending)),
        };
        let boxed: Pin<Box<dyn Future<Output = F::Output> + Send + 'scope>> = Box::pin(scoped);
        // SAFETY: only the lifetime changes. `enter` does not return, by whatever way, before the count is back at
        // zero, which it is when the future was dropped, whether it finished, was aborted or was never run. An
        // executor drops every future it was given. The output is `'static` and so outlives the scope by right.
        let boxed: Pin<Box<dyn Future<Output = F::Output> + Send + 'static>> =
            unsafe { std::mem::transmute(boxed) };
        self.executor.spawn(boxed)
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("pending", &self.pending.count.load(Ordering::Relaxed))
            .finish()
    }
}

/// Runs `f` in a scope, and waits for the scope's tasks.
pub(crate) fn enter<'environment, R>(
    executor: &'environment Executor,
    f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'environment>) -> R,
) -> R {
    let scope = Scope {
        executor,
        pending: Arc::default(),
        scope: PhantomData,
        environment: PhantomData,
    };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    let pending = Arc::clone(&scope.pending);
    executor.block_on(std::future::poll_fn(|context| {
        pending.waiter.register(context.waker());
        if pending.count.load(Ordering::Acquire) == 0 {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    }));
    match result {
        Ok(result) => result,
        Err(payload) => resume_unwind(payload),
    }
}
