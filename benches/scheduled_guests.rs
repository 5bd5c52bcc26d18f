//! Very many calls at once: how many awaits a second, how fairly, and how many bytes a waiting call takes.
//!
//! `cargo bench --bench scheduled_guests -- [--quick] [--json] [--calls N] [--samples N]`
//!
//! 100,000 guest calls, each with a store and an instance of its own, await 100 times each; every await puts the call on the
//! executor's queue, behind all the others. Beside them, the same program as native `async fn` tasks, on the same executor and
//! on tokio: everywhere two workers. Each sample is a process of its own, and samples are interleaved.
//!
//! *Bytes* are resident ones while all calls wait for the first time, with store and instance, without what only the
//! benchmark keeps. *Fairness* is the time of the slowest call over that of the fastest, from the moment they all may run.

#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use midair::{
    Awaiter, Call, Caller, Engine, Linker, Module, Resumption, Store, TypedFunc, executor,
};
use std::{
    future::{Future, poll_fn},
    process::Command,
    sync::{
        Arc, Barrier, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    task::{Poll, Waker},
    time::{Duration, Instant},
};

const WORKERS: usize = 2;
const AWAITS: u64 = 100;

/// Awaits that often, and does a little with what it gets.
const GUEST: &str = r#"(module
    (import "host" "open" (func $open))
    (import "host" "again" (func $again (param i64) (result i64)))
    (import "host" "done" (func $done))
    (func (export "run") (param $awaits i64) (result i64) (local $sum i64)
        (call $open)
        (loop $next
            (local.set $sum (i64.add
                (i64.mul (local.get $sum) (i64.const 31))
                (call $again (local.get $awaits))))
            (br_if $next (i64.ne (local.tee $awaits (i64.sub (local.get $awaits) (i64.const 1))) (i64.const 0))))
        (call $done)
        (local.get $sum)))"#;

fn step(sum: i64, value: i64) -> i64 {
    sum.wrapping_mul(31).wrapping_add(value)
}

fn expected() -> i64 {
    (1..=AWAITS.cast_signed()).rev().fold(0, step)
}

// --- What both programs share -------------------------------------------------------------------------------------------

/// All calls wait here first, then run at once.
struct Gate<W> {
    waiting: Mutex<Vec<W>>,
    /// Of the last one that comes, and of the last one that is done.
    count: AtomicUsize,
    reached: mpsc::Sender<()>,
    opened: Mutex<Option<Instant>>,
}

impl<W> Gate<W> {
    fn new(calls: usize, nothing: impl Fn() -> W) -> (Arc<Self>, mpsc::Receiver<()>) {
        let mut waiting = Vec::new();
        // touched now, so that they are not counted
        waiting.extend((0..calls).map(|_| nothing()));
        waiting.clear();
        let (reached, all) = mpsc::channel();
        let gate = Self {
            waiting: Mutex::new(waiting),
            count: AtomicUsize::new(calls),
            reached,
            opened: Mutex::new(None),
        };
        (Arc::new(gate), all)
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<W>> {
        self.waiting.lock().expect("no panic")
    }

    fn wait(&self, waiter: W) {
        self.waiting().push(waiter);
        self.count_down();
    }

    fn count_down(&self) {
        if self.count.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.reached.send(()).expect("somebody waits");
        }
    }

    /// Lets all go on with `go`, while no worker runs.
    fn open(&self, workers: &[Arc<Barrier>], go: impl Fn(W)) {
        let waiting = std::mem::take(&mut *self.waiting());
        self.count.store(waiting.len(), Ordering::Release);
        waiting.into_iter().for_each(go);
        *self.opened.lock().expect("no panic") = Some(Instant::now());
        for worker in workers {
            worker.wait();
        }
    }

    /// A call is done: for how long it ran.
    fn done(&self) -> Duration {
        let opened = *self.opened.lock().expect("no panic");
        let took = opened.expect("open").elapsed();
        self.count_down();
        took
    }
}

/// Stops every worker until its barrier is met.
fn stop_workers(spawn: impl Fn(Box<dyn FnOnce() + Send>)) -> Vec<Arc<Barrier>> {
    let stopped = Arc::new(Barrier::new(WORKERS + 1));
    let barriers: Vec<_> = (0..WORKERS).map(|_| Arc::new(Barrier::new(2))).collect();
    for barrier in &barriers {
        let (stopped, barrier) = (Arc::clone(&stopped), Arc::clone(barrier));
        spawn(Box::new(move || {
            stopped.wait();
            barrier.wait();
        }));
    }
    stopped.wait();
    barriers
}

struct Sample {
    awaits_per_second: f64,
    fairness: f64,
    bytes: f64,
}

fn sample(calls: usize, bytes: usize, whole: Duration, times: &[Duration]) -> Sample {
    let slowest = times.iter().max().expect("calls").as_secs_f64();
    let fastest = times.iter().min().expect("calls").as_secs_f64();
    Sample {
        awaits_per_second: calls as f64 * AWAITS as f64 / whole.as_secs_f64(),
        fairness: slowest / fastest,
        bytes: bytes as f64 / calls as f64,
    }
}

fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = text
        .split_whitespace()
        .nth(1)
        .and_then(|field| field.parse().ok())
        .expect("statm has a second number");
    pages * 4096
}

// --- Guests -------------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy)]
struct Open(&'static Gate<Option<Resumption>>);

impl Awaiter for Open {
    type Output = ();
    fn is_completed(&self) -> bool {
        false
    }
    fn on_completed(self, resumption: Resumption) {
        self.0.wait(Some(resumption));
    }
    fn get_result(self) {}
}

#[derive(Clone, Copy)]
struct Again(i64);

impl Awaiter for Again {
    type Output = i64;
    fn is_completed(&self) -> bool {
        false
    }
    fn on_completed(self, resumption: Resumption) {
        resumption.schedule();
    }
    fn get_result(self) -> i64 {
        self.0
    }
}

fn guests(calls: usize) -> Sample {
    let (gate, all) = Gate::new(calls, || None);
    let gate: &'static Gate<_> = Box::leak(Box::new(gate));
    let executor = executor::Executor::new(WORKERS);
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    linker
        .func_awaiter("host", "open", move |_, ()| Open(gate))
        .expect("defined once");
    linker
        .func_awaiter("host", "again", |_, value| Again(value))
        .expect("defined once");
    linker
        .func_wrap("host", "done", move |mut caller: Caller<'_, Duration>| {
            *caller.data_mut() = gate.done();
        })
        .expect("defined once");
    let module = Module::new(&engine, GUEST).expect("valid");
    let mut handles: Vec<Option<Call<Duration, i64>>> = Vec::new();
    handles.resize_with(calls, || None);
    let before = resident();
    executor.block_on(async {
        for handle in &mut handles {
            let mut store = Store::new(&engine, Duration::ZERO);
            let instance = linker.instantiate(&mut store, &module).expect("linked");
            let run: TypedFunc<i64, i64> =
                instance.get_typed_func(&store, "run").expect("exported");
            *handle = Some(run.start(store, AWAITS.cast_signed()));
        }
    });
    all.recv().expect("all wait");
    let bytes = resident().saturating_sub(before);
    let stopped = stop_workers(|stop| executor.spawn(async { stop() }).detach());
    gate.open(&stopped, |token| token.expect("a token").schedule());
    all.recv().expect("all are done");
    let whole = gate
        .opened
        .lock()
        .expect("no panic")
        .expect("open")
        .elapsed();
    let times: Vec<Duration> = handles
        .into_iter()
        .map(|call| {
            let (store, sum) = executor.block_on(call.expect("started"));
            assert_eq!(sum.expect("no trap"), expected());
            *store.data()
        })
        .collect();
    sample(calls, bytes, whole, &times)
}

// --- Native tasks -------------------------------------------------------------------------------------------------------

/// Wakes itself: it goes to the back of the queue.
async fn again(value: i64) -> i64 {
    let mut queued = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut queued, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    value
}

async fn native(gate: &'static Gate<Waker>) -> (Duration, i64) {
    let mut waits = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut waits, true) {
            return Poll::Ready(());
        }
        gate.wait(cx.waker().clone());
        Poll::Pending
    })
    .await;
    let mut sum = 0;
    let mut awaits = AWAITS.cast_signed();
    while awaits != 0 {
        sum = step(sum, again(awaits).await);
        awaits -= 1;
    }
    (gate.done(), sum)
}

/// The tasks on any executor.
fn natives<J: Future<Output = (Duration, i64)>>(
    calls: usize,
    spawn: impl Fn(&'static Gate<Waker>) -> J,
    stop: impl Fn(Box<dyn FnOnce() + Send>),
    block_on: impl Fn(J) -> (Duration, i64),
) -> Sample {
    let (gate, all) = Gate::new(calls, || Waker::noop().clone());
    let gate: &'static Gate<Waker> = Box::leak(Box::new(gate));
    let mut handles: Vec<Option<J>> = Vec::new();
    handles.resize_with(calls, || None);
    let before = resident();
    for handle in &mut handles {
        *handle = Some(spawn(gate));
    }
    all.recv().expect("all wait");
    let bytes = resident().saturating_sub(before);
    let stopped = stop_workers(stop);
    gate.open(&stopped, Waker::wake);
    all.recv().expect("all are done");
    let whole = gate
        .opened
        .lock()
        .expect("no panic")
        .expect("open")
        .elapsed();
    let times: Vec<Duration> = handles
        .into_iter()
        .map(|handle| {
            let (time, sum) = block_on(handle.expect("spawned"));
            assert_eq!(sum, expected());
            time
        })
        .collect();
    sample(calls, bytes, whole, &times)
}

fn own_natives(calls: usize) -> Sample {
    let executor = executor::Executor::new(WORKERS);
    natives(
        calls,
        |gate| {
            let handle = executor.spawn(native(gate));
            async { handle.await.expect("no panic") }
        },
        |stop| executor.spawn(async { stop() }).detach(),
        executor::block_on,
    )
}

fn tokio_natives(calls: usize) -> Sample {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .build()
        .expect("a runtime");
    natives(
        calls,
        |gate| {
            let handle = runtime.spawn(native(gate));
            async { handle.await.expect("no panic") }
        },
        |stop| drop(runtime.spawn(async { stop() })),
        |handle| runtime.block_on(handle),
    )
}

// --- The program --------------------------------------------------------------------------------------------------------

type Row = (&'static str, fn(usize) -> Sample);

const ROWS: [Row; 3] = [
    ("midair guests", guests),
    ("midair async fn", own_natives),
    ("tokio async fn", tokio_natives),
];

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    let value = |flag: &str| {
        let at = arguments.iter().position(|argument| argument == flag)?;
        arguments.get(at + 1)?.parse::<usize>().ok()
    };
    // `--test`: does it run at all?
    let test = has("--test");
    let quick = has("--quick") || test;
    let calls = value("--calls").unwrap_or(match (test, quick) {
        (true, _) => 1_000,
        (_, true) => 10_000,
        _ => 100_000,
    });
    if let Some(row) = value("--row") {
        let sample = ROWS[row].1(calls);
        println!(
            "{} {} {}",
            sample.awaits_per_second, sample.fairness, sample.bytes
        );
        return;
    }
    let samples = value("--samples").unwrap_or(match (test, quick) {
        (true, _) => 1,
        (_, true) => 3,
        _ => 5,
    });
    let program = std::env::current_exe().expect("we run");
    let mut all: [[Vec<f64>; 3]; ROWS.len()] = Default::default();
    for _ in 0..samples {
        for (row, columns) in all.iter_mut().enumerate() {
            let output = Command::new(&program)
                .args(["--row", &row.to_string(), "--calls", &calls.to_string()])
                .output()
                .expect("we run again");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success(),
                "{text}{}",
                String::from_utf8_lossy(&output.stderr)
            );
            for (column, word) in columns.iter_mut().zip(text.split_whitespace()) {
                column.push(word.parse().expect("a number"));
            }
        }
    }
    let medians = all.map(|columns| columns.map(median));
    let tokio = medians[ROWS.len() - 1];
    if !has("--json") {
        println!(
            "{calls} calls, {AWAITS} awaits each, {WORKERS} workers\n{:16} {:>14} {:>10} {:>10} {:>12}",
            "", "awaits/s", "slow/fast", "bytes/call", "to tokio"
        );
    }
    for ((name, _), [rate, fairness, bytes]) in ROWS.iter().zip(medians) {
        let to_tokio = rate / tokio[0];
        if has("--json") {
            println!(
                "{{\"row\":\"{name}\",\"calls\":{calls},\"awaits_per_second\":{rate:.0},\"fairness\":{fairness:.3},\"bytes_per_call\":{bytes:.0},\"to_tokio\":{to_tokio:.3}}}"
            );
        } else {
            println!("{name:16} {rate:14.0} {fairness:10.2} {bytes:10.0} {to_tokio:11.2}x");
        }
    }
}
