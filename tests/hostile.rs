//! Modules nobody means well with: cut off, with flipped bits, or as large as the limits allow. None makes the engine panic,
//! hang or abort, and what is still valid runs within its limits.

#[path = "hostile/extremes.rs"]
mod extremes;

use midair::{Config, Engine, Event, ExternType, Linker, Module, Store, Tiers, Val, ValType};
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Every binary of the repository: the guests', the corpus', and the specification's scripts'.
fn binaries() -> Vec<(String, Vec<u8>)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("tests/corpus"), root.join("tests/guests")];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{folder:?}: {e}"));
        for entry in entries {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = || std::fs::read(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
            let name = path.display().to_string();
            match path.extension().and_then(|e| e.to_str()) {
                Some("wasm") => found.push((name, bytes())),
                Some("wat") => {
                    let wasm = wat::parse_bytes(&bytes())
                        .expect("the corpus is text")
                        .into_owned();
                    found.push((name, wasm));
                }
                _ => {}
            }
        }
    }
    found.sort();
    assert!(found.len() > 90, "{} binaries", found.len());
    found
}

/// The generator known as `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        let n = u64::try_from(n).expect("a length");
        usize::try_from(self.next() % n).expect("below a length")
    }
}

/// A number from the environment: `MIDAIR_HOSTILE` times as much is tried.
fn times() -> usize {
    let given = std::env::var("MIDAIR_HOSTILE").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(1)
}

fn engine() -> Engine {
    let mut config = Config::new();
    config
        .tiers(Tiers::Tiered)
        .osr_after(2, 2, 1)
        .tier_up_on_calls(Some(2))
        .memory_guard(true)
        .max_table_elements(1 << 16)
        .max_wasm_stack(256 << 10);
    Engine::new(&config)
}

/// What became of the bytes.
#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    valid: u64,
    instantiated: u64,
    called: u64,
}

/// Everything that takes bytes gets these, and what is still a module runs.
fn try_bytes(engine: &Engine, bytes: &[u8], tally: &mut Tally) {
    let valid = Module::validate(engine, bytes).is_ok();
    let module = match Module::new(engine, bytes) {
        Ok(module) => module,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            assert!(!valid, "valid, but: {error}");
            tally.refused += 1;
            return;
        }
    };
    assert!(valid);
    tally.valid += 1;
    run(engine, &module, tally);
}

/// Large memories are not for a test that has many of them.
const MAX_PAGES: u32 = 1 << 10;

fn run(engine: &Engine, module: &Module, tally: &mut Tally) {
    let large = |ty: &ExternType| match ty {
        ExternType::Memory(ty) => ty.minimum() > MAX_PAGES,
        _ => false,
    };
    if module.exports().any(|export| large(export.ty())) {
        return;
    }
    let mut store = Store::new(engine, ());
    store.set_epoch_deadline(1);
    let mut linker = Linker::new(engine);
    if linker.define_unknown_imports_as_traps(module).is_err() {
        return;
    }
    let clock = Clock::start(engine);
    let instance = linker.instantiate(&mut store, module);
    let Ok(instance) = instance else {
        return;
    };
    tally.instantiated += 1;
    let functions: Vec<_> = module
        .exports()
        .filter_map(|export| match export.ty() {
            ExternType::Func(ty) => Some((export.name().to_owned(), ty.params.to_vec())),
            _ => None,
        })
        .collect();
    for (name, params) in functions.into_iter().take(8) {
        let Some(func) = instance.get_func(&store, &name) else {
            continue;
        };
        let arguments: Vec<Val> = params.iter().map(|ty| argument(*ty)).collect();
        for _ in 0..2 {
            store.set_epoch_deadline(3);
            // a trap is as good an end as any
            drop(func.call(&mut store, &arguments));
            tally.called += 1;
        }
    }
    drop(clock);
}

fn argument(ty: ValType) -> Val {
    match ty {
        ValType::I32 => Val::I32(3),
        ValType::I64 => Val::I64(3),
        ValType::F32 => Val::F32(1.5f32.to_bits()),
        ValType::F64 => Val::F64(1.5f64.to_bits()),
        ValType::FuncRef => Val::FuncRef(None),
        ValType::ExternRef => Val::ExternRef(None),
    }
}

/// Advances the epoch until it is dropped, so that nothing runs for ever.
struct Clock {
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Clock {
    fn start(engine: &Engine) -> Self {
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let engine = engine.clone();
        let thread = std::thread::spawn(move || {
            let tick = std::time::Duration::from_millis(5);
            while stopped.recv_timeout(tick) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it only counts");
        }
    }
}

#[test]
fn modules_cut_off_anywhere_are_refused() {
    let engine = engine();
    let mut tally = Tally::default();
    for (_, bytes) in binaries() {
        // every length of the small ones, some of the large ones
        let step = (bytes.len() / (150 * times())).max(1);
        for length in (0..bytes.len()).step_by(step) {
            try_bytes(&engine, &bytes[..length], &mut tally);
        }
    }
    assert!(tally.refused > 10_000, "{tally:?}");
    // a module whose last sections are left out may still be one
    assert!(tally.valid < tally.refused / 10, "{tally:?}");
}

#[test]
fn modules_with_flipped_bits_are_refused_or_run_within_their_limits() {
    let engine = engine();
    let mut tally = Tally::default();
    let mut random = Random(4);
    for (_, bytes) in binaries() {
        for _ in 0..40 * times() {
            let mut flipped = bytes.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(flipped.len() - 8) + 8;
                flipped[at] ^= 1 << random.below(8);
            }
            try_bytes(&engine, &flipped, &mut tally);
        }
    }
    assert!(tally.refused > 1000, "{tally:?}");
    assert!(tally.valid > 300, "{tally:?}");
    assert!(tally.called > 300, "{tally:?}");
}

/// Makes the checksum of a prepared module right again (bytes 24 to 32; FNV-1a of all others): damage that was meant.
fn forge_checksum(prepared: &mut [u8]) {
    let others = prepared[..24].iter().chain(&prepared[32..]);
    let sum = others.fold(0xcbf2_9ce4_8422_2325, |sum: u64, &byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    prepared[24..32].copy_from_slice(&sum.to_le_bytes());
}

fn flip_prepared(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut flipped = bytes.to_vec();
    let at = random.below(flipped.len());
    flipped[at] ^= 1 << random.below(8);
    flipped
}

#[test]
fn prepared_modules_cut_off_or_with_flipped_bits_are_errors() {
    let engine = engine();
    let mut random = Random(5);
    for (name, bytes) in binaries() {
        let module = Module::new(&engine, &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let prepared = module.serialize();
        let step = (prepared.len() / 100).max(1);
        for length in (0..prepared.len()).step_by(step) {
            assert!(
                Module::deserialize(&engine, &prepared[..length]).is_err(),
                "{name} cut off at {length}"
            );
        }
        for _ in 0..20 * times() {
            let flipped = flip_prepared(&prepared, &mut random);
            assert!(
                Module::deserialize(&engine, &flipped).is_err(),
                "{name} with a flipped bit"
            );
        }
    }
}

#[test]
fn forged_prepared_modules_are_validated_as_others_are() {
    let engine = engine();
    let mut random = Random(7);
    let (mut refused, mut accepted) = (0, 0);
    for (name, bytes) in binaries() {
        let module = Module::new(&engine, &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let prepared = module.serialize();
        let mut same = prepared.clone();
        forge_checksum(&mut same);
        assert_eq!(same, prepared, "the checksum is as it was");
        for _ in 0..20 * times() {
            let mut forged = flip_prepared(&prepared, &mut random);
            forge_checksum(&mut forged);
            match Module::deserialize(&engine, &forged) {
                Ok(_) => accepted += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 500 && accepted > 100, "{refused} {accepted}");
}

#[test]
fn noise_is_no_module() {
    let engine = engine();
    let mut random = Random(6);
    let mut tally = Tally::default();
    for length in 0..600 * times() {
        let mut noise = b"\0asm\x01\0\0\0".to_vec();
        noise.extend((0..length % 600).map(|_| random.next().to_le_bytes()[0]));
        try_bytes(&engine, &noise, &mut tally);
        drop(Module::deserialize(&engine, &noise));
    }
    assert!(tally.refused >= 500, "{tally:?}");
}

/// Each extreme is an error or a module, and a module is instantiated, called and optimized.
#[test]
#[cfg_attr(
    debug_assertions,
    ignore = "takes minutes unless it is optimized, which CI does"
)]
fn extremes_are_refused_or_run() {
    let refused = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&refused);
    let mut config = Config::new();
    config
        .tiers(Tiers::Tier1)
        // what is measured is what users wait for
        .compiler_checks(false)
        .max_wasm_stack(1 << 20)
        .on_event(move |event| {
            if matches!(event, Event::NotOptimized { .. }) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
    let optimizing = Engine::new(&config);
    config.tiers(Tiers::Tier0);
    let baseline = Engine::new(&config);
    let verbose = std::env::var_os("MIDAIR_HOSTILE_TIMES").is_some();
    let only = std::env::var("MIDAIR_HOSTILE_ONLY").unwrap_or_default();
    for extreme in extremes::all() {
        if !extreme.name.contains(&only) {
            continue;
        }
        for (tier, engine) in [("tier0", &baseline), ("tier1", &optimizing)] {
            let start = std::time::Instant::now();
            let module = Module::new(engine, &extreme.wasm);
            let made = start.elapsed();
            assert_eq!(
                module.is_ok(),
                extreme.valid,
                "{}: {:?}",
                extreme.name,
                module.err()
            );
            let mut tally = Tally::default();
            if let Ok(module) = &module {
                run(engine, module, &mut tally);
            }
            if verbose {
                #[expect(clippy::print_stderr, reason = "asked for")]
                {
                    eprintln!(
                        "{} ({} bytes), {tier}: new {made:?}, run {:?}, {} not optimized, {tally:?}",
                        extreme.name,
                        extreme.wasm.len(),
                        start.elapsed() - made,
                        refused.swap(0, Ordering::Relaxed),
                    );
                }
            }
        }
    }
}
