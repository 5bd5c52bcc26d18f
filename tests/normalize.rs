//! Parked frames rewritten into their canonical layout: results never change, and counters survive.

#![expect(
    clippy::cast_possible_truncation,
    reason = "the expected values are cut as the guest cuts them"
)]

use midair::{
    Awaiter, CodeKind, Config, Engine, Event, Linker, Module, Resumption, Store, Tiers, TypedFunc,
};
use std::{
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};

#[derive(Clone, Default)]
struct Parking(Arc<Mutex<Vec<Resumption>>>);

impl Parking {
    fn take(&self) -> Resumption {
        self.0.lock().unwrap().pop().expect("the call waits")
    }
}

impl Awaiter for Parking {
    type Output = i64;
    fn is_completed(&self) -> bool {
        false
    }
    fn on_completed(self, resumption: Resumption) {
        self.0.lock().unwrap().push(resumption);
    }
    fn get_result(self) -> i64 {
        11
    }
}

/// Four functions deep, innermost `a`: a loop replaced while it runs, a function without loops, and so on in turn. Each
/// keeps locals of every type and operands across its call.
const CHAIN: &str = r#"(module
    (import "host" "next" (func $next (result i64)))
    (func $a (param $x i64) (result i64) (local $n i32) (local $f f32)
        (local.set $n (i32.const 6)) (local.set $f (f32.const 1.5))
        (i64.const 1000)
        (loop $l (param i64) (result i64)
            (i64.add (i64.mul (local.get $x) (i64.const 3)))
            (if (i32.eq (local.get $n) (i32.const 2)) (then (local.set $x (i64.add (local.get $x) (call $next)))))
            (local.set $f (f32.mul (local.get $f) (f32.const 1.25)))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (i64.add (i64.trunc_f32_s (local.get $f))) (i64.add (local.get $x)))
    (func $b (export "b") (param $x i64) (result i64) (local $d f64)
        (if (i64.lt_s (local.get $x) (i64.const 0)) (then (return (local.get $x))))
        (local.set $d (f64.convert_i64_s (local.get $x)))
        (i64.sub (i64.add (call $a (i64.add (local.get $x) (i64.const 1))) (local.get $x)) (i64.trunc_f64_s (f64.mul (local.get $d) (f64.const 0.5)))))
    (func $c (param $x i64) (result i64) (local $n i32) (local $sum i64)
        (local.set $n (i32.const 7))
        (loop $l
            (local.set $sum (i64.add (local.get $sum) (i64.shl (local.get $x) (i64.extend_i32_u (local.get $n)))))
            (if (i32.eq (local.get $n) (i32.const 1)) (then (local.set $sum (i64.xor (local.get $sum) (call $b (local.get $x))))))
            (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "run") (param $x i64) (result i64)
        (i64.add (i64.mul (local.get $x) (i64.const 1000000)) (call $c (local.get $x)))))"#;

fn expected(x: i64) -> i64 {
    let a = |x: i64| {
        let (mut x, mut n, mut f, mut sum) = (x, 6, 1.5f32, 1000);
        while n > 0 {
            sum += x * 3;
            if n == 2 {
                x += 11;
            }
            f *= 1.25;
            n -= 1;
        }
        sum + f as i64 + x
    };
    let b = a(x + 1) + x - (x as f64 * 0.5) as i64;
    let mut sum = 0;
    for n in (1..=7).rev() {
        sum += x << n;
        if n == 1 {
            sum ^= b;
        }
    }
    x * 1_000_000 + sum
}

fn setup(configure: impl FnOnce(&mut Config)) -> (Store<()>, TypedFunc<i64, i64>, Parking) {
    let mut config = Config::new();
    config.compiler_checks(true);
    configure(&mut config);
    let engine = Engine::new(&config);
    let module = Module::new(&engine, CHAIN).unwrap();
    let parking = Parking::default();
    let awaiter = parking.clone();
    let mut linker = Linker::new(&engine);
    linker
        .func_awaiter("host", "next", move |_, ()| awaiter.clone())
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func(&store, "run").unwrap();
    let b = instance.get_typed_func::<i64, i64>(&store, "b").unwrap();
    for _ in 0..10 {
        assert_eq!(b.call(&mut store, -3).unwrap(), -3);
    }
    (store, run, parking)
}

type Configure = fn(&mut Config);

/// How the chain is made, and the kinds of code that are then in it, innermost first (0, `o`, 1).
const MIXES: [(&str, Configure); 4] = [
    ("0000", |config| {
        config.tiers(Tiers::Tier0);
    }),
    ("o0o0", |config| {
        config
            .osr_after(1, 1, 1)
            .tier_up_on_calls(None)
            .tier_up_on_resumption(None);
    }),
    ("1111", |config| {
        config.tiers(Tiers::Tier1);
    }),
    // `b` is called before, until it is hot
    ("o1o0", |config| {
        config
            .osr_after(1, 1, 1)
            .tier_up_on_calls(Some(8))
            .tier_up_on_resumption(None);
    }),
];

fn kinds(call: &midair::Call<(), i64>) -> String {
    let kinds = call.code_kinds().unwrap();
    kinds
        .iter()
        .map(|kind| match kind {
            CodeKind::Tier0 => '0',
            CodeKind::Osr(_) => 'o',
            CodeKind::Tier1 => '1',
        })
        .collect()
}

#[test]
fn every_subset_of_a_chain_is_normalized() {
    let mut seen = Vec::new();
    for (mix, configure) in MIXES {
        for subset in 0..16u32 {
            let (mut store, run, parking) = setup(configure);
            for round in 0..4 {
                let mut call = run.start(store, 5 + round);
                let before = kinds(&call);
                assert_eq!(before.len(), 4);
                let chosen = call
                    .normalize(|frame| subset >> frame & 1 == 1)
                    .unwrap()
                    .unwrap();
                assert_eq!(chosen, subset.count_ones() as usize);
                let after = kinds(&call);
                for (frame, (before, after)) in before.chars().zip(after.chars()).enumerate() {
                    let expected = if subset >> frame & 1 == 1 {
                        '0'
                    } else {
                        before
                    };
                    assert_eq!(after, expected, "{mix}, subset {subset:04b}, frame {frame}");
                }
                seen.push(before);
                parking.take().resume();
                let result;
                (store, result) = call.finish().unwrap();
                assert_eq!(
                    result.unwrap(),
                    expected(5 + round),
                    "{mix}, subset {subset:04b}"
                );
            }
        }
    }
    for (mix, _) in MIXES {
        assert!(
            seen.iter().any(|kinds| kinds == mix),
            "no chain was {mix}: {seen:?}"
        );
    }
}

#[test]
fn every_subset_of_a_borrowed_call_is_normalized() {
    for (mix, configure) in MIXES {
        for subset in 0..16u32 {
            let (mut store, run, parking) = setup(configure);
            for round in 0..3 {
                let mut call = run.call_async(&mut store, round);
                let mut cx = Context::from_waker(Waker::noop());
                assert!(Pin::new(&mut call).poll(&mut cx).is_pending());
                assert_eq!(call.frames().len(), 4);
                let chosen = call.normalize(|frame| subset >> frame & 1 == 1).unwrap();
                assert_eq!(chosen, subset.count_ones() as usize);
                // once more changes nothing
                assert_eq!(
                    call.normalize(|frame| subset >> frame & 1 == 1).unwrap(),
                    subset.count_ones() as usize
                );
                parking.take().resume();
                let Poll::Ready(result) = Pin::new(&mut call).poll(&mut cx) else {
                    panic!("it was resumed")
                };
                assert_eq!(
                    result.unwrap(),
                    expected(round),
                    "{mix}, subset {subset:04b}"
                );
            }
        }
    }
}

#[test]
fn counters_survive_suspension_and_normalization() {
    for normalize in [None, NonZeroU32::new(1)] {
        let transitions = Arc::new(AtomicU64::new(0));
        let seen = Arc::clone(&transitions);
        let mut config = Config::new();
        config
            .osr_after(20, 20, 1)
            .tier_up_on_calls(None)
            .tier_up_on_resumption(None)
            .stress_normalize(normalize);
        config.on_event(move |event| {
            if matches!(event, Event::Transition { .. }) {
                seen.fetch_add(1, Ordering::Relaxed);
            }
        });
        let engine = Engine::new(&config);
        let module = Module::new(
            &engine,
            r#"(module
            (import "host" "next" (func $next (result i64)))
            (func (export "run") (param $n i32) (result i64) (local $sum i64)
                (loop $l
                    (local.set $sum (i64.add (local.get $sum) (call $next)))
                    (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.get $sum)))"#,
        )
        .unwrap();
        let parking = Parking::default();
        let awaiter = parking.clone();
        let mut linker = Linker::new(&engine);
        linker
            .func_awaiter("host", "next", move |_, ()| awaiter.clone())
            .unwrap();
        let mut store = Store::new(&engine, ());
        let run = linker
            .instantiate(&mut store, &module)
            .unwrap()
            .get_typed_func::<i32, i64>(&store, "run")
            .unwrap();
        let call = run.start(store, 30);
        let mut awaits = 0;
        while !call.is_finished() {
            let kind = call.code_kinds().unwrap()[0];
            // the twentieth pass of the header comes before the twentieth await
            let hot = awaits >= 19;
            if normalize.is_some() || !hot {
                assert_eq!(kind, CodeKind::Tier0, "await {awaits}");
            } else {
                assert!(matches!(kind, CodeKind::Osr(_)), "await {awaits}: {kind:?}");
            }
            assert_eq!(
                transitions.load(Ordering::Relaxed) > 0,
                hot,
                "await {awaits}: every iteration of which suspended"
            );
            parking.take().resume();
            awaits += 1;
        }
        assert_eq!(awaits, 30);
        assert_eq!(call.finish().unwrap().1.unwrap(), 330);
    }
}
