//! What tests at loop headers cost a hot loop: the checkpoint in all code, the patchpoint counter in tier-0.
//!
//! Informs whether loops can be interrupted, suspended and metered by one word that every loop header tests, or whether the
//! test must go (a page that is made unreadable, say). `tier0` is measured with patchpoints and without; the checkpoint's
//! own price shows by doing the same additions in a quarter of the passes (`unrolled_4`), and in `native`, which is the same
//! loop in Rust with such a test and without.

#![expect(missing_docs, reason = "criterion's macros")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use midair::{Config, Engine, Linker, Module, Store, Tiers, TypedFunc};
use std::{
    hint::black_box,
    sync::atomic::{AtomicU32, Ordering},
};

/// Additions per call, each dependent on the one before.
const ADDITIONS: u64 = 40_000;

const GUEST: &str = r#"(module
    (func (export "rolled") (param $n i64) (result i64) (local $x i64)
        (loop $again
            (local.set $x (i64.xor (i64.add (local.get $x) (local.get $n)) (i64.const 0x55)))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $x))
    (func (export "unrolled_4") (param $n i64) (result i64) (local $x i64)
        (loop $again
            (local.set $x (i64.xor (i64.add (local.get $x) (local.get $n)) (i64.const 0x55)))
            (local.set $x (i64.xor (i64.add (local.get $x) (local.get $n)) (i64.const 0x55)))
            (local.set $x (i64.xor (i64.add (local.get $x) (local.get $n)) (i64.const 0x55)))
            (local.set $x (i64.xor (i64.add (local.get $x) (local.get $n)) (i64.const 0x55)))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 4))) (i64.const 0))))
        (local.get $x)))"#;

fn guests(c: &mut Criterion) {
    let mut configs = Vec::new();
    // patchpoints that count down and are never hit
    let mut never = Config::new();
    never
        .osr_after(u32::MAX, u32::MAX, u32::MAX)
        .tier_up_on_calls(None);
    configs.push(("tier0_with_patchpoints", never));
    let mut without = Config::new();
    without.tiers(Tiers::Tier0);
    configs.push(("tier0_without_patchpoints", without));
    let mut osr = Config::new();
    osr.osr_after(1, 1, 1).tier_up_on_calls(None);
    configs.push(("osr", osr));
    let mut tier1 = Config::new();
    tier1.tiers(Tiers::Tier1);
    configs.push(("tier1", tier1));
    for (name, config) in &configs {
        let engine = Engine::new(config);
        let module = Module::new(&engine, GUEST).expect("valid");
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine)
            .instantiate(&mut store, &module)
            .expect("no imports");
        let mut group = c.benchmark_group(format!("checkpoint/{name}"));
        group.throughput(Throughput::Elements(ADDITIONS));
        for program in ["rolled", "unrolled_4"] {
            let run: TypedFunc<u64, u64> =
                instance.get_typed_func(&store, program).expect("exported");
            run.call(&mut store, ADDITIONS).expect("compiles");
            group.bench_function(program, |b| {
                b.iter(|| run.call(&mut store, black_box(ADDITIONS)).expect("returns"))
            });
        }
    }
}

#[inline(always)]
fn native_loop(mut n: u64, test: impl Fn() -> bool) -> u64 {
    let mut x = 0u64;
    while n != 0 {
        x = x.wrapping_add(n) ^ 0x55;
        n -= 1;
        if test() {
            break;
        }
    }
    x
}

fn native(c: &mut Criterion) {
    let word = AtomicU32::new(0);
    let word = black_box(&word);
    let mut group = c.benchmark_group("checkpoint/native");
    group.throughput(Throughput::Elements(ADDITIONS));
    group.bench_function("with_test", |b| {
        b.iter(|| native_loop(black_box(ADDITIONS), || word.load(Ordering::Relaxed) != 0));
    });
    group.bench_function("without_test", |b| {
        b.iter(|| native_loop(black_box(ADDITIONS), || false))
    });
}

criterion_group!(benches, guests, native);
criterion_main!(benches);
