//! Midair's code beside that of other engines, on a dozen compute kernels.
//!
//! ```sh
//! cargo run --release --manifest-path benches/peers/Cargo.toml -- [--json] [--rounds N] [--only KERNEL] [--engine ENGINE]
//! ```
//!
//! One row per kernel and engine: `compile_ms` (bytes to machine code, all functions, one thread), `run_ms` (one call of
//! `run` with the kernel's argument; everything is compiled before, but for `midair`, which starts in tier-0 and is
//! replaced while it runs), `first_ms` (from bytes to the result of `run(1)` in a fresh engine's module), `peak_ms` (`midair`
//! only: from the start of the long call to the last replacement of its code), `wasm_bytes`. All in processor time of the
//! thread; rounds are interleaved, and a row is the fastest of its rounds. Results must agree.

use std::{
    collections::HashMap,
    fmt::Write as _,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A program and the argument it is run with.
struct Kernel {
    name: &'static str,
    text: &'static str,
    argument: i32,
}

macro_rules! kernels {
    ($($name:literal $argument:literal;)*) => {
        [$(Kernel {
            name: $name,
            text: include_str!(concat!("../kernels/", $name, ".wat")),
            argument: $argument,
        }),*]
    };
}

const KERNELS: [Kernel; 15] = kernels! {
    "fib" 30;
    "calls" 5_000_000;
    "quicksort" 200_000;
    "interpreter" 1_000_000;
    "coremark" 400;
    "sieve" 60;
    "copy" 400;
    "crc32" 200;
    "sha256" 40_000;
    "collatz" 100_000;
    "digits" 50_000;
    "matmul" 200;
    "mandelbrot" 200;
    "nbody" 200_000;
    "indirect" 5_000_000;
};

/// What is measured, in nanoseconds.
#[derive(Clone, Copy, Default)]
struct Sample {
    compile: u64,
    run: u64,
    first: u64,
    peak: Option<u64>,
}

impl Sample {
    fn fastest(self, other: Self) -> Self {
        Self {
            compile: self.compile.min(other.compile),
            run: self.run.min(other.run),
            first: self.first.min(other.first),
            peak: self.peak.min(other.peak),
        }
    }
}

/// Compiles, and gives the sample and the result. `once`: only the long call matters.
type Measure = fn(&[u8], i32) -> Result<(Sample, i64), String>;

const ENGINES: [(&str, Measure); 6] = [
    ("midair", |bytes, n| midair(midair::Tiers::Tiered, bytes, n)),
    ("tier1", |bytes, n| midair(midair::Tiers::Tier1, bytes, n)),
    ("cranelift", |bytes, n| {
        wasmtime(wasmtime::Strategy::Cranelift, bytes, n)
    }),
    ("tier0", |bytes, n| midair(midair::Tiers::Tier0, bytes, n)),
    ("winch", |bytes, n| {
        wasmtime(wasmtime::Strategy::Winch, bytes, n)
    }),
    ("wasmi", wasmi),
];

/// Processor time of this thread, in nanoseconds: other processes do not count.
fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is to a valid timespec.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("not negative")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn midair(tiers: midair::Tiers, bytes: &[u8], argument: i32) -> Result<(Sample, i64), String> {
    use midair::{Config, Engine, Linker, Module, Store};
    let last = Arc::new(AtomicU64::new(0));
    let mut config = Config::new();
    config.tiers(tiers);
    let engine = Engine::new(&config);
    let instantiate = |engine: &Engine, module: &Module| {
        let mut store = Store::new(engine, ());
        let instance = Linker::new(engine)
            .instantiate(&mut store, module)
            .map_err(text)?;
        let run = instance
            .get_typed_func::<i32, i64>(&store, "run")
            .map_err(text)?;
        Ok::<_, String>((store, run))
    };

    let start = now();
    let module = Module::new(&engine, bytes).map_err(text)?;
    let (mut store, run) = instantiate(&engine, &module)?;
    run.call(&mut store, 1).map_err(text)?;
    let first = now() - start;

    if tiers == midair::Tiers::Tiered {
        let last = Arc::clone(&last);
        config.on_event(move |event| {
            use midair_jit::observe::events::Event::{Publish, Transition};
            if matches!(event, Publish { .. } | Transition { .. }) {
                last.store(now(), Ordering::Relaxed);
            }
        });
    }
    let engine = Engine::new(&config);
    let start = now();
    let module = Module::new(&engine, bytes).map_err(text)?;
    let code = module.code();
    for n in 0..code.entries().len() {
        let func = midair_jit::wasm::types::FuncIndex(u32::try_from(n).expect("few"));
        match tiers {
            midair::Tiers::Tier0 => drop(code.tier0(func).map_err(text)?),
            midair::Tiers::Tier1 => drop(code.tier1(func).map_err(|why| format!("{why:?}"))?),
            midair::Tiers::Tiered => (),
        }
    }
    let compile = now() - start;
    let (mut store, run) = instantiate(&engine, &module)?;
    let start = now();
    let result = run.call(&mut store, argument).map_err(text)?;
    let sample = Sample {
        compile,
        run: now() - start,
        first,
        peak: (tiers == midair::Tiers::Tiered)
            .then(|| last.load(Ordering::Relaxed).saturating_sub(start)),
    };
    Ok((sample, result))
}

fn wasmtime(
    strategy: wasmtime::Strategy,
    bytes: &[u8],
    argument: i32,
) -> Result<(Sample, i64), String> {
    use wasmtime::{Config, Engine, Instance, Module, Store};
    let mut config = Config::new();
    config.strategy(strategy);
    let engine = Engine::new(&config).map_err(text)?;
    let instantiate = |module: &Module| {
        let mut store = Store::new(&engine, ());
        let instance = Instance::new(&mut store, module, &[]).map_err(text)?;
        let run = instance
            .get_typed_func::<i32, i64>(&mut store, "run")
            .map_err(text)?;
        Ok::<_, String>((store, run))
    };

    let start = now();
    let module = Module::from_binary(&engine, bytes).map_err(text)?;
    let (mut store, run) = instantiate(&module)?;
    run.call(&mut store, 1).map_err(text)?;
    let first = now() - start;

    let start = now();
    let module = Module::from_binary(&engine, bytes).map_err(text)?;
    let compile = now() - start;
    let (mut store, run) = instantiate(&module)?;
    let start = now();
    let result = run.call(&mut store, argument).map_err(text)?;
    let sample = Sample {
        compile,
        run: now() - start,
        first,
        peak: None,
    };
    Ok((sample, result))
}

fn wasmi(bytes: &[u8], argument: i32) -> Result<(Sample, i64), String> {
    use wasmi::{CompilationMode, Config, Engine, Linker, Module, Store};
    let mut config = Config::default();
    config.compilation_mode(CompilationMode::Eager);
    let engine = Engine::new(&config);
    let instantiate = |module: &Module| {
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine)
            .instantiate_and_start(&mut store, module)
            .map_err(text)?;
        let run = instance
            .get_typed_func::<i32, i64>(&store, "run")
            .map_err(text)?;
        Ok::<_, String>((store, run))
    };

    let start = now();
    let module = Module::new(&engine, bytes).map_err(text)?;
    let (mut store, run) = instantiate(&module)?;
    run.call(&mut store, 1).map_err(text)?;
    let first = now() - start;

    let start = now();
    let module = Module::new(&engine, bytes).map_err(text)?;
    let compile = now() - start;
    let (mut store, run) = instantiate(&module)?;
    let start = now();
    let result = run.call(&mut store, argument).map_err(text)?;
    let sample = Sample {
        compile,
        run: now() - start,
        first,
        peak: None,
    };
    Ok((sample, result))
}

/// What the command line asks for.
struct Options {
    json: bool,
    rounds: usize,
    only: Option<String>,
    engine: Option<String>,
    argument: Option<i32>,
}

fn options() -> Result<Options, String> {
    let mut options = Options {
        json: false,
        rounds: 7,
        only: None,
        engine: None,
        argument: None,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--json" => options.json = true,
            "--rounds" => options.rounds = value()?.parse().map_err(text)?,
            "--only" => options.only = Some(value()?),
            "--engine" => options.engine = Some(value()?),
            "--argument" => options.argument = Some(value()?.parse().map_err(text)?),
            _ => return Err(format!("{word} is no option")),
        }
    }
    Ok(options)
}

fn milliseconds(nanoseconds: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "below 2^53")]
    let nanoseconds = nanoseconds as f64;
    nanoseconds / 1e6
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(why) => {
            eprintln!("{why}");
            return ExitCode::FAILURE;
        }
    };
    let wanted = |wish: &Option<String>, name: &str| wish.as_deref().is_none_or(|it| it == name);
    let mut table = Table::default();
    let mut agree = true;
    for kernel in KERNELS.iter().filter(|it| wanted(&options.only, it.name)) {
        let bytes = wat::parse_str(kernel.text).expect("kernels are well-formed");
        let argument = options.argument.unwrap_or(kernel.argument);
        let mut samples: HashMap<&str, Sample> = HashMap::new();
        let mut expected = None;
        for round in 0..options.rounds {
            for (engine, measure) in ENGINES {
                // an interpreter is slow, and need not be known well
                if !wanted(&options.engine, engine) || (engine == "wasmi" && round > 1) {
                    continue;
                }
                match measure(&bytes, argument) {
                    Ok((sample, result)) => {
                        if *expected.get_or_insert(result) != result {
                            eprintln!("{}: {engine} answers {result}", kernel.name);
                            agree = false;
                        }
                        let best = samples.get(engine).map_or(sample, |it| it.fastest(sample));
                        samples.insert(engine, best);
                    }
                    Err(why) if round == 0 => eprintln!("{}: {engine}: {why}", kernel.name),
                    Err(_) => (),
                }
            }
        }
        if options.json {
            for (engine, _) in ENGINES {
                if let Some(sample) = samples.get(engine) {
                    println!("{}", json(kernel.name, engine, sample, bytes.len()));
                }
            }
        } else {
            println!("{}", table.row(kernel.name, &samples, bytes.len()));
        }
    }
    if !options.json {
        println!("{}", table.means());
    }
    if agree {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn json(kernel: &str, engine: &str, sample: &Sample, bytes: usize) -> String {
    let peak = sample.peak.map_or_else(
        || "null".to_owned(),
        |peak| format!("{:.4}", milliseconds(peak)),
    );
    format!(
        "{{\"kernel\":\"{kernel}\",\"engine\":\"{engine}\",\"compile_ms\":{:.4},\"run_ms\":{:.4},\"first_ms\":{:.4},\"peak_ms\":{peak},\"wasm_bytes\":{bytes}}}",
        milliseconds(sample.compile),
        milliseconds(sample.run),
        milliseconds(sample.first),
    )
}

/// The ratios that are aimed at.
const RATIOS: [(&str, &str); 3] = [("tier1", "cranelift"), ("midair", "cranelift"), ("tier0", "winch")];

#[derive(Default)]
struct Table {
    head: bool,
    /// Sums of logarithms of run time and compile time, and how many.
    sums: [(f64, f64, u32); RATIOS.len()],
}

impl Table {
    fn row(&mut self, kernel: &str, samples: &HashMap<&str, Sample>, bytes: usize) -> String {
        let mut row = String::new();
        if !std::mem::replace(&mut self.head, true) {
            row.push_str("| kernel | bytes |");
            for (engine, _) in ENGINES {
                let _ = write!(row, " {engine} |");
            }
            for (ours, theirs) in RATIOS {
                let _ = write!(row, " {ours}/{theirs} |");
            }
            row.push_str(" compile ms: ");
            row.push_str("tier1, cranelift, tier0, winch | first ms: midair, cranelift, winch, wasmi | peak ms |\n|");
            row.push_str(&"---|".repeat(2 + ENGINES.len() + RATIOS.len() + 3));
            row.push('\n');
        }
        let _ = write!(row, "| {kernel} | {bytes} |");
        for (engine, _) in ENGINES {
            let _ = match samples.get(engine) {
                Some(sample) => write!(row, " {:.1} |", milliseconds(sample.run)),
                None => write!(row, " - |"),
            };
        }
        for ((ours, theirs), sum) in RATIOS.iter().zip(&mut self.sums) {
            let (Some(ours), Some(theirs)) = (samples.get(ours), samples.get(theirs)) else {
                row.push_str(" - |");
                continue;
            };
            let ratio = milliseconds(ours.run) / milliseconds(theirs.run);
            sum.0 += ratio.ln();
            sum.1 += (milliseconds(ours.compile) / milliseconds(theirs.compile)).ln();
            sum.2 += 1;
            let _ = write!(row, " {ratio:.2} |");
        }
        let mut list = |engines: &[&str], of: fn(&Sample) -> u64| {
            for (n, engine) in engines.iter().enumerate() {
                let comma = if n == 0 { " " } else { ", " };
                let _ = match samples.get(engine) {
                    Some(sample) => write!(row, "{comma}{:.3}", milliseconds(of(sample))),
                    None => write!(row, "{comma}-"),
                };
            }
            row.push_str(" |");
        };
        list(&["tier1", "cranelift", "tier0", "winch"], |it| it.compile);
        list(&["midair", "cranelift", "winch", "wasmi"], |it| it.first);
        list(&["midair"], |it| it.peak.unwrap_or(0));
        row
    }

    fn means(&self) -> String {
        let mut text = String::from("\ngeometric means:");
        for ((ours, theirs), &(run, compile, count)) in RATIOS.iter().zip(&self.sums) {
            let mean = |sum: f64| (sum / f64::from(count)).exp();
            let _ = write!(
                text,
                " {ours}/{theirs}: run {:.3}, compile {:.3};",
                mean(run),
                mean(compile)
            );
        }
        text
    }
}
