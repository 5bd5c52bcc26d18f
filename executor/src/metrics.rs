//! What was counted, per worker.

use crate::sync::atomic::{AtomicU64, Ordering};

/// Written by one thread, read by all.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    polls: AtomicU64,
    resumes: AtomicU64,
    steals: AtomicU64,
    stolen: AtomicU64,
    parks: AtomicU64,
    longest: AtomicU64,
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
    }

    /// Polls and resumes together.
    pub(crate) fn runs(&self) -> u64 {
        self.polls.load(Ordering::Relaxed) + self.resumes.load(Ordering::Relaxed)
    }
}
