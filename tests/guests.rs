//! Guests that real compilers made, in every tier and way to suspend: Rust with and without its standard library, C, and
//! `AssemblyScript`.
//!
//! Their sources and how they are built are in `tests/guests/`; `cargo xtask guests` builds them again. What they must answer
//! is computed here: by the same source compiled for the host where it is Rust, by another program for `words`; for `digest`, in
//! C, a native build of the same source has recorded it.

#[path = "guests/all.rs"]
mod all;

use all::{GUESTS, Guest, host};
use midair::{
    AsyncCaller, Awaiter, Caller, CodeKind, Config, Engine, Error, Event, FuncType, Linker, Module,
    Resumption, ResumptionPath, Store, Tiers, TypedFunc, Val, ValType, executor,
};
use std::{
    fmt::Write as _,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// What happened in one way, in all guests.
#[derive(Debug, Default)]
struct Seen {
    tier0: AtomicU64,
    osr: AtomicU64,
    tier1: AtomicU64,
    transitions: AtomicU64,
    jumps: AtomicU64,
    normalized: AtomicU64,
    not_optimized: AtomicU64,
    awaits: AtomicU64,
}

impl Seen {
    fn record(&self, event: &Event) {
        let counter = match event {
            Event::Suspend { kind, .. } => match kind {
                CodeKind::Tier0 => &self.tier0,
                CodeKind::Osr(_) => &self.osr,
                CodeKind::Tier1 => &self.tier1,
            },
            Event::Transition { .. } => &self.transitions,
            Event::Jump { .. } => &self.jumps,
            Event::Normalize { .. } => &self.normalized,
            Event::NotOptimized { .. } => &self.not_optimized,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn of(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[track_caller]
fn some(counters: &[&AtomicU64]) {
    for counter in counters {
        assert!(of(counter) > 0, "what this way is about never happened");
    }
}

#[track_caller]
fn none(counters: &[&AtomicU64]) {
    for counter in counters {
        assert_eq!(of(counter), 0, "what this way excludes happened");
    }
}

/// Pending so many times.
struct Pause(u32);

impl Future for Pause {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// An awaiter whose token is used at once.
#[derive(Clone)]
struct Token(u32);

impl Awaiter for Token {
    type Output = u32;

    fn is_completed(&self) -> bool {
        false
    }

    fn on_completed(self, resumption: Resumption) {
        resumption.resume();
    }

    fn get_result(self) -> u32 {
        host::next(self.0)
    }
}

/// Who runs the calls, and what the host's functions return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drive {
    /// Futures, polled until they are ready.
    Poll,
    /// The same, their types known at run time only; between polls every other frame is normalized.
    PollNormalized,
    /// Awaiters, in a call that owns its store.
    Owned,
}

async fn fill(
    caller: AsyncCaller<Arc<Seen>>,
    (to, len, seed): (u32, u32, u32),
) -> Result<(), Error> {
    Pause(1).await;
    // the guest waits; its locals are where it said
    caller.with(|mut caller| {
        caller.data_mut().awaits.fetch_add(1, Ordering::Relaxed);
        let memory = caller
            .get_export("memory")
            .and_then(midair::Extern::into_memory);
        let memory = memory.ok_or_else(|| Error::msg("no memory is exported"))?;
        let mut bytes = vec![0; len as usize];
        host::fill(&mut bytes, seed);
        memory.write(&mut caller, to as usize, &bytes)?;
        Ok(())
    })?
}

fn linker(engine: &Engine, drive: Drive) -> Result<Linker<Arc<Seen>>, Error> {
    let mut linker = Linker::new(engine);
    linker.func_wrap_async("host", "fill", fill)?;
    if drive == Drive::PollNormalized {
        let ty = FuncType::new([ValType::I32], [ValType::I32]);
        linker.func_new_async(
            "host",
            "next",
            ty,
            |caller: AsyncCaller<Arc<Seen>>, params| async move {
                let [Val::I32(x)] = params[..] else {
                    return Err(Error::msg("its type says otherwise"));
                };
                caller.with(|caller| caller.data().awaits.fetch_add(1, Ordering::Relaxed))?;
                Pause(1).await;
                Ok(vec![Val::I32(host::next(x.cast_unsigned()).cast_signed())])
            },
        )?;
    } else if drive == Drive::Owned {
        linker.func_awaiter("host", "next", |caller: Caller<'_, Arc<Seen>>, x: u32| {
            caller.data().awaits.fetch_add(1, Ordering::Relaxed);
            Token(x)
        })?;
    } else {
        linker.func_wrap_async(
            "host",
            "next",
            |caller: AsyncCaller<Arc<Seen>>, x: u32| async move {
                caller.with(|caller| caller.data().awaits.fetch_add(1, Ordering::Relaxed))?;
                Pause(1).await;
                Ok::<u32, Error>(host::next(x))
            },
        )?;
    }
    Ok(linker)
}

/// Calls it to its end.
fn call(
    mut store: Store<Arc<Seen>>,
    func: TypedFunc<u32, u64>,
    argument: u32,
    drive: Drive,
) -> (Store<Arc<Seen>>, Result<u64, Error>) {
    match drive {
        Drive::Poll => {
            let result = executor::block_on(func.call_async(&mut store, argument));
            (store, result)
        }
        Drive::Owned => executor::block_on(func.start(store, argument)),
        Drive::PollNormalized => {
            let mut call = func.call_async(&mut store, argument);
            let mut turn = 0;
            let result = loop {
                match Pin::new(&mut call).poll(&mut Context::from_waker(Waker::noop())) {
                    Poll::Ready(result) => break result,
                    Poll::Pending => {
                        turn += 1;
                        let done = call.normalize(|frame| (frame + turn) % 2 == 0);
                        done.expect("tier-0 code can be made");
                    }
                }
            };
            drop(call);
            (store, result)
        }
    }
}

/// Runs every export of a guest; `small`: with arguments that take little time.
fn run_guest(
    guest: &Guest,
    engine: &Engine,
    drive: Drive,
    small: bool,
    seen: &Arc<Seen>,
) -> Result<(), String> {
    let name = guest.name;
    let module = Module::new(engine, guest.wasm).map_err(|error| format!("{name}: {error}"))?;
    let linker = linker(engine, drive).map_err(|error| format!("{name}: {error}"))?;
    let pre = linker
        .instantiate_pre(&module)
        .map_err(|error| format!("{name}: {error}"))?;
    for known in guest.calls() {
        if small && !known.small {
            continue;
        }
        let mut store = Store::new(engine, Arc::clone(seen));
        let (export, argument) = (known.export, known.argument);
        let failed = |error: Error| format!("{name}: {export}({argument}): {error:?}");
        let instance = executor::block_on(pre.instantiate_async(&mut store)).map_err(failed)?;
        let func = instance
            .get_typed_func::<u32, u64>(&store, export)
            .map_err(failed)?;
        let awaited = of(&seen.awaits);
        // twice: an instance can be used again, and its state is as it was
        for _ in 0..2 {
            let (after, result) = call(store, func, argument, drive);
            store = after;
            let result = result.map_err(failed)?;
            if result != known.answer {
                return Err(format!(
                    "{name}: {export}({argument}) is {result:#x}, not {:#x}",
                    known.answer
                ));
            }
        }
        if known.awaits && of(&seen.awaits) == awaited {
            return Err(format!("{name}: {export}({argument}) never awaited"));
        }
    }
    Ok(())
}

fn run(configure: impl Fn(&mut Config), drive: Drive, small: bool) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let mut failures = String::new();
    for guest in GUESTS {
        let mut config = Config::new();
        configure(&mut config);
        let events = Arc::clone(&seen);
        config.on_event(move |event| events.record(&event));
        if let Err(failure) = run_guest(guest, &Engine::new(&config), drive, small, &seen) {
            let _ = writeln!(failures, "{failure}");
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
    some(&[&seen.awaits]);
    seen
}

/// Replaced at the first pass of every loop header.
fn osr_everywhere(config: &mut Config) {
    config
        .osr_after(1, 1, 1)
        .tier_up_on_calls(None)
        .tier_up_on_resumption(None);
}

#[test]
fn in_tier0() {
    let tier0 = |config: &mut Config| {
        config.tiers(Tiers::Tier0);
    };
    let seen = run(tier0, Drive::Poll, false);
    some(&[&seen.tier0]);
    none(&[&seen.osr, &seen.tier1, &seen.jumps]);
}

#[test]
fn in_tier1() {
    let tier1 = |config: &mut Config| {
        config.tiers(Tiers::Tier1);
    };
    let seen = run(tier1, Drive::Poll, false);
    some(&[&seen.tier1, &seen.jumps]);
    none(&[&seen.tier0, &seen.osr, &seen.not_optimized]);
}

#[test]
fn as_it_comes() {
    let seen = run(|_| (), Drive::Poll, false);
    some(&[&seen.tier0, &seen.tier1, &seen.transitions]);
}

#[test]
fn with_osr_at_every_loop() {
    let seen = run(osr_everywhere, Drive::Poll, true);
    some(&[&seen.osr, &seen.transitions, &seen.jumps]);
    none(&[&seen.not_optimized]);
}

#[test]
fn in_every_way_to_resume() {
    for path in [
        ResumptionPath::Patchpoint,
        ResumptionPath::ViaTier0,
        ResumptionPath::Direct,
    ] {
        let configure = |config: &mut Config| {
            osr_everywhere(config);
            config.resumption(path);
        };
        let seen = run(configure, Drive::Owned, true);
        some(&[&seen.osr, &seen.transitions]);
    }
}

#[test]
fn normalized_while_they_wait() {
    for tiers in [Tiers::Tiered, Tiers::Tier1] {
        let configure = |config: &mut Config| {
            osr_everywhere(config);
            config.tiers(tiers);
        };
        let seen = run(configure, Drive::PollNormalized, true);
        some(&[&seen.normalized]);
    }
}

#[test]
fn suspended_at_every_checkpoint() {
    for (tiers, every) in [(Tiers::Tier0, 1), (Tiers::Tier1, 1), (Tiers::Tiered, 3)] {
        let configure = |config: &mut Config| {
            osr_everywhere(config);
            config.tiers(tiers).stress_suspend(NonZeroU32::new(every));
        };
        let seen = run(configure, Drive::Poll, true);
        let suspended = of(&seen.tier0) + of(&seen.osr) + of(&seen.tier1);
        assert!(suspended > 10 * of(&seen.awaits), "{seen:?}");
    }
}

#[test]
fn suspended_often_and_normalized_at_random() {
    let configure = |config: &mut Config| {
        config
            .osr_after(3, 5, 2)
            .tier_up_on_calls(Some(20))
            .tier_up_on_resumption(Some(50))
            .stress_suspend(NonZeroU32::new(5))
            .stress_normalize(NonZeroU32::new(3));
    };
    let seen = run(configure, Drive::Owned, true);
    some(&[&seen.normalized, &seen.osr, &seen.tier1, &seen.tier0]);
}

#[test]
fn every_guest_is_small() {
    for guest in GUESTS {
        assert!(guest.wasm.len() < 100 << 10, "{}", guest.name);
    }
}

#[test]
fn a_guest_comes_back_from_bytes() -> Result<(), Error> {
    let engine = Engine::default();
    let seen = Arc::new(Seen::default());
    for guest in GUESTS {
        let bytes = Module::new(&engine, guest.wasm)?.serialize();
        let guest = Guest {
            wasm: Module::deserialize(&engine, &bytes)?
                .code()
                .module
                .bytes
                .to_vec()
                .leak(),
            ..*guest
        };
        run_guest(&guest, &engine, Drive::Poll, true, &seen).unwrap_or_else(|e| panic!("{e}"));
    }
    Ok(())
}
