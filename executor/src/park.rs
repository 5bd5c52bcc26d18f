//! Sleeping and being woken, without losing a wake-up.
//!
//! A token of our own, not that of `std::thread::park`: user code may eat that one.

use std::time::Duration;

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Condvar, Mutex};

const EMPTY: u32 = 0;
const PARKED: u32 = 1;
const NOTIFIED: u32 = 2;

/// Looks at the state before the thread sleeps: at least, at first and at most. A look takes some 30 ns, falling
/// asleep and being woken some 10 us; the number follows success.
struct Spins {
    least: u32,
    start: u32,
    most: u32,
}

const SPINS: Spins = if cfg!(any(loom, miri)) {
    Spins {
        least: 0,
        start: 0,
        most: 0,
    }
} else {
    Spins {
        least: 4,
        start: 64,
        most: 256,
    }
};

/// One sleeper. [`park`](Self::park) is called by its owner only, [`unpark`](Self::unpark) by anyone.
#[derive(Debug)]
pub(crate) struct Parker {
    state: AtomicU32,
    /// How long it is worth to wait awake; written by the owner.
    spins: AtomicU32,
    lock: Mutex<()>,
    condvar: Condvar,
}

impl Parker {
    pub(crate) fn new() -> Self {
        Self {
            state: AtomicU32::new(EMPTY),
            spins: AtomicU32::new(SPINS.start),
            lock: Mutex::new(()),
            condvar: Condvar::new(),
        }
    }

    /// Takes a notification that has come already.
    #[inline]
    pub(crate) fn try_consume(&self) -> bool {
        self.state.load(Ordering::Relaxed) == NOTIFIED
            && self.state.swap(EMPTY, Ordering::AcqRel) == NOTIFIED
    }

    /// Sleeps until notified, or until the time is over. `true`: it was a notification.
    pub(crate) fn park(&self, timeout: Option<Duration>) -> bool {
        if self.try_consume() {
            return true;
        }
        if timeout == Some(Duration::ZERO) {
            return false;
        }
        if self.spin() {
            return true;
        }
        self.park_at_once(timeout)
    }

    /// As [`park`](Self::park), for an owner that has waited awake already.
    pub(crate) fn park_at_once(&self, timeout: Option<Duration>) -> bool {
        let mut guard = self.lock.lock();
        if self
            .state
            .compare_exchange(EMPTY, PARKED, Ordering::AcqRel, Ordering::Acquire)
            .is_err()
        {
            // a swap, not a store: a second notification may have come since, and its writes must be seen too
            return self.state.swap(EMPTY, Ordering::AcqRel) == NOTIFIED;
        }
        match timeout {
            None => {
                while self.state.load(Ordering::Acquire) != NOTIFIED {
                    self.condvar.wait(&mut guard);
                }
            }
            Some(timeout) => {
                // one wait: a spurious wake-up makes the owner look for work once too often, no more
                self.condvar.wait_for(&mut guard, timeout);
            }
        }
        self.state.swap(EMPTY, Ordering::AcqRel) == NOTIFIED
    }

    /// Waits awake for a moment.
    fn spin(&self) -> bool {
        let spins = self.spins.load(Ordering::Relaxed);
        for _ in 0..spins {
            std::hint::spin_loop();
            if self.try_consume() {
                let more = (spins * 2).min(SPINS.most);
                self.spins.store(more, Ordering::Relaxed);
                return true;
            }
        }
        let less = (spins / 2).max(SPINS.least);
        self.spins.store(less, Ordering::Relaxed);
        false
    }

    /// Notifies the sleeper, or makes its next [`park`](Self::park) return at once.
    pub(crate) fn unpark(&self) {
        if self.state.swap(NOTIFIED, Ordering::AcqRel) == PARKED {
            // the sleeper holds the lock until it waits: with the lock, the signal cannot come too early
            drop(self.lock.lock());
            self.condvar.notify_one();
        }
    }
}
