//! An await: suspend, dispatch, resume.
//!
//! Informs which way OSR code is resumed by default (`Config::resumption`), whether an await deep in a call costs what a
//! shallow one does, and what a live value costs: the copy list is all that grows with it. `null_awaiter` prints the promised
//! numbers; this one is for comparing two commits.

#![expect(missing_docs, reason = "criterion's macros")]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use midair::{
    Awaiter, Call, Config, Engine, Linker, Module, Resumption, ResumptionPath, Store, Tiers,
};
use std::{
    cell::Cell,
    fmt::Write,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Instant,
};

thread_local! {
    static TOKEN: Cell<Option<Resumption>> = const { Cell::new(None) };
}

/// Never completed; its token waits in `TOKEN`.
#[derive(Clone, Copy)]
struct Null;

impl Awaiter for Null {
    type Output = ();

    fn is_completed(&self) -> bool {
        false
    }

    fn on_completed(self, resumption: Resumption) {
        TOKEN.set(Some(resumption));
    }

    fn get_result(self) {}
}

/// Awaits for ever, `depth` calls deep, with `live` values alive across each await.
fn guest(live: u32) -> String {
    let mut locals = String::new();
    let mut uses = String::new();
    for i in 0..live {
        write!(locals, "(local $v{i} i64)").expect("a string");
        write!(
            uses,
            "(local.set $v{i} (i64.add (local.get $v{i}) (i64.const {i})))"
        )
        .expect("a string");
    }
    format!(
        r#"(module
            (import "host" "await" (func $await))
            (func $run (export "run") (param $depth i32) {locals}
                (if (i32.gt_u (local.get $depth) (i32.const 1))
                    (then (call $run (i32.sub (local.get $depth) (i32.const 1))))
                    (else (loop $awaiting (call $await) {uses} (br $awaiting))))))"#
    )
}

/// A call that is parked in the code that `config` leads to.
fn park(config: &Config, live: u32, depth: u32) -> Call<(), ()> {
    let engine = Engine::new(config);
    let module = Module::new(&engine, guest(live)).expect("valid");
    let mut linker = Linker::new(&engine);
    linker
        .func_awaiter("host", "await", |_, ()| Null)
        .expect("defined once");
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).expect("linked");
    let run = instance
        .get_typed_func::<u32, ()>(&store, "run")
        .expect("exported");
    let call = run.start(store, depth);
    pump(200);
    call
}

fn pump(awaits: u64) {
    for _ in 0..awaits {
        TOKEN.take().expect("parked").resume();
    }
}

fn config(path: ResumptionPath) -> Config {
    let mut config = Config::new();
    config
        .resumption(path)
        .osr_after(10, 10, 1)
        .tier_up_on_resumption(None);
    config
}

fn bench(c: &mut Criterion, id: BenchmarkId, config: &Config, live: u32, depth: u32) {
    let mut group = c.benchmark_group("suspend_resume");
    group.bench_function(id, |b| {
        let call = park(config, live, depth);
        b.iter_custom(|awaits| {
            let start = Instant::now();
            pump(awaits);
            start.elapsed()
        });
        drop(call);
        drop(TOKEN.take());
    });
}

fn paths(c: &mut Criterion) {
    for (name, path) in [
        ("direct", ResumptionPath::Direct),
        ("via_tier0", ResumptionPath::ViaTier0),
        ("patchpoint_fp", ResumptionPath::PatchpointFp),
        ("patchpoint", ResumptionPath::Patchpoint),
    ] {
        for depth in [1, 64] {
            bench(
                c,
                BenchmarkId::new(name, format_args!("depth_{depth}")),
                &config(path),
                0,
                depth,
            );
        }
    }
    for (name, tiers) in [("tier0", Tiers::Tier0), ("tier1", Tiers::Tier1)] {
        bench(
            c,
            BenchmarkId::new(name, "depth_1"),
            Config::new().tiers(tiers),
            0,
            1,
        );
    }
}

fn live_sets(c: &mut Criterion) {
    for live in [0, 3, 8, 32] {
        let config = config(ResumptionPath::Direct);
        bench(
            c,
            BenchmarkId::new("direct", format_args!("live_set_{live}")),
            &config,
            live,
            1,
        );
    }
}

/// Ready at its second poll: an await of a host future that waits once.
fn futures(c: &mut Criterion) {
    let engine = Engine::new(&config(ResumptionPath::Direct));
    let module = Module::new(&engine, guest(0)).expect("valid");
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap_async("host", "await", |_, ()| {
            let mut waited = false;
            std::future::poll_fn(move |_| {
                if std::mem::replace(&mut waited, true) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        })
        .expect("defined once");
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).expect("linked");
    let run = instance
        .get_typed_func::<u32, ()>(&store, "run")
        .expect("exported");
    let mut call = pin!(run.call_async(&mut store, 1));
    let mut cx = Context::from_waker(Waker::noop());
    for _ in 0..200 {
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    c.benchmark_group("suspend_resume")
        .bench_function("future/depth_1", |b| {
            b.iter(|| black_box(call.as_mut().poll(&mut cx).is_pending()));
        });
}

criterion_group!(benches, paths, live_sets, futures);
criterion_main!(benches);
