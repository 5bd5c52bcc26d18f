//! Calls: guest to guest, guest to host, host to guest.
//!
//! Informs the calling convention: that no register survives a call makes suspension simple, and these are what it costs. Ids
//! with a number of calls in them are per batch of that many; divide.

#![expect(missing_docs, reason = "criterion's macros")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use midair::{Config, Engine, Linker, Module, Store, Tiers, TypedFunc, Val};
use std::hint::black_box;

/// Calls per batch.
const CALLS: u64 = 1000;

const GUEST: &str = r#"(module
    (import "host" "add" (func $host_add (param i64 i64) (result i64)))
    (import "host" "ready" (func $host_ready (param i64 i64) (result i64)))
    (func $add (export "add") (param i64 i64) (result i64) (i64.add (local.get 0) (local.get 1)))
    (func $many (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)
        (i64.add (local.get 0) (local.get 9)))
    (func (export "two_arguments") (param $n i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (call $add (local.get $sum) (local.get $n)))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $sum))
    (func (export "ten_arguments") (param $n i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (call $many (local.get $sum)
                (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
                (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (local.get $n)))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $sum))
    (func (export "host") (param $n i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (call $host_add (local.get $sum) (local.get $n)))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $sum))
    (func (export "host_future_ready") (param $n i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (call $host_ready (local.get $sum) (local.get $n)))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $sum)))"#;

const OTHER: &str = r#"(module
    (import "guest" "add" (func $add (param i64 i64) (result i64)))
    (func (export "across_instances") (param $n i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (call $add (local.get $sum) (local.get $n)))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $sum)))"#;

fn calls(c: &mut Criterion) {
    for (tier, tiers) in [("tier0", Tiers::Tier0), ("tier1", Tiers::Tier1)] {
        let engine = Engine::new(Config::new().tiers(tiers));
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("host", "add", |a: u64, b: u64| a.wrapping_add(b))
            .expect("defined once");
        linker
            .func_wrap_async("host", "ready", |_, (a, b): (u64, u64)| async move {
                a.wrapping_add(b)
            })
            .expect("defined once");
        let mut store = Store::new(&engine, ());
        let module = Module::new(&engine, GUEST).expect("valid");
        let guest = linker.instantiate(&mut store, &module).expect("linked");
        linker
            .instance(&mut store, "guest", guest)
            .expect("defined once");
        let module = Module::new(&engine, OTHER).expect("valid");
        let other = linker.instantiate(&mut store, &module).expect("linked");

        for (direction, instance, name) in [
            ("guest_to_guest", guest, "two_arguments"),
            ("guest_to_guest", guest, "ten_arguments"),
            ("guest_to_guest", other, "across_instances"),
            ("guest_to_host", guest, "host"),
            ("guest_to_host", guest, "host_future_ready"),
        ] {
            let run: TypedFunc<u64, u64> = instance.get_typed_func(&store, name).expect("exported");
            let mut group = c.benchmark_group(format!("calls/{direction}/{name}"));
            group.throughput(Throughput::Elements(CALLS));
            group.bench_function(format!("{tier}_x{CALLS}"), |b| {
                b.iter(|| run.call(&mut store, black_box(CALLS)).expect("returns"));
            });
        }

        let mut group = c.benchmark_group("calls/host_to_guest");
        let typed: TypedFunc<(u64, u64), u64> =
            guest.get_typed_func(&store, "add").expect("exported");
        group.bench_function(format!("typed/{tier}"), |b| {
            b.iter(|| typed.call(&mut store, black_box((1, 2))).expect("returns"));
        });
        let func = guest.get_func(&store, "add").expect("exported");
        group.bench_function(format!("dynamic/{tier}"), |b| {
            b.iter(|| {
                func.call(&mut store, black_box(&[Val::I64(1), Val::I64(2)]))
                    .expect("returns")
            });
        });
    }
}

criterion_group!(benches, calls);
criterion_main!(benches);
