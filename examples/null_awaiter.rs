//! The price of an await in a hot loop.
//!
//! A guest function runs a loop hot enough to be replaced while it runs, and then, in the same call, awaits a
//! `NullAwaiter` again and again: it is never completed, keeps the resumption it is given, and the pump below uses it. What
//! is measured is a suspension and a resumption, nothing else.
//!
//! Beside the ways a continuation can be resumed stand two native Rust `async fn`s, polled behind `Pin<Box<dyn Future>>`
//! with a waker that is never cloned: one whose awaiter the compiler sees through, one whose awaiter is behind `&dyn`, as the
//! guest's is. The calls of all modes are alive at the same time and are pumped in turn, a round each, so that all of them
//! meet the same machine.
//!
//! ```text
//! cargo run --release --example null_awaiter -- [--json] [--explain] [--awaits N] [--iterations N] [--depths 1,64]
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints a table, and what is wrong"
)]

use clap::Parser;
use midair::{
    Awaiter, Call, CodeKind, Config, Engine, Linker, Module, Resumption, ResumptionPath, Store,
    TypedFunc,
};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    future::Future,
    pin::Pin,
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// Rounds that medians are taken of.
const ROUNDS: u64 = 21;

/// `run(depth, iterations, awaits)`: `depth - 1` frames that only call, then the one with the two loops.
const GUEST: &str = r#"(module
    (import "host" "await" (func $await))
    (global $value (mut i64) (i64.const 0))
    (func $loops (param $iterations i64) (param $awaits i64) (result i64)
        (local $i i64) (local $sum i64)
        (loop $hot
            (global.set $value (i64.add (global.get $value) (local.get $i)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $hot (i64.lt_u (local.get $i) (local.get $iterations))))
        (local.set $i (i64.const 0))
        (loop $awaiting
            (call $await)
            (local.set $sum (i64.add (local.get $sum) (local.get $i)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $awaiting (i64.lt_u (local.get $i) (local.get $awaits))))
        (i64.add (global.get $value) (local.get $sum)))
    (func $run (export "run") (param $depth i32) (param $iterations i64) (param $awaits i64) (result i64)
        (if (result i64) (i32.le_u (local.get $depth) (i32.const 1))
            (then (call $loops (local.get $iterations) (local.get $awaits)))
            (else (call $run
                (i32.sub (local.get $depth) (i32.const 1)) (local.get $iterations) (local.get $awaits)))))
)"#;

#[derive(Parser)]
struct Options {
    /// Print one JSON object a row.
    #[arg(long)]
    json: bool,
    /// Print each step's share of the old path.
    #[arg(long)]
    explain: bool,
    /// Awaits per row.
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(100..))]
    awaits: u64,
    /// Synchronous iterations before them.
    #[arg(long, default_value_t = 10_000_000)]
    iterations: u64,
    /// Only these modes.
    #[arg(long, value_delimiter = ',')]
    modes: Vec<String>,
    /// Call depths.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4, 16, 64])]
    depths: Vec<u32>,
}

// --- The awaiter --------------------------------------------------------------------------------------------------------

/// Never completed; keeps what it is given.
trait NullAwait {
    fn is_completed(&self) -> bool;
    fn on_completed(&self, resumption: Option<Resumption>);
    fn get_result(&self);
}

#[derive(Default)]
struct NullAwaiter {
    kept: Cell<Option<Resumption>>,
}

impl NullAwait for NullAwaiter {
    fn is_completed(&self) -> bool {
        false
    }

    fn on_completed(&self, resumption: Option<Resumption>) {
        self.kept.set(resumption);
    }

    fn get_result(&self) {}
}

/// The awaiter as guests get it: behind `&dyn`.
#[derive(Clone, Copy)]
struct Shared(&'static dyn NullAwait);

// SAFETY: this program has one thread.
unsafe impl Send for Shared {}
// SAFETY: the same.
unsafe impl Sync for Shared {}

impl Awaiter for Shared {
    type Output = ();

    fn is_completed(&self) -> bool {
        self.0.is_completed()
    }

    fn on_completed(self, resumption: Resumption) {
        self.0.on_completed(Some(resumption));
    }

    fn get_result(self) {
        self.0.get_result();
    }
}

/// The awaiter as native code awaits it.
struct NativeAwait<A> {
    awaiter: A,
    suspended: bool,
}

impl<A: std::ops::Deref<Target = D> + Unpin, D: NullAwait + ?Sized> Future for NativeAwait<A> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if !self.suspended && !self.awaiter.is_completed() {
            self.awaiter.on_completed(None);
            self.suspended = true;
            return Poll::Pending;
        }
        self.awaiter.get_result();
        Poll::Ready(())
    }
}

/// The guest's program, natively. Recursion needs a box per level.
fn native<A, D>(
    awaiter: A,
    depth: u32,
    iterations: u64,
    awaits: u64,
) -> Pin<Box<dyn Future<Output = u64>>>
where
    A: std::ops::Deref<Target = D> + Unpin + Copy + 'static,
    D: NullAwait + ?Sized,
{
    Box::pin(async move {
        if depth > 1 {
            return native(awaiter, depth - 1, iterations, awaits).await;
        }
        let value = std::hint::black_box(Cell::new(0u64));
        for i in 0..iterations {
            value.set(value.get().wrapping_add(i));
        }
        let mut sum = 0u64;
        let mut i = 0;
        loop {
            NativeAwait {
                awaiter,
                suspended: false,
            }
            .await;
            sum = sum.wrapping_add(i);
            i += 1;
            if i >= awaits {
                break;
            }
        }
        value.get().wrapping_add(sum)
    })
}

// --- Rows ---------------------------------------------------------------------------------------------------------------

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Guest(ResumptionPath, bool),
    NativeInlined,
    NativeDyn,
}

const MODES: [(&str, Mode); 7] = [
    ("patchpoint", Mode::Guest(ResumptionPath::Patchpoint, false)),
    (
        "patchpoint-fp",
        Mode::Guest(ResumptionPath::PatchpointFp, false),
    ),
    ("via-tier0", Mode::Guest(ResumptionPath::ViaTier0, false)),
    ("direct", Mode::Guest(ResumptionPath::Direct, false)),
    ("direct-tier1", Mode::Guest(ResumptionPath::Direct, true)),
    ("native-inlined", Mode::NativeInlined),
    ("native-dyn", Mode::NativeDyn),
];

/// A row's call, alive from the first round to the last.
enum Running {
    Guest {
        call: Call<(), u64>,
        awaiter: &'static NullAwaiter,
    },
    Native(Pin<Box<dyn Future<Output = u64>>>),
}

struct Row {
    name: &'static str,
    mode: Mode,
    depth: u32,
    running: Option<Running>,
    rounds: Vec<f64>,
    helper_calls: u64,
    allocations: u64,
    counted: u64,
    final_tier: &'static str,
    osr_happened: bool,
    result: u64,
}

fn start(mode: Mode, depth: u32, options: &Options) -> midair::Result<Running> {
    let (iterations, awaits) = (options.iterations, options.awaits);
    let awaiter: &'static NullAwaiter = Box::leak(Box::default());
    Ok(match mode {
        Mode::Guest(path, tier_up) => {
            let mut config = Config::new();
            config
                .resumption(path)
                // in the first awaits, which are not measured
                .tier_up_on_resumption(tier_up.then_some((awaits / 20).min(1000) as u32));
            let engine = Engine::new(&config);
            let module = Module::new(&engine, GUEST)?;
            let mut linker = Linker::new(&engine);
            let shared = Shared(awaiter);
            linker.func_awaiter("host", "await", move |_, ()| shared)?;
            let mut store = Store::new(&engine, ());
            let instance = linker.instantiate(&mut store, &module)?;
            let run: TypedFunc<(u32, u64, u64), u64> = instance.get_typed_func(&store, "run")?;
            Running::Guest {
                call: run.start(store, (depth, iterations, awaits)),
                awaiter,
            }
        }
        Mode::NativeInlined => {
            Running::Native(start_native(native(awaiter, depth, iterations, awaits)))
        }
        Mode::NativeDyn => {
            let awaiter: &'static dyn NullAwait = std::hint::black_box(awaiter);
            Running::Native(start_native(native(awaiter, depth, iterations, awaits)))
        }
    })
}

/// Runs to the first await, as a guest's start does.
fn start_native(
    mut future: Pin<Box<dyn Future<Output = u64>>>,
) -> Pin<Box<dyn Future<Output = u64>>> {
    let poll = future
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll.is_pending(), "the awaiter is never completed");
    future
}

impl Row {
    /// Resumes the call `awaits` times.
    fn pump(&mut self, awaits: u64) {
        match self.running.as_mut().expect("pumped until the end") {
            Running::Guest { awaiter, .. } => {
                for _ in 0..awaits {
                    if let Some(resumption) = awaiter.kept.take() {
                        resumption.resume();
                    }
                }
            }
            Running::Native(future) => {
                let mut cx = Context::from_waker(Waker::noop());
                for _ in 0..awaits {
                    if let Poll::Ready(result) = future.as_mut().poll(&mut cx) {
                        self.result = result;
                    }
                }
            }
        }
    }

    fn helper_calls_so_far(&self) -> u64 {
        match &self.running {
            Some(Running::Guest { call, .. }) => call.helper_calls().unwrap_or(0),
            _ => 0,
        }
    }

    fn round(&mut self, awaits: u64) {
        let (helpers, allocations) = (
            self.helper_calls_so_far(),
            ALLOCATIONS.load(Ordering::Relaxed),
        );
        let start = Instant::now();
        self.pump(awaits);
        let time: Duration = start.elapsed();
        self.allocations += ALLOCATIONS.load(Ordering::Relaxed) - allocations;
        self.helper_calls += self.helper_calls_so_far() - helpers;
        self.counted += awaits;
        self.rounds.push(time.as_secs_f64() * 1e9 / awaits as f64);
    }

    /// Looks at the parked call, then resumes it for the last time.
    fn finish(&mut self) -> midair::Result<()> {
        if let Some(Running::Guest { call, .. }) = &self.running {
            self.final_tier = match call.code_kinds().as_deref() {
                Some([CodeKind::Tier0, ..]) => "0",
                Some([CodeKind::Osr(_), ..]) => "osr",
                Some([CodeKind::Tier1, ..]) => "1",
                _ => "?",
            };
            self.osr_happened = matches!(self.final_tier, "osr" | "1");
        }
        self.pump(1);
        if let Some(Running::Guest { call, .. }) = self.running.take() {
            let (_, result) = call
                .finish()
                .map_err(|_| midair::Error::msg("the call has not finished"))?;
            self.result = result?;
        }
        Ok(())
    }

    fn median(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    }

    fn per_await(&self, count: u64) -> f64 {
        count as f64 / self.counted as f64
    }

    /// What is wrong with it, if anything is.
    fn check(&self, expected: u64) -> Result<(), String> {
        let fail = |what: String| Err(format!("{} at depth {}: {what}", self.name, self.depth));
        if self.result != expected {
            return fail(format!("result {} instead of {expected}", self.result));
        }
        let Mode::Guest(path, tier_up) = self.mode else {
            return Ok(());
        };
        let tier = if tier_up { "1" } else { "osr" };
        if !self.osr_happened || self.final_tier != tier {
            return fail(format!(
                "ended in tier {} instead of {tier}",
                self.final_tier
            ));
        }
        let helped = match path {
            ResumptionPath::Patchpoint | ResumptionPath::PatchpointFp => self.counted,
            ResumptionPath::ViaTier0 | ResumptionPath::Direct => 0,
        };
        if self.helper_calls != helped {
            return fail(format!(
                "{} helper calls while resuming instead of {helped}",
                self.helper_calls
            ));
        }
        if self.allocations != 0 {
            return fail(format!("{} allocations while awaiting", self.allocations));
        }
        Ok(())
    }
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let rounds = ROUNDS.min(options.awaits.saturating_sub(2) / 10).max(1);
    // twice as many as tier-up by resumption takes, at least
    let warm_up = (options.awaits / 10).min(100_000);
    let per_round = (options.awaits.saturating_sub(2 + warm_up) / rounds).max(1);
    let expected = triangle(options.iterations).wrapping_add(triangle(options.awaits));
    let mut rows = Vec::new();
    for &depth in &options.depths {
        for (name, mode) in MODES {
            if !options.modes.is_empty() && !options.modes.iter().any(|chosen| chosen == name) {
                continue;
            }
            rows.push(Row {
                name,
                mode,
                depth,
                running: Some(
                    start(mode, depth, options).map_err(|error| format!("{name}: {error:?}"))?,
                ),
                rounds: Vec::new(),
                helper_calls: 0,
                allocations: 0,
                counted: 0,
                final_tier: "native",
                osr_happened: false,
                result: 0,
            });
        }
    }
    for row in &mut rows {
        row.pump(warm_up);
    }
    for _ in 0..rounds {
        for row in &mut rows {
            row.round(per_round);
        }
    }
    for row in &mut rows {
        row.pump(options.awaits - 1 - warm_up - rounds * per_round);
        row.finish()
            .map_err(|error| format!("{}: {error:?}", row.name))?;
    }
    print_rows(&rows, options, expected);
    if options.explain {
        explain(&rows, &options.depths);
    }
    let failures: Vec<String> = rows
        .iter()
        .filter_map(|row| row.check(expected).err())
        .collect();
    if failures.is_empty() {
        Ok(())
    } else {
        Err(failures.join("; "))
    }
}

/// `0 + 1 + .. + (n - 1)`, as the loops add it up.
fn triangle(n: u64) -> u64 {
    let sum = u128::from(n) * u128::from(n.saturating_sub(1)) / 2;
    u64::try_from(sum & u128::from(u64::MAX)).expect("masked")
}

fn median_of(rows: &[Row], name: &str, depth: u32) -> f64 {
    rows.iter()
        .find(|row| row.name == name && row.depth == depth)
        .map_or(f64::NAN, Row::median)
}

fn print_rows(rows: &[Row], options: &Options, expected: u64) {
    if !options.json {
        println!(
            "{:<15} {:>5} {:>10} {:>13} {:>13} {:>17} {:>13} {:>12} {:>6}",
            "mode",
            "depth",
            "ns/await",
            "vs patchpoint",
            "vs native-dyn",
            "vs native-inlined",
            "helpers/resume",
            "allocs/await",
            "tier"
        );
    }
    for row in rows {
        let median = row.median();
        let (helpers, allocations) = (
            row.per_await(row.helper_calls),
            row.per_await(row.allocations),
        );
        if options.json {
            println!(
                "{{\"mode\":\"{}\",\"depth\":{},\"awaits\":{},\"ns_per_await\":{median:.3},\
                 \"helper_calls_per_resume\":{helpers},\"allocations_per_await\":{allocations},\
                 \"final_tier\":\"{}\",\"result\":{},\"expected\":{expected}}}",
                row.name, row.depth, options.awaits, row.final_tier, row.result
            );
        } else {
            let ratio = |name| median / median_of(rows, name, row.depth);
            println!(
                "{:<15} {:>5} {median:>10.2} {:>12.3}x {:>12.2}x {:>16.2}x {helpers:>13.2} {allocations:>12.2} {:>6}",
                row.name,
                row.depth,
                ratio("patchpoint"),
                ratio("native-dyn"),
                ratio("native-inlined"),
                row.final_tier
            );
        }
    }
}

/// What each step of the old path costs: the differences between the ways that have it and those that do not.
fn explain(rows: &[Row], depths: &[u32]) {
    for &depth in depths {
        let [all, fp, via, direct] = ["patchpoint", "patchpoint-fp", "via-tier0", "direct"]
            .map(|name| median_of(rows, name, depth));
        println!("\nthe patchpoint path at depth {depth}, {all:.1} ns:");
        for (what, time) in [
            (
                "finding the tier-0 frame by its call frame information",
                all - fp,
            ),
            (
                "capturing and restoring the registers, looking the code up",
                fp - via,
            ),
            (
                "resume through the tier-0 entry instead of directly",
                via - direct,
            ),
            (
                "the await itself: suspend, dispatch, resume directly",
                direct,
            ),
        ] {
            println!("  {time:>8.1} ns  {:>5.1} %  {what}", 100.0 * time / all);
        }
    }
}

// --- Allocations --------------------------------------------------------------------------------------------------------

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
