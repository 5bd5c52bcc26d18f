//! The loop of a worker: run, steal, park.

use std::cell::Cell;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use crate::current;
use crate::idle::MAX_WORKERS;
use crate::resumption;
use crate::scheduler::{Kind, Pool, Shared, Site};
use crate::sync::Arc;
use crate::sync::atomic::Ordering;
use crate::task::header::TaskHeader;
use crate::time::Wait;

/// So many tasks in a row come from the slot of the newest; then the queue has its turn.
const LIFO_BOUND: u32 = 3;

/// So many runs between two looks at what other threads pushed.
const INJECTOR_INTERVAL: u32 = 16;

/// So many runs between two looks at the clock.
const CLOCK_INTERVAL: u32 = 64;

/// A worker whose runs take less than this on average keeps its surplus: waking a thief would cost more.
const BRISK: Duration = Duration::from_nanos(500);

/// From a brisk worker, a thief with a licence takes only if so many wait.
const WORTHWHILE: usize = 64;

/// A worker takes some of the queue of another that is longer than its own by so many and an eighth.
const UNEVEN: usize = 256;

/// Looks for work before a worker falls asleep: at least, at first and at most. A look takes some 40 ns, falling asleep
/// and being woken some 10 us; the number follows success. Meanwhile the worker counts as searching, so that whoever
/// makes work wakes nobody.
const LINGER: (u32, u32, u32) = if cfg!(any(loom, miri)) {
    (0, 0, 0)
} else {
    (8, 64, 256)
};

/// How often the watch looks, at first and at most.
const WATCH: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(4));

/// So many looks in a row must find work waiting behind short runs before the watch takes some (7 ms): moving tasks
/// to another processor costs more than they do, unless they stay for long.
const PATIENCE: u32 = 3;

/// What a worker thread keeps to itself.
struct Worker<'a> {
    shared: &'a Shared,
    pool: &'a Pool,
    site: &'a Site,
    index: usize,
    ticks: Cell<u32>,
    lifo_run: Cell<u32>,
    /// Counted in `Idle::searching`.
    searching: Cell<bool>,
    /// The watch found that work waits: brisk workers may be stolen from until nothing is found.
    licence: Cell<bool>,
    brisk: Cell<bool>,
    /// Looks that the next pause between two tasks is worth.
    linger: Cell<u32>,
    sampled: Cell<Instant>,
    random: Cell<u64>,
}

/// The life of a worker thread.
pub(crate) fn run(shared: &Arc<Shared>, index: usize) {
    let Kind::Pool(pool) = &shared.kind else {
        unreachable!("workers belong to a pool");
    };
    let _entered = current::enter_worker(Arc::as_ptr(shared), index);
    let worker = Worker::new(shared, pool, index);
    worker.work(|| pool.idle.is_closing());
    worker.close();
    pool.running.fetch_sub(1, Ordering::AcqRel);
    pool.waiter.unpark();
}

/// Runs tasks on a worker's thread, from within one of its tasks, until `done`.
///
/// `done` is asked after every run, and after every unpark of `parker` of that worker.
pub(crate) fn help(shared: &Shared, index: usize, done: impl Fn() -> bool) {
    let Kind::Pool(pool) = &shared.kind else {
        unreachable!("workers belong to a pool");
    };
    let worker = Worker::new(shared, pool, index);
    worker.work(|| done() || pool.idle.is_closing());
    if worker.searching.get() {
        worker.found();
    }
    // the end has begun: what we wait for may be ours to drop
    while !done() {
        if !worker.drop_one() {
            worker.site.parker.park(None);
        }
    }
}

impl<'a> Worker<'a> {
    fn new(shared: &'a Shared, pool: &'a Pool, index: usize) -> Self {
        Self {
            shared,
            pool,
            site: &pool.sites[index],
            index,
            ticks: Cell::new(0),
            lifo_run: Cell::new(0),
            searching: Cell::new(false),
            licence: Cell::new(false),
            brisk: Cell::new(pool.idle.is_brisk(index)),
            linger: Cell::new(LINGER.1),
            sampled: Cell::new(Instant::now()),
            random: Cell::new(0x9e37_79b9_7f4a_7c15 ^ (index as u64 + 1)),
        }
    }

    fn work(&self, done: impl Fn() -> bool) {
        while !done() {
            match self.next() {
                Some(task) => self.run(task),
                None => match self.search() {
                    Some(task) => self.run(task),
                    None if self.linger(&done) => {}
                    None => self.sleep(&done),
                },
            }
        }
    }

    #[inline]
    fn run(&self, task: NonNull<TaskHeader>) {
        if self.searching.get() {
            self.found();
        }
        if self.pool.idle.someone_sleeps() {
            self.consider_sharing();
        }
        // SAFETY: a queue gave us the runnable, and this thread is entered.
        unsafe { resumption::run(self.shared, &self.site.counters, task) };
        self.site.queue.publish();
    }

    /// The next task of our own, or of everybody's.
    #[inline]
    fn next(&self) -> Option<NonNull<TaskHeader>> {
        let ticks = self.ticks.get().wrapping_add(1);
        self.ticks.set(ticks);
        if ticks.is_multiple_of(INJECTOR_INTERVAL) {
            self.tend(ticks);
        }
        let queue = &self.site.queue;
        if self.lifo_run.get() < LIFO_BOUND
            && let Some(task) = queue.pop_lifo()
        {
            self.lifo_run.set(self.lifo_run.get() + 1);
            return Some(task);
        }
        self.lifo_run.set(0);
        queue
            .pop()
            .or_else(|| queue.pop_lifo())
            .or_else(|| self.take_injected())
    }

    /// What is due now and then.
    #[cold]
    fn tend(&self, ticks: u32) {
        if !self.shared.injector.is_empty() {
            // behind what is here: it waited its turn
            self.site.queue.append(self.shared.injector.take_all());
        }
        self.shared.timers.fire();
        if ticks.is_multiple_of(CLOCK_INTERVAL) {
            let now = Instant::now();
            let brisk = now - self.sampled.replace(now) < BRISK * CLOCK_INTERVAL;
            if brisk != self.brisk.replace(brisk) {
                self.pool.idle.set_brisk(self.index, brisk);
            }
            self.level();
        }
    }

    /// Makes long queues equally long, little by little, so that their tasks have their turns equally often: a theft
    /// moves a batch, however long the queue it was taken from. Only those move whose turn is far off: they are in
    /// nobody's cache.
    fn level(&self) {
        let workers = self.pool.sites.len();
        if workers == 1 {
            return;
        }
        let victim = (self.index + 1 + self.random(workers - 1)) % workers;
        let own = self.site.queue.len();
        if self.pool.sites[victim].queue.len() > own + own / 8 + UNEVEN {
            let stolen = self.pool.sites[victim]
                .queue
                .steal_overflow(&self.site.queue);
            self.site.counters.add_steals(stolen);
        }
    }

    fn take_injected(&self) -> Option<NonNull<TaskHeader>> {
        if self.shared.injector.is_empty() {
            return None;
        }
        // all of it, without a walk under the lock: the others steal their share from us
        let mut list = self.shared.injector.take_all();
        let first = list.pop_front();
        self.site.queue.append(list);
        first
    }

    /// Wakes a sleeper, if what waits here is worth it.
    fn consider_sharing(&self) {
        if self.site.queue.is_empty() {
            return;
        }
        if self.brisk.get() && self.pool.idle.is_watched() {
            return;
        }
        if let Some(sleeper) = self.pool.idle.claim_for_surplus() {
            self.pool.unpark(sleeper);
        }
    }

    /// Ends our search: it was successful, or is pointless.
    fn found(&self) {
        self.searching.set(false);
        let last = self.pool.idle.end_search();
        if self.brisk.get() && self.pool.idle.is_watched() {
            // we come by in a moment, and if not, the watch sees it
            return;
        }
        if last && !self.shared.injector.is_empty() {
            // others may have relied on us to find what is there
            if let Some(sleeper) = self.pool.idle.claim_for_surplus() {
                self.pool.unpark(sleeper);
            }
        }
    }

    fn search(&self) -> Option<NonNull<TaskHeader>> {
        if !self.searching.get() {
            if !self.pool.idle.begin_search(self.pool.sites.len()) {
                return None;
            }
            self.searching.set(true);
        }
        let victims = self.pool.sites.len();
        let start = self.random(victims);
        for offset in 0..victims {
            let victim = (start + offset) % victims;
            if self.is_worthwhile(victim) && self.steal(victim) {
                return self.site.queue.pop();
            }
        }
        self.licence.set(false);
        self.take_injected()
    }

    /// Waits awake for a moment. `true`: there may be something to do.
    fn linger(&self, done: &impl Fn() -> bool) -> bool {
        if !self.searching.get() {
            // another one does
            return false;
        }
        let looks = self.linger.get();
        for look in 1..=looks {
            std::hint::spin_loop();
            // the others' queues more rarely: looking at them slows them down
            let others = look.is_multiple_of(8) && self.something_to_do();
            if others || !self.shared.injector.is_empty() || done() {
                self.linger.set((looks * 2).min(LINGER.2));
                return true;
            }
        }
        self.linger.set((looks / 2).max(LINGER.0));
        false
    }

    fn steal(&self, victim: usize) -> bool {
        let stolen = self.pool.sites[victim].queue.steal(&self.site.queue);
        self.site.counters.add_steals(stolen);
        stolen != 0
    }

    fn is_worthwhile(&self, victim: usize) -> bool {
        if victim == self.index {
            return false;
        }
        let waiting = self.pool.sites[victim].queue.len();
        if self.pool.idle.is_brisk(victim) {
            self.licence.get() && waiting >= WORTHWHILE
        } else {
            waiting != 0
        }
    }

    fn something_to_do(&self) -> bool {
        !self.shared.injector.is_empty()
            || !self.site.queue.is_empty()
            || (0..self.pool.sites.len()).any(|victim| self.is_worthwhile(victim))
    }

    /// Sleeps until there is something to do. Comes back searching.
    fn sleep(&self, done: &impl Fn() -> bool) {
        let idle = &self.pool.idle;
        let workers = self.pool.sites.len();
        self.site.queue.publish();
        self.shared.timers.fire();
        idle.announce(self.index, self.searching.replace(false));
        self.site.counters.add_park();
        if self.something_to_do() || done() {
            self.wake_up();
            return;
        }
        let slept = Instant::now();
        let mut watching = false;
        let mut interval = WATCH.0;
        let mut waiting = 0;
        let mut seen = [0; MAX_WORKERS];
        loop {
            if !watching && idle.begin_watch(self.index, workers) {
                watching = true;
                interval = WATCH.0;
                seen = self.look();
            }
            let watch = watching.then_some(interval);
            let timer = self.shared.timers.wait(false);
            let timeout = match timer {
                Wait::For(timer) => Some(watch.map_or(timer, |watch| watch.min(timer))),
                Wait::Forever | Wait::Advanced => watch,
            };
            let notified = self.site.parker.park_at_once(timeout);
            if timer != Wait::Forever {
                self.shared.timers.back();
            }
            if notified {
                break;
            }
            self.shared.timers.fire();
            if watching {
                let now = self.look();
                if self.intervene(&seen, &now, &mut waiting) {
                    self.licence.set(true);
                    self.wake_up();
                    self.end_watch();
                    self.refresh(slept);
                    return;
                }
                seen = now;
                interval = (interval * 2).min(WATCH.1);
                if idle.all_sleep(workers) {
                    watching = false;
                    self.pool.idle.end_watch();
                    if self.something_to_do() {
                        self.wake_up();
                        self.refresh(slept);
                        return;
                    }
                }
            } else if self.something_to_do() || done() {
                self.wake_up();
                self.refresh(slept);
                return;
            }
        }
        if watching {
            self.end_watch();
        }
        self.refresh(slept);
        // notified: by a claim, which counted us as searching, or by `done` becoming true, with our bit still set
        if idle.sleeps(self.index) {
            self.wake_up();
        } else {
            self.searching.set(true);
        }
    }

    /// The clock ran while we slept, but no task of ours.
    fn refresh(&self, slept: Instant) {
        self.sampled.set(self.sampled.get() + slept.elapsed());
    }

    fn end_watch(&self) {
        if self.pool.idle.end_watch()
            && let Some(sleeper) = self.pool.idle.claim_for_surplus()
        {
            self.pool.unpark(sleeper);
        }
    }

    /// Takes our own bit back. If somebody was faster, their token is on its way: take it.
    fn wake_up(&self) {
        if !self.pool.idle.claim(self.index) {
            while !self.site.parker.park(None) {}
        }
        self.searching.set(true);
    }

    /// For the watch: how far everyone has come.
    fn look(&self) -> [u64; MAX_WORKERS] {
        let mut runs = [0; MAX_WORKERS];
        for (place, site) in runs.iter_mut().zip(&self.pool.sites) {
            *place = site.counters.runs();
        }
        runs
    }

    /// The watch: takes work from those who are stuck, and from those who have more than they will manage soon.
    fn intervene(&self, before: &[u64], now: &[u64], waiting: &mut u32) -> bool {
        let mut taken = false;
        let mut backlog = false;
        for (victim, site) in self.pool.sites.iter().enumerate() {
            if victim == self.index || self.pool.idle.sleeps(victim) || site.queue.is_empty() {
                continue;
            }
            let stuck = before.get(victim) == now.get(victim);
            if stuck {
                self.pool.idle.set_brisk(victim, false);
                if let Some(task) = site.queue.pop_lifo() {
                    // SAFETY: the slot gave us its runnable.
                    unsafe { self.site.queue.push_back(task) };
                    taken = true;
                }
            }
            let behind = site.queue.len() >= WORTHWHILE;
            backlog |= behind;
            let patient = !self.pool.idle.is_brisk(victim) || *waiting + 1 >= PATIENCE;
            if stuck || (behind && patient) {
                taken |= self.steal(victim);
            }
        }
        *waiting = if backlog { *waiting + 1 } else { 0 };
        // a timer may have put something into our own queue
        taken || !self.shared.injector.is_empty() || !self.site.queue.is_empty()
    }

    /// Drops one of the tasks that are queued here, or registered and parked. `false`: there is none.
    fn drop_one(&self) -> bool {
        let queue = &self.site.queue;
        let queued = queue.pop_lifo().or_else(|| queue.pop());
        let queued = queued.or_else(|| self.take_injected());
        let Some(task) = queued.or_else(|| self.pool.close_next(self.index)) else {
            return false;
        };
        // SAFETY: a queue gave us the runnable, or closing it did, and this thread is entered.
        unsafe { resumption::cancel(task) };
        true
    }

    /// The end: drops what is queued and what is registered, as long as there is any.
    fn close(&self) {
        while !self.pool.has_ended() {
            if !self.drop_one() && !self.pool.has_ended() {
                // others are at work, or a foreign thread holds a runnable and is about to push it
                self.site.parker.park(None);
            }
        }
        let mut late = self.shared.injector.close();
        while let Some(task) = late.pop_front() {
            // SAFETY: the queue gave us the runnable, and this thread is entered.
            unsafe { resumption::cancel(task) };
        }
        while let Some(task) = self.site.queue.pop_lifo().or_else(|| self.site.queue.pop()) {
            // SAFETY: the queue gave us the runnable, and this thread is entered.
            unsafe { resumption::cancel(task) };
        }
    }

    fn random(&self, bound: usize) -> usize {
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        usize::try_from(state % bound as u64).expect("less than the bound")
    }
}
