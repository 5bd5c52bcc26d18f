//! Tail calls: no stack, no way back and no frame of what has left, within an instance and between instances.

use midair::{
    Config, Engine, Event, Instance, Linker, Module, Store, Tiers, Trap, TypedFunc,
    executor::block_on,
};
use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

/// Fewer in builds that are slow.
const TURNS: i32 = if cfg!(debug_assertions) {
    200_000
} else {
    1_000_000
};

fn ways() -> [(&'static str, Engine); 4] {
    let engine = |configure: fn(&mut Config)| {
        let mut config = Config::new();
        config.max_wasm_stack(1 << 18);
        configure(&mut config);
        Engine::new(&config)
    };
    [
        (
            "tier-0",
            engine(|config| {
                config.tiers(Tiers::Tier0);
            }),
        ),
        (
            "tier-1",
            engine(|config| {
                config.tiers(Tiers::Tier1);
            }),
        ),
        (
            "OSR, normalized",
            engine(|config| {
                config
                    .osr_after(1, 1, 1)
                    .stress_normalize(std::num::NonZeroU32::new(3));
            }),
        ),
        ("as it comes", engine(|_| ())),
    ]
}

/// Pending once.
struct Once(bool);

impl Future for Once {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Two instances: `ping` of the first calls `pong` of the second in tail position, through an import, and `pong` calls
/// `ping` through a table of the first. `$n` counts down; an even number awaits if `$awaits`.
fn ping_and_pong(engine: &Engine) -> (Store<()>, TypedFunc<(i32, i32), i64>) {
    let first = Module::new(
        engine,
        r#"(module
            (type $turn (func (param i32 i32 i64 i64 i64 i64 i64 i64 f64) (result i64)))
            (import "host" "yield" (func $yield))
            (table (export "table") 2 funcref)
            (func $ping (export "ping") (type $turn)
                (if (local.get 1) (then (call $yield)))
                (if (i32.eqz (local.get 0)) (then (return (i64.add (local.get 2) (local.get 7)))))
                (return_call_indirect (type $turn) (i32.sub (local.get 0) (i32.const 1)) (local.get 1)
                    (i64.add (local.get 2) (i64.const 1)) (local.get 3) (local.get 4) (local.get 5) (local.get 6)
                    (i64.add (local.get 7) (i64.const 2)) (local.get 8)
                    (i32.const 1)))
            (func (export "run") (param i32 i32) (result i64) (local $kept i64)
                (local.set $kept (i64.const 5))
                (i64.add (local.get $kept)
                    (call $ping (local.get 0) (local.get 1) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0) (i64.const 0)
                        (i64.const 0) (f64.const 0))))
            (elem (i32.const 0) $ping))"#,
    )
    .unwrap();
    let second = Module::new(
        engine,
        r#"(module
            (type $turn (func (param i32 i32 i64 i64 i64 i64 i64 i64 f64) (result i64)))
            (import "first" "ping" (func $ping (type $turn)))
            (import "first" "table" (table 2 funcref))
            (import "host" "yield" (func $yield))
            (func $pong (type $turn)
                (if (local.get 1) (then (call $yield)))
                (if (i32.eqz (local.get 0)) (then (return (local.get 2))))
                (if (i32.and (local.get 0) (i32.const 2)) (then
                    (return_call $ping (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2) (local.get 3)
                        (local.get 4) (local.get 5) (local.get 6) (local.get 7) (local.get 8))))
                (return_call_indirect (type $turn) (i32.sub (local.get 0) (i32.const 1)) (local.get 1) (local.get 2)
                    (local.get 3) (local.get 4) (local.get 5) (local.get 6) (local.get 7) (local.get 8) (i32.const 0)))
            (elem (i32.const 1) $pong))"#,
    )
    .unwrap();
    let mut linker = Linker::<()>::new(engine);
    linker
        .func_wrap_async("host", "yield", |_, ()| Once(false))
        .unwrap();
    let mut store = Store::new(engine, ());
    let first = linker.instantiate(&mut store, &first).unwrap();
    linker.instance(&mut store, "first", first).unwrap();
    linker.instantiate(&mut store, &second).unwrap();
    let run = first.get_typed_func(&store, "run").unwrap();
    (store, run)
}

#[test]
fn instances_that_call_each_other_in_tail_position_need_one_frame() {
    for (name, engine) in ways() {
        let (mut store, run) = ping_and_pong(&engine);
        let turns = i64::from(TURNS) / 2;
        let result = run.call(&mut store, (TURNS, 0)).unwrap();
        assert_eq!(result, 5 + 3 * turns, "{name}");
    }
}

#[test]
fn awaits_between_them_leave_one_way_back() {
    let turns = TURNS / 10;
    for (name, engine) in ways() {
        let (mut store, run) = ping_and_pong(&engine);
        let result = block_on(run.call_async(&mut store, (turns, 1))).unwrap();
        assert_eq!(result, 5 + 3 * i64::from(turns / 2), "{name}");
        // and a parked one is dropped whole
        let mut call = Box::pin(run.call_async(&mut store, (turns, 1)));
        let mut context = Context::from_waker(std::task::Waker::noop());
        for _ in 0..9 {
            assert!(call.as_mut().poll(&mut context).is_pending());
        }
        drop(call);
        let result = block_on(run.call_async(&mut store, (10, 1))).unwrap();
        assert_eq!(result, 20, "{name}");
    }
}

fn one(engine: &Engine, wat: &str) -> (Store<()>, Instance) {
    let module = Module::new(engine, wat).unwrap();
    let mut linker = Linker::<()>::new(engine);
    let ticking = engine.clone();
    let ticks = AtomicU64::new(0);
    linker
        .func_wrap("host", "tick", move || {
            if ticks.fetch_add(1, Ordering::Relaxed) == 1000 {
                ticking.increment_epoch();
            }
        })
        .unwrap();
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, instance)
}

#[test]
fn endless_tail_recursion_is_interrupted() {
    for (name, engine) in ways() {
        let (mut store, instance) = one(
            &engine,
            r#"(module
                (import "host" "tick" (func $tick))
                (func $odd (param i64) (return_call $spin (local.get 0)))
                (func $spin (export "spin") (param i64) (call $tick) (return_call $odd (local.get 0))))"#,
        );
        let spin = instance.get_typed_func::<i64, ()>(&store, "spin").unwrap();
        store.set_epoch_deadline(1);
        let error = spin.call(&mut store, 1).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt), "{name}");
    }
}

#[test]
fn backtraces_know_nothing_of_what_has_left() {
    for (name, engine) in ways() {
        let (mut store, instance) = one(
            &engine,
            r#"(module
                (func $bottom (param i32) (unreachable))
                (func $middle (param i32 i32) (return_call $bottom (local.get 1)))
                (func $caller (call $middle (i32.const 1) (i32.const 2)))
                (func $outer (return_call $caller))
                (func $run (export "run") (call $outer)))"#,
        );
        let run = instance.get_typed_func::<(), ()>(&store, "run").unwrap();
        let error = run.call(&mut store, ()).unwrap_err();
        let frames: Vec<String> = error
            .backtrace()
            .expect("a trap has one")
            .frames()
            .iter()
            .map(|frame| frame.func_name().to_owned())
            .collect();
        assert_eq!(frames, ["bottom", "caller", "run"], "{name}");
    }
}

#[test]
fn calls_in_tail_position_count_towards_tier_1() {
    let published = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&published);
    let mut config = Config::new();
    config.on_event(move |event| {
        if let Event::Publish { .. } = event {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let engine = Engine::new(&config);
    let (mut store, instance) = one(
        &engine,
        r#"(module
            (func $count (export "count") (param i32 i64) (result i64)
                (if (i32.eqz (local.get 0)) (then (return (local.get 1))))
                (return_call $count (i32.sub (local.get 0) (i32.const 1)) (i64.add (local.get 1) (i64.const 3)))))"#,
    );
    let run = instance
        .get_typed_func::<(i32, i64), i64>(&store, "count")
        .unwrap();
    assert_eq!(
        run.call(&mut store, (TURNS, 0)).unwrap(),
        3 * i64::from(TURNS)
    );
    assert_eq!(
        published.load(Ordering::Relaxed),
        2,
        "tier-0 at the first call, tier-1 in the middle of the recursion"
    );
}
