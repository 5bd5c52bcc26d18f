//! What was counted, per worker.

use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::ticks::{self, Took};

/// An executor, as seen at one moment; the numbers may be a little apart.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Metrics {
    /// One for each worker; one in all for a local executor.
    pub workers: Vec<WorkerMetrics>,
    /// Tasks that other threads pushed and no worker has taken yet.
    pub injected: usize,
    /// Spawned tasks that have not finished.
    pub live_tasks: usize,
}

/// What one worker did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerMetrics {
    /// Polls of futures.
    pub polls: u64,
    /// Resumptions of continuations.
    pub resumes: u64,
    /// Successful visits to another worker's queue.
    pub steals: u64,
    /// Tasks brought home from them.
    pub stolen: u64,
    /// How often it had nothing to do.
    pub parks: u64,
    /// Tasks that wait in its queue.
    pub queue_depth: usize,
    /// The longest poll or resumption; `None` unless [measured](crate::Builder::time_polls).
    pub longest_poll: Option<Duration>,
}

/// Written by one thread, read by all.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    polls: AtomicU64,
    resumes: AtomicU64,
    steals: AtomicU64,
    stolen: AtomicU64,
    parks: AtomicU64,
    /// In ticks.
    longest: AtomicU64,
    /// When the last run ended, in ticks; zero if the next one does not follow at once.
    last_end: AtomicU64,
}

/// Only one thread writes: no read-modify-write is needed.
#[inline]
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed) + amount, Ordering::Relaxed);
}

impl Counters {
    #[inline]
    pub(crate) fn add_run(&self, embedded: bool) {
        add(if embedded { &self.resumes } else { &self.polls }, 1);
    }

    pub(crate) fn add_steals(&self, tasks: usize) {
        if tasks != 0 {
            add(&self.steals, 1);
            add(&self.stolen, tasks as u64);
        }
    }

    pub(crate) fn add_park(&self) {
        add(&self.parks, 1);
        self.interrupt();
    }

    /// The next run does not follow the last one at once.
    #[inline]
    pub(crate) fn interrupt(&self) {
        self.last_end.store(0, Ordering::Relaxed);
    }

    /// When the run that begins now began: when the last one ended, if nothing lies between.
    pub(crate) fn begin_timed(&self) -> u64 {
        match self.last_end.load(Ordering::Relaxed) {
            0 => ticks::now(),
            end => end,
        }
    }

    /// The end of a run that began at `begin`.
    pub(crate) fn end_timed(&self, begin: u64) -> Took {
        let end = ticks::now();
        self.last_end.store(end, Ordering::Relaxed);
        let took = end.saturating_sub(begin);
        if took > self.longest.load(Ordering::Relaxed) {
            self.longest.store(took, Ordering::Relaxed);
        }
        Took(took)
    }

    /// Polls and resumes together.
    pub(crate) fn runs(&self) -> u64 {
        self.polls.load(Ordering::Relaxed) + self.resumes.load(Ordering::Relaxed)
    }

    pub(crate) fn read(&self, queue_depth: usize) -> WorkerMetrics {
        let longest = self.longest.load(Ordering::Relaxed);
        WorkerMetrics {
            polls: self.polls.load(Ordering::Relaxed),
            resumes: self.resumes.load(Ordering::Relaxed),
            steals: self.steals.load(Ordering::Relaxed),
            stolen: self.stolen.load(Ordering::Relaxed),
            parks: self.parks.load(Ordering::Relaxed),
            queue_depth,
            longest_poll: (longest != 0).then(|| Took(longest).duration()),
        }
    }
}
