//! Who sleeps, who searches, who watches; and whom to wake.
//!
//! Two sides must not miss each other:
//!
//! ```text
//! producer                              sleeper
//!   1. publish the runnable               1. set own bit in `sleeping`, stop searching
//!   2. fence                              2. fence
//!   3. nobody searching, somebody           3. look at all queues once more
//!      sleeping: claim one, unpark it       4. nothing: park
//! ```
//!
//! Whichever fence comes first, one side sees the other.
//!
//! **Invariant (a claim is a wake-up).** A bit of `sleeping` is cleared by exactly one thread: by the sleeper itself,
//! which then does not park, or by another, which then unparks it and has counted it as searching.
//!
//! Waking a thread costs more than running a hundred short tasks. So a worker whose polls are short (*brisk*) keeps
//! its surplus, as long as a sleeper is on *watch*: it looks every few milliseconds whether work has waited all the
//! time, or whether the worker is stuck in a long poll, and steals then.

use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};

/// No more workers than that: they are bits of one word.
pub(crate) const MAX_WORKERS: usize = 64;

const NOBODY: usize = usize::MAX;

/// The state of all sleepers of one executor.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Idle {
    sleeping: AtomicU64,
    searching: AtomicUsize,
    /// The index of the sleeper on watch.
    watcher: AtomicUsize,
    /// Workers whose polls are short.
    brisk: AtomicU64,
    /// Sleep no more: the executor ends.
    closing: AtomicBool,
}

fn bit(index: usize) -> u64 {
    1 << index
}

impl Idle {
    pub(crate) fn new() -> Self {
        Self {
            sleeping: AtomicU64::new(0),
            searching: AtomicUsize::new(0),
            watcher: AtomicUsize::new(NOBODY),
            brisk: AtomicU64::new(0),
            closing: AtomicBool::new(false),
        }
    }

    /// Does anyone sleep? For a worker that considers to share; a guess.
    #[inline]
    pub(crate) fn someone_sleeps(&self) -> bool {
        self.sleeping.load(Ordering::Relaxed) != 0
    }

    /// Is a sleeper on watch?
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.watcher.load(Ordering::Relaxed) != NOBODY
    }

    #[inline]
    pub(crate) fn is_brisk(&self, index: usize) -> bool {
        self.brisk.load(Ordering::Relaxed) & bit(index) != 0
    }

    pub(crate) fn set_brisk(&self, index: usize, brisk: bool) {
        if brisk {
            self.brisk.fetch_or(bit(index), Ordering::Relaxed);
        } else {
            self.brisk.fetch_and(!bit(index), Ordering::Relaxed);
        }
    }

    /// After a runnable was published at a worker's own queue: the index of a sleeper to unpark, now searching.
    pub(crate) fn claim_for_surplus(&self) -> Option<usize> {
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::Relaxed) != 0 {
            return None;
        }
        self.claim_any()
    }

    /// After a runnable was published to everyone: the index of a sleeper to unpark, now searching.
    pub(crate) fn claim_for_injected(&self) -> Option<usize> {
        fence(Ordering::SeqCst);
        let sleeping = self.sleeping.load(Ordering::Relaxed);
        if sleeping == 0 || self.searching.load(Ordering::Relaxed) != 0 {
            return None;
        }
        if self.brisk.load(Ordering::Relaxed) & !sleeping != 0 && self.is_watched() {
            // somebody awake will come by in a moment, and if not, the watch sees it
            return None;
        }
        self.claim_any()
    }

    /// Claims a sleeper, the one on watch last.
    pub(crate) fn claim_any(&self) -> Option<usize> {
        let mut sleeping = self.sleeping.load(Ordering::Relaxed);
        while sleeping != 0 {
            let watcher = self.watcher.load(Ordering::Relaxed);
            let others = if watcher < MAX_WORKERS {
                sleeping & !bit(watcher)
            } else {
                sleeping
            };
            let candidates = if others == 0 { sleeping } else { others };
            let index = usize::try_from(candidates.trailing_zeros()).expect("at most 64");
            if self.claim(index) {
                return Some(index);
            }
            sleeping = self.sleeping.load(Ordering::Relaxed);
        }
        None
    }

    /// Claims one sleeper, which is counted as searching from now on. `false`: another thread did.
    pub(crate) fn claim(&self, index: usize) -> bool {
        // counted first, so that the count is never too small while a claimed sleeper wakes up
        self.searching.fetch_add(1, Ordering::SeqCst);
        if self.sleeping.fetch_and(!bit(index), Ordering::SeqCst) & bit(index) != 0 {
            return true;
        }
        self.searching.fetch_sub(1, Ordering::SeqCst);
        false
    }

    /// Announces that a worker is about to sleep. It must look at all queues once more after this.
    pub(crate) fn announce(&self, index: usize, searching: bool) {
        self.sleeping.fetch_or(bit(index), Ordering::SeqCst);
        if searching {
            self.searching.fetch_sub(1, Ordering::SeqCst);
        }
        fence(Ordering::SeqCst);
    }

    /// A worker begins to search. `false`: enough do so already.
    pub(crate) fn begin_search(&self, workers: usize) -> bool {
        if 2 * self.searching.load(Ordering::SeqCst) >= workers {
            return false;
        }
        self.searching.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// A worker has found something. `true`: it was the last that searched.
    pub(crate) fn end_search(&self) -> bool {
        self.searching.fetch_sub(1, Ordering::SeqCst) == 1
    }

    /// Goes on watch, if nobody is and somebody is awake.
    pub(crate) fn begin_watch(&self, index: usize, workers: usize) -> bool {
        let asleep = usize::try_from(self.sleeping.load(Ordering::Relaxed).count_ones());
        asleep.expect("at most 64") < workers
            && self
                .watcher
                .compare_exchange(NOBODY, index, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }

    /// Goes off watch. `true`: others sleep, so one of them should be woken to take over.
    pub(crate) fn end_watch(&self) -> bool {
        self.watcher.store(NOBODY, Ordering::Release);
        self.someone_sleeps()
    }

    /// Does a worker sleep?
    pub(crate) fn sleeps(&self, index: usize) -> bool {
        self.sleeping.load(Ordering::Acquire) & bit(index) != 0
    }

    /// Do all sleep?
    pub(crate) fn all_sleep(&self, workers: usize) -> bool {
        let asleep = usize::try_from(self.sleeping.load(Ordering::Acquire).count_ones());
        asleep.expect("at most 64") >= workers
    }

    /// Tells everyone to come to an end; to be followed by unparking all.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    #[inline]
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}
