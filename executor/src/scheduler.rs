//! What the threads of one executor share, and the ways a runnable gets onto its queue.
//!
//! **Invariant (the executor outlives its runnables).** A registered task that is not complete keeps its executor's
//! shutdown waiting; so whoever holds its runnable may use `Shared`. A foreign thread counts itself in before it
//! gives the runnable away, because it still has somebody to wake after that.

use std::ptr::NonNull;

use crate::config::{Config, PanicPolicy};
use crate::current;
use crate::idle::{Idle, MAX_WORKERS};
use crate::metrics::{Counters, Metrics};
use crate::park::Parker;
use crate::queue;
use crate::queue::injector::{Injector, Pushed};
use crate::queue::list::List;
use crate::queue::owned::{Owned, Removed};
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, UnsafeCell};
use crate::task::cell;
use crate::task::header::TaskHeader;
use crate::ticks;
use crate::time::Timers;

/// One executor, as its threads, tasks and handles see it.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) injector: Injector,
    pub(crate) timers: Timers,
    pub(crate) config: Config,
    /// Is there anything to do around a run?
    pub(crate) instrumented: bool,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Local(Local),
    Pool(Pool),
}

/// The part of a [`LocalExecutor`](crate::LocalExecutor) that its tasks reach.
#[derive(Debug)]
pub(crate) struct Local {
    /// Wakes the home thread.
    pub(crate) parker: Parker,
    pub(crate) counters: Counters,
    /// A panic asked for the end.
    pub(crate) ending: AtomicBool,
    /// For `metrics`: the lengths of the queue and the registry, as last published.
    pub(crate) depth: AtomicUsize,
    pub(crate) live: AtomicUsize,
    /// Used by the home thread only.
    home: UnsafeCell<Home>,
}

/// What only the home thread touches.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) queue: List,
    pub(crate) owned: Owned,
}

// SAFETY: `home` is used by the home thread only (see `Local::home`); the rest is made for sharing.
unsafe impl Sync for Local {}

/// The part of an [`Executor`](crate::Executor) that its threads and tasks reach.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) sites: Box<[Site]>,
    pub(crate) idle: Idle,
    /// The registry: one part for each worker, then some for threads outside.
    owned: Box<[Shard]>,
    /// Parts of a closing registry that are not empty yet.
    open: AtomicUsize,
    ended: AtomicBool,
    /// Somebody waits for the registry to become empty, or for the threads to end.
    pub(crate) awaited: AtomicBool,
    pub(crate) waiter: Parker,
    /// Worker threads that have not come to their end.
    pub(crate) running: AtomicUsize,
}

/// What others may touch of a worker.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Site {
    pub(crate) queue: queue::local::Local,
    pub(crate) parker: Parker,
    pub(crate) counters: Counters,
}

#[derive(Debug)]
#[repr(align(64))]
struct Shard(Mutex<Owned>);

/// Parts of the registry for threads outside.
const OUTSIDE: usize = 16;

impl Local {
    /// Uses what is the home thread's.
    ///
    /// # Safety
    ///
    /// 1. The caller is on the home thread.
    /// 2. `f` calls no code of a user and does not come back here.
    #[inline]
    pub(crate) unsafe fn home<R>(&self, f: impl FnOnce(&mut Home) -> R) -> R {
        // SAFETY: (1) and (2): there is no other reference.
        self.home.with_mut(|home| f(unsafe { &mut *home }))
    }
}

impl Shared {
    pub(crate) fn local(config: Config) -> Self {
        if config.is_instrumented() {
            ticks::start();
        }
        Self {
            injector: Injector::new(),
            timers: Timers::new(),
            instrumented: config.is_instrumented(),
            config,
            kind: Kind::Local(Local {
                parker: Parker::new(),
                counters: Counters::default(),
                ending: AtomicBool::new(false),
                depth: AtomicUsize::new(0),
                live: AtomicUsize::new(0),
                home: UnsafeCell::new(Home {
                    queue: List::new(),
                    owned: Owned::new(),
                }),
            }),
        }
    }

    pub(crate) fn pool(workers: usize, config: Config) -> Self {
        if config.is_instrumented() {
            ticks::start();
        }
        let workers = workers.clamp(1, MAX_WORKERS);
        let shards = workers + OUTSIDE;
        let site = || Site {
            queue: queue::local::Local::new(),
            parker: Parker::new(),
            counters: Counters::default(),
        };
        Self {
            injector: Injector::new(),
            timers: Timers::new(),
            instrumented: config.is_instrumented(),
            config,
            kind: Kind::Pool(Pool {
                sites: (0..workers).map(|_| site()).collect(),
                idle: Idle::new(),
                owned: (0..shards)
                    .map(|_| Shard(Mutex::new(Owned::new())))
                    .collect(),
                open: AtomicUsize::new(shards),
                ended: AtomicBool::new(false),
                awaited: AtomicBool::new(false),
                waiter: Parker::new(),
                running: AtomicUsize::new(workers),
            }),
        }
    }

    /// A timer was set that is due before all others: somebody must know.
    pub(crate) fn first_timer_changed(&self) {
        if std::ptr::eq(current::scheduler(), self) {
            // we look at the timers before we sleep
            return;
        }
        match &self.kind {
            Kind::Local(local) => local.parker.unpark(),
            Kind::Pool(pool) => {
                if let Some(sleeper) = pool.idle.claim_any() {
                    pool.unpark(sleeper);
                }
            }
        }
    }

    /// A task has panicked, and its joiner will be told.
    #[cold]
    pub(crate) fn on_panic(&self) {
        match self.config.on_panic {
            PanicPolicy::Capture => {}
            PanicPolicy::Abort => std::process::abort(),
            PanicPolicy::Shutdown => match &self.kind {
                Kind::Local(local) => local.ending.store(true, Ordering::Release),
                Kind::Pool(pool) => pool.close(&self.injector),
            },
        }
    }

    /// What was counted so far.
    pub(crate) fn metrics(&self) -> Metrics {
        let (workers, live_tasks) = match &self.kind {
            Kind::Local(local) => (
                vec![local.counters.read(local.depth.load(Ordering::Relaxed))],
                local.live.load(Ordering::Relaxed),
            ),
            Kind::Pool(pool) => {
                let read = |site: &Site| site.counters.read(site.queue.len());
                (pool.sites.iter().map(read).collect(), pool.live())
            }
        };
        Metrics {
            workers,
            injected: self.injector.len(),
            live_tasks,
        }
    }

    /// Queues a runnable from one of the executor's own threads.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable and gives it up.
    /// 2. This thread is entered into this executor.
    #[inline]
    unsafe fn push_here(&self, task: NonNull<TaskHeader>, place: Place) {
        match &self.kind {
            Kind::Local(local) => {
                // SAFETY: (1).
                let push = |home: &mut Home| unsafe { home.queue.push_back(task) };
                // SAFETY: 1. (2). 2. `push_back` calls nobody.
                unsafe { local.home(push) };
            }
            Kind::Pool(pool) => {
                let queue = &pool.sites[current::worker()].queue;
                match place {
                    // SAFETY: (1).
                    Place::Next if !current::wakes_to_back() => unsafe { queue.push_lifo(task) },
                    // SAFETY: (1).
                    Place::Next | Place::Back => unsafe { queue.push_back(task) },
                    // SAFETY: (1).
                    Place::Near => unsafe { queue.push_near(task) },
                }
            }
        }
    }

    /// Queues a runnable from any thread that keeps `self` alive.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable and gives it up.
    pub(crate) unsafe fn inject(&self, task: NonNull<TaskHeader>) {
        // SAFETY: (1).
        match unsafe { self.injector.push(task) } {
            Ok(pushed) => match &self.kind {
                Kind::Local(local) => local.parker.unpark(),
                Kind::Pool(pool) if pushed == Pushed::Draining => pool.unpark_all(),
                Kind::Pool(pool) => {
                    if let Some(sleeper) = pool.idle.claim_for_injected() {
                        pool.unpark(sleeper);
                    }
                }
            },
            Err(task) => {
                // SAFETY: a refused runnable is ours.
                let cancel = unsafe { task.as_ref() }.vtable.cancel;
                // SAFETY: as above.
                unsafe { cancel(task) };
            }
        }
    }

    /// Registers a task that was just made. `false`: the executor has ended.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable of `task`, whose scheduler is `self`.
    /// 2. For a local executor, this is its home thread.
    pub(crate) unsafe fn register(&self, task: NonNull<TaskHeader>) -> bool {
        match &self.kind {
            Kind::Local(local) => {
                // SAFETY: 1. (1). 2. `forget` is part of completing.
                let insert = |home: &mut Home| unsafe { home.owned.insert(task) };
                // SAFETY: 1. (2). 2. `insert` calls nobody.
                unsafe { local.home(insert) }
            }
            // SAFETY: (1), and `forget` is part of completing.
            Kind::Pool(pool) => unsafe { pool.shard(task).lock().insert(task) },
        }
    }

    /// Starts a task that was just made.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable of `task`, whose scheduler is `self`, and gives it up.
    /// 2. For a local executor, this is its home thread.
    pub(crate) unsafe fn start(&self, task: NonNull<TaskHeader>) {
        // SAFETY: 1. and 2. are ours.
        if !unsafe { self.register(task) } {
            // SAFETY: (1).
            let header = unsafe { task.as_ref() };
            header
                .scheduler
                .store(std::ptr::null_mut(), Ordering::Relaxed);
            let cancel = header.vtable.cancel;
            // SAFETY: (1).
            unsafe { cancel(task) };
            return;
        }
        if std::ptr::eq(current::scheduler(), self) || matches!(self.kind, Kind::Local(_)) {
            // SAFETY: 1. is ours; 2. we are entered, or on the home thread, which is all a local queue asks for.
            unsafe { self.push_here(task, Place::Back) };
        } else {
            // SAFETY: (1).
            unsafe { self.inject(task) };
        }
    }
}

impl Pool {
    pub(crate) fn unpark(&self, worker: usize) {
        self.sites[worker].parker.unpark();
    }

    fn unpark_all(&self) {
        for site in &self.sites {
            site.parker.unpark();
        }
    }

    fn shard(&self, task: NonNull<TaskHeader>) -> &Mutex<Owned> {
        // SAFETY: the callers hold its runnable.
        let shard = unsafe { task.as_ref() }.state.shard();
        &self.owned[shard].0
    }

    /// The part of the registry for a task that is spawned by this thread.
    #[inline]
    fn shard_here(&self, entered: bool) -> usize {
        if entered {
            current::worker()
        } else {
            self.sites.len() + current::next_number() % OUTSIDE
        }
    }

    /// Begins the end: no new tasks, and the workers drop those that are there.
    pub(crate) fn close(&self, injector: &Injector) {
        injector.drain();
        for shard in &self.owned {
            let mut owned = shard.0.lock();
            if !owned.is_closed() {
                owned.close();
                if owned.live() == 0 {
                    self.shard_is_empty();
                }
            }
        }
        self.idle.close();
        self.unpark_all();
    }

    /// Tasks that are not complete.
    pub(crate) fn live(&self) -> usize {
        self.owned.iter().map(|shard| shard.0.lock().live()).sum()
    }

    fn shard_is_empty(&self) {
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ended.store(true, Ordering::Release);
            self.unpark_all();
        }
    }

    /// Are all tasks of a closed executor complete?
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Closes a task of a closed registry, one whose runnable that makes ours.
    pub(crate) fn close_next(&self, worker: usize) -> Option<NonNull<TaskHeader>> {
        let shards = self.owned.len();
        (0..shards).find_map(|offset| {
            let shard = &self.owned[(worker + offset) % shards];
            shard.0.lock().close_next()
        })
    }
}

/// Where a runnable is put in a worker's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before all others, within bounds.
    Next,
    /// Behind those that are in the cache, within bounds.
    Near,
    Back,
}

/// Queues a spawned task that was woken, from any thread.
///
/// # Safety
///
/// 1. The caller holds the runnable of `task`, a spawned one, and gives it up.
#[inline]
pub(crate) unsafe fn schedule_woken(task: NonNull<TaskHeader>) {
    // SAFETY: (1).
    let scheduler = unsafe { task.as_ref() }.scheduler();
    if std::ptr::eq(scheduler, current::scheduler()) {
        // SAFETY: the current one is alive.
        let shared = unsafe { &*scheduler };
        // SAFETY: 1. is ours; 2. was tested.
        unsafe { shared.push_here(task, Place::Next) };
    } else {
        // SAFETY: the executor outlives its runnables.
        unsafe { schedule_foreign(scheduler, task) };
    }
}

/// Queues a continuation on the executor that this thread works for.
///
/// # Safety
///
/// 1. The caller holds the runnable of `task` and gives it up.
/// 2. `scheduler` is the current one.
#[inline]
pub(crate) unsafe fn schedule_here(scheduler: *const Shared, task: NonNull<TaskHeader>) {
    // SAFETY: (2) so it is alive.
    let shared = unsafe { &*scheduler };
    // SAFETY: 1. is ours; 2. likewise.
    unsafe { shared.push_here(task, Place::Near) };
}

/// Queues a runnable from a thread that does not work for its executor.
///
/// # Safety
///
/// 1. The caller holds the runnable of `task` and gives it up.
/// 2. `scheduler` came from an `Arc` and is alive until the runnable is given up.
#[cold]
pub(crate) unsafe fn schedule_foreign(scheduler: *const Shared, task: NonNull<TaskHeader>) {
    // SAFETY: (2) it is alive now, and counted from here on.
    let shared = unsafe { retain(scheduler) };
    // SAFETY: (1).
    unsafe { shared.inject(task) };
}

/// Counts the caller in.
///
/// # Safety
///
/// 1. `scheduler` came from an `Arc` and is alive.
pub(crate) unsafe fn retain(scheduler: *const Shared) -> Arc<Shared> {
    // SAFETY: (1).
    unsafe { Arc::increment_strong_count(scheduler) };
    // SAFETY: the count that was just added is ours.
    unsafe { Arc::from_raw(scheduler) }
}

/// Queues a task again that was woken while it ran, behind everything that is queued here.
///
/// # Safety
///
/// 1. The caller holds the runnable of `task`, a spawned one, and gives it up.
/// 2. It is on a thread that works for the task's executor.
#[inline]
pub(crate) unsafe fn schedule_again(task: NonNull<TaskHeader>) {
    // SAFETY: (1).
    let scheduler = unsafe { task.as_ref() }.scheduler();
    // SAFETY: (2) so it is alive.
    let shared = unsafe { &*scheduler };
    // SAFETY: 1. is ours. 2. likewise.
    unsafe { shared.push_here(task, Place::Back) };
}

/// Takes a task that is about to complete out of the registry.
///
/// # Safety
///
/// 1. The caller holds the runnable of `task`, a spawned one.
/// 2. It is on a thread that works for the task's executor, unless the task was never registered.
pub(crate) unsafe fn forget(task: NonNull<TaskHeader>) {
    // SAFETY: (1).
    let core = unsafe { cell::core(task) };
    if core.header.scheduler().is_null() {
        // never registered: the executor had ended when it was spawned
        return;
    }
    // SAFETY: a registered task's executor is alive.
    let shared = unsafe { &*core.header.scheduler() };
    match &shared.kind {
        Kind::Local(local) => {
            // SAFETY: (1).
            let remove = |home: &mut Home| unsafe { home.owned.remove(task) };
            // SAFETY: 1. (2). 2. `remove` calls nobody.
            unsafe { local.home(remove) };
        }
        Kind::Pool(pool) => {
            // SAFETY: (1).
            let removed = unsafe { pool.shard(task).lock().remove(task) };
            match removed {
                Removed::Others => {}
                Removed::Last => {
                    if pool.awaited.load(Ordering::SeqCst) {
                        pool.waiter.unpark();
                    }
                }
                Removed::LastOfAll => pool.shard_is_empty(),
            }
        }
    }
}

/// The part of the registry that a task spawned here goes to.
#[inline]
pub(crate) fn shard_for_spawn(shared: &Shared) -> usize {
    match &shared.kind {
        Kind::Local(_) => 0,
        Kind::Pool(pool) => pool.shard_here(std::ptr::eq(current::scheduler(), shared)),
    }
}
