//! From tier-0 code into OSR code: the transition itself, and making the code.
//!
//! Informs the counts of `Config::osr_after`: a loop is worth replacing once the passes it has left save more than
//! `osr_transition/compile` costs, and an activation that finds OSR code made pays `osr_transition/jump` alone.

#![expect(missing_docs, reason = "criterion's macros")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use midair::{Config, Engine, Linker, Module, Store, TypedFunc};
use std::hint::black_box;

const FLAT: &str = r#"(module
    (func (export "run") (param $n i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (i64.add (local.get $sum) (local.get $n)))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $sum)))"#;

const NEST: &str = r#"(module
    (func (export "run") (param $n i64) (result i64) (local $i i64) (local $j i64) (local $sum i64)
        (loop $outer
            (local.set $i (local.get $n))
            (loop $middle
                (local.set $j (local.get $n))
                (loop $inner
                    (local.set $sum (i64.add (i64.mul (local.get $sum) (i64.const 31)) (local.get $j)))
                    (br_if $inner (i64.ne (local.tee $j (i64.sub (local.get $j) (i64.const 1))) (i64.const 0))))
                (br_if $middle (i64.ne (local.tee $i (i64.sub (local.get $i) (i64.const 1))) (i64.const 0))))
            (br_if $outer (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $sum)))"#;

fn load(config: &Config, text: &str) -> (Store<()>, TypedFunc<u64, u64>) {
    let engine = Engine::new(config);
    let module = Module::new(&engine, text).expect("valid");
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine)
        .instantiate(&mut store, &module)
        .expect("no imports");
    let run = instance.get_typed_func(&store, "run").expect("exported");
    (store, run)
}

/// Tier-0 code with patchpoints; the first pass of a loop is a hit that triggers at once, if `osr` says so.
fn config(osr: bool) -> Config {
    let mut config = Config::new();
    let passes = if osr { 1 } else { u32::MAX };
    config
        .osr_after(passes, passes, 1)
        .tier_up_on_calls(None)
        .compiler_checks(false);
    config
}

/// A call whose loop makes two passes: with OSR code there already, the difference between the two is hit and jump.
fn jump(c: &mut Criterion) {
    let mut group = c.benchmark_group("osr_transition/jump");
    for (name, osr) in [("taken", true), ("not_taken", false)] {
        let (mut store, run) = load(&config(osr), FLAT);
        run.call(&mut store, 2).expect("compiles");
        group.bench_function(name, |b| {
            b.iter(|| run.call(&mut store, black_box(2)).expect("returns"))
        });
    }
}

/// The first call of a new module: tier-0 code, and OSR code for what is hot at once.
fn compile(c: &mut Criterion) {
    let mut group = c.benchmark_group("osr_transition/compile");
    for (program, text) in [("flat", FLAT), ("nest_of_three", NEST)] {
        for (name, osr) in [("tier0_and_osr", true), ("tier0", false)] {
            let config = config(osr);
            group.bench_function(format!("{program}/{name}"), |b| {
                b.iter_batched_ref(
                    || load(&config, text),
                    |(store, run)| run.call(&mut *store, 2).expect("returns"),
                    BatchSize::SmallInput,
                );
            });
        }
    }
}

criterion_group!(benches, jump, compile);
criterion_main!(benches);
