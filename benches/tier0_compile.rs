//! How fast tier-0 compiles.
//!
//! Informs whether functions may go on being compiled at their first call, on the thread that calls them: that is right as
//! long as compiling a body costs about what reading it does. Throughput is in bytes of Wasm body.

#![expect(missing_docs, reason = "criterion's macros")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use midair::{Engine, Module};
use midair_jit::{
    options::CompileOptions,
    tier0,
    wasm::{liveness::Liveness, types::FuncIndex},
};

const PROGRAMS: [(&str, &str); 4] = [
    ("loop", include_str!("../tests/corpus/loops/sum.wat")),
    ("nest", include_str!("../tests/corpus/loops/deep_nest.wat")),
    (
        "mandelbrot",
        include_str!("../tests/corpus/loops/mandelbrot.wat"),
    ),
    (
        "big_function",
        include_str!("../tests/corpus/calls/big_function.wat"),
    ),
];

fn compile(c: &mut Criterion) {
    let engine = Engine::default();
    let options = CompileOptions {
        checkers: false,
        ..CompileOptions::default()
    };
    for (name, text) in PROGRAMS {
        let binary = wat::parse_str(text).expect("well-formed");
        let module = Module::new(&engine, &binary).expect("valid");
        let code = module.code();
        let functions = u32::try_from(code.entries().len()).expect("32 bits");
        let own = || (code.module.imported_functions..functions).map(FuncIndex);
        let bytes: u64 = own()
            .map(|func| code.module.body(func).range())
            .map(|range| range.end - range.start)
            .sum();
        let liveness: Vec<Liveness> = own()
            .map(|func| Liveness::compute(&code.module, func).expect("validated"))
            .collect();

        let mut group = c.benchmark_group(format!("tier0_compile/{name}"));
        group.throughput(Throughput::Bytes(bytes));
        group.bench_function("validate", |b| {
            b.iter(|| Module::validate(&engine, &binary).expect("valid"));
        });
        group.bench_function("liveness", |b| {
            b.iter(|| {
                own()
                    .map(|func| Liveness::compute(&code.module, func).is_ok())
                    .filter(|&ok| ok)
                    .count()
            });
        });
        group.bench_function("emit", |b| {
            b.iter(|| {
                let drafts = own().zip(&liveness).map(|(func, liveness)| {
                    tier0::compile(&code.module, func, &code.layout, &options, liveness)
                        .expect("supported")
                });
                drafts.map(|draft| draft.bytes.len()).sum::<usize>()
            });
        });
    }
}

criterion_group!(benches, compile);
criterion_main!(benches);
