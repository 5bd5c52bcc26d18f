//! Random modules: results, memory and globals must be wasmi's, in every way of running.

use crate::{
    machine::{Behaviour, Machine, Outcome},
    oracle::Oracle,
};
use midair_jit::{
    arch::masm::CpuFeatures,
    ir::value::TrapCode,
    options::CompileOptions,
    wasm::module::{Extern, Module},
};
use wasm_smith::{Config, Module as Random};

/// Modules per run; `MIDAIR_RANDOM_MODULES` asks for more, `MIDAIR_RANDOM_SEED` for others.
const MODULES: u64 = 150;

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

fn config() -> Config {
    Config {
        max_imports: 4,
        allow_start_export: false,
        bulk_memory_enabled: false,
        canonicalize_nans: true,
        exceptions_enabled: false,
        export_everything: true,
        extended_const_enabled: false,
        gc_enabled: false,
        compact_imports_enabled: false,
        max_data_segments: 0,
        max_element_segments: 0,
        max_funcs: 12,
        min_funcs: 3,
        max_instructions: 400,
        max_memories: 1,
        max_memory32_bytes: 4 * 65536,
        max_tables: 0,
        memory64_enabled: false,
        memory_max_size_required: true,
        min_memories: 1,
        reference_types_enabled: false,
        relaxed_simd_enabled: false,
        simd_enabled: false,
        tail_call_enabled: false,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}

fn argument(seed: u64, n: usize, is_64: bool, is_float: bool) -> u64 {
    const EDGES: [u64; 8] = [0, 1, 2, 7, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, u64::MAX];
    let pick = seed
        .wrapping_add(n as u64)
        .wrapping_mul(0x2545_f491_4f6c_dd1d)
        >> 40;
    let edge = EDGES[(pick % 8) as usize];
    match (is_float, is_64) {
        (true, true) => (edge as i64 as f64 / 3.0).to_bits(),
        (true, false) => u64::from((edge as i32 as f32 / 3.0).to_bits()),
        (false, true) => edge,
        (false, false) => edge & 0xffff_ffff,
    }
}

type Call = (String, Vec<u64>, Outcome);

/// Calls every export in order, up to the first that exhausts the oracle's stack.
fn ask(module: &Module, wasm: &[u8], seed: u64) -> (Oracle, Vec<Call>) {
    let mut oracle = Oracle::from_bytes(wasm);
    let mut calls = Vec::new();
    for (name, item) in &module.exports {
        let Extern::Func(func) = *item else { continue };
        if module.is_imported(func) {
            continue;
        }
        let params = &module.func_type(func).params;
        let args: Vec<u64> = params
            .iter()
            .enumerate()
            .map(|(n, ty)| argument(seed, n, ty.is_64(), ty.is_float()))
            .collect();
        let outcome = oracle.call(name, &args);
        if matches!(outcome, Outcome::Trapped(code, _) if code == TrapCode::StackOverflow as u32) {
            // their stack is not ours; what follows depends on it
            break;
        }
        calls.push((name.clone(), args, outcome));
    }
    (oracle, calls)
}

fn check(seed: u64) -> usize {
    let bytes = bytes(seed, 6000);
    let mut data = arbitrary::Unstructured::new(&bytes);
    let Ok(mut random) = Random::new(config(), &mut data) else {
        return 0;
    };
    random
        .ensure_termination(1000)
        .expect("nothing is invalid on purpose");
    let wasm = random.to_bytes();
    let module = Module::new(&wasm).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let functions_only = module
        .imports
        .iter()
        .all(|import| matches!(import.item, Extern::Func(_)));
    if !functions_only {
        return 0;
    }
    // wasmi asserts things of itself that some modules make false; those are no oracle
    let answers = std::panic::catch_unwind(|| ask(&module, &wasm, seed));
    let Ok((oracle, calls)) = answers else {
        return 0;
    };
    let after_overflow = calls.len()
        < module
            .exports
            .iter()
            .filter(|(_, item)| matches!(item, Extern::Func(func) if !module.is_imported(*func)))
            .count();
    let ways = [
        (CpuFeatures::detect(), false, 0, 1000),
        (CpuFeatures::BASELINE, false, 0, 1),
        (CpuFeatures::detect(), true, 0, 1000),
        (CpuFeatures::detect(), false, 1, 2),
        (CpuFeatures::detect(), true, 3, 5),
    ];
    for (features, suspend_imports, suspend_checkpoints, patchpoint_counter) in ways {
        let options = CompileOptions {
            patchpoint_counter,
            ..CompileOptions::default()
        };
        let mut machine = Machine::from_bytes(&wasm, features, &options);
        machine.behave(Behaviour {
            suspend_imports,
            suspend_checkpoints,
        });
        for (name, args, expected) in &calls {
            let mut ours = machine.call(name, args);
            if let Outcome::Trapped(_, offset) = &mut ours {
                *offset = 0;
            }
            assert_eq!(
                &ours, expected,
                "seed {seed}, {name} {args:x?}, suspending {suspend_imports} {suspend_checkpoints}"
            );
        }
        if after_overflow {
            continue;
        }
        for (name, item) in &module.exports {
            match item {
                Extern::Global(global) => {
                    assert_eq!(
                        machine.global(global.index()),
                        oracle.global(name),
                        "seed {seed}, global {name}"
                    );
                }
                Extern::Memory => {
                    assert!(
                        machine.memory() == oracle.memory(name),
                        "seed {seed}, memory"
                    );
                }
                Extern::Func(_) | Extern::Table(_) => {}
            }
        }
    }
    calls.len()
}

#[test]
fn random_modules_agree_with_wasmi() {
    let first = from_environment("MIDAIR_RANDOM_SEED", 1);
    let modules = from_environment("MIDAIR_RANDOM_MODULES", MODULES);
    let calls: usize = (first..first + modules).map(check).sum();
    assert!(calls as u64 > modules, "{calls} calls of {modules} modules");
}
