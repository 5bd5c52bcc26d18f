//! What a parked call costs in memory.
//!
//! A million calls wait at the same time, each in a store and an instance of its own, all made from one module. A call is one
//! guest frame with three live values, and what it awaits is a raw [`Awaiter`]. The bytes are those of a counting allocator,
//! as requested and as the system's allocator rounds them up; limits are held by what it rounds them up to. Then the calls
//! are resumed in shuffled order, and every result is checked.
//!
//! | bytes | allocated |
//! |---|---|
//! | store and instance | from before `Store::new` until the function is at hand |
//! | host leaf | first, once the call has started |
//! | guest continuation | after that, until the whole chain is parked |
//! | resident growth | of the process, by `/proc/self/status`, from the first store to the last parked call |
//!
//! ```text
//! cargo run --release --example parked -- [--json] [--calls N]
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it prints a table, and what is wrong"
)]

use clap::Parser;
use midair::{Awaiter, Call, Engine, Linker, Module, Resumption, Store};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Instant,
};

/// `$a`, `$b` and `$c` are alive across the await.
const GUEST: &str = r#"(module
    (import "host" "park" (func $park (param i64) (result i64)))
    (func (export "run") (param $a i64) (param $b i64) (result i64) (local $c i64)
        (local.set $c (i64.mul (local.get $a) (local.get $b)))
        (call $park (local.get $a))
        (i64.xor (local.get $c))
        (i64.add (local.get $a))
        (i64.sub (local.get $b)))
)"#;

/// Most bytes of each, by the allocator's rounded sizes.
const CONTINUATION_LIMIT: f64 = 128.0;
const LEAF_LIMIT: f64 = 96.0;
const STORE_LIMIT: f64 = 1024.0;
/// Most resident growth, as a multiple of what the three request together.
const RESIDENT_LIMIT: f64 = 1.25;

#[derive(Parser)]
struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// How many calls are parked at the same time.
    #[arg(long, default_value_t = 1_000_000)]
    calls: u64,
}

// --- The awaiter --------------------------------------------------------------------------------------------------------

thread_local! {
    /// The token of the call that has just parked.
    static PARKED: Cell<Option<Resumption>> = const { Cell::new(None) };
    /// Bytes allocated when the call was started, behind the first allocation after that, and when the chain was parked.
    static MARKS: Cell<[Bytes; 3]> = const { Cell::new([Bytes { requested: 0, usable: 0 }; 3]) };
}

/// Knows its number and nothing else.
#[derive(Clone, Copy)]
struct Park(u64);

impl Awaiter for Park {
    type Output = u64;

    fn is_completed(&self) -> bool {
        false
    }

    fn on_completed(self, resumption: Resumption) {
        let [started, _, _] = MARKS.get();
        MARKS.set([started, Bytes::marked(), Bytes::now()]);
        PARKED.set(Some(resumption));
    }

    fn get_result(self) -> u64 {
        answer(self.0)
    }
}

/// What the host answers to call `n`.
fn answer(n: u64) -> u64 {
    n.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The arguments of call `n`.
fn arguments(n: u64) -> (u64, u64) {
    (n, n.rotate_left(17) | 1)
}

/// What call `n` must return.
fn expected(n: u64) -> u64 {
    let (a, b) = arguments(n);
    (answer(a) ^ a.wrapping_mul(b))
        .wrapping_add(a)
        .wrapping_sub(b)
}

// --- Measuring ----------------------------------------------------------------------------------------------------------

/// Bytes that are allocated.
#[derive(Clone, Copy, Default)]
struct Bytes {
    requested: usize,
    usable: usize,
}

impl Bytes {
    fn now() -> Self {
        Self {
            requested: REQUESTED.load(Ordering::Relaxed),
            usable: USABLE.load(Ordering::Relaxed),
        }
    }

    /// As of the first allocation since `MARK_NEXT` was set.
    fn marked() -> Self {
        Self {
            requested: MARKED_REQUESTED.load(Ordering::Relaxed),
            usable: MARKED_USABLE.load(Ordering::Relaxed),
        }
    }

    /// Adds what was allocated from `before` to `after`.
    fn add(&mut self, before: Self, after: Self) {
        self.requested += after.requested - before.requested;
        self.usable += after.usable - before.usable;
    }
}

/// Bytes of this process that are in memory.
fn resident() -> Result<u64, String> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| error.to_string())?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .ok_or("no VmRSS in /proc/self/status")?;
    let kib: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim()
        .parse()
        .map_err(|_| "VmRSS is not a number")?;
    Ok(kib << 10)
}

struct Figures {
    calls: u64,
    store: Bytes,
    leaf: Bytes,
    continuation: Bytes,
    resident: u64,
    park_ns: f64,
    resume_ns: f64,
    wrong: u64,
}

fn measure(calls: u64) -> Result<Figures, String> {
    let say = |error: midair::Error| format!("{error:?}");
    let engine = Engine::default();
    let module = Module::new(&engine, GUEST).map_err(say)?;
    let mut linker = Linker::new(&engine);
    linker
        .func_awaiter("host", "park", |_, number: u64| Park(number))
        .map_err(say)?;

    let mut figures = Figures {
        calls,
        store: Bytes::default(),
        leaf: Bytes::default(),
        continuation: Bytes::default(),
        resident: 0,
        park_ns: 0.0,
        resume_ns: 0.0,
        wrong: 0,
    };
    // One call's whole life: code is compiled and stubs are made before anything is counted.
    let (call, token) = park(&linker, &module, 0, &mut figures).map_err(say)?;
    token.resume();
    drop(call);
    (figures.store, figures.leaf, figures.continuation) = Default::default();

    // Handles and tokens are the embedder's: their tables are in memory before anything is counted.
    let mut handles: Vec<Option<Call<(), u64>>> = std::iter::repeat_with(|| None)
        .take(to_usize(calls))
        .collect();
    let mut tokens: Vec<Option<(u64, Resumption)>> = std::iter::repeat_with(|| None)
        .take(to_usize(calls))
        .collect();
    std::hint::black_box((&mut handles, &mut tokens));

    let before = resident()?;
    let start = Instant::now();
    for (number, (handle, kept)) in (0..calls).zip(handles.iter_mut().zip(&mut tokens)) {
        let (call, token) = park(&linker, &module, number, &mut figures).map_err(say)?;
        *handle = Some(call);
        *kept = Some((number, token));
    }
    figures.park_ns = start.elapsed().as_secs_f64() * 1e9 / calls as f64;
    figures.resident = resident()?.saturating_sub(before);

    shuffle(&mut tokens);
    let start = Instant::now();
    for token in &mut tokens {
        let (number, token) = token.take().expect("one token per call");
        token.resume();
        let call = handles[to_usize(number)]
            .take()
            .expect("one handle per call");
        let (_store, result) = call
            .finish()
            .map_err(|_| format!("call {number} has not finished"))?;
        if result.map_err(say)? != expected(number) {
            figures.wrong += 1;
        }
    }
    figures.resume_ns = start.elapsed().as_secs_f64() * 1e9 / calls as f64;
    Ok(figures)
}

fn park(
    linker: &Linker<()>,
    module: &Module,
    number: u64,
    figures: &mut Figures,
) -> midair::Result<(Call<(), u64>, Resumption)> {
    let at_start = Bytes::now();
    let mut store = Store::new(module.engine(), ());
    let instance = linker.instantiate(&mut store, module)?;
    let run = instance.get_typed_func::<(u64, u64), u64>(&store, "run")?;
    figures.store.add(at_start, Bytes::now());
    MARKS.set([Bytes::now(); 3]);
    MARK_NEXT.store(true, Ordering::Relaxed);
    let call = run.start(store, arguments(number));
    let [started, leaf, parked] = MARKS.get();
    figures.leaf.add(started, leaf);
    figures.continuation.add(leaf, parked);
    let token = PARKED
        .take()
        .ok_or_else(|| midair::Error::msg("the call has not parked"))?;
    Ok((call, token))
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).expect("64-bit addresses")
}

/// Fisher and Yates, with a fixed seed.
fn shuffle<T>(items: &mut [T]) {
    let mut random = 0x2545_f491_4f6c_dd1du64;
    for last in (1..items.len()).rev() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        items.swap(last, to_usize(random % (last as u64 + 1)));
    }
}

// --- Printing -----------------------------------------------------------------------------------------------------------

fn main() -> ExitCode {
    let options = Options::parse();
    let failures = match measure(options.calls.max(1)) {
        Ok(figures) => figures.print(options.json),
        Err(error) => vec![error],
    };
    for failure in &failures {
        eprintln!("error: {failure}");
    }
    if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

impl Figures {
    /// Prints them; gives what is beyond its limit.
    fn print(&self, json: bool) -> Vec<String> {
        let per_call = |bytes: usize| bytes as f64 / self.calls as f64;
        let sum = per_call(self.continuation.usable + self.leaf.usable + self.store.usable);
        let requested =
            per_call(self.continuation.requested + self.leaf.requested + self.store.requested);
        let growth = self.resident as f64 / self.calls as f64;
        let rows = [
            (
                "guest continuation",
                "continuation",
                self.continuation,
                CONTINUATION_LIMIT,
            ),
            ("host leaf", "leaf", self.leaf, LEAF_LIMIT),
            ("store and instance", "store", self.store, STORE_LIMIT),
        ];
        if json {
            print!("{{\"calls\":{}", self.calls);
            for (_, key, bytes, limit) in rows {
                let (requested, usable) = (per_call(bytes.requested), per_call(bytes.usable));
                print!(
                    ",\"{key}_bytes\":{requested:.1},\"{key}_usable_bytes\":{usable:.1},\"{key}_limit\":{limit}"
                );
            }
            println!(
                ",\"sum_bytes\":{requested:.1},\"sum_usable_bytes\":{sum:.1},\"resident_bytes\":{growth:.1},\
                 \"resident_ratio\":{:.3},\"resident_ratio_limit\":{RESIDENT_LIMIT},\"park_ns\":{:.0},\
                 \"resume_ns\":{:.0},\"wrong\":{}}}",
                growth / requested,
                self.park_ns,
                self.resume_ns,
                self.wrong
            );
        } else {
            println!(
                "{:<20} {:>10} {:>10} {:>10}",
                "bytes per call", "requested", "usable", "limit"
            );
            for (what, _, bytes, limit) in rows {
                let (requested, usable) = (per_call(bytes.requested), per_call(bytes.usable));
                println!("{what:<20} {requested:>10.1} {usable:>10.1} {limit:>10.0}");
            }
            println!("{:<20} {requested:>10.1} {sum:>10.1}", "together");
            println!(
                "{:<20} {:>10} {growth:>10.1} {:>10.0}   {:.3}x of what is requested",
                "resident growth",
                "",
                RESIDENT_LIMIT * requested,
                growth / requested
            );
            println!(
                "{} calls parked at {:.0} ns each (store and instance made), resumed in shuffled order and dropped at {:.0} ns \
                 each; {} wrong results",
                self.calls, self.park_ns, self.resume_ns, self.wrong
            );
        }
        let mut failures = Vec::new();
        for (what, _, bytes, limit) in rows {
            if per_call(bytes.usable) > limit {
                failures.push(format!(
                    "{what}: {:.1} bytes, the limit is {limit}",
                    per_call(bytes.usable)
                ));
            }
        }
        // a few calls grow by whole pages, and by what is compiled once
        if self.calls >= 10_000 && growth > RESIDENT_LIMIT * requested {
            failures.push(format!(
                "resident growth: {growth:.1} bytes, the limit is {:.1}",
                RESIDENT_LIMIT * requested
            ));
        }
        if self.wrong > 0 {
            failures.push(format!("{} wrong results", self.wrong));
        }
        failures
    }
}

// --- The allocator ------------------------------------------------------------------------------------------------------

struct Counting;

static REQUESTED: AtomicUsize = AtomicUsize::new(0);
static USABLE: AtomicUsize = AtomicUsize::new(0);
static MARK_NEXT: AtomicBool = AtomicBool::new(false);
static MARKED_REQUESTED: AtomicUsize = AtomicUsize::new(0);
static MARKED_USABLE: AtomicUsize = AtomicUsize::new(0);

/// What the system's allocator made of a request.
///
/// # Safety
/// `memory` is a live allocation of the system's allocator, or null.
unsafe fn usable(memory: *mut u8) -> usize {
    // SAFETY: the caller's.
    unsafe { libc::malloc_usable_size(memory.cast()) }
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's.
        let memory = unsafe { System.alloc(layout) };
        // SAFETY: just allocated.
        let rounded = unsafe { usable(memory) };
        let requested = REQUESTED.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        let rounded = USABLE.fetch_add(rounded, Ordering::Relaxed) + rounded;
        if MARK_NEXT.swap(false, Ordering::Relaxed) {
            MARKED_REQUESTED.store(requested, Ordering::Relaxed);
            MARKED_USABLE.store(rounded, Ordering::Relaxed);
        }
        memory
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller's.
        let rounded = unsafe { usable(memory) };
        REQUESTED.fetch_sub(layout.size(), Ordering::Relaxed);
        USABLE.fetch_sub(rounded, Ordering::Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;
