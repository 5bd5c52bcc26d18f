//! A mistake is answered with a sentence that says what it was.

use midair::{Engine, Instance, Linker, Module, Result, Store, Trap, Val};
use std::{
    error::Error as StdError,
    panic::{AssertUnwindSafe, catch_unwind},
};

fn refusal(bytes: impl AsRef<[u8]>) -> String {
    let refused = Module::new(&Engine::default(), bytes);
    refused.expect_err("it is no module").to_string()
}

fn instance(text: &str) -> (Store<()>, Instance) {
    let engine = Engine::default();
    let module = Module::new(&engine, text).expect("valid");
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine)
        .instantiate(&mut store, &module)
        .expect("no imports");
    (store, instance)
}

#[test]
fn what_is_no_module_is_called_so() {
    let neither =
        "invalid module at offset 0x0: neither a binary, which begins with `\\0asm`, nor text";
    assert_eq!(refusal(b"\x01\x02garbage"), neither);
    assert_eq!(refusal(b""), neither);
    let text = Module::from_binary(&Engine::default(), b"(module)");
    assert_eq!(
        text.expect_err("text").to_string(),
        "invalid module at offset 0x0: magic header not detected: a binary begins with `\\0asm`"
    );
}

#[test]
fn what_is_not_supported_is_named() {
    assert_eq!(
        refusal("(component)"),
        "unsupported at offset 0x0: a component, not a core module"
    );
    let vector = "(module (func (drop (v128.const i32x4 1 2 3 4))))";
    assert!(refusal(vector).ends_with(": SIMD"), "{}", refusal(vector));
}

#[test]
fn an_export_that_is_no_function_is_called_what_it_is() {
    let (store, instance) = instance(r#"(module (memory (export "memory") 1))"#);
    let missing = instance.get_typed_func::<(), ()>(&store, "memory");
    assert_eq!(
        missing.expect_err("a memory").to_string(),
        "no function is exported as `memory`, but a memory of at least 1 pages"
    );
}

#[test]
fn a_global_of_another_type_is_named_with_both_types() {
    let (mut store, instance) =
        instance(r#"(module (global (export "g") (mut i32) (i32.const 5)))"#);
    let global = instance.get_global(&store, "g").expect("exported");
    assert_eq!(
        global
            .set(&mut store, Val::I64(3))
            .expect_err("an i64")
            .to_string(),
        "a global of type i32 was set to a value of type i64"
    );
}

#[test]
fn a_memory_of_another_store_panics_with_a_sentence() {
    let (store, instance) = instance(r#"(module (memory (export "memory") 1))"#);
    let memory = instance.get_memory(&store, "memory").expect("exported");
    let other = Store::new(store.engine(), ());
    let panic = catch_unwind(AssertUnwindSafe(|| memory.size(&other))).expect_err("another store");
    assert_eq!(
        panic.downcast_ref::<String>().expect("a message"),
        "a memory was used with another store than its own"
    );
}

#[test]
fn a_boxed_error_prints_its_backtrace_too() {
    fn run() -> Result<(), Box<dyn StdError + Send + Sync>> {
        let (mut store, instance) = instance(r#"(module (func (export "f") unreachable))"#);
        let run = instance.get_typed_func::<(), ()>(&store, "f")?;
        Ok(run.call(&mut store, ())?)
    }
    let error = run().expect_err("it traps");
    assert_eq!(error.to_string(), format!("{}", Trap::Unreachable));
    assert!(format!("{error:?}").contains(" - f"), "{error:?}");
}
