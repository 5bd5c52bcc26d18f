//! Timers, on every executor's own structure, and a clock that tests can stop.
//!
//! ```
//! use std::time::Duration;
//! use midair_executor::{LocalExecutor, time};
//!
//! let executor = LocalExecutor::new();
//! executor.block_on(async {
//!     time::pause(); // from here on, time passes when nothing else is left to do
//!     let before = time::now();
//!     time::sleep(Duration::from_secs(3600)).await;
//!     assert_eq!(time::now() - before, Duration::from_secs(3600));
//! });
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures::Stream;
use pin_project::pin_project;

use crate::coop;
use crate::current;
use crate::executor;
use crate::scheduler::{self, Shared};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex};

/// No timer.
const NEVER: u64 = u64::MAX;

/// A timer: when, and a number that tells equal ones apart.
type Key = (u64, u64);

/// The timers of one executor.
#[derive(Debug)]
pub(crate) struct Timers {
    /// When the first is due, in nanoseconds since `base`.
    next: AtomicU64,
    base: Instant,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: BTreeMap<Key, Waker>,
    count: u64,
    /// A sleeping thread will be back at that time.
    promised: u64,
    clock: Clock,
}

/// Where the time comes from.
#[derive(Debug, Clone, Copy)]
enum Clock {
    /// The system's, and so much more.
    Running { ahead: u64 },
    /// It stands.
    Paused { now: u64 },
}

fn nanoseconds(duration: Duration) -> u64 {
    // 584 years
    u64::try_from(duration.as_nanos()).unwrap_or(NEVER - 1)
}

/// How a thread should wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Until it is woken.
    Forever,
    /// So long at most.
    For(Duration),
    /// The clock stands: it was put forward to the next timer, which is due.
    Advanced,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self {
            next: AtomicU64::new(NEVER),
            base: Instant::now(),
            inner: Mutex::new(Inner {
                queue: BTreeMap::new(),
                count: 0,
                promised: NEVER,
                clock: Clock::Running { ahead: 0 },
            }),
        }
    }

    fn read(&self, clock: Clock) -> u64 {
        match clock {
            Clock::Running { ahead } => nanoseconds(self.base.elapsed()).saturating_add(ahead),
            Clock::Paused { now } => now,
        }
    }

    fn now(&self) -> u64 {
        let clock = self.inner.lock().clock;
        self.read(clock)
    }

    fn instant(&self, at: u64) -> Instant {
        self.base + Duration::from_nanos(at)
    }

    fn at(&self, instant: Instant) -> u64 {
        // rounded up by nothing: a timer is due when its instant is reached
        nanoseconds(instant.saturating_duration_since(self.base))
    }

    /// Wakes what is due. Cheap if there is no timer at all.
    #[inline]
    pub(crate) fn fire(&self) {
        if self.next.load(Ordering::Relaxed) != NEVER {
            self.fire_due();
        }
    }

    #[cold]
    fn fire_due(&self) {
        let mut due = Vec::new();
        {
            let mut inner = self.inner.lock();
            let now = self.read(inner.clock);
            while let Some(entry) = inner.queue.first_entry()
                && entry.key().0 <= now
            {
                due.push(entry.remove());
            }
            self.publish_next(&inner);
        }
        // outside of the lock: a waker is a user's code
        for waker in due {
            waker.wake();
        }
    }

    fn publish_next(&self, inner: &Inner) {
        let next = inner
            .queue
            .first_key_value()
            .map_or(NEVER, |(key, _)| key.0);
        self.next.store(next, Ordering::Relaxed);
    }

    /// For a thread that has nothing to do: how long to sleep. `advance`: if the clock stands, put it forward.
    pub(crate) fn wait(&self, advance: bool) -> Wait {
        if self.next.load(Ordering::Acquire) == NEVER {
            return Wait::Forever;
        }
        let mut inner = self.inner.lock();
        let Some((&(first, _), _)) = inner.queue.first_key_value() else {
            return Wait::Forever;
        };
        if let Clock::Paused { now } = inner.clock {
            if !advance {
                return Wait::Forever;
            }
            inner.clock = Clock::Paused {
                now: now.max(first),
            };
            return Wait::Advanced;
        }
        if first >= inner.promised {
            return Wait::Forever;
        }
        inner.promised = first;
        let now = self.read(inner.clock);
        Wait::For(Duration::from_nanos(first.saturating_sub(now)))
    }

    /// A thread that was told to wait for a time is back.
    pub(crate) fn back(&self) {
        self.inner.lock().promised = NEVER;
    }

    /// `true`: it is the first now.
    fn insert(&self, key: Key, waker: &Waker) -> bool {
        let mut inner = self.inner.lock();
        let old = inner.queue.insert(key, waker.clone());
        let first = key.0 < self.next.load(Ordering::Relaxed);
        self.publish_next(&inner);
        drop(inner);
        drop(old);
        first
    }

    fn remove(&self, key: Key) {
        let mut inner = self.inner.lock();
        let old = inner.queue.remove(&key);
        self.publish_next(&inner);
        drop(inner);
        drop(old);
    }

    fn new_key(&self, at: u64) -> Key {
        let mut inner = self.inner.lock();
        inner.count += 1;
        (at, inner.count)
    }

    pub(crate) fn pause(&self) {
        let mut inner = self.inner.lock();
        let now = self.read(inner.clock);
        inner.clock = Clock::Paused { now };
    }

    fn resume(&self) {
        let mut inner = self.inner.lock();
        if let Clock::Paused { now } = inner.clock {
            let real = nanoseconds(self.base.elapsed());
            // a clock that was put forward stays ahead, one that stood goes on from where it stood
            let ahead = now.saturating_sub(real);
            inner.clock = Clock::Running { ahead };
        }
    }

    fn advance(&self, duration: Duration) {
        {
            let mut inner = self.inner.lock();
            let Clock::Paused { now } = inner.clock else {
                drop(inner);
                panic!("only a paused clock can be advanced");
            };
            inner.clock = Clock::Paused {
                now: now.saturating_add(nanoseconds(duration)),
            };
        }
        self.fire();
    }
}

/// The executor that a timer made here belongs to.
fn home() -> Arc<Shared> {
    let here = current::home();
    if here.is_null() {
        Arc::clone(executor::global().shared())
    } else {
        // SAFETY: the current one is alive, and all of them are made in an `Arc`.
        unsafe { scheduler::retain(here) }
    }
}

/// The time, as the current executor's clock shows it. The system's if there is no executor here.
pub fn now() -> Instant {
    let here = current::home();
    if here.is_null() {
        return Instant::now();
    }
    let home = home();
    home.timers.instant(home.timers.now())
}

/// Stops the clock of the current executor.
///
/// Timers fire when [`advance`] reaches them. On a [`LocalExecutor`](crate::LocalExecutor), besides, whenever no task
/// is left to run, the clock jumps to the next timer.
///
/// # Panics
///
/// If there is no executor here: the clock of the global one is nobody's to stop.
pub fn pause() {
    assert!(!current::home().is_null(), "no executor runs here");
    home().timers.pause();
}

/// Lets a [paused](pause) clock of the current executor run again, from what it shows.
pub fn resume() {
    home().timers.resume();
}

/// Puts a [paused](pause) clock of the current executor forward, and lets the tasks whose timers it reached run.
///
/// # Panics
///
/// If the clock is not paused.
pub async fn advance(duration: Duration) {
    home().timers.advance(duration);
    crate::yield_now().await;
}

/// Waits for a time.
pub fn sleep(duration: Duration) -> Sleep {
    let home = home();
    let at = home.timers.now().saturating_add(nanoseconds(duration));
    Sleep::new(home, at)
}

/// Waits until a moment.
pub fn sleep_until(deadline: Instant) -> Sleep {
    let home = home();
    let at = home.timers.at(deadline);
    Sleep::new(home, at)
}

/// The future of [`sleep`] and [`sleep_until`]. It belongs to the executor on which it was made.
#[must_use = "a future does nothing unless it is awaited"]
pub struct Sleep {
    home: Arc<Shared>,
    at: u64,
    key: Option<Key>,
}

impl Sleep {
    fn new(home: Arc<Shared>, at: u64) -> Self {
        Self {
            home,
            at,
            key: None,
        }
    }

    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.home.timers.instant(self.at)
    }

    /// Has the time come?
    pub fn is_elapsed(&self) -> bool {
        self.home.timers.now() >= self.at
    }

    /// Gives it another end.
    pub fn reset(&mut self, deadline: Instant) {
        self.cancel();
        self.at = self.home.timers.at(deadline);
    }

    fn cancel(&mut self) {
        if let Some(key) = self.key.take() {
            self.home.timers.remove(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_elapsed() {
            if coop::poll_consume(context).is_pending() {
                return Poll::Pending;
            }
            self.cancel();
            return Poll::Ready(());
        }
        let key = match self.key {
            Some(key) => key,
            None => {
                let key = self.home.timers.new_key(self.at);
                self.key = Some(key);
                key
            }
        };
        if self.home.timers.insert(key, context.waker()) {
            self.home.first_timer_changed();
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.cancel();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline())
            .finish()
    }
}

/// Gives a future so much time, then drops it.
///
/// # Errors
///
/// [`Elapsed`], when the time is over before the future is ready.
///
/// ```
/// use std::{future::pending, time::Duration};
/// use midair_executor::{LocalExecutor, time};
///
/// let executor = LocalExecutor::new();
/// let outcome = executor.block_on(async {
///     time::pause();
///     time::timeout(Duration::from_secs(1), pending::<()>()).await
/// });
/// assert!(outcome.is_err());
/// ```
pub fn timeout<F: Future>(duration: Duration, future: F) -> Timeout<F> {
    Timeout {
        future,
        sleep: sleep(duration),
    }
}

/// The future of [`timeout`].
#[pin_project]
#[derive(Debug)]
#[must_use = "a future does nothing unless it is awaited"]
pub struct Timeout<F> {
    #[pin]
    future: F,
    #[pin]
    sleep: Sleep,
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        // a future that has used the budget up must not keep its own timeout from firing
        let _unlimited = current::unlimited_budget();
        this.sleep.poll(context).map(|()| Err(Elapsed(())))
    }
}

/// The time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time was over")
    }
}

impl std::error::Error for Elapsed {}

/// Ticks every so often, for the first time at once.
///
/// A tick that comes late does not move the others, and ticks that were missed altogether are skipped.
///
/// ```
/// use std::time::Duration;
/// use midair_executor::{LocalExecutor, time};
///
/// let executor = LocalExecutor::new();
/// executor.block_on(async {
///     time::pause();
///     let mut interval = time::interval(Duration::from_millis(10));
///     let first = interval.tick().await;
///     let second = interval.tick().await;
///     assert_eq!(second - first, Duration::from_millis(10));
/// });
/// ```
///
/// # Panics
///
/// If the period is zero.
pub fn interval(period: Duration) -> Interval {
    assert!(!period.is_zero(), "an interval has a period");
    Interval {
        sleep: sleep(Duration::ZERO),
        period,
    }
}

/// What [`interval`] makes; also a [`Stream`] of the ticks.
#[derive(Debug)]
pub struct Interval {
    sleep: Sleep,
    period: Duration,
}

impl Interval {
    /// Waits for the next tick. Answers when it was due.
    pub async fn tick(&mut self) -> Instant {
        std::future::poll_fn(|context| self.poll_tick(context)).await
    }

    /// As [`tick`](Self::tick), for a poll.
    pub fn poll_tick(&mut self, context: &mut Context<'_>) -> Poll<Instant> {
        if Pin::new(&mut self.sleep).poll(context).is_pending() {
            return Poll::Pending;
        }
        let due = self.sleep.at;
        let period = nanoseconds(self.period).max(1);
        let late = self.sleep.home.timers.now().saturating_sub(due);
        self.sleep.at = due.saturating_add((late / period + 1).saturating_mul(period));
        Poll::Ready(self.sleep.home.timers.instant(due))
    }
}

impl Stream for Interval {
    type Item = Instant;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Instant>> {
        self.poll_tick(context).map(Some)
    }
}
