//! A worker's own queue: its end, and the thieves'.
//!
//! ```text
//!        head (thieves and the worker take here)      tail (the worker alone puts here)
//!          v                                            v
//!   .. | taken | runnable | runnable | runnable | .. | free | ..      CAPACITY slots, indices only grow
//! ```
//!
//! The slots are atomics, so a thief may read slots that it does not own yet: it claims them afterwards, by moving
//! `head` in one step. If `head` is still where the thief saw it, no slot behind it was taken, so none was
//! overwritten, and what it read is what it owns now. `head` has 64 bits and never comes round.
//!
//! No `unsafe`, no allocation. Why not `crossbeam-deque`: `docs/decisions/0013-executor-ring.md`.

use std::ptr::{self, NonNull};

use crate::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use crate::task::header::TaskHeader;

/// Slots of a ring.
#[cfg(not(loom))]
pub(crate) const CAPACITY: usize = 256;

/// Slots of a ring, few enough to be filled in a model.
#[cfg(loom)]
pub(crate) const CAPACITY: usize = 4;

/// The most that one theft takes.
pub(crate) const BATCH: usize = CAPACITY / 2;

/// The queue.
#[derive(Debug)]
pub(crate) struct Ring {
    head: Padded<AtomicU64>,
    tail: Padded<AtomicU64>,
    slots: Box<[AtomicPtr<TaskHeader>]>,
}

#[derive(Debug)]
#[repr(align(64))]
struct Padded<T>(T);

fn slot(index: u64) -> usize {
    // the remainder is less than CAPACITY
    usize::try_from(index % CAPACITY as u64).expect("less than the capacity")
}

fn distance(head: u64, tail: u64) -> usize {
    // `tail` may be older than `head`: then nothing is there
    usize::try_from(tail.saturating_sub(head)).expect("at most the capacity")
}

impl Ring {
    pub(crate) fn new() -> Self {
        Self {
            head: Padded(AtomicU64::new(0)),
            tail: Padded(AtomicU64::new(0)),
            slots: (0..CAPACITY)
                .map(|_| AtomicPtr::new(ptr::null_mut()))
                .collect(),
        }
    }

    /// How many there are, as far as this thread knows.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        let head = self.head.0.load(Ordering::Acquire);
        distance(head, self.tail.0.load(Ordering::Acquire))
    }

    /// Puts a runnable at the back. Called by the worker only. `false`: it is full.
    #[inline]
    pub(crate) fn push(&self, task: NonNull<TaskHeader>) -> bool {
        let tail = self.tail.0.load(Ordering::Relaxed);
        // Acquire: what the thief read from the slot we are about to overwrite, it has read
        let head = self.head.0.load(Ordering::Acquire);
        if distance(head, tail) == CAPACITY {
            return false;
        }
        self.slots[slot(tail)].store(task.as_ptr(), Ordering::Relaxed);
        self.tail.0.store(tail + 1, Ordering::Release);
        true
    }

    /// Takes the oldest runnable. Called by the worker only.
    #[inline]
    pub(crate) fn pop(&self) -> Option<NonNull<TaskHeader>> {
        let mut head = self.head.0.load(Ordering::Acquire);
        let tail = self.tail.0.load(Ordering::Relaxed);
        while head != tail {
            let task = self.slots[slot(head)].load(Ordering::Relaxed);
            match self.head.0.compare_exchange_weak(
                head,
                head + 1,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return NonNull::new(task),
                Err(seen) => head = seen,
            }
        }
        None
    }

    /// Takes up to half of the runnables, at least one if there is any, and puts them at the back of `into`, oldest
    /// first, as far as they fit. Called by the worker whose ring `into` is. Answers how many it took.
    ///
    /// They are copied into free slots first, which nobody looks at before the tail says so: no buffer in between.
    pub(crate) fn steal(&self, into: &Self) -> usize {
        let end = into.tail.0.load(Ordering::Relaxed);
        // Acquire: as in `push`
        let room = CAPACITY - distance(into.head.0.load(Ordering::Acquire), end);
        let mut head = self.head.0.load(Ordering::Acquire);
        loop {
            // Acquire: the slots up to `tail` are written
            let available = distance(head, self.tail.0.load(Ordering::Acquire));
            let count = available.div_ceil(2).min(BATCH).min(room);
            if count == 0 {
                return 0;
            }
            let added = count as u64;
            for offset in 0..added {
                let task = self.slots[slot(head + offset)].load(Ordering::Relaxed);
                into.slots[slot(end + offset)].store(task, Ordering::Relaxed);
            }
            match self.head.0.compare_exchange(
                head,
                head + added,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    into.tail.0.store(end + added, Ordering::Release);
                    return count;
                }
                Err(seen) => head = seen,
            }
        }
    }
}
