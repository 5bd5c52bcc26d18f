//! An executor of one thread: futures that need not be `Send`, a queue without atomics.

use std::cell::RefCell;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::pin;
use std::ptr::NonNull;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures::task::{FutureObj, LocalFutureObj, LocalSpawn, Spawn, SpawnError};

use crate::config::Config;
use crate::current;
use crate::executor;
use crate::metrics::Metrics;
use crate::queue::list::List;
use crate::resumption;
use crate::scheduler::{Kind, Local, Shared};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::task::cell;
use crate::task::handle::JoinHandle;
use crate::task::header::TaskHeader;
use crate::time::Wait;

/// How many tasks run before the main future of `block_on` is looked at again.
const MAIN_INTERVAL: usize = 61;

/// An executor that runs on the thread that made it.
///
/// Tasks run while [`block_on`](Self::block_on) or [`run_until_idle`](Self::run_until_idle) does. Dropping the
/// executor drops the futures of all its tasks, here.
///
/// ```
/// use std::rc::Rc;
///
/// let executor = midair_executor::LocalExecutor::new();
/// let shared = Rc::new(21);
/// let doubled = executor.block_on(async {
///     let shared = Rc::clone(&shared);
///     executor.spawn(async move { *shared * 2 }).await
/// });
/// assert_eq!(doubled.unwrap(), 42);
/// ```
#[derive(Debug)]
pub struct LocalExecutor {
    shared: Arc<Shared>,
    main: Arc<MainWake>,
    shuffle: Option<RefCell<Shuffle>>,
    thread_bound: PhantomData<Rc<()>>,
}

/// A queue that is served in an order drawn from a seed.
#[derive(Debug)]
struct Shuffle {
    random: u64,
    tasks: Vec<NonNull<TaskHeader>>,
}

impl Shuffle {
    fn new(seed: u64) -> Self {
        Self {
            random: seed,
            tasks: Vec::new(),
        }
    }

    /// Takes one of those that are queued.
    fn next(&mut self, mut queued: List) -> Option<NonNull<TaskHeader>> {
        while let Some(task) = queued.pop_front() {
            self.tasks.push(task);
        }
        if self.tasks.is_empty() {
            return None;
        }
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let chosen = usize::try_from(mixed % self.tasks.len() as u64).expect("less than a length");
        Some(self.tasks.swap_remove(chosen))
    }
}

/// Wakes the main future of a `block_on`.
#[derive(Debug)]
struct MainWake {
    woken: AtomicBool,
    shared: Arc<Shared>,
}

impl futures::task::ArcWake for MainWake {
    fn wake_by_ref(this: &Arc<Self>) {
        this.woken.store(true, Ordering::Release);
        if !std::ptr::eq(current::scheduler(), Arc::as_ptr(&this.shared)) {
            this.local().parker.unpark();
        }
    }
}

impl MainWake {
    fn local(&self) -> &Local {
        local(&self.shared)
    }
}

fn local(shared: &Shared) -> &Local {
    match &shared.kind {
        Kind::Local(local) => local,
        Kind::Pool(_) => unreachable!("a local executor is local"),
    }
}

impl Default for LocalExecutor {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalExecutor {
    /// An executor of this thread.
    pub fn new() -> Self {
        Self::build(Config::default(), None, false)
    }

    pub(crate) fn build(config: Config, seed: Option<u64>, paused: bool) -> Self {
        let shared = Arc::new(Shared::local(config));
        if paused {
            shared.timers.pause();
        }
        Self {
            shuffle: seed.map(|seed| RefCell::new(Shuffle::new(seed))),
            main: Arc::new(MainWake {
                woken: AtomicBool::new(false),
                shared: Arc::clone(&shared),
            }),
            shared,
            thread_bound: PhantomData,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn local(&self) -> &Local {
        local(&self.shared)
    }

    /// Starts a task. It runs while the executor does.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        if size_of::<F>() > cell::LARGE_FUTURE {
            self.spawn_cell(Box::pin(future), None)
        } else {
            self.spawn_cell(future, None)
        }
    }

    /// Starts a task with a name, which [hooks](crate::Hooks) are told. With the feature `tracing` it runs in a span of that name.
    pub fn spawn_named<F>(&self, name: impl Into<String>, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let name = name.into();
        let future = executor::in_span(&name, future);
        self.spawn_cell(Box::pin(future), Some(name))
    }

    /// What was counted so far.
    pub fn metrics(&self) -> Metrics {
        self.publish();
        self.shared.metrics()
    }

    fn publish(&self) {
        let local = self.local();
        // SAFETY: 1. `self` cannot leave its home thread. 2. nobody is called.
        let (depth, live) = unsafe { local.home(|home| (home.queue.len(), home.owned.live())) };
        local.depth.store(depth, Ordering::Relaxed);
        local.live.store(live, Ordering::Relaxed);
    }

    fn spawn_cell<F>(&self, future: F, name: Option<String>) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        // SAFETY: 1. it is ours. 2. `self` cannot leave its home thread.
        unsafe { start(Arc::as_ptr(&self.shared), future, name) }
    }

    /// Runs tasks on this thread until `future` is ready.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let entered = current::enter(Arc::as_ptr(&self.shared));
        let mut future = pin!(future);
        let waker: Waker = futures::task::waker(Arc::clone(&self.main));
        let mut context = Context::from_waker(&waker);
        self.main.woken.store(true, Ordering::Relaxed);
        let output = loop {
            if self.main.woken.swap(false, Ordering::AcqRel)
                && let Poll::Ready(output) = future.as_mut().poll(&mut context)
            {
                break output;
            }
            self.shared.timers.fire();
            self.local().counters.interrupt();
            let mut ran = 0;
            while ran < MAIN_INTERVAL && !self.main.woken.load(Ordering::Relaxed) && self.tick() {
                ran += 1;
            }
            if ran == 0 && !self.main.woken.load(Ordering::Acquire) {
                self.park();
            }
            if self.local().ending.load(Ordering::Relaxed) {
                self.end();
            }
        };
        // an outer `block_on` of the same executor may have been woken meanwhile
        self.main.woken.store(true, Ordering::Release);
        drop(entered);
        output
    }

    fn park(&self) {
        self.local().counters.add_park();
        let wait = self.shared.timers.wait(true);
        match wait {
            Wait::Forever => self.local().parker.park(None),
            Wait::For(time) => self.local().parker.park(Some(time)),
            Wait::Advanced => return,
        };
        if wait != Wait::Forever {
            self.shared.timers.back();
        }
    }

    /// Runs tasks until none is queued. Answers how many runs that took.
    pub fn run_until_idle(&self) -> usize {
        let _entered = current::enter(Arc::as_ptr(&self.shared));
        let mut ran = 0;
        while self.tick() {
            ran += 1;
        }
        ran
    }

    /// Runs one task, if one is queued.
    pub fn try_tick(&self) -> bool {
        let _entered = current::enter(Arc::as_ptr(&self.shared));
        self.tick()
    }

    #[inline]
    fn next(&self) -> Option<NonNull<TaskHeader>> {
        let mut arrived = if self.shared.injector.is_empty() {
            List::new()
        } else {
            self.shared.injector.take_all()
        };
        if let Some(shuffle) = &self.shuffle {
            // SAFETY: 1. `self` cannot leave its home thread. 2. lists call nobody.
            let queued = unsafe {
                self.local().home(|home| {
                    home.queue.append(&mut arrived);
                    home.queue.split_front(usize::MAX)
                })
            };
            return shuffle.borrow_mut().next(queued);
        }
        // SAFETY: 1. `self` cannot leave its home thread. 2. lists call nobody.
        unsafe {
            self.local().home(|home| {
                home.queue.append(&mut arrived);
                home.queue.pop_front()
            })
        }
    }

    #[inline]
    fn tick(&self) -> bool {
        let Some(task) = self.next() else {
            return false;
        };
        // SAFETY: the queue gave us the runnable, and we are entered on the home thread.
        unsafe { resumption::run(&self.shared, &self.local().counters, task) };
        true
    }

    /// Refuses new tasks, and drops those that are there.
    fn end(&self) {
        // SAFETY: 1. `self` cannot leave its home thread. 2. nobody is called.
        unsafe { self.local().home(|home| home.owned.close()) };
        loop {
            // SAFETY: as above.
            let closed = unsafe { self.local().home(|home| home.owned.close_next()) };
            if let Some(task) = closed {
                // SAFETY: closing it gave us the runnable.
                unsafe { resumption::run(&self.shared, &self.local().counters, task) };
            } else if let Some(task) = self.next() {
                // SAFETY: the queue gave us the runnable.
                unsafe { resumption::cancel(task) };
            } else if self.is_empty() {
                break;
            } else {
                // a foreign thread holds a runnable and is about to push it
                self.local().parker.park(None);
            }
        }
    }

    fn is_empty(&self) -> bool {
        // SAFETY: 1. `self` cannot leave its home thread. 2. nobody is called.
        unsafe { self.local().home(|home| home.owned.live() == 0) }
    }
}

/// Starts a task that need not be `Send` on the [`LocalExecutor`] that is running this thread.
///
/// ```
/// use midair_executor::{LocalExecutor, spawn_local};
///
/// let executor = LocalExecutor::new();
/// let answer = executor.block_on(async { spawn_local(async { 42 }).await });
/// assert_eq!(answer.unwrap(), 42);
/// ```
///
/// # Panics
///
/// If none is running here.
#[track_caller]
pub fn spawn_local<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    let scheduler = current::scheduler();
    assert!(!scheduler.is_null(), "no executor runs on this thread");
    // SAFETY: the current one is alive.
    let shared = unsafe { &*scheduler };
    assert!(
        matches!(shared.kind, Kind::Local(_)),
        "a worker of an `Executor` may not run what is not `Send`"
    );
    if size_of::<F>() > cell::LARGE_FUTURE {
        // SAFETY: 1. the current one. 2. a local executor is entered on its home thread only.
        unsafe { start(scheduler, Box::pin(future), None) }
    } else {
        // SAFETY: as above.
        unsafe { start(scheduler, future, None) }
    }
}

/// # Safety
///
/// 1. `scheduler` points into its `Arc` (a reference would not do: it is counted through), and is alive.
/// 2. This is its home thread.
unsafe fn start<F: Future>(
    scheduler: *const Shared,
    future: F,
    name: Option<String>,
) -> JoinHandle<F::Output> {
    let task = cell::allocate(future, scheduler, 0, name);
    // SAFETY: the cell was made for this output, and its join interest is ours.
    let handle = unsafe { JoinHandle::new(task) };
    // SAFETY: (1).
    let shared = unsafe { &*scheduler };
    // SAFETY: 1. the runnable is ours. 2. likewise.
    unsafe { shared.start(task) };
    handle
}

impl Drop for LocalExecutor {
    fn drop(&mut self) {
        let _entered = current::enter(Arc::as_ptr(&self.shared));
        self.end();
        let mut late = self.shared.injector.close();
        while let Some(task) = late.pop_front() {
            // SAFETY: the queue gave us the runnable.
            unsafe { resumption::cancel(task) };
        }
        while let Some(task) = self.next() {
            // SAFETY: the queue gave us the runnable.
            unsafe { resumption::cancel(task) };
        }
    }
}

impl LocalSpawn for LocalExecutor {
    fn spawn_local_obj(&self, future: LocalFutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.status_local()?;
        self.spawn(future).detach();
        Ok(())
    }

    fn status_local(&self) -> Result<(), SpawnError> {
        // SAFETY: 1. `self` cannot leave its home thread. 2. nobody is called.
        let closed = unsafe { self.local().home(|home| home.owned.is_closed()) };
        if closed {
            Err(SpawnError::shutdown())
        } else {
            Ok(())
        }
    }
}

impl Spawn for LocalExecutor {
    fn spawn_obj(&self, future: FutureObj<'static, ()>) -> Result<(), SpawnError> {
        self.spawn_local_obj(future.into())
    }

    fn status(&self) -> Result<(), SpawnError> {
        self.status_local()
    }
}
