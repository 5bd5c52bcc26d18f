//! How an executor is made: workers, names, hooks, what to do about panics, order.

use std::fmt;
use std::io;

use crate::executor::Executor;
use crate::local::LocalExecutor;
use crate::ticks::Took;

/// What a panic in a task does, besides being handed to the task's joiner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PanicPolicy {
    /// Nothing: the others go on.
    #[default]
    Capture,
    /// The executor ends: all its other tasks are aborted.
    Shutdown,
    /// The process ends.
    Abort,
}

/// Called around every poll and resumption of an executor.
///
/// The calls are made on the thread that runs the task, outside of all locks. They cost nothing where there are none.
pub trait Hooks: Send + Sync + 'static {
    /// A task is about to run.
    fn before_poll(&self, task: &TaskInfo<'_>) {
        let _ = task;
    }

    /// It has run, for so long; it may have finished.
    fn after_poll(&self, task: TaskId, took: Took) {
        let _ = (task, took);
    }
}

/// Tells the tasks of one moment apart. A later task may have the id of one that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub(crate) usize);

/// What a hook is told of a task.
#[derive(Debug)]
#[non_exhaustive]
pub struct TaskInfo<'a> {
    /// Its id.
    pub id: TaskId,
    /// The name it was [spawned](crate::Handle::spawn_named) with.
    pub name: Option<&'a str>,
    /// Is it a continuation of an embedder, not a future?
    pub embedded: bool,
}

/// What executors of both kinds are made from.
///
/// ```
/// let executor = midair_executor::Builder::new()
///     .workers(2)
///     .thread_name("example")
///     .time_polls(true)
///     .build()
///     .unwrap();
/// executor.block_on(executor.spawn(async {})).unwrap();
/// let metrics = executor.handle().metrics();
/// assert_eq!(metrics.workers.len(), 2);
/// ```
#[derive(Debug, Default)]
#[must_use = "a builder does nothing until it builds"]
pub struct Builder {
    workers: Option<usize>,
    thread_name: Option<String>,
    pub(crate) config: Config,
    seed: Option<u64>,
    paused: bool,
}

/// What an executor keeps of its builder.
#[derive(Default)]
pub(crate) struct Config {
    pub(crate) hooks: Option<Box<dyn Hooks>>,
    pub(crate) time_polls: bool,
    pub(crate) on_panic: PanicPolicy,
}

impl Config {
    /// Is there anything to do around a poll?
    pub(crate) fn is_instrumented(&self) -> bool {
        self.hooks.is_some() || self.time_polls
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("hooks", &self.hooks.is_some())
            .field("time_polls", &self.time_polls)
            .field("on_panic", &self.on_panic)
            .finish()
    }
}

impl Builder {
    /// As many workers as there are processors, no hooks.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many workers an [`Executor`] has: at least 1, at most 64.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// What the threads' names begin with.
    pub fn thread_name(mut self, name: impl Into<String>) -> Self {
        self.thread_name = Some(name.into());
        self
    }

    /// Calls these around every poll.
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.config.hooks = Some(Box::new(hooks));
        self
    }

    /// Measures every poll, for [`WorkerMetrics::longest_poll`](crate::metrics::WorkerMetrics::longest_poll).
    pub fn time_polls(mut self, on: bool) -> Self {
        self.config.time_polls = on;
        self
    }

    /// What a panic in a task does.
    pub fn on_panic(mut self, policy: PanicPolicy) -> Self {
        self.config.on_panic = policy;
        self
    }

    /// A [`LocalExecutor`] that takes its tasks in an order drawn from this seed instead of first in, first out: the
    /// same seed gives the same order, another one another, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The clock stands from the beginning, see [`pause`](crate::time::pause). That of a [`LocalExecutor`] goes on to the
    /// next timer whenever there is nothing else to do; that of an [`Executor`] only where it is put.
    pub fn paused(mut self, paused: bool) -> Self {
        self.paused = paused;
        self
    }

    /// Makes an executor with threads of its own.
    ///
    /// # Errors
    ///
    /// If the system gives no thread.
    pub fn build(self) -> io::Result<Executor> {
        let workers = self
            .workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        let name = self.thread_name.as_deref().unwrap_or("midair-worker");
        Executor::build(workers, name, self.config, self.paused)
    }

    /// Makes an executor of the current thread.
    pub fn build_local(self) -> LocalExecutor {
        LocalExecutor::build(self.config, self.seed, self.paused)
    }
}
