//! Modules as bytes: they come back as they were, and hostile bytes are refused.

use midair::{
    CodeKind, CompileError, Config, DeserializeError, Engine, Event, Instance, Linker, Module,
    Result, Store, Tiers,
};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

const PROGRAM: &str = r#"(module
    (import "host" "seed" (func $seed (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 4) "\05")
    (func $square (param i32) (result i32) (block (result i32) (i32.mul (local.get 0) (local.get 0))))
    (func (export "run") (param $n i32) (result i32) (local $sum i32)
        (local.set $sum (i32.add (call $seed) (i32.load8_u (i32.const 4))))
        (loop $again
            (local.set $sum (i32.add (local.get $sum) (call $square (local.get $n))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum))
    (func (export "cold") (result i32) (i32.const 1)))"#;

fn run(engine: &Engine, module: &Module, n: i32) -> Result<i32> {
    let mut linker = Linker::new(engine);
    linker.func_wrap("host", "seed", || 100)?;
    let mut store = Store::new(engine, ());
    let instance = linker.instantiate(&mut store, module)?;
    let run = instance.get_typed_func::<i32, i32>(&store, "run")?;
    run.call(&mut store, n)
}

/// An engine, and how often it published tier-1 code.
fn counting(tiers: Tiers) -> (Engine, Arc<AtomicU32>) {
    let optimized = Arc::new(AtomicU32::new(0));
    let mut config = Config::new();
    let counter = Arc::clone(&optimized);
    config.tiers(tiers).on_event(move |event| {
        if matches!(
            event,
            Event::Publish {
                kind: CodeKind::Tier1,
                ..
            }
        ) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (Engine::new(&config), optimized)
}

#[test]
fn a_module_comes_back_as_it_was() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM)?;
    let bytes = module.serialize();
    let again = Module::deserialize(&Engine::default(), &bytes)?;
    assert_eq!(again.serialize(), bytes);
    assert!(again.imports().eq(module.imports()));
    assert!(again.exports().eq(module.exports()));
    assert_eq!(run(again.engine(), &again, 10)?, 105 + 385);
    Ok(())
}

#[test]
fn hot_functions_are_remembered() -> Result<()> {
    let (engine, optimized) = counting(Tiers::Tiered);
    let module = Module::new(&engine, PROGRAM)?;
    let cold = module.serialize();
    let expected = run(&engine, &module, 1_000_000)?;
    let hot = module.serialize();
    assert_eq!(
        hot.len(),
        cold.len() + 8,
        "two functions were worth optimizing"
    );

    for (bytes, tiers, at_once) in [
        (&cold, Tiers::Tiered, 0),
        (&hot, Tiers::Tiered, 2),
        (&hot, Tiers::Tier0, 0),
    ] {
        let (engine, optimized) = counting(tiers);
        let again = Module::deserialize(&engine, bytes)?;
        assert_eq!(
            optimized.load(Ordering::Relaxed),
            0,
            "nothing is compiled before it is called"
        );
        assert_eq!(run(&engine, &again, 1)?, 106);
        assert_eq!(optimized.load(Ordering::Relaxed), at_once);
        assert_eq!(run(&engine, &again, 1_000_000)?, expected);
    }
    assert!(optimized.load(Ordering::Relaxed) >= 1);
    Ok(())
}

#[test]
fn every_cut_and_every_flipped_bit_is_noticed() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM)?;
    run(&engine, &module, 1_000_000)?;
    let bytes = module.serialize();
    for len in 0..bytes.len() {
        let error = Module::deserialize(&engine, &bytes[..len]).unwrap_err();
        assert!(error.is::<DeserializeError>(), "{len}: {error}");
    }
    for bit in 0..8 * bytes.len() {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let error = Module::deserialize(&engine, &bytes).unwrap_err();
        assert!(error.is::<DeserializeError>(), "{bit}: {error}");
    }
    let mut longer = bytes.clone();
    longer.push(0);
    let error = Module::deserialize(&engine, &longer).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&DeserializeError::Length));
    Ok(())
}

/// The checksum of the format, by whoever wants to deceive.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let sum = bytes[..24]
        .iter()
        .chain(&bytes[32..])
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, &byte| {
            (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    bytes[24..32].copy_from_slice(&sum.to_le_bytes());
    bytes
}

#[test]
fn a_right_checksum_is_not_believed() -> Result<()> {
    let engine = Engine::default();
    let module = Module::new(&engine, PROGRAM)?;
    run(&engine, &module, 1_000_000)?;
    let bytes = module.serialize();
    assert_eq!(sealed(bytes.clone()), bytes);
    let wasm = 32..bytes.len() - 8;
    let (mut refused, mut accepted) = (0, 0);
    for bit in 8 * wasm.start..8 * wasm.end {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        // what is still valid is some other module, and safe
        match Module::deserialize(&engine, sealed(bytes)) {
            Ok(_) => accepted += 1,
            Err(error) => {
                assert!(error.is::<CompileError>(), "{bit}: {error}");
                refused += 1;
            }
        }
    }
    assert!(
        refused > 100 && accepted > 100,
        "{refused} refused, {accepted} accepted"
    );

    for index in [0u32, 4, u32::MAX] {
        let mut bytes = bytes.clone();
        let end = bytes.len();
        bytes[end - 4..].copy_from_slice(&index.to_le_bytes());
        let error = Module::deserialize(&engine, sealed(bytes)).unwrap_err();
        let expected = DeserializeError::UnknownFunction { index };
        assert_eq!(error.downcast_ref(), Some(&expected));
    }
    for version in [0u32, 2, u32::MAX] {
        let mut bytes = bytes.clone();
        bytes[8..12].copy_from_slice(&version.to_le_bytes());
        let error = Module::deserialize(&engine, sealed(bytes)).unwrap_err();
        let expected = DeserializeError::Version {
            found: version,
            supported: 1,
        };
        assert_eq!(error.downcast_ref(), Some(&expected));
    }
    for (field, value) in [(12, u32::MAX), (16, u32::MAX), (20, u32::MAX), (20, 1)] {
        let mut bytes = bytes.clone();
        bytes[field..field + 4].copy_from_slice(&value.to_le_bytes());
        let error = Module::deserialize(&engine, sealed(bytes)).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&DeserializeError::Length));
    }
    Ok(())
}

#[test]
fn text_and_plain_wasm_are_not_serialized_modules() -> Result<()> {
    let engine = Engine::default();
    for bytes in [PROGRAM.as_bytes(), b"\0asm\x01\0\0\0", b""] {
        let error = Module::deserialize(&engine, bytes).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&DeserializeError::NotAModule));
    }
    let empty = Module::deserialize(&engine, Module::new(&engine, "(module)")?.serialize())?;
    let mut store = Store::new(&engine, ());
    Instance::new(&mut store, &empty, &[])?;
    Ok(())
}
