//! Linear memory: loops of loads and stores, in guarded memories and with explicit checks.
//!
//! Informs `Config::memory_guard`: what the checks cost. Every access of `scattered` needs a check of its own; a loop that
//! walks through memory at a distance that stays the same is the same to both, since nothing proves its bounds.

#![expect(missing_docs, reason = "criterion's macros")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use midair::{Config, Engine, Linker, Module, Store, Tiers, TypedFunc};
use std::hint::black_box;

/// Rounds per batch.
const ROUNDS: u32 = 1000;

const GUEST: &str = r#"(module
    (memory 16)
    (func (export "scattered") (param $n i32) (result i32) (local $at i32) (local $sum i32)
        (local.set $at (i32.const 1))
        (loop $again
            (local.set $at (i32.and
                (i32.add (i32.mul (local.get $at) (i32.const 1103515245)) (i32.const 12345))
                (i32.const 0xffff0)))
            (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
            (i32.store offset=4 (i32.xor (local.get $at) (i32.const 0x8000)) (local.get $sum))
            (local.set $sum (i32.xor (local.get $sum)
                (i32.load offset=8 (i32.xor (local.get $at) (i32.const 0x4000)))))
            (i32.store offset=12 (i32.xor (local.get $at) (i32.const 0x2000)) (local.get $n))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "copied") (param $n i32) (result i32) (local $from i32) (local $to i32)
        (local.set $to (i32.const 0x80000))
        (loop $again
            (i64.store (local.get $to) (i64.load (local.get $from)))
            (i64.store offset=8 (local.get $to) (i64.load offset=8 (local.get $from)))
            (local.set $from (i32.add (local.get $from) (i32.const 16)))
            (local.set $to (i32.add (local.get $to) (i32.const 16)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $to))
    (func (export "load") (param i32) (result i32) (i32.load (local.get 0))))"#;

fn memory(c: &mut Criterion) {
    for (tier, tiers) in [("tier0", Tiers::Tier0), ("tier1", Tiers::Tier1)] {
        for (checks, guard) in [("guarded", true), ("explicit", false)] {
            let engine = Engine::new(Config::new().tiers(tiers).memory_guard(guard));
            let module = Module::new(&engine, GUEST).expect("valid");
            let mut store = Store::new(&engine, ());
            let instance = Linker::new(&engine)
                .instantiate(&mut store, &module)
                .expect("address space");
            for name in ["scattered", "copied"] {
                let run: TypedFunc<u32, u32> =
                    instance.get_typed_func(&store, name).expect("exported");
                let mut group = c.benchmark_group(format!("memory/{name}/{tier}"));
                group.throughput(Throughput::Elements(u64::from(ROUNDS)));
                group.bench_function(checks, |b| {
                    b.iter(|| run.call(&mut store, black_box(ROUNDS)).expect("returns"));
                });
            }
        }
    }
}

/// A trap by a fault, and one by a jump.
fn traps(c: &mut Criterion) {
    for (checks, guard) in [("guarded", true), ("explicit", false)] {
        let engine = Engine::new(Config::new().tiers(Tiers::Tier1).memory_guard(guard));
        let module = Module::new(&engine, GUEST).expect("valid");
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine)
            .instantiate(&mut store, &module)
            .expect("address space");
        let run: TypedFunc<u32, u32> = instance.get_typed_func(&store, "load").expect("exported");
        c.bench_function(&format!("memory/trap/{checks}"), |b| {
            b.iter(|| {
                run.call(&mut store, black_box(1 << 30))
                    .expect_err("too far")
            });
        });
    }
}

criterion_group!(benches, memory, traps);
criterion_main!(benches);
