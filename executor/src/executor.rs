//! The executor of several threads, and the global one.

use std::future::Future;
use std::sync::OnceLock;
use std::thread;

use crate::scheduler::{self, Kind, Pool, Shared};
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

/// Starts a task on the executor of the current thread if that has workers, on the [global](global) one otherwise.
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
    /// An executor with that many workers, at least one.
    ///
    /// # Panics
    ///
    /// If the system gives no thread.
    pub fn new(workers: usize) -> Self {
        let shared = Arc::new(Shared::pool(workers));
        let threads = (0..pool(&shared).sites.len())
            .map(|index| {
                let shared = Arc::clone(&shared);
                thread::Builder::new()
                    .name(format!("midair-worker-{index}"))
                    .spawn(move || worker::run(&shared, index))
                    .expect("the system gives a thread")
            })
            .collect();
        Self {
            handle: Handle { shared },
            threads,
        }
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

    /// Runs `future` on this thread until it is ready, while the workers run the tasks.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        crate::block_on(future)
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        pool(&self.handle.shared).close();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Handle {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The executor whose worker this thread is.
    pub fn try_current() -> Option<Self> {
        let scheduler = crate::current::scheduler();
        if scheduler.is_null() {
            return None;
        }
        // SAFETY: the current one is alive, and all of them are made in an `Arc`.
        let shared = unsafe { crate::scheduler::retain(scheduler) };
        matches!(shared.kind, Kind::Pool(_)).then_some(Self { shared })
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
            self.spawn_cell(Box::pin(future))
        } else {
            self.spawn_cell(future)
        }
    }

    fn spawn_cell<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = cell::allocate(
            future,
            Arc::as_ptr(&self.shared),
            scheduler::shard_for_spawn(&self.shared),
        );
        // SAFETY: the cell was made for this output, and its join interest is ours.
        let handle = unsafe { JoinHandle::new(task) };
        // SAFETY: 1. the runnable is ours. 2. it is not local.
        unsafe { self.shared.start(task) };
        handle
    }
}
