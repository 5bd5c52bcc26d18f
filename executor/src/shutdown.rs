//! The order of the end.
//!
//! 1. *Drain*: everything goes on, and we wait until no task is left or the time is over.
//! 2. *Close*: each part of the registry refuses new tasks. From here on the set of live tasks only shrinks.
//! 3. *Drop*: the workers close every registered task. A parked one they drop at once. Of one that is queued, or about
//!    to be queued by a foreign thread, the runnable will arrive: they wait for it. Continuations in the queues are
//!    cancelled.
//! 4. When the last part of the registry is empty, the injector is closed and the threads end. Whatever is scheduled
//!    later is cancelled in place; wakers find their tasks complete.
//!
//! **Invariant (no runnable is lost).** The injector is closed only after the registry is empty, so no task that was
//! spawned is ever refused.

use std::time::{Duration, Instant};

use crate::scheduler::{Pool, Shared};
use crate::sync::atomic::Ordering;

/// What a [shutdown](crate::Executor::shutdown) left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Tasks that had not finished when the time was over. Their futures were dropped.
    pub dropped: usize,
    /// Workers that were still in a poll when we gave up waiting for them. They end when that poll does.
    pub stuck: usize,
}

impl ShutdownReport {
    /// Did everything finish by itself?
    pub fn is_clean(&self) -> bool {
        self.dropped == 0 && self.stuck == 0
    }
}

/// The least time that workers are given to drop what is left. Miri is a thousand times slower than a machine.
const LEAST: Duration = Duration::from_millis(if cfg!(miri) { 60_000 } else { 200 });

/// Ends a pool. Answers whether all threads have ended, besides the report.
pub(crate) fn shut_down(shared: &Shared, pool: &Pool, time: Duration) -> ShutdownReport {
    let start = Instant::now();
    pool.awaited.store(true, Ordering::SeqCst);
    wait(pool, start, time, || pool.live() == 0);
    let dropped = pool.live();
    pool.close(&shared.injector);
    let remaining = time.saturating_sub(start.elapsed()).max(LEAST);
    wait(pool, Instant::now(), remaining, || {
        pool.running.load(Ordering::Acquire) == 0
    });
    ShutdownReport {
        dropped,
        stuck: pool.running.load(Ordering::Acquire),
    }
}

fn wait(pool: &Pool, start: Instant, time: Duration, done: impl Fn() -> bool) {
    while !done() {
        let left = time.saturating_sub(start.elapsed());
        if left.is_zero() {
            return;
        }
        pool.waiter.park(Some(left));
    }
}
