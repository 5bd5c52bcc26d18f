//! Our executors beside tokio's and smol's, in one run: time of the usual small programs, bytes of an idle task.
//!
//! `cargo bench -p midair-executor --bench peers -- [--quick] [--json] [--only ROW] [--samples N] [--alone EXECUTOR]`
//!
//! Samples of all executors are interleaved; the table holds medians in nanoseconds per operation. Every yield is the
//! same neutral one (wake yourself, pend once): async-executor and we run everything that is queued first,
//! tokio's multi-thread workers may run the yielder again from their own queue sooner.

#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::fmt::Write as _;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures::channel::oneshot;

/// An executor under test. All of it is reached through statics and thread-locals, as programs do.
trait Exec: 'static {
    const NAME: &'static str;
    type Join<T: Send + 'static>: Send + 'static;
    fn block_on<F: Future>(future: F) -> F::Output;
    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static;
    fn join<T: Send + 'static>(join: Self::Join<T>) -> impl Future<Output = T> + Send;
    fn detach<T: Send + 'static>(join: Self::Join<T>);
    /// Aborts and waits until the future is dropped.
    fn abort<T: Send + 'static>(join: Self::Join<T>) -> impl Future<Output = ()> + Send;
}

struct MidairLocal;
/// With everything on that needs a clock or a callback per poll.
struct MidairFull;
struct MidairPool;
struct TokioCurrent;
struct TokioMulti;
struct SmolLocal;
struct SmolStatic;
struct SmolMulti;

thread_local! {
    static MIDAIR_LOCAL: midair_executor::LocalExecutor = midair_executor::LocalExecutor::new();
    static MIDAIR_FULL: midair_executor::LocalExecutor = midair_executor::Builder::new()
        .time_polls(true)
        .hooks(CountPolls::default())
        .build_local();
    static TOKIO_CURRENT: tokio::runtime::Runtime =
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    static SMOL_LOCAL: &'static async_executor::LocalExecutor<'static> =
        Box::leak(Box::new(async_executor::LocalExecutor::new()));
    static SMOL_STATIC: &'static async_executor::StaticLocalExecutor =
        async_executor::LocalExecutor::new().leak();
}

/// Hooks that do the least that a hook can do.
#[derive(Default)]
struct CountPolls {
    before: AtomicU64,
    longest: AtomicU64,
}

impl midair_executor::Hooks for CountPolls {
    fn before_poll(&self, _task: &midair_executor::TaskInfo<'_>) {
        let before = self.before.load(Ordering::Relaxed);
        self.before.store(before + 1, Ordering::Relaxed);
    }

    fn after_poll(&self, task: midair_executor::TaskId, took: midair_executor::Took) {
        black_box((task, took));
        self.longest.store(1, Ordering::Relaxed);
    }
}

static MIDAIR_POOL: OnceLock<midair_executor::Executor> = OnceLock::new();
static TOKIO_MULTI: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
static SMOL_MULTI: OnceLock<&'static async_executor::Executor<'static>> = OnceLock::new();

fn midair_pool() -> &'static midair_executor::Executor {
    MIDAIR_POOL.get_or_init(|| midair_executor::Executor::new(2))
}

fn smol_multi() -> &'static async_executor::Executor<'static> {
    SMOL_MULTI.get_or_init(|| {
        let executor: &'static async_executor::Executor<'static> =
            Box::leak(Box::new(async_executor::Executor::new()));
        for _ in 0..2 {
            thread::spawn(|| {
                futures_lite::future::block_on(executor.run(std::future::pending::<()>()));
            });
        }
        executor
    })
}

macro_rules! midair_tasks {
    () => {
        type Join<T: Send + 'static> = midair_executor::JoinHandle<T>;
        async fn join<T: Send + 'static>(join: Self::Join<T>) -> T {
            join.await.expect("no panic")
        }
        fn detach<T: Send + 'static>(join: Self::Join<T>) {
            join.detach();
        }
        async fn abort<T: Send + 'static>(join: Self::Join<T>) {
            join.abort();
            let _ = join.await;
        }
    };
}

macro_rules! tokio_tasks {
    () => {
        type Join<T: Send + 'static> = tokio::task::JoinHandle<T>;
        fn spawn<F>(future: F) -> Self::Join<F::Output>
        where
            F: Future + Send + 'static,
            F::Output: Send + 'static,
        {
            tokio::spawn(future)
        }
        async fn join<T: Send + 'static>(join: Self::Join<T>) -> T {
            join.await.expect("no panic")
        }
        fn detach<T: Send + 'static>(join: Self::Join<T>) {
            drop(join);
        }
        async fn abort<T: Send + 'static>(join: Self::Join<T>) {
            join.abort();
            let _ = join.await;
        }
    };
}

macro_rules! smol_tasks {
    () => {
        type Join<T: Send + 'static> = async_executor::Task<T>;
        async fn join<T: Send + 'static>(join: Self::Join<T>) -> T {
            join.await
        }
        fn detach<T: Send + 'static>(join: Self::Join<T>) {
            join.detach();
        }
        async fn abort<T: Send + 'static>(join: Self::Join<T>) {
            join.cancel().await;
        }
    };
}

impl Exec for MidairLocal {
    const NAME: &'static str = "midair-local";
    fn block_on<F: Future>(future: F) -> F::Output {
        MIDAIR_LOCAL.with(|executor| executor.block_on(future))
    }
    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        midair_executor::spawn_local(future)
    }
    midair_tasks!();
}

impl Exec for MidairFull {
    const NAME: &'static str = "midair+all";
    fn block_on<F: Future>(future: F) -> F::Output {
        MIDAIR_FULL.with(|executor| executor.block_on(future))
    }
    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        midair_executor::spawn_local(future)
    }
    midair_tasks!();
}

impl Exec for MidairPool {
    const NAME: &'static str = "midair-mt2";
    fn block_on<F: Future>(future: F) -> F::Output {
        midair_pool().block_on(future)
    }
    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        midair_pool().spawn(future)
    }
    midair_tasks!();
}

impl Exec for TokioCurrent {
    const NAME: &'static str = "tokio-ct";
    fn block_on<F: Future>(future: F) -> F::Output {
        TOKIO_CURRENT.with(|runtime| runtime.block_on(future))
    }
    tokio_tasks!();
}

impl Exec for TokioMulti {
    const NAME: &'static str = "tokio-mt2";
    fn block_on<F: Future>(future: F) -> F::Output {
        TOKIO_MULTI
            .get_or_init(|| {
                tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .build()
                    .expect("a runtime")
            })
            .block_on(future)
    }
    tokio_tasks!();
}

impl Exec for SmolLocal {
    const NAME: &'static str = "smol-local";
    fn block_on<F: Future>(future: F) -> F::Output {
        SMOL_LOCAL.with(|executor| futures_lite::future::block_on(executor.run(future)))
    }
    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        SMOL_LOCAL.with(|executor| executor.spawn(future))
    }
    smol_tasks!();
}

impl Exec for SmolStatic {
    const NAME: &'static str = "smol-static";
    fn block_on<F: Future>(future: F) -> F::Output {
        SMOL_STATIC.with(|executor| futures_lite::future::block_on(executor.run(future)))
    }
    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        SMOL_STATIC.with(|executor| executor.spawn(future))
    }
    smol_tasks!();
}

impl Exec for SmolMulti {
    const NAME: &'static str = "smol-mt2";
    fn block_on<F: Future>(future: F) -> F::Output {
        smol_multi();
        futures_lite::future::block_on(future)
    }
    fn spawn<F>(future: F) -> Self::Join<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        smol_multi().spawn(future)
    }
    smol_tasks!();
}

fn yield_once() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            Poll::Ready(())
        } else {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
}

/// Runs `body` in a task and answers the time it took by itself.
fn within<X: Exec>(body: impl Future<Output = ()> + Send + 'static) -> Duration {
    X::block_on(async {
        X::join(X::spawn(async {
            let start = Instant::now();
            body.await;
            start.elapsed()
        }))
        .await
    })
}

/// Runs `body` in `block_on` and answers the time it took by itself.
fn outside<X: Exec>(body: impl Future<Output = ()>) -> Duration {
    X::block_on(async {
        let start = Instant::now();
        body.await;
        start.elapsed()
    })
}

async fn spawn_all<X: Exec>(count: usize) {
    let tasks: Vec<_> = (0..count).map(|_| X::spawn(async {})).collect();
    for task in tasks {
        X::join(task).await;
    }
}

async fn spawn_each<X: Exec>(count: usize) {
    for _ in 0..count {
        X::join(X::spawn(async {})).await;
    }
}

fn descend<X: Exec>(depth: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(async move {
        if depth > 0 {
            X::join(X::spawn(descend::<X>(depth - 1))).await;
        }
    })
}

async fn yields<X: Exec>(tasks: usize, rounds: usize) {
    let tasks: Vec<_> = (0..tasks)
        .map(|_| {
            X::spawn(async move {
                for _ in 0..rounds {
                    yield_once().await;
                }
            })
        })
        .collect();
    for task in tasks {
        X::join(task).await;
    }
}

async fn ping_pong<X: Exec>(count: usize) {
    let (done, finished) = oneshot::channel();
    let left = Arc::new(AtomicUsize::new(count));
    let done = Arc::new(Mutex::new(Some(done)));
    for _ in 0..count {
        let left = Arc::clone(&left);
        let done = Arc::clone(&done);
        X::detach(X::spawn(async move {
            let (ping, pinged) = oneshot::channel::<()>();
            let (pong, ponged) = oneshot::channel::<()>();
            X::detach(X::spawn(async move {
                pinged.await.expect("sent");
                pong.send(()).expect("someone waits");
            }));
            ping.send(()).expect("someone waits");
            ponged.await.expect("sent");
            if left.fetch_sub(1, Ordering::AcqRel) == 1 {
                let done = done.lock().expect("no panic").take();
                done.expect("once").send(()).expect("someone waits");
            }
        }));
    }
    finished.await.expect("sent");
}

fn chain<X: Exec>(left: usize, done: oneshot::Sender<()>) {
    X::detach(X::spawn(async move {
        if left == 0 {
            done.send(()).expect("someone waits");
        } else {
            chain::<X>(left - 1, done);
        }
    }));
}

async fn chained_spawn<X: Exec>(depth: usize) {
    let (done, finished) = oneshot::channel();
    chain::<X>(depth, done);
    finished.await.expect("sent");
}

/// A ring of tasks, each handing to the next what it gets.
async fn channels<X: Exec>(tasks: usize, rounds: usize) {
    let (first, mut receiver) = async_channel::bounded::<usize>(1);
    let mut joins = Vec::new();
    for _ in 1..tasks {
        let (sender, next) = async_channel::bounded::<usize>(1);
        let here = std::mem::replace(&mut receiver, next);
        joins.push(X::spawn(async move {
            while let Ok(value) = here.recv().await {
                if sender.send(value).await.is_err() {
                    break;
                }
            }
        }));
    }
    let feeder = X::spawn(async move {
        for round in 0..rounds {
            first.send(round).await.expect("the ring is there");
        }
    });
    for _ in 0..rounds {
        receiver.recv().await.expect("the ring is there");
    }
    X::join(feeder).await;
    for join in joins {
        X::join(join).await;
    }
}

/// Many producers, one consumer.
async fn fan_in<X: Exec>(producers: usize, messages: usize) {
    let (sender, receiver) = async_channel::bounded::<usize>(64);
    for _ in 0..producers {
        let sender = sender.clone();
        X::detach(X::spawn(async move {
            for message in 0..messages {
                sender.send(message).await.expect("someone waits");
            }
        }));
    }
    drop(sender);
    let mut count = 0;
    while receiver.recv().await.is_ok() {
        count += 1;
    }
    assert_eq!(count, producers * messages);
}

async fn spawn_abort<X: Exec>(count: usize) {
    for _ in 0..count {
        let task = X::spawn(std::future::pending::<()>());
        X::abort(task).await;
    }
}

/// A flag that a foreign thread sets, and the waker of who waits for it.
#[derive(Default)]
struct Signal {
    waker: futures::task::AtomicWaker,
    requested: AtomicBool,
    woken: AtomicU64,
}

/// Wake a parked task from another thread, wait for its answer, again.
fn remote_wakes<X: Exec>(rounds: u64, pause: Duration) -> Duration {
    let signal = Arc::new(Signal::default());
    let stop = Arc::new(AtomicBool::new(false));
    let total = Arc::new(AtomicU64::new(0));
    let start = Instant::now();
    let thread = {
        let (signal, stop, total) = (Arc::clone(&signal), Arc::clone(&stop), Arc::clone(&total));
        thread::spawn(move || {
            while !stop.load(Ordering::Acquire) {
                if signal.requested.swap(false, Ordering::AcqRel) {
                    let idle = Instant::now();
                    while idle.elapsed() < pause {
                        thread::yield_now();
                    }
                    let now = u64::try_from(start.elapsed().as_nanos()).expect("short");
                    signal.woken.store(now, Ordering::Release);
                    signal.waker.wake();
                } else {
                    std::hint::spin_loop();
                }
            }
            total.load(Ordering::Relaxed)
        })
    };
    let sum = Arc::clone(&total);
    X::block_on(async {
        X::join(X::spawn(async move {
            for _ in 0..rounds {
                let mut asked = false;
                poll_fn(|context: &mut Context<'_>| {
                    signal.waker.register(context.waker());
                    if !asked {
                        asked = true;
                        signal.woken.store(0, Ordering::Release);
                        signal.requested.store(true, Ordering::Release);
                        return Poll::Pending;
                    }
                    match signal.woken.load(Ordering::Acquire) {
                        0 => Poll::Pending,
                        at => {
                            let now = u64::try_from(start.elapsed().as_nanos()).expect("short");
                            sum.fetch_add(now.saturating_sub(at), Ordering::Relaxed);
                            Poll::Ready(())
                        }
                    }
                })
                .await;
            }
        }))
        .await;
    });
    stop.store(true, Ordering::Release);
    thread.join().expect("no panic");
    Duration::from_nanos(total.load(Ordering::Relaxed))
}

/// Another thread wakes many parked tasks, round after round.
fn wake_storm<X: Exec>(tasks: usize, rounds: usize) -> Duration {
    let wakers: Arc<Vec<futures::task::AtomicWaker>> = Arc::new(
        (0..tasks)
            .map(|_| futures::task::AtomicWaker::new())
            .collect(),
    );
    let round = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::new(AtomicUsize::new(0));
    let thread = {
        let (wakers, round, arrived) = (
            Arc::clone(&wakers),
            Arc::clone(&round),
            Arc::clone(&arrived),
        );
        thread::spawn(move || {
            for next in 1..=rounds {
                while arrived.load(Ordering::Acquire) < tasks {
                    thread::yield_now();
                }
                arrived.store(0, Ordering::Release);
                round.store(next, Ordering::Release);
                for waker in wakers.iter() {
                    waker.wake();
                }
            }
        })
    };
    let start = Instant::now();
    X::block_on(async {
        let joins: Vec<_> = (0..tasks)
            .map(|task| {
                let (wakers, round, arrived) = (
                    Arc::clone(&wakers),
                    Arc::clone(&round),
                    Arc::clone(&arrived),
                );
                X::spawn(async move {
                    for next in 1..=rounds {
                        let mut counted = false;
                        poll_fn(|context: &mut Context<'_>| {
                            wakers[task].register(context.waker());
                            if !std::mem::replace(&mut counted, true) {
                                arrived.fetch_add(1, Ordering::AcqRel);
                            }
                            if round.load(Ordering::Acquire) >= next {
                                Poll::Ready(())
                            } else {
                                Poll::Pending
                            }
                        })
                        .await;
                    }
                })
            })
            .collect();
        for join in joins {
            X::join(join).await;
        }
    });
    let elapsed = start.elapsed();
    thread.join().expect("no panic");
    elapsed
}

/// One sample: the time of `operations`.
type Sample = (Duration, u64);

fn sample<X: Exec>(row: &str, scale: usize) -> Sample {
    let count = |full: usize| (full / scale).max(1);
    let operations = |count: usize| u64::try_from(count).expect("small");
    match row {
        "spawn_one" => {
            let n = count(4_000);
            (outside::<X>(spawn_each::<X>(n)), operations(n))
        }
        "spawn_one_w" => {
            let n = count(40_000);
            (within::<X>(spawn_each::<X>(n)), operations(n))
        }
        "spawn_many_1k" | "spawn_many_10k" | "spawn_many_100k" => {
            let n = size(row);
            let repeat = count(100_000 / n);
            let mut time = Duration::ZERO;
            for _ in 0..repeat {
                time += outside::<X>(spawn_all::<X>(n));
            }
            (time, operations(n * repeat))
        }
        "spawn_many_w_1k" | "spawn_many_w_10k" | "spawn_many_w_100k" => {
            let n = size(row);
            let repeat = count(100_000 / n);
            let mut time = Duration::ZERO;
            for _ in 0..repeat {
                time += within::<X>(spawn_all::<X>(n));
            }
            (time, operations(n * repeat))
        }
        "spawn_recursively" => {
            let (width, depth) = (count(300), 100);
            let time = within::<X>(async move {
                let tasks: Vec<_> = (0..width).map(|_| X::spawn(descend::<X>(depth))).collect();
                for task in tasks {
                    X::join(task).await;
                }
            });
            (time, operations(width * (depth + 1)))
        }
        "yield_one" => {
            let n = count(200_000);
            (within::<X>(yields::<X>(1, n)), operations(n))
        }
        "yield_now" => {
            let n = count(1_000);
            (within::<X>(yields::<X>(300, n)), operations(300 * n))
        }
        "yield_many" => {
            let n = count(300);
            (within::<X>(yields::<X>(1_000, n)), operations(1_000 * n))
        }
        "ping_pong" => {
            let repeat = count(20);
            let time = within::<X>(async move {
                for _ in 0..repeat {
                    ping_pong::<X>(1_000).await;
                }
            });
            (time, operations(1_000 * repeat))
        }
        "chained_spawn" => {
            let repeat = count(100);
            let time = within::<X>(async move {
                for _ in 0..repeat {
                    chained_spawn::<X>(1_000).await;
                }
            });
            (time, operations(1_000 * repeat))
        }
        "channels" => {
            let rounds = count(300);
            (
                within::<X>(channels::<X>(300, rounds)),
                operations(300 * rounds),
            )
        }
        "fan_in" => {
            let messages = count(1_000);
            (
                within::<X>(fan_in::<X>(100, messages)),
                operations(100 * messages),
            )
        }
        "spawn_abort" => {
            let n = count(40_000);
            (within::<X>(spawn_abort::<X>(n)), operations(n))
        }
        "block_on_ready" => {
            let n = count(400_000);
            let start = Instant::now();
            for _ in 0..n {
                X::block_on(async { black_box(()) });
            }
            (start.elapsed(), operations(n))
        }
        "wake_hot" => {
            let n = count(10_000);
            (
                remote_wakes::<X>(operations(n), Duration::ZERO),
                operations(n),
            )
        }
        "wake_idle" => {
            let n = count(100);
            (
                remote_wakes::<X>(operations(n), Duration::from_micros(300)),
                operations(n),
            )
        }
        "wake_storm" => {
            let rounds = count(200);
            (wake_storm::<X>(256, rounds), operations(256 * rounds))
        }
        other => unreachable!("no row {other}"),
    }
}

fn size(row: &str) -> usize {
    match row.rsplit('_').next() {
        Some("1k") => 1_000,
        Some("10k") => 10_000,
        _ => 100_000,
    }
}

/// Row, and its gate against tokio's current thread, if it has one.
const ROWS: &[(&str, Option<f64>)] = &[
    ("spawn_one", None),
    ("spawn_one_w", None),
    ("spawn_many_1k", None),
    ("spawn_many_10k", None),
    ("spawn_many_100k", None),
    ("spawn_many_w_1k", Some(0.45)),
    ("spawn_many_w_10k", Some(0.45)),
    ("spawn_many_w_100k", Some(0.45)),
    ("spawn_recursively", None),
    ("yield_one", Some(0.65)),
    ("yield_now", Some(0.65)),
    ("yield_many", Some(0.65)),
    ("ping_pong", Some(0.6)),
    ("chained_spawn", Some(0.4)),
    ("channels", Some(0.95)),
    ("fan_in", Some(0.95)),
    ("spawn_abort", None),
    ("block_on_ready", None),
    ("wake_hot", None),
    ("wake_idle", None),
    ("wake_storm", None),
];

struct Peer {
    name: &'static str,
    sample: fn(&str, usize) -> Sample,
    idle: fn(usize) -> u64,
}

fn peer<X: Exec>() -> Peer {
    Peer {
        name: X::NAME,
        sample: sample::<X>,
        idle: idle::<X>,
    }
}

fn peers() -> Vec<Peer> {
    vec![
        peer::<MidairLocal>(),
        peer::<MidairFull>(),
        peer::<MidairPool>(),
        peer::<TokioCurrent>(),
        peer::<TokioMulti>(),
        peer::<SmolLocal>(),
        peer::<SmolStatic>(),
        peer::<SmolMulti>(),
    ]
}

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = text
        .split_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok())
        .expect("statm has a second number");
    pages * 4096
}

/// Resident bytes per task of so many parked tasks, each with one waker outside (its 16 bytes not counted).
fn idle<X: Exec>(count: usize) -> u64 {
    {
        // touch the memory of the list, so that it is not counted
        let mut wakers = IDLE.wakers.lock().expect("no panic");
        wakers.extend((0..count).map(|_| futures::task::noop_waker()));
        wakers.clear();
    }
    let bytes = X::block_on(async {
        let before = resident();
        for _ in 0..count {
            X::detach(X::spawn(Park));
        }
        IDLE.reach(count).await;
        resident().saturating_sub(before)
    });
    bytes / u64::try_from(count).expect("small")
}

/// A future of no bytes that leaves its waker in a static and pends for ever.
struct Park;

struct Idle {
    wakers: Mutex<Vec<Waker>>,
    waiter: futures::task::AtomicWaker,
    wanted: AtomicUsize,
}

static IDLE: Idle = Idle {
    wakers: Mutex::new(Vec::new()),
    waiter: futures::task::AtomicWaker::new(),
    wanted: AtomicUsize::new(usize::MAX),
};

impl Idle {
    async fn reach(&self, count: usize) {
        self.wanted.store(count, Ordering::SeqCst);
        poll_fn(|context: &mut Context<'_>| {
            self.waiter.register(context.waker());
            if self.wakers.lock().expect("no panic").len() >= count {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

impl Future for Park {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut wakers = IDLE.wakers.lock().expect("no panic");
        wakers.push(context.waker().clone());
        if wakers.len() >= IDLE.wanted.load(Ordering::SeqCst) {
            drop(wakers);
            IDLE.waiter.wake();
        }
        Poll::Pending
    }
}

fn median(samples: &mut [f64]) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1).cloned()
    };
    if let Some(name) = value("--idle") {
        let count = value("--tasks")
            .and_then(|n| n.parse().ok())
            .unwrap_or(1_000_000);
        let peer = peers().into_iter().find(|peer| peer.name == name);
        println!("{}", (peer.expect("a known name").idle)(count));
        return;
    }
    let quick = has("--quick");
    let json = has("--json");
    let only = value("--only");
    let samples = value("--samples")
        .and_then(|n| n.parse().ok())
        .unwrap_or(if quick { 3 } else { 11 });
    let scale = if quick { 10 } else { 1 };
    let peers = peers();
    if let Some(name) = value("--alone") {
        let peer = peers.into_iter().find(|peer| peer.name == name);
        alone(
            &peer.expect("a known name"),
            only.as_deref(),
            samples,
            scale,
        );
        return;
    }
    if !json {
        let mut head = format!("{:18}", "ns per operation");
        for peer in &peers {
            let _ = write!(head, "{:>13}", peer.name);
        }
        println!("{head}   local/tokio-ct (gate)  local/best  mt2/best-mt2  mt2/local  all/local");
    }
    for &(row, gate) in ROWS {
        if only
            .as_ref()
            .is_some_and(|only| !row.contains(only.as_str()))
        {
            continue;
        }
        let mut times: Vec<Vec<f64>> = peers.iter().map(|_| Vec::new()).collect();
        for peer in &peers {
            (peer.sample)(row, scale * 10);
        }
        for _ in 0..samples {
            for (peer, times) in peers.iter().zip(&mut times) {
                let (time, operations) = (peer.sample)(row, scale);
                times.push(time.as_secs_f64() * 1e9 / operations as f64);
            }
        }
        let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
        print_row(&peers, row, gate, &medians, json, "ns");
    }
    if only.is_none_or(|only| "idle_task".contains(only.as_str())) {
        let tasks = if quick { 100_000 } else { 1_000_000 };
        let program = std::env::current_exe().expect("we run");
        let bytes: Vec<f64> = peers
            .iter()
            .map(|peer| {
                let output = Command::new(&program)
                    .args(["--idle", peer.name, "--tasks", &tasks.to_string()])
                    .output()
                    .expect("we run again");
                let text = String::from_utf8_lossy(&output.stdout);
                text.trim().parse().unwrap_or(f64::NAN)
            })
            .collect();
        print_row(&peers, "idle_task", None, &bytes, json, "bytes");
    }
}

/// The rows of one executor, for counting what it does: system calls, faults, instructions.
fn alone(peer: &Peer, only: Option<&str>, samples: usize, scale: usize) {
    for &(row, _) in ROWS {
        if only.is_some_and(|only| !row.contains(only)) {
            continue;
        }
        let mut times: Vec<f64> = (0..samples)
            .map(|_| (peer.sample)(row, scale))
            .map(|(time, operations)| time.as_secs_f64() * 1e9 / operations as f64)
            .collect();
        println!("{row:18}{:13.1}", median(&mut times));
    }
}

fn print_row(
    peers: &[Peer],
    row: &str,
    gate: Option<f64>,
    medians: &[f64],
    json: bool,
    unit: &str,
) {
    let of = |name: &str| {
        let at = peers.iter().position(|peer| peer.name == name);
        medians[at.expect("a known name")]
    };
    let best = |names: &[&str]| {
        names
            .iter()
            .map(|name| of(name))
            .fold(f64::INFINITY, f64::min)
    };
    let to_tokio = of("midair-local") / of("tokio-ct");
    let to_best = of("midair-local") / best(&["tokio-ct", "smol-local", "smol-static"]);
    let multi_to_best = of("midair-mt2") / best(&["tokio-mt2", "smol-mt2"]);
    let multi_to_local = of("midair-mt2") / of("midair-local");
    let all_to_local = of("midair+all") / of("midair-local");
    if json {
        for (peer, median) in peers.iter().zip(medians) {
            println!(
                "{{\"row\":\"{row}\",\"executor\":\"{}\",\"median\":{median:.2},\"unit\":\"{unit}\"}}",
                peer.name
            );
        }
        println!(
            "{{\"row\":\"{row}\",\"ratios\":{{\"local_to_tokio_ct\":{to_tokio:.3},\"gate\":{},\"local_to_best\":{to_best:.3},\"mt2_to_best_mt2\":{multi_to_best:.3},\"mt2_to_local\":{multi_to_local:.3},\"all_to_local\":{all_to_local:.3}}}}}",
            gate.map_or("null".to_owned(), |gate| gate.to_string())
        );
        return;
    }
    let mut line = format!("{row:18}");
    for median in medians {
        let _ = write!(line, "{median:13.1}");
    }
    let gate = gate.map_or(String::new(), |gate| {
        let verdict = if to_tokio <= gate * 1.1 {
            "holds"
        } else {
            "MISSED"
        };
        format!("({gate} {verdict})")
    });
    println!(
        "{line}   {to_tokio:6.2} {gate:14} {to_best:10.2} {multi_to_best:12.2} {multi_to_local:10.2} {all_to_local:10.2}"
    );
}
