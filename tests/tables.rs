//! Tables as an embedder has them: made, linked, shared, grown while guests wait; functions that come out of them.

#[path = "harness/pause.rs"]
mod pause;

use midair::{
    AsyncCaller, Config, Engine, Error, Extern, ExternRef, Func, Instance, Linker, Module, Result,
    Store, Table, TableType, Tiers, Trap, TypedFunc, Val, ValType, executor::block_on,
};
use pause::Pause;
use std::{fmt::Write as _, num::NonZeroU32};

/// Every kind of code, with and without forced suspensions.
fn engines() -> Vec<Engine> {
    let mut engines = Vec::new();
    for tiers in [Tiers::Tier0, Tiers::Tiered, Tiers::Tier1] {
        for stress in [None, NonZeroU32::new(1), NonZeroU32::new(3)] {
            let mut config = Config::new();
            config
                .tiers(tiers)
                .osr_after(2, 1, 1)
                .stress_suspend(stress);
            engines.push(Engine::new(&config));
        }
    }
    engines
}

type Data = Option<Table>;

/// `host.await` gives its argument, later; `host.grow` grows the table of the store's data while the guest waits.
fn linker(engine: &Engine) -> Linker<Data> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap_async("host", "await", |_, x: (i32,)| async move {
            Pause::default().await;
            x.0
        })
        .unwrap();
    linker
        .func_wrap_async("host", "grow", |caller: AsyncCaller<Data>, ()| async move {
            Pause::default().await;
            let grown = caller.with(|mut caller| -> Result<u32> {
                let table = caller.data().expect("the test sets it");
                table.grow(&mut caller, 1000, None::<Func>)
            })??;
            Pause::default().await;
            Ok::<_, Error>(grown)
        })
        .unwrap();
    linker
        .func_wrap("host", "negate", |x: i32| x.wrapping_neg())
        .unwrap();
    linker
}

fn module(engine: &Engine, wat: &str) -> Module {
    Module::new(engine, wat).unwrap_or_else(|error| panic!("{error}"))
}

fn export<P: midair::WasmParams, R: midair::WasmResults>(
    store: &Store<Data>,
    instance: Instance,
    name: &str,
) -> TypedFunc<P, R> {
    instance.get_typed_func(store, name).unwrap()
}

fn trap(error: &Error) -> Trap {
    *error
        .downcast_ref()
        .unwrap_or_else(|| panic!("no trap: {error:?}"))
}

const FUNCREF: TableType = TableType {
    element: ValType::FuncRef,
    min: 2,
    max: Some(5),
};

const OWNER: &str = r#"(module
    (import "host" "await" (func $await (param i32) (result i32)))
    (import "host" "negate" (func $negate (param i32) (result i32)))
    (type $f (func (param i32) (result i32)))
    (table (export "table") 5 1500 funcref)
    (elem (i32.const 0) $add $awaiting $await $negate)
    (global $own i32 (i32.const 100))
    (func $add (param i32) (result i32) (i32.add (local.get 0) (global.get $own)))
    (func $awaiting (param i32) (result i32)
        (i32.add (call $await (local.get 0)) (global.get $own)))
    (func (export "call") (param i32 i32) (result i32)
        (call_indirect (type $f) (local.get 1) (local.get 0)))
    (func (export "size") (result i32) (table.size)))"#;

const GUEST: &str = r#"(module
    (import "host" "await" (func $await (param i32) (result i32)))
    (import "host" "grow" (func $grow (result i32)))
    (import "owner" "table" (table $t 5 funcref))
    (type $unused (func (param f32)))
    (type $other (func (param i32) (result i64)))
    (type $f (func (param i32) (result i32)))
    (elem (i32.const 4) $back)
    (global $own i32 (i32.const 1))
    (func $back (param $n i32) (result i32)
        (if (i32.eqz (local.get $n)) (then (return (call $await (global.get $own)))))
        (i32.add (global.get $own)
            (call_indirect (type $f) (i32.sub (local.get $n) (i32.const 1)) (i32.const 4))))
    (func (export "other") (result i64) (call_indirect (type $other) (i32.const 0) (i32.const 0)))
    (func (export "call") (param i32 i32) (result i32)
        (call_indirect (type $f) (local.get 1) (local.get 0)))
    (func (export "loop") (param $n i32) (result i64)
        (local $i i32) (local $sum i64)
        (loop $again
            (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_s
                (call_indirect (type $f) (local.get $i) (i32.and (local.get $i) (i32.const 3))))))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (local.get $n))))
        (i64.add (local.get $sum) (i64.extend_i32_s (global.get $own))))
    (func (export "grown") (result i32 i32 i32)
        (local $sum i32) (local $i i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum)
                (call_indirect (type $f) (i32.const 1) (i32.const 0))))
            (if (i32.eq (local.get $i) (i32.const 5)) (then (drop (call $grow))))
            (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10))))
        (table.set $t (i32.const 900) (table.get $t (i32.const 3)))
        (local.get $sum)
        (table.size $t)
        (call_indirect (type $f) (i32.const 17) (i32.const 900))))"#;

fn linked(engine: &Engine) -> (Store<Data>, Instance, Instance) {
    let mut linker = linker(engine);
    let mut store = Store::new(engine, None);
    let owner = linker
        .instantiate(&mut store, &module(engine, OWNER))
        .unwrap();
    linker.instance(&mut store, "owner", owner).unwrap();
    let guest = linker
        .instantiate(&mut store, &module(engine, GUEST))
        .unwrap();
    *store.data_mut() = owner.get_table(&store, "table");
    (store, owner, guest)
}

#[test]
fn two_instances_share_a_table_and_await_in_each_others_functions() {
    for engine in engines() {
        let (mut store, owner, guest) = linked(&engine);
        for instance in [owner, guest] {
            let call: TypedFunc<(i32, i32), i32> = export(&store, instance, "call");
            let mut answer = |index| block_on(call.call_async(&mut store, (index, 7)));
            assert_eq!(answer(0).unwrap(), 107);
            assert_eq!(answer(1).unwrap(), 107);
            assert_eq!(answer(2).unwrap(), 7);
            assert_eq!(answer(3).unwrap(), -7);
            assert_eq!(answer(4).unwrap(), 8);
            assert_eq!(trap(&answer(5).unwrap_err()), Trap::UndefinedElement);
        }
        let other: TypedFunc<(), i64> = export(&store, guest, "other");
        let error = block_on(other.call_async(&mut store, ())).unwrap_err();
        assert_eq!(trap(&error), Trap::IndirectCallTypeMismatch);
    }
}

#[test]
fn a_hot_loop_calls_and_awaits_across_instances() {
    for engine in engines() {
        let (mut store, _, guest) = linked(&engine);
        let run: TypedFunc<i32, i64> = export(&store, guest, "loop");
        let expected: i64 = (0..80)
            .map(|i| match i % 4 {
                0 | 1 => i + 100,
                2 => i,
                _ => -i,
            })
            .sum();
        for _ in 0..2 {
            let result = block_on(run.call_async(&mut store, 80)).unwrap();
            assert_eq!(result, expected + 1);
        }
    }
}

#[test]
fn a_table_grows_under_a_guest_that_waits() {
    for engine in engines() {
        let (mut store, owner, guest) = linked(&engine);
        let run: TypedFunc<(), (i32, i32, i32)> = export(&store, guest, "grown");
        let result = block_on(run.call_async(&mut store, ())).unwrap();
        assert_eq!(result, (1010, 1005, -17));
        let size: TypedFunc<(), i32> = export(&store, owner, "size");
        assert_eq!(size.call(&mut store, ()).unwrap(), 1005);
    }
}

#[test]
fn functions_from_a_table_are_callable_by_the_host() {
    for engine in engines() {
        let (mut store, owner, guest) = linked(&engine);
        let table = owner.get_table(&store, "table").unwrap();
        let mut results = Vec::new();
        for index in 0..5 {
            let Some(Val::FuncRef(Some(func))) = table.get(&store, index) else {
                panic!("element {index} is a function")
            };
            let func: TypedFunc<i32, i32> = func.typed(&store).unwrap();
            results.push(block_on(func.call_async(&mut store, 3)).unwrap());
        }
        assert_eq!(results, [103, 103, 3, -3, 4]);
        // an export put where the guest finds it
        let func = guest.get_func(&store, "call").unwrap();
        table.set(&mut store, 0, func).unwrap();
        let call: TypedFunc<(i32, i32), i32> = export(&store, owner, "call");
        let error = call.call(&mut store, (0, 0)).unwrap_err();
        assert_eq!(trap(&error), Trap::IndirectCallTypeMismatch);
        table.set(&mut store, 0, None::<Func>).unwrap();
        let error = call.call(&mut store, (0, 0)).unwrap_err();
        assert_eq!(trap(&error), Trap::UninitializedElement);
    }
}

#[test]
fn a_table_of_the_hosts_is_filled_copied_and_grown() {
    let engine = Engine::default();
    let mut store = Store::<Data>::new(&engine, None);
    let instance = linker(&engine)
        .instantiate(
            &mut store,
            &module(
                &engine,
                r#"(module (func (export "one") (result i32) i32.const 1))"#,
            ),
        )
        .unwrap();
    let one = instance.get_func(&store, "one").unwrap();
    let table = Table::new(&mut store, FUNCREF, None::<Func>).unwrap();
    assert_eq!(table.size(&store), 2);
    assert!(matches!(table.get(&store, 1), Some(Val::FuncRef(None))));
    assert!(table.get(&store, 2).is_none());
    assert_eq!(table.grow(&mut store, 2, one).unwrap(), 2);
    assert_eq!(table.ty(&store), TableType { min: 4, ..FUNCREF });
    let functions = |store: &Store<Data>, table: Table| -> Vec<bool> {
        (0..table.size(store))
            .map(|index| matches!(table.get(store, index), Some(Val::FuncRef(Some(_)))))
            .collect()
    };
    assert_eq!(functions(&store, table), [false, false, true, true]);
    assert!(
        table.grow(&mut store, 2, one).is_err(),
        "beyond its maximum"
    );
    table.fill(&mut store, 3, None::<Func>, 1).unwrap();
    Table::copy(&mut store, &table, 0, &table, 1, 3).unwrap();
    assert_eq!(functions(&store, table), [false, true, false, false]);
    let other = Table::new(
        &mut store,
        TableType {
            max: None,
            ..FUNCREF
        },
        one,
    )
    .unwrap();
    Table::copy(&mut store, &table, 2, &other, 0, 2).unwrap();
    assert_eq!(functions(&store, table), [false, true, true, true]);

    for error in [
        Table::copy(&mut store, &table, 3, &other, 0, 2).unwrap_err(),
        Table::copy(&mut store, &table, 0, &other, 1, 2).unwrap_err(),
        table.fill(&mut store, 1, one, 4).unwrap_err(),
        table.set(&mut store, 4, one).unwrap_err(),
    ] {
        assert_eq!(trap(&error), Trap::TableOutOfBounds);
    }
    assert_eq!(functions(&store, table), [false, true, true, true]);
    assert!(table.set(&mut store, 0, None::<ExternRef>).is_err());
    assert!(table.set(&mut store, 0, 7).is_err());
    assert!(Table::new(&mut store, FUNCREF, None::<ExternRef>).is_err());
    let numbers = TableType {
        element: ValType::I32,
        ..FUNCREF
    };
    assert!(Table::new(&mut store, numbers, 0).is_err());
    let upside_down = TableType { min: 6, ..FUNCREF };
    assert!(Table::new(&mut store, upside_down, None::<Func>).is_err());
}

#[test]
fn a_function_of_another_store_is_refused() {
    let engine = Engine::default();
    let (store, owner, _) = linked(&engine);
    let func = owner.get_func(&store, "size").unwrap();
    let mut other = Store::new(&engine, None::<Table>);
    let table = Table::new(&mut other, FUNCREF, None::<Func>).unwrap();
    assert!(table.set(&mut other, 0, func).is_err());
    assert!(Table::new(&mut other, FUNCREF, func).is_err());
}

#[test]
fn externrefs_in_tables_live_as_long_as_they_are_there() {
    let engine = Engine::default();
    let mut store = Store::<Data>::new(&engine, None);
    let ty = TableType {
        element: ValType::ExternRef,
        min: 1,
        max: None,
    };
    let table = Table::new(&mut store, ty, None::<ExternRef>).unwrap();
    let text = ExternRef::new(&mut store, "text".to_owned());
    table.set(&mut store, 0, text).unwrap();
    store.gc();
    let Some(Val::ExternRef(Some(text))) = table.get(&store, 0) else {
        panic!("it is still there")
    };
    let data = text.data(&store).unwrap();
    assert_eq!(data.downcast_ref::<String>().unwrap(), "text");
}

#[test]
fn imported_tables_must_fit() {
    let engine = Engine::default();
    let mut store = Store::<Data>::new(&engine, None);
    let mut linker = linker(&engine);
    let table = Table::new(&mut store, FUNCREF, None::<Func>).unwrap();
    linker.define("a", "t", Extern::Table(table)).unwrap();
    let mut import = |ty: &str| {
        let wat = format!(r#"(module (import "a" "t" {ty}))"#);
        linker.instantiate(&mut store, &module(&engine, &wat))
    };
    for ty in [
        "(table 2 funcref)",
        "(table 0 5 funcref)",
        "(table 1 9 funcref)",
    ] {
        import(ty).unwrap();
    }
    for ty in [
        "(table 3 funcref)",
        "(table 2 4 funcref)",
        "(table 2 externref)",
        "(memory 0)",
        "(func)",
        "(global funcref)",
    ] {
        let error = import(ty).unwrap_err().to_string();
        assert!(
            error.contains("found a table of at least 2 and at most 5 elements of type funcref"),
            "{ty}: {error}"
        );
    }
}

#[test]
fn segments_in_front_of_one_that_does_not_fit_stay_written() {
    for engine in engines() {
        let (mut store, owner, _) = linked(&engine);
        let mut linker = linker(&engine);
        linker.instance(&mut store, "owner", owner).unwrap();
        let failing = |tail: &str| {
            module(
                &engine,
                &format!(
                    r#"(module
                        (import "owner" "table" (table 5 funcref))
                        (memory 1)
                        (elem (i32.const 0) $left)
                        (elem (i32.const 1) $left $left)
                        {tail}
                        (func $left (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3))))"#
                ),
            )
        };
        let call: TypedFunc<(i32, i32), i32> = export(&store, owner, "call");
        for (tail, expected) in [
            (
                "(elem (i32.const 4) $left $left) (data (i32.const 65536) \"x\")",
                Trap::TableOutOfBounds,
            ),
            ("(elem (i32.const -1) $left)", Trap::TableOutOfBounds),
            ("(data (i32.const 65535) \"xy\")", Trap::MemoryOutOfBounds),
        ] {
            let error = linker.instantiate(&mut store, &failing(tail)).unwrap_err();
            assert_eq!(trap(&error), expected);
            // the instance that was not made has left its function
            assert_eq!(block_on(call.call_async(&mut store, (0, 5))).unwrap(), 15);
            assert_eq!(block_on(call.call_async(&mut store, (2, 5))).unwrap(), 15);
        }
    }
}

#[test]
fn tables_that_cannot_be_had_are_errors() {
    let engine = Engine::default();
    let mut store = Store::<Data>::new(&engine, None);
    for wat in [
        "(module (table 4294967295 funcref))",
        "(module (table 4000000000 externref))",
        "(module (table 9000000 funcref) (table 9000000 funcref))",
    ] {
        let module = module(&engine, wat);
        let error = linker(&engine)
            .instantiate(&mut store, &module)
            .unwrap_err();
        assert!(error.to_string().contains("elements"), "{error}");
    }
    let huge = TableType {
        min: u32::MAX,
        max: None,
        ..FUNCREF
    };
    assert!(Table::new(&mut store, huge, None::<Func>).is_err());
    // what could not be had was given back
    let large = TableType {
        min: 1 << 20,
        max: None,
        ..FUNCREF
    };
    Table::new(&mut store, large, None::<Func>).unwrap();
}

#[test]
fn growing_beyond_the_limit_of_a_store_gives_minus_one() {
    for tiers in [Tiers::Tier0, Tiers::Tier1] {
        let mut config = Config::new();
        config.tiers(tiers).max_table_elements(1000);
        let engine = Engine::new(&config);
        let mut store = Store::<Data>::new(&engine, None);
        let module = module(
            &engine,
            r#"(module
                (table $a 10 funcref)
                (table $b 10 externref)
                (func (export "a") (param i32) (result i32)
                    (table.grow $a (ref.null func) (local.get 0)))
                (func (export "b") (param i32) (result i32)
                    (table.grow $b (ref.null extern) (local.get 0))))"#,
        );
        let instance = linker(&engine).instantiate(&mut store, &module).unwrap();
        let [a, b] = ["a", "b"].map(|name| export::<i32, i32>(&store, instance, name));
        for count in [981, 1000, i32::MAX, -1, -16] {
            assert_eq!(a.call(&mut store, count).unwrap(), -1);
        }
        assert_eq!(a.call(&mut store, 500).unwrap(), 10);
        assert_eq!(b.call(&mut store, 481).unwrap(), -1);
        assert_eq!(b.call(&mut store, 480).unwrap(), 10);
        assert_eq!(a.call(&mut store, 1).unwrap(), -1);
        assert_eq!(a.call(&mut store, 0).unwrap(), 510);
    }
}

#[test]
fn a_trap_of_an_indirect_call_names_the_caller() {
    for engine in engines() {
        let (mut store, owner, _) = linked(&engine);
        let call: TypedFunc<(i32, i32), i32> = export(&store, owner, "call");
        let error = call.call(&mut store, (-1, 0)).unwrap_err();
        let backtrace = error.backtrace().expect("a trap has one");
        assert_eq!(backtrace.frames().len(), 1);
        assert_eq!(backtrace.frames()[0].func_name(), "call");
    }
}

#[test]
fn segments_and_tables_in_large_numbers() {
    let engine = Engine::default();
    let mut wat = String::from("(module (type $f (func (result i32)))");
    for n in 0..100 {
        write!(wat, "(table $t{n} 300 funcref)").unwrap();
    }
    for n in 0..20_000 {
        write!(
            wat,
            "(elem (table {}) (i32.const {}) func {})",
            n % 100,
            n / 100,
            n % 500
        )
        .unwrap();
    }
    wat.push_str("(elem $long funcref");
    for _ in 0..50_000 {
        wat.push_str("(ref.null func)");
    }
    wat.push(')');
    for n in 0..500 {
        write!(wat, "(func (result i32) (i32.const {n}))").unwrap();
    }
    wat.push_str(
        r#"(func (export "call") (param i32) (result i32) (call_indirect 99 (type $f) (local.get 0)))
        (func (export "long") (param i32) (table.init 0 $long (i32.const 0) (local.get 0) (i32.const 300))))"#,
    );
    let module = module(&engine, &wat);
    let mut store = Store::<Data>::new(&engine, None);
    let instance = linker(&engine).instantiate(&mut store, &module).unwrap();
    let call: TypedFunc<i32, i32> = export(&store, instance, "call");
    assert_eq!(call.call(&mut store, 199).unwrap(), 19_999 % 500);
    let error = call.call(&mut store, 200).unwrap_err();
    assert_eq!(trap(&error), Trap::UninitializedElement);
    let long: TypedFunc<i32, ()> = export(&store, instance, "long");
    long.call(&mut store, 49_700).unwrap();
    let error = long.call(&mut store, 49_701).unwrap_err();
    assert_eq!(trap(&error), Trap::TableOutOfBounds);
}

#[test]
fn a_thousand_arguments_pass_through_a_table() {
    for engine in engines() {
        let types = "i64 ".repeat(1000);
        let mut sum = String::from("(local.get 0)");
        let mut args = String::new();
        for n in 0..1000 {
            if n > 0 {
                sum = format!("{sum}(local.get {n})(i64.add)");
            }
            write!(args, "(i64.const {n})").unwrap();
        }
        let wat = format!(
            r#"(module
                (import "host" "await" (func $await (param i32) (result i32)))
                (type $f (func (param {types}) (result i64)))
                (table funcref (elem $sum))
                (func $sum (type $f) (drop (call $await (i32.const 1))) {sum})
                (func (export "run") (result i64) {args} (i32.const 0) (call_indirect (type $f))))"#
        );
        let mut store = Store::<Data>::new(&engine, None);
        let module = module(&engine, &wat);
        let instance = linker(&engine).instantiate(&mut store, &module).unwrap();
        let run: TypedFunc<(), i64> = export(&store, instance, "run");
        let result = block_on(run.call_async(&mut store, ())).unwrap();
        assert_eq!(result, 999 * 500);
    }
}
