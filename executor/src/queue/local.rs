//! All that is queued at one worker: the slot for the newest, the ring, and what does not fit into it.
//!
//! ```text
//!   woken --> [lifo] --displaced--> ring (256, thieves take from its front) <--refill-- overflow (a list, locked)
//!                    spawned, again --^ (or into the overflow, while that is not empty)
//! ```
//!
//! What does not fit is *staged* first, in a list of the worker's own, and spliced onto the overflow when the run is
//! over: one lock for a run, however much it spawns.
//!
//! Ring and overflow together are one first-in first-out queue, but for one thing: while there is an overflow, a
//! continuation that is scheduled again stays in the ring for a few rounds ([`push_near`](Local::push_near)). So the
//! tasks of one refill (the *cohort*) have some turns while they are in the cache, then all go to the back.

use std::ptr::{self, NonNull};

use crate::queue::list::List;
use crate::queue::ring::{BATCH, Ring};
use crate::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::sync::{Mutex, UnsafeCell};
use crate::task::header::TaskHeader;

/// So many turns more, on average, does the cohort of a refill have before the next one is taken in.
const ROUNDS: u32 = if cfg!(loom) { 1 } else { 7 };

/// The queue of one worker.
#[derive(Debug)]
pub(crate) struct Local {
    lifo: AtomicPtr<TaskHeader>,
    ring: Ring,
    overflow_len: AtomicUsize,
    overflow: Mutex<List>,
    /// What did not fit during this run; touched by the worker only.
    staged: UnsafeCell<List>,
    /// How many may still stay in the ring though others wait in the overflow; written by the worker only.
    near: AtomicU32,
}

// SAFETY: `staged` is touched by the worker only; the rest is made for sharing.
unsafe impl Sync for Local {}

impl Local {
    pub(crate) fn new() -> Self {
        Self {
            lifo: AtomicPtr::new(ptr::null_mut()),
            ring: Ring::new(),
            overflow_len: AtomicUsize::new(0),
            overflow: Mutex::new(List::new()),
            staged: UnsafeCell::new(List::new()),
            near: AtomicU32::new(0),
        }
    }

    /// How many wait in line, the slot not counted.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.ring.len() + self.overflow_len.load(Ordering::Acquire)
    }

    /// Is nothing at all here?
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0 && self.lifo.load(Ordering::Acquire).is_null()
    }

    /// Puts a runnable into the slot; what was there goes to the back. Called by the worker only.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable and gives it up.
    #[inline]
    pub(crate) unsafe fn push_lifo(&self, task: NonNull<TaskHeader>) {
        // only the worker fills the slot: if it is empty, it stays so until this store
        if self.lifo.load(Ordering::Relaxed).is_null() {
            self.lifo.store(task.as_ptr(), Ordering::Release);
            return;
        }
        let displaced = self.lifo.swap(task.as_ptr(), Ordering::AcqRel);
        if let Some(displaced) = NonNull::new(displaced) {
            // SAFETY: the swap gave us its runnable.
            unsafe { self.push_back(displaced) };
        }
    }

    /// Takes what is in the slot. Called by the worker, and by a thief if the worker is stuck.
    #[inline]
    pub(crate) fn pop_lifo(&self) -> Option<NonNull<TaskHeader>> {
        if self.lifo.load(Ordering::Relaxed).is_null() {
            return None;
        }
        NonNull::new(self.lifo.swap(ptr::null_mut(), Ordering::AcqRel))
    }

    /// Puts a runnable at the back. Called by the worker only.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable and gives it up.
    #[inline]
    pub(crate) unsafe fn push_back(&self, task: NonNull<TaskHeader>) {
        if !self.is_staging()
            && self.overflow_len.load(Ordering::Relaxed) == 0
            && self.ring.push(task)
        {
            return;
        }
        // SAFETY: (1).
        unsafe { self.stage(task) };
    }

    /// Puts a runnable at the back of the cohort, as long as that has turns left; then at the very back. Called by the
    /// worker only.
    ///
    /// # Safety
    ///
    /// 1. The caller holds the runnable and gives it up.
    #[inline]
    pub(crate) unsafe fn push_near(&self, task: NonNull<TaskHeader>) {
        let near = self.near.load(Ordering::Relaxed);
        if near != 0 && self.ring.push(task) {
            self.near.store(near - 1, Ordering::Relaxed);
            return;
        }
        // SAFETY: (1).
        unsafe { self.push_back(task) };
    }

    #[inline]
    fn is_staging(&self) -> bool {
        // SAFETY: the worker's own.
        self.staged.with(|staged| unsafe { (*staged).len() != 0 })
    }

    /// From the first that does not fit on, everything goes to the overflow, in order.
    #[cold]
    unsafe fn stage(&self, task: NonNull<TaskHeader>) {
        self.staged.with_mut(|staged| {
            // SAFETY: the worker's own.
            let staged = unsafe { &mut *staged };
            // SAFETY: the caller's runnable.
            unsafe { staged.push_back(task) };
        });
    }

    /// Lets thieves see what did not fit. Called by the worker, between two runs.
    #[inline]
    pub(crate) fn publish(&self) {
        if self.is_staging() {
            self.publish_staged();
        }
    }

    #[cold]
    fn publish_staged(&self) {
        self.staged.with_mut(|staged| {
            // SAFETY: the worker's own.
            let staged = unsafe { &mut *staged };
            let mut overflow = self.overflow.lock();
            overflow.append(staged);
            self.overflow_len.store(overflow.len(), Ordering::Release);
        });
    }

    /// Puts a list at the back, in one step. Called by the worker only.
    pub(crate) fn append(&self, mut list: List) {
        if list.len() == 0 {
            return;
        }
        self.staged.with_mut(|staged| {
            // SAFETY: the worker's own.
            let staged = unsafe { &mut *staged };
            staged.append(&mut list);
        });
        self.publish_staged();
    }

    /// Takes the oldest. Called by the worker only.
    #[inline]
    pub(crate) fn pop(&self) -> Option<NonNull<TaskHeader>> {
        let task = self.ring.pop();
        if task.is_none() && (self.overflow_len.load(Ordering::Relaxed) != 0 || self.is_staging()) {
            return self.refill();
        }
        task
    }

    #[cold]
    fn refill(&self) -> Option<NonNull<TaskHeader>> {
        if self.is_staging() {
            self.publish_staged();
        }
        let mut front = self.take_overflow(BATCH);
        let turns = if self.overflow_len.load(Ordering::Relaxed) == 0 {
            // all that is here fits: nobody waits longer than a round
            0
        } else {
            u32::try_from(front.len()).expect("a batch") * ROUNDS
        };
        self.near.store(turns, Ordering::Relaxed);
        let first = front.pop_front();
        while let Some(task) = front.pop_front() {
            let pushed = self.ring.push(task);
            debug_assert!(pushed, "the ring was empty");
        }
        first
    }

    fn take_overflow(&self, count: usize) -> List {
        let mut overflow = self.overflow.lock();
        let front = overflow.split_front(count);
        self.overflow_len.store(overflow.len(), Ordering::Release);
        front
    }

    /// Takes part of what waits here and puts it into the thief's own queue `into`: at the back, or, if that has an
    /// overflow, before it. Answers how many.
    pub(crate) fn steal(&self, into: &Self) -> usize {
        let stolen = self.ring.steal(&into.ring);
        if stolen != 0 || self.overflow_len.load(Ordering::Acquire) == 0 {
            return stolen;
        }
        self.steal_overflow(into)
    }

    /// Takes a batch of those whose turn is far off. Answers how many.
    pub(crate) fn steal_overflow(&self, into: &Self) -> usize {
        let list = self.take_overflow(BATCH);
        let count = list.len();
        into.append(list);
        count
    }
}
