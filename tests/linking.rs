//! What embedders link guests with: host functions of values, things of a store given by hand, names, prepared instances.

#[path = "harness/pause.rs"]
mod pause;

use midair::{
    Caller, CannotSuspend, CompileError, Engine, Extern, ExternRef, ExternType, Func, FuncType,
    Global, Instance, LinkError, Linker, Memory, Module, Result, Store, Table, TableType, Trap,
    Val, ValType, executor,
};
use pause::Pause;
use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Context,
};

fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, text).unwrap_or_else(|error| panic!("{error}"))
}

fn i32s(values: &[Val]) -> Vec<i32> {
    let i32 = |value: &Val| match value {
        Val::I32(value) => *value,
        other => panic!("{other} is no i32"),
    };
    values.iter().map(i32).collect()
}

const I32: ValType = ValType::I32;

#[test]
fn a_host_function_of_values_gets_what_its_type_says() -> Result<()> {
    let engine = Engine::default();
    let program = module(
        &engine,
        r#"(module
            (import "host" "mix" (func $mix (param i32 i64 f32 f64) (result f64 f32 i64 i32)))
            (func (export "run") (result f64 f32 i64 i32)
                (call $mix (i32.const 1) (i64.const 2) (f32.const 3) (f64.const 4))))"#,
    );
    let ty = FuncType::new(
        [I32, ValType::I64, ValType::F32, ValType::F64],
        [ValType::F64, ValType::F32, ValType::I64, I32],
    );
    let mut linker = Linker::<Vec<String>>::new(&engine);
    linker.func_new("host", "mix", ty, |mut caller, params, results| {
        let seen = params.iter().map(ToString::to_string).collect();
        *caller.data_mut() = seen;
        for (result, param) in results.iter_mut().zip(params.iter().rev()) {
            *result = param.clone();
        }
        Ok(())
    })?;
    let mut store = Store::new(&engine, Vec::new());
    let instance = linker.instantiate(&mut store, &program)?;
    let run = instance.get_typed_func::<(), (f64, f32, i64, i32)>(&store, "run")?;
    assert_eq!(run.call(&mut store, ())?, (4.0, 3.0, 2, 1));
    assert_eq!(*store.data(), ["1", "2", "3", "4"]);
    Ok(())
}

#[test]
fn a_host_function_of_values_may_wait() -> Result<()> {
    let engine = Engine::default();
    // more results than there are registers for
    let program = module(
        &engine,
        r#"(module
            (import "host" "split" (func $split (param i32) (result i32 i32 i32 i32 i32)))
            (func (export "run") (param i32) (result i32 i32 i32 i32 i32)
                (call $split (local.get 0))))"#,
    );
    let mut linker = Linker::<u32>::new(&engine);
    let ty = FuncType::new([I32], [I32; 5]);
    linker.func_new_async("host", "split", ty, |caller, params| async move {
        let Val::I32(x) = params[0] else {
            unreachable!()
        };
        Pause::default().await;
        caller.with(|mut caller| *caller.data_mut() += 1)?;
        Ok((0..5)
            .map(|digit| Val::I32(x / 10_i32.pow(digit) % 10))
            .collect())
    })?;
    let mut store = Store::new(&engine, 0);
    let run = linker
        .instantiate(&mut store, &program)?
        .get_func(&store, "run")
        .expect("exported");
    let results = executor::block_on(run.call_async(&mut store, &[Val::I32(54321)])?)?;
    assert_eq!(i32s(&results), [1, 2, 3, 4, 5]);
    assert_eq!(*store.data(), 1);

    let error = run.call(&mut store, &[Val::I32(1)]).unwrap_err();
    let cannot: &CannotSuspend = error.downcast_ref().expect("it waits");
    assert_eq!(cannot.awaiting, "host::split");

    // dropped while it waits; the instance can be used again
    {
        let mut call = run.call_async(&mut store, &[Val::I32(1)])?;
        let waker = std::task::Waker::noop();
        assert!(
            Pin::new(&mut call)
                .poll(&mut Context::from_waker(waker))
                .is_pending()
        );
    }
    let results = executor::block_on(run.call_async(&mut store, &[Val::I32(7)])?)?;
    assert_eq!(i32s(&results), [7, 0, 0, 0, 0]);
    Ok(())
}

#[test]
fn a_result_of_another_type_is_an_error_where_the_guest_called() -> Result<()> {
    let engine = Engine::default();
    let program = module(
        &engine,
        r#"(module
            (import "host" "f" (func $f (result i32)))
            (import "host" "g" (func $g (result i32)))
            (func (export "f") (result i32) (call $f))
            (func (export "g") (result i32) (call $g)))"#,
    );
    let mut linker = Linker::<()>::new(&engine);
    linker.func_new("host", "f", FuncType::new([], [I32]), |_, _, results| {
        results[0] = Val::I64(1);
        Ok(())
    })?;
    linker.func_new_async("host", "g", FuncType::new([], [I32]), |_, _| async {
        Pause::default().await;
        Ok(vec![])
    })?;
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &program)?;
    let f = instance.get_typed_func::<(), i32>(&store, "f")?;
    let error = f.call(&mut store, ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a host function of type () -> (i32) gave i64 as result 0"
    );
    assert_eq!(
        error.backtrace().expect("in a guest").frames()[0].func_name(),
        "f"
    );
    let g = instance.get_typed_func::<(), i32>(&store, "g")?;
    let error = executor::block_on(g.call_async(&mut store, ())).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a host function of type () -> (i32) gave 0 results"
    );
    Ok(())
}

#[test]
fn a_type_that_no_module_could_have_is_refused() {
    let mut store = Store::new(&Engine::default(), ());
    let ty = FuncType::new(std::iter::repeat_n(I32, 1001), []);
    let error = Func::new(&mut store, ty, |_, _, _| Ok(())).unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(CompileError::Limit { .. })
    ));
    let ty = FuncType::new(
        std::iter::repeat_n(I32, 1000),
        std::iter::repeat_n(I32, 1000),
    );
    let reversed = Func::new(&mut store, ty, |_, params, results| {
        results.clone_from_slice(params);
        results.reverse();
        Ok(())
    });
    let params: Vec<Val> = (0..1000).map(Val::I32).collect();
    let results = reversed.and_then(|reversed| reversed.call(&mut store, &params));
    assert_eq!(i32s(&results.expect("it is called"))[..3], [999, 998, 997]);
}

#[test]
fn functions_of_a_store_are_called_back_imported_and_exported_again() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, 10u32);
    let count = Func::wrap(&mut store, |mut caller: Caller<'_, u32>, by: u32| {
        *caller.data_mut() += by;
        *caller.data()
    })?;
    assert_eq!(count.ty(&store), FuncType::new([I32], [I32]));
    assert_eq!(i32s(&count.call(&mut store, &[Val::I32(1)])?), [11]);

    let inner = module(
        &engine,
        r#"(module
            (import "" "count" (func $count (param i32) (result i32)))
            (export "again" (func $count))
            (func (export "twice") (param i32) (result i32)
                (i32.add (call $count (local.get 0)) (call $count (local.get 0)))))"#,
    );
    let inner = Instance::new(&mut store, &inner, &[count.into()])?;
    let again = inner.get_func(&store, "again").expect("exported");
    let twice = inner.get_func(&store, "twice").expect("exported");
    assert_eq!(i32s(&again.call(&mut store, &[Val::I32(1)])?), [12]);

    let outer = module(
        &engine,
        r#"(module
            (import "a" "again" (func $again (param i32) (result i32)))
            (import "a" "twice" (func $twice (param i32) (result i32)))
            (func (export "run") (result i32)
                (i32.mul (call $again (i32.const 1)) (call $twice (i32.const 1)))))"#,
    );
    let outer = Instance::new(&mut store, &outer, &[again.into(), twice.into()])?;
    let run = outer.get_typed_func::<(), i32>(&store, "run")?;
    assert_eq!(run.call(&mut store, ())?, 13 * (14 + 15));
    Ok(())
}

#[test]
fn an_asynchronous_function_of_a_store_suspends_its_callers() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let wait = Func::wrap_async(&mut store, |_, x: i32| async move {
        Pause::default().await;
        x + 1
    })?;
    let typed = wait.typed::<i32, i32>(&store)?;
    assert_eq!(executor::block_on(typed.call_async(&mut store, 1))?, 2);
    let error = typed.call(&mut store, 1).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`Func::anonymous` cannot suspend beneath a synchronous `call` of `host function`"
    );

    let guest = module(
        &engine,
        r#"(module
            (import "" "" (func $wait (param i32) (result i32)))
            (func (export "run") (param i32) (result i32)
                (i32.mul (call $wait (local.get 0)) (call $wait (i32.const 6)))))"#,
    );
    let guest = Instance::new(&mut store, &guest, &[wait.into()])?;
    let run = guest.get_typed_func::<i32, i32>(&store, "run")?;
    assert_eq!(executor::block_on(run.call_async(&mut store, 5))?, 42);
    let call = run.start(store, 5);
    let (_store, result) = executor::block_on(call);
    assert_eq!(result?, 42);
    Ok(())
}

#[test]
fn a_panic_in_a_host_function_of_values_reaches_the_caller() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let panics = Func::new(&mut store, FuncType::default(), |_, _, _| {
        panic!("as it should")
    })?;
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(panics.call(&mut store, &[]));
    }));
    let message = caught.unwrap_err();
    assert_eq!(message.downcast_ref(), Some(&"as it should"));
    Ok(())
}

#[test]
fn an_import_of_the_wrong_type_is_named_with_what_was_wanted_and_what_was_found() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let func = Func::wrap(&mut store, |_: i64| ())?;
    let small = Memory::new(&mut store, 1, Some(9))?;
    let global = Global::new(&mut store, 1.5f32, false);
    let refused = |store: &mut Store<()>, import: &str, item: Extern| {
        let module = module(&engine, &format!(r#"(module (import "m" "f" {import}))"#));
        let error = Instance::new(&mut *store, &module, &[item]).unwrap_err();
        let mut linker = Linker::new(&engine);
        linker.define("m", "f", item).expect("a new name");
        let linked = linker.instantiate(&mut *store, &module).unwrap_err();
        assert_eq!(linked.to_string(), error.to_string());
        let message = error.to_string();
        let message = message.strip_prefix("incompatible import type for `m::f`: ");
        message.expect("it says where").to_owned()
    };
    for (import, item, message) in [
        (
            "(func (param i32))",
            Extern::from(func),
            "expected a function (i32) -> (), found a function (i64) -> ()",
        ),
        (
            "(memory 2 9)",
            small.into(),
            "expected a memory of at least 2 and at most 9 pages, \
             found a memory of at least 1 and at most 9 pages",
        ),
        (
            "(memory 1 8)",
            small.into(),
            "expected a memory of at least 1 and at most 8 pages, \
             found a memory of at least 1 and at most 9 pages",
        ),
        (
            "(global (mut f32))",
            global.into(),
            "expected a global of type mut f32, found a global of type f32",
        ),
        (
            "(table 3 funcref)",
            global.into(),
            "expected a table of at least 3 elements of type funcref, found a global of type f32",
        ),
    ] {
        assert_eq!(refused(&mut store, import, item), message);
    }

    let module = module(&engine, r#"(module (import "m" "f" (func (result i32))))"#);
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("m", "f", || 1i64)?;
    let expected = LinkError::IncompatibleImport {
        module: "m".into(),
        name: "f".into(),
        expected: "a function () -> (i32)".into(),
        found: "a function () -> (i64)".into(),
    };
    let error = linker.instantiate_pre(&module).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&expected));
    let error = linker.instantiate(&mut store, &module).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&expected));
    let error = Instance::new(&mut store, &module, &[]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "wrong number of imports: the module has 1, given were 0"
    );
    Ok(())
}

#[test]
fn what_lives_in_another_store_is_refused_by_name() -> Result<()> {
    let engine = Engine::default();
    let mut here = Store::new(&engine, ());
    let mut there = Store::new(&engine, ());
    let func = Func::wrap(&mut there, || ())?;
    let memory = Memory::new(&mut there, 1, None)?;
    for (import, item, found) in [
        ("(func)", Extern::from(func), "a function"),
        ("(memory 1)", memory.into(), "a memory"),
    ] {
        let module = module(&engine, &format!(r#"(module (import "m" "f" {import}))"#));
        let expected = LinkError::OtherStore {
            module: "m".into(),
            name: "f".into(),
            found: found.into(),
        };
        let error = Instance::new(&mut here, &module, &[item]).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&expected));
        let mut linker = Linker::new(&engine);
        linker.define("m", "f", item)?;
        let error = linker.instantiate(&mut here, &module).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&expected));
        let error = linker.get(&mut here, "m", "f").unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&expected));
        let error = linker
            .instantiate_pre(&module)?
            .instantiate(&mut here)
            .unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&expected));
        linker.instantiate(&mut there, &module)?;
    }
    Ok(())
}

#[test]
fn names_are_defined_once_unless_shadowing_is_allowed() -> Result<()> {
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker.func_wrap("a", "f", || 1)?;
    assert!(linker.func_wrap("a", "f", || 2).is_err());
    linker.alias("a", "f", "b", "g")?;
    linker.alias_module("a", "c")?;
    assert!(linker.alias("a", "f", "b", "g").is_err());
    assert!(linker.alias("a", "nothing", "b", "h").is_err());
    linker.allow_shadowing(true).func_wrap("a", "f", || 3)?;
    let mut store = Store::new(&engine, ());
    let mut call = |module: &str, name: &str| {
        let func = linker
            .get(&mut store, module, name)?
            .into_func()
            .expect("a function");
        func.typed::<(), i32>(&store)?.call(&mut store, ())
    };
    assert_eq!(call("a", "f")?, 3);
    assert_eq!(call("b", "g")?, 1);
    assert_eq!(call("c", "f")?, 1);
    assert_eq!(
        call("d", "f").unwrap_err().to_string(),
        "unknown import: `d::f` has not been defined"
    );
    Ok(())
}

#[test]
fn a_prepared_module_makes_instances_in_many_stores_and_threads() -> Result<()> {
    let engine = Engine::default();
    let program = module(
        &engine,
        r#"(module
            (import "host" "next" (func $next (result i32)))
            (global $first (mut i32) (i32.const 0))
            (func $start (global.set $first (call $next)))
            (start $start)
            (func (export "run") (result i32) (i32.add (global.get $first) (call $next))))"#,
    );
    let calls = Arc::new(AtomicU32::new(0));
    let mut linker = Linker::<u32>::new(&engine);
    linker.func_wrap("host", "next", {
        let calls = Arc::clone(&calls);
        move |mut caller: Caller<'_, u32>| {
            calls.fetch_add(1, Ordering::Relaxed);
            *caller.data_mut() += 1;
            *caller.data()
        }
    })?;
    let pre = linker.instantiate_pre(&program)?;
    drop(linker);
    assert_eq!(pre.module().imports().len(), 1);
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let (pre, engine) = (pre.clone(), &engine);
            scope.spawn(move || {
                for n in 0..20 {
                    let mut store = Store::new(engine, 100 * thread + n);
                    let instance = if n % 2 == 0 {
                        pre.instantiate(&mut store)
                    } else {
                        executor::block_on(pre.instantiate_async(&mut store))
                    };
                    let instance = instance.expect("it is made");
                    let run = instance
                        .get_typed_func::<(), u32>(&store, "run")
                        .expect("exported");
                    let sum = run.call(&mut store, ()).expect("it runs");
                    assert_eq!(sum, 2 * (100 * thread + n) + 3);
                }
            });
        }
    });
    assert_eq!(calls.load(Ordering::Relaxed), 120);
    Ok(())
}

#[test]
fn a_start_function_may_wait_in_instances_made_by_hand() -> Result<()> {
    let engine = Engine::default();
    let program = module(
        &engine,
        r#"(module
            (import "" "wait" (func $wait (param i32) (result i32)))
            (global $g (export "g") (mut i32) (i32.const 0))
            (func $start (global.set $g (call $wait (i32.const 6))))
            (start $start))"#,
    );
    let mut store = Store::new(&engine, ());
    let wait = Func::wrap_async(&mut store, |_, x: i32| async move {
        Pause::default().await;
        7 * x
    })?;
    let error = Instance::new(&mut store, &program, &[wait.into()]).unwrap_err();
    assert!(error.is::<CannotSuspend>(), "{error}");
    let imports = [wait.into()];
    let instance = executor::block_on(Instance::new_async(&mut store, &program, &imports))?;
    let g = instance.get_global(&store, "g").expect("exported");
    assert_eq!(g.get_as::<i32>(&store)?, 42);
    Ok(())
}

#[test]
fn exports_are_what_the_module_says() -> Result<()> {
    let engine = Engine::default();
    let program = module(
        &engine,
        r#"(module
            (func (export "f") (param i32))
            (memory (export "m") 1 2)
            (global (export "g") i64 (i64.const 5))
            (table (export "t") 3 9 funcref))"#,
    );
    let mut store = Store::new(&engine, ());
    let instance = Instance::new(&mut store, &program, &[])?;
    let found: Vec<(String, ExternType)> = instance
        .exports(&store)
        .map(|export| (export.name().to_owned(), export.into_extern().ty(&store)))
        .collect();
    let said: Vec<(String, ExternType)> = program
        .exports()
        .map(|export| (export.name().to_owned(), export.ty().clone()))
        .collect();
    assert_eq!(found, said);
    assert_eq!(
        said[3].1.to_string(),
        "a table of at least 3 and at most 9 elements of type funcref"
    );
    assert_eq!(program.get_export("m"), Some(said[1].1.clone()));
    assert_eq!(program.get_export("x"), None);
    Ok(())
}

#[test]
fn a_trap_beneath_a_function_of_a_store_is_the_callers() -> Result<()> {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let program = module(&engine, r#"(module (func (export "f") unreachable))"#);
    let instance = Instance::new(&mut store, &program, &[])?;
    let f = instance.get_func(&store, "f").expect("exported");
    let calls = Func::wrap(&mut store, move |caller: Caller<'_, ()>| {
        f.call(caller, &[]).map(drop)
    })?;
    let error = calls.call(&mut store, &[]).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::Unreachable));
    Ok(())
}

#[test]
fn host_functions_of_a_store_are_called_through_tables() -> Result<()> {
    let engine = Engine::default();
    let program = module(
        &engine,
        r#"(module
            (type $f (func (param i32) (result i32)))
            (import "" "table" (table 4 funcref))
            (func (export "call") (param i32 i32) (result i32)
                (call_indirect (type $f) (local.get 1) (local.get 0))))"#,
    );
    let mut store = Store::new(&engine, 5);
    let ty = TableType {
        element: ValType::FuncRef,
        min: 4,
        max: None,
    };
    let table = Table::new(&mut store, ty, None::<Func>)?;
    let sync = Func::wrap(&mut store, |caller: Caller<'_, i32>, x: i32| {
        x + *caller.data()
    })?;
    let waits = Func::new_async(&mut store, FuncType::new([I32], [I32]), |_, params| async {
        Pause::default().await;
        Ok(params)
    })?;
    let other = Func::wrap(&mut store, || ())?;
    for (index, func) in [(0, sync), (1, waits), (2, other)] {
        table.set(&mut store, index, func)?;
    }
    let instance = Instance::new(&mut store, &program, &[table.into()])?;
    let call = instance.get_typed_func::<(i32, i32), i32>(&store, "call")?;
    assert_eq!(call.call(&mut store, (0, 1))?, 6);
    assert_eq!(executor::block_on(call.call_async(&mut store, (1, 9)))?, 9);
    let error = call.call(&mut store, (2, 1)).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Trap::IndirectCallTypeMismatch));
    let Some(Val::FuncRef(Some(again))) = table.get(&store, 0) else {
        panic!("a function is there");
    };
    assert_eq!(i32s(&again.call(&mut store, &[Val::I32(2)])?), [7]);
    Ok(())
}

#[test]
fn a_host_function_of_values_takes_and_gives_references() -> Result<()> {
    let engine = Engine::default();
    let program = module(
        &engine,
        r#"(module
            (import "" "swap" (func $swap (param externref funcref) (result funcref externref)))
            (func (export "run") (param externref funcref) (result funcref externref)
                (call $swap (local.get 0) (local.get 1))))"#,
    );
    let mut store = Store::new(&engine, ());
    let ty = FuncType::new(
        [ValType::ExternRef, ValType::FuncRef],
        [ValType::FuncRef, ValType::ExternRef],
    );
    let swap = Func::new(&mut store, ty.clone(), |_, params, results| {
        results.clone_from_slice(params);
        results.reverse();
        Ok(())
    })?;
    let waits = Func::new_async(&mut store, ty, |_, params| async {
        Pause::default().await;
        Ok(params.into_iter().rev().collect())
    })?;
    for import in [swap, waits] {
        let instance = Instance::new(&mut store, &program, &[import.into()])?;
        let run = instance.get_func(&store, "run").expect("exported");
        let held = Arc::new(());
        let given = ExternRef::new(&mut store, Arc::clone(&held));
        let params = [given.into(), swap.into()];
        let results = executor::block_on(run.call_async(&mut store, &params)?)?;
        let [Val::FuncRef(Some(func)), Val::ExternRef(Some(reference))] = &results[..] else {
            panic!("{results:?}");
        };
        assert_eq!(*func, swap);
        let found = reference.data(&store)?.downcast_ref::<Arc<()>>();
        assert!(found.is_some_and(|found| Arc::ptr_eq(found, &held)));
        drop((params, results));
        store.gc();
        assert_eq!(Arc::strong_count(&held), 1, "nobody has it any more");
    }
    Ok(())
}
