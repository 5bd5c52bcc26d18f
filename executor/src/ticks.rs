//! A clock that is cheap enough to be read at every poll, and its translation to time.
//!
//! On x86-64 it is the processor's counter, a quarter of the price of `Instant::now`. It is related to real time
//! by comparing both with what they were when the first instrumented executor was made.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

static BASE: OnceLock<(Instant, u64)> = OnceLock::new();

/// A length of time, as the cheap clock counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Took(pub(crate) u64);

impl Took {
    /// In real time. Costs a look at the clock.
    pub fn duration(self) -> Duration {
        let &(instant, ticks) = BASE.get_or_init(base);
        let elapsed = instant.elapsed();
        let passed = now().saturating_sub(ticks).max(1);
        let nanoseconds = u128::from(self.0) * elapsed.as_nanos() / u128::from(passed);
        Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
    }
}

fn base() -> (Instant, u64) {
    (Instant::now(), now())
}

/// Begins to relate the two clocks.
pub(crate) fn start() {
    BASE.get_or_init(base);
}

/// The count at this moment; never zero.
#[inline]
pub(crate) fn now() -> u64 {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        // SAFETY: every x86-64 processor has the counter, and Linux lets programs read it.
        unsafe { std::arch::x86_64::_rdtsc() }.max(1)
    }
    #[cfg(any(not(target_arch = "x86_64"), miri))]
    {
        static START: OnceLock<Instant> = OnceLock::new();
        let elapsed = START.get_or_init(Instant::now).elapsed();
        u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX).max(1)
    }
}
