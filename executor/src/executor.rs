//! The executor of several threads, and the global one.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use futures::task::{ArcWake, FutureObj, Spawn, SpawnError};

use crate::config::Config;
use crate::current;
use crate::metrics::Metrics;
use crate::scheduler::{self, Kind, Pool, Shared};
use crate::scope::{self, Scope};
use crate::shutdown::{self, ShutdownReport};
use crate::sync::Arc;
use crate::task::cell;
use crate::task::handle::JoinHandle;
use crate::worker;

/// An executor with threads of its own.
///
/// Dropping it ends it: its tasks' futures are dropped by its workers, its threads joined.
///
/// ```
/// let executor = midair_executor::Executor::new(2);
/// let sum = executor.block_on(async {
///     let halves = [executor.spawn(async { 20 }), executor.spawn(async { 22 })];
///     let mut sum = 0;
///     for half in halves {
///         sum += half.await.unwrap();
///     }
///     sum
/// });
/// assert_eq!(sum, 42);
/// ```
#[derive(Debug)]
pub struct Executor {
    handle: Handle,
    threads: Vec<thread::JoinHandle<()>>,
}

/// Spawns on an [`Executor`]. Cheap to clone, may outlive it.
#[derive(Debug, Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

static GLOBAL: OnceLock<Executor> = OnceLock::new();

/// The executor that is there without being set up: as many workers as the machine has processors, made at the first
/// use, running until the process ends.
pub fn global() -> &'static Handle {
    &GLOBAL
        .get_or_init(|| {
            let workers = thread::available_parallelism().map_or(1, usize::from);
            Executor::new(workers)
        })
        .handle
}

/// Starts a task on the [current](Handle::try_current) executor with workers, on the [global](global) one otherwise.
///
/// ```
/// let task = midair_executor::spawn(async { "done" });
/// assert_eq!(midair_executor::block_on(task).unwrap(), "done");
/// ```
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Handle::try_current() {
        Some(handle) => handle.spawn(future),
        None => global().spawn(future),
    }
}

fn pool(shared: &Shared) -> &Pool {
    match &shared.kind {
        Kind::Pool(pool) => pool,
        Kind::Local(_) => unreachable!("an executor of several threads is a pool"),
    }
}

impl Executor {
    /// An executor with that many workers, at least one, at most 64. See [`Builder`](crate::Builder) for more.
    ///
    /// # Panics
    ///
    /// If the system gives no thread.
    pub fn new(workers: usize) -> Self {
        Self::build(workers, "midair-worker", Config::default(), false)
            .expect("the system gives a thread")
    }

    pub(crate) fn build(
        workers: usize,
        name: &str,
        config: Config,
        paused: bool,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::pool(workers, config));
        if paused {
            shared.timers.pause();
        }
        let mut executor = Self {
            handle: Handle {
                shared: Arc::clone(&shared),
            },
            threads: Vec::new(),
        };
        for index in 0..pool(&shared).sites.len() {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new()
                .name(format!("{name}-{index}"))
                .spawn(move || worker::run(&shared, index))?;
            executor.threads.push(thread);
        }
        Ok(executor)
    }

    /// Something to spawn with that can be cloned.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// As [`Handle::spawn`].
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.handle.spawn(future)
    }

    /// Runs `future` on this thread until it is ready, while the workers run the tasks. What it [spawns](spawn) and its
    /// timers belong to this executor.
    ///
    /// On one of its own workers it runs tasks meanwhile, so that it may be nested.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        if !ptr::eq(current::scheduler(), Arc::as_ptr(&self.handle.shared)) {
            let _ambient = current::wait_for(Arc::as_ptr(&self.handle.shared));
            return crate::block_on(future);
        }
        help_until(&self.handle.shared, future)
    }

    /// Ends the executor: waits so long for its tasks to finish by themselves, drops the futures of those that do
    /// not, and joins its threads.
    ///
    /// A worker that does not come back from a poll is not waited for longer than that again.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let executor = midair_executor::Executor::new(2);
    /// executor.spawn(async { midair_executor::yield_now().await }).detach();
    /// let stuck = executor.spawn(std::future::pending::<()>());
    /// let report = executor.shutdown(Duration::from_millis(10));
    /// assert_eq!(report.dropped, 1);
    /// assert!(stuck.is_finished());
    /// ```
    pub fn shutdown(mut self, time: Duration) -> ShutdownReport {
        let report = shutdown::shut_down(&self.handle.shared, pool(&self.handle.shared), time);
        if report.stuck == 0 {
            self.join();
        }
        // threads that are stuck hold what they need
        self.threads.clear();
        report
    }

    /// Runs `f`, which may spawn tasks that borrow from here, and waits for all of them.
    ///
    /// ```
    /// let executor = midair_executor::Executor::new(2);
    /// let text = String::from("borrowed");
    /// let (one, two) = executor.scope(|scope| {
    ///     let one = scope.spawn(async { text.len() });
    ///     let two = scope.spawn(async { text.to_uppercase() });
    ///     (one, two)
    /// });
    /// assert_eq!(midair_executor::block_on(one).unwrap(), 8);
    /// assert_eq!(midair_executor::block_on(two).unwrap(), "BORROWED");
    /// ```
    ///
    /// It blocks the thread, which is what makes it sound: a future could be leaked, a stack frame cannot. On one of
    /// the executor's own workers it runs other tasks meanwhile. If `f` panics, the tasks are waited for all the same.
    pub fn scope<'environment, R>(
        &'environment self,
        f: impl for<'scope> FnOnce(&'scope Scope<'scope, 'environment>) -> R,
    ) -> R {
        scope::enter(self, f)
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Runs tasks on one of the executor's own workers until `future` is ready.
fn help_until<F: Future>(shared: &Arc<Shared>, future: F) -> F::Output {
    struct Main {
        woken: AtomicBool,
        shared: Arc<Shared>,
        worker: usize,
    }
    impl ArcWake for Main {
        fn wake_by_ref(this: &Arc<Self>) {
            this.woken.store(true, Ordering::Release);
            pool(&this.shared).unpark(this.worker);
        }
    }
    let worker = current::worker();
    let main = Arc::new(Main {
        woken: AtomicBool::new(false),
        shared: Arc::clone(shared),
        worker,
    });
    let waker = futures::task::waker(Arc::clone(&main));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    // the outer task is not the one that runs now
    let _entered = current::enter_worker(Arc::as_ptr(shared), worker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        worker::help(shared, worker, || main.woken.load(Ordering::Acquire));
        main.woken.store(false, Ordering::Release);
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        if self.threads.is_empty() {
            return;
        }
        pool(&self.handle.shared).close(&self.handle.shared.injector);
        let own = current::scheduler();
        if ptr::eq(own, Arc::as_ptr(&self.handle.shared)) {
            // dropped by one of its own tasks: that worker cannot wait for itself
            self.threads.clear();
        }
        self.join();
    }
}

impl Handle {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The executor whose worker this thread is, or whose [`block_on`](Executor::block_on) waits here.
    pub fn try_current() -> Option<Self> {
        [current::scheduler(), current::ambient()]
            .into_iter()
            .filter(|raw| !raw.is_null())
            // SAFETY: the current one and the ambient one are alive, and all of them are made in an `Arc`.
            .map(|raw| unsafe { scheduler::retain(raw) })
            .find(|shared| matches!(shared.kind, Kind::Pool(_)))
            .map(|shared| Self { shared })
    }

    /// Starts a task.
    ///
    /// If the executor has ended, the future is dropped here and the handle says so.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if size_of::<F>() > cell::LARGE_FUTURE {
            self.spawn_cell(Box::pin(future), None)
        } else {
            self.spawn_cell(future, None)
        }
    }

    /// Starts a task with a name, which [hooks](crate::Hooks) are told. With the feature `tracing` it runs in a span
    /// of that name.
    pub fn spawn_named<F>(&self, name: impl Into<String>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let name = name.into();
        let future = in_span(&name, future);
        self.spawn_cell(Box::pin(future), Some(name))
    }

    /// What was counted so far.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }

    fn spawn_cell<F>(&self, future: F, name: Option<String>) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = cell::allocate(
            future,
            Arc::as_ptr(&self.shared),
            scheduler::shard_for_spawn(&self.shared),
            name,
        );
        // SAFETY: the cell was made for this output, and its join interest is ours.
        let handle = unsafe { JoinHandle::new(task) };
        // SAFETY: 1. the runnable is ours. 2. it is not local.
        unsafe { self.shared.start(task) };
        handle
    }
}

impl Spawn for Handle {
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.status()?;
        self.spawn(future).detach();
        Ok(())
    }

    fn status(&self) -> Result<(), SpawnError> {
        if pool(&self.shared).idle.is_closing() {
            Err(SpawnError::shutdown())
        } else {
            Ok(())
        }
    }
}

impl Spawn for Executor {
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.handle.spawn_obj(future)
    }

    fn status(&self) -> Result<(), SpawnError> {
        self.handle.status()
    }
}

/// The future of a named task.
#[cfg(feature = "tracing")]
pub(crate) fn in_span<F: Future>(
    name: &str,
    future: F,
) -> impl Future<Output = F::Output> + use<F> {
    use tracing::Instrument as _;
    future.instrument(tracing::info_span!("task", name))
}

/// The future of a named task.
#[cfg(not(feature = "tracing"))]
pub(crate) fn in_span<F: Future>(_name: &str, future: F) -> F {
    future
}
