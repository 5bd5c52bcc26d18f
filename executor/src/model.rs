//! The parts that `tests/loom.rs` models, without their threads.

use std::future::Future;
use std::ptr::NonNull;

use crate::config::Config;
use crate::current;
use crate::metrics::Counters;
use crate::resumption;
use crate::scheduler::{Kind, Pool, Shared};
use crate::sync::Arc;
use crate::task::cell;
use crate::task::handle::JoinHandle;
use crate::task::header::{TaskHeader, TaskVtable};
use crate::worker;

/// An executor of several workers whose threads the model provides.
#[derive(Debug, Clone)]
pub struct Executor {
    shared: Arc<Shared>,
}

impl Executor {
    /// Without any thread yet.
    pub fn new(workers: usize) -> Self {
        Self {
            shared: Arc::new(Shared::pool(workers, Config::default())),
        }
    }

    fn pool(&self) -> &Pool {
        match &self.shared.kind {
            Kind::Pool(pool) => pool,
            Kind::Local(_) => unreachable!("made as a pool"),
        }
    }

    /// Spawns from a thread outside.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let shard = crate::scheduler::shard_for_spawn(&self.shared);
        let task = cell::allocate(future, Arc::as_ptr(&self.shared), shard, None);
        // SAFETY: the cell was made for this output, and its join interest is ours.
        let handle = unsafe { JoinHandle::new(task) };
        // SAFETY: 1. the runnable is ours. 2. it is not local.
        unsafe { self.shared.start(task) };
        handle
    }

    /// Runs one task that was pushed from outside, as worker 0 would. `false`: there is none.
    pub fn run_one(&self) -> bool {
        let _entered = current::enter_worker(Arc::as_ptr(&self.shared), 0);
        let queue = &self.pool().sites[0].queue;
        queue.append(self.shared.injector.take_all());
        let Some(task) = queue.pop_lifo().or_else(|| queue.pop()) else {
            return false;
        };
        // SAFETY: the queue gave us the runnable, and we are entered.
        unsafe { resumption::run(&self.shared, &Counters::default(), task) };
        true
    }

    /// The whole life of a worker.
    pub fn work(&self, index: usize) {
        worker::run(&self.shared, index);
    }

    /// Begins the end.
    pub fn close(&self) {
        self.pool().close(&self.shared.injector);
    }
}

/// The queue of one worker.
#[derive(Debug)]
pub struct Queue(crate::queue::local::Local);

/// Something to be queued, told apart by a number.
#[derive(Debug)]
#[repr(C)]
pub struct Item {
    header: TaskHeader,
    number: usize,
}

unsafe fn nothing(_: NonNull<TaskHeader>) {}

static VTABLE: TaskVtable = TaskVtable::new(nothing, nothing);

fn number(task: NonNull<TaskHeader>) -> usize {
    // SAFETY: only items are queued here, and the queue has given it back.
    unsafe { Box::from_raw(task.cast::<Item>().as_ptr()) }.number
}

impl Default for Queue {
    fn default() -> Self {
        Self(crate::queue::local::Local::new())
    }
}

impl Queue {
    fn item(number: usize) -> NonNull<TaskHeader> {
        NonNull::from(Box::leak(Box::new(Item {
            header: TaskHeader::new(&VTABLE),
            number,
        })))
        .cast()
    }

    /// Puts a number at the back. Owner only.
    pub fn push(&self, number: usize) {
        // SAFETY: the item is new.
        unsafe { self.0.push_back(Self::item(number)) };
    }

    /// Puts a number into the slot. Owner only.
    pub fn push_lifo(&self, number: usize) {
        // SAFETY: the item is new.
        unsafe { self.0.push_lifo(Self::item(number)) };
    }

    /// Takes the oldest number. Owner only.
    pub fn pop(&self) -> Option<usize> {
        self.0.pop().map(number)
    }

    /// Takes the number in the slot.
    pub fn pop_lifo(&self) -> Option<usize> {
        self.0.pop_lifo().map(number)
    }

    /// Takes some for another queue, whose owner is the caller.
    pub fn steal(&self, into: &Self) -> usize {
        self.0.steal(&into.0)
    }
}

/// One sleeper.
#[derive(Debug)]
pub struct Parker(crate::park::Parker);

impl Default for Parker {
    fn default() -> Self {
        Self(crate::park::Parker::new())
    }
}

impl Parker {
    /// Sleeps until notified.
    pub fn park(&self) {
        self.0.park(None);
    }

    /// Notifies.
    pub fn unpark(&self) {
        self.0.unpark();
    }
}
