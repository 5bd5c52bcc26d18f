//! References of the host's and functions as values: where they go, how long they live, and what misuse gives.

#[path = "harness/pause.rs"]
mod pause;

use midair::{
    AsyncCaller, Caller, Config, Engine, ExternRef, Func, Global, Instance, Linker, Module,
    ResumptionPath, Store, Tiers, Val, executor::block_on,
};
use pause::Pause;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

type Ref = Option<ExternRef>;

/// Something whose end is counted.
struct Counted(Arc<AtomicUsize>, i32);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The counts of a test.
#[derive(Clone, Default)]
struct Counts {
    made: Arc<AtomicUsize>,
    dropped: Arc<AtomicUsize>,
}

impl Counts {
    fn make(&self, number: i32) -> Counted {
        self.made.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(&self.dropped), number)
    }

    fn dropped(&self) -> usize {
        self.dropped.load(Ordering::Relaxed)
    }

    fn alive(&self) -> usize {
        self.made.load(Ordering::Relaxed) - self.dropped()
    }
}

fn number_of(store: &impl midair::AsContext, reference: &ExternRef) -> i32 {
    let data = reference.data(store).expect("of this store");
    data.downcast_ref::<Counted>().expect("made by `make`").1
}

/// `make(i)`, `check(r, i)`, `gc() -> alive`; `pause(r) -> r` waits, collects, and gives its argument back.
fn linker(engine: &Engine) -> Linker<Counts> {
    let mut linker = Linker::new(engine);
    linker
        .func_wrap("host", "make", |mut caller: Caller<'_, Counts>, i: i32| {
            let counted = caller.data().make(i);
            Some(ExternRef::new(&mut caller, counted))
        })
        .unwrap();
    linker
        .func_wrap(
            "host",
            "check",
            |caller: Caller<'_, Counts>, r: Ref, i: i32| {
                let found = r.map_or(-1, |r| number_of(&caller, &r));
                assert_eq!(found, i);
            },
        )
        .unwrap();
    linker
        .func_wrap("host", "gc", |mut caller: Caller<'_, Counts>| {
            caller.gc();
            i32::try_from(caller.data().alive()).unwrap()
        })
        .unwrap();
    linker
        .func_wrap_async(
            "host",
            "pause",
            |caller: AsyncCaller<Counts>, (r,): (Ref,)| async move {
                Pause::default().await;
                caller.with(|mut caller| caller.gc()).unwrap();
                Pause::default().await;
                r
            },
        )
        .unwrap();
    linker
}

const IMPORTS: &str = r#"
    (import "host" "make" (func $make (param i32) (result externref)))
    (import "host" "check" (func $check (param externref i32)))
    (import "host" "gc" (func $gc (result i32)))
    (import "host" "pause" (func $pause (param externref) (result externref)))
"#;

/// Every way to run code that has its own idea of where values lie.
fn engines() -> Vec<(&'static str, Engine)> {
    let tier = |tiers| {
        let mut config = Config::new();
        config.tiers(tiers).compiler_checks(true);
        config
    };
    let mut osr = tier(Tiers::default());
    osr.osr_after(1, 1, 1).tier_up_on_calls(None);
    let mut normalized = tier(Tiers::default());
    normalized
        .osr_after(1, 1, 1)
        .stress_normalize(std::num::NonZeroU32::new(1));
    let mut yielding = tier(Tiers::default());
    yielding
        .osr_after(2, 2, 1)
        .stress_suspend(std::num::NonZeroU32::new(3))
        .stress_normalize(std::num::NonZeroU32::new(2));
    let path = |path| {
        let mut config = tier(Tiers::default());
        config.osr_after(1, 1, 1).resumption(path);
        config
    };
    let mut climbing = tier(Tiers::default());
    climbing
        .osr_after(3, 3, 1)
        .tier_up_on_calls(Some(2))
        .tier_up_on_resumption(Some(2));
    [
        ("tier-0", tier(Tiers::Tier0)),
        ("tier-1", tier(Tiers::Tier1)),
        ("OSR at once", osr),
        ("OSR, normalized", normalized),
        ("OSR, old path", path(ResumptionPath::Patchpoint)),
        ("OSR, via tier-0", path(ResumptionPath::ViaTier0)),
        ("climbing", climbing),
        ("OSR, forced suspensions", yielding),
    ]
    .into_iter()
    .map(|(name, config)| (name, Engine::new(&config)))
    .collect()
}

fn instantiate(engine: &Engine, body: &str) -> (Store<Counts>, Instance) {
    let module = Module::new(engine, format!("(module {IMPORTS} {body})")).unwrap();
    let mut store = Store::new(engine, Counts::default());
    let instance = linker(engine).instantiate(&mut store, &module).unwrap();
    (store, instance)
}

/// Instantiates it in every way, once for `call` and once for `call_async`, and runs `check` on each.
fn in_every_way(body: &str, check: impl Fn(&str, Store<Counts>, Instance)) {
    for (name, engine) in engines() {
        let (store, instance) = instantiate(&engine, body);
        check(name, store, instance);
    }
}

#[test]
fn a_reference_comes_back_as_the_one_it_was() {
    let body = r#"
        (global $kept (mut externref) (ref.null extern))
        (func $swap (param externref externref) (result externref externref) (local.get 1) (local.get 0))
        (func (export "run") (param $a externref) (param $b externref) (param $n i32) (result externref externref i32)
            (local $null externref)
            (global.set $kept (local.get $a))
            (loop $l (param) (result)
                (call $swap (local.get $a) (local.get $b))
                (local.set $b) (local.set $a)
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (select (result externref) (local.get $a) (local.get $null) (ref.is_null (local.get $null)))
            (block (result externref) (br_if 0 (global.get $kept) (i32.const 1)))
            (i32.add (ref.is_null (local.get $b)) (i32.const 10)))"#;
    in_every_way(body, |name, mut store, instance| {
        let run = instance
            .get_typed_func::<(Ref, Ref, i32), (Ref, Ref, i32)>(&store, "run")
            .unwrap();
        for n in [1, 2, 101, 200] {
            let a = ExternRef::new(&mut store, 1);
            let params = (Some(a.clone()), None, n);
            let (first, kept, sum) = run.call(&mut store, params).unwrap();
            assert!(kept.unwrap().same(&a), "{name}");
            assert_eq!(first.is_some(), n % 2 == 0, "{name}");
            assert_eq!(sum, if n % 2 == 0 { 11 } else { 10 }, "{name}");
        }
    });
}

#[test]
fn a_million_references_of_which_few_live_take_the_room_of_few() {
    let body = r#"
        (global $last (mut externref) (ref.null extern))
        (func (export "run") (param $n i32) (result i32)
            (local $a externref) (local $b externref)
            (loop $l
                (local.set $b (local.get $a))
                (local.set $a (call $make (local.get $n)))
                (global.set $last (local.get $b))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (call $check (local.get $a) (i32.const 1))
            (call $check (local.get $b) (i32.const 2))
            (call $check (global.get $last) (i32.const 2))
            (call $gc))"#;
    in_every_way(body, |name, mut store, instance| {
        let run = instance.get_typed_func::<i32, i32>(&store, "run").unwrap();
        let counts = store.data().clone();
        let n = 1_000_000;
        assert_eq!(
            run.call(&mut store, n).unwrap(),
            1,
            "{name}: only the global's"
        );
        assert_eq!(
            counts.made.load(Ordering::Relaxed),
            n.unsigned_abs() as usize
        );
        store.gc();
        assert_eq!(counts.alive(), 1, "{name}");
        drop(store);
        assert_eq!(counts.alive(), 0, "{name}");
    });
}

#[test]
fn the_table_never_grows_much_beyond_what_lives() {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    let most = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&most);
    linker
        .func_wrap("host", "make", move |mut caller: Caller<'_, Counts>| {
            let counted = caller.data().make(0);
            seen.fetch_max(caller.data().alive(), Ordering::Relaxed);
            Some(ExternRef::new(&mut caller, counted))
        })
        .unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "host" "make" (func $make (result externref)))
            (table $t 500 externref)
            (func (export "run") (param $n i32)
                (loop $l
                    (table.set $t (i32.rem_u (local.get $n) (i32.const 500)) (call $make))
                    (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, Counts::default());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func::<i32, ()>(&store, "run").unwrap();
    run.call(&mut store, 100_000).unwrap();
    assert!(most.load(Ordering::Relaxed) <= 1100, "{most:?}");
    store.gc();
    assert_eq!(store.data().alive(), 500);
}

#[test]
fn a_frame_keeps_what_it_will_read_and_nothing_else() {
    // of 1, 2, 3 the frame will read 1 and (through its caller) 3
    let body = r#"
        (func $inner (param $n i32) (result i32) (local $a externref) (local $b externref) (local $i i32)
            (loop $l (result i32)
                (local.set $a (call $make (i32.const 1)))
                (local.set $b (call $make (i32.const 2)))
                (call $check (local.get $b) (i32.const 2))
                (call $gc)
                (call $check (local.get $a) (i32.const 1))
                (drop (call $gc))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "run") (param $n i32) (result i32)
            (call $make (i32.const 3))
            (call $inner (local.get $n))
            (local.set $n)
            (call $check (i32.const 3))
            (local.get $n))"#;
    in_every_way(body, |name, mut store, instance| {
        let run = instance.get_typed_func::<i32, i32>(&store, "run").unwrap();
        for n in [1, 2, 10] {
            assert_eq!(run.call(&mut store, n).unwrap(), 2, "{name}");
            store.gc();
            assert_eq!(store.data().alive(), 0, "{name}");
        }
    });
}

#[test]
fn a_suspended_frame_keeps_what_it_will_read_and_nothing_else() {
    let body = r#"
        (func $inner (param $n i32) (result i32) (local $a externref) (local $b externref)
            (loop $l (result i32)
                (local.set $a (call $make (i32.const 1)))
                (local.set $b (call $make (i32.const 2)))
                (call $check (local.get $b) (i32.const 2))
                (call $check (call $pause (call $make (i32.const 7))) (i32.const 7))
                (call $check (local.get $a) (i32.const 1))
                (call $gc)
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        (func (export "run") (param $n i32) (result i32)
            (call $make (i32.const 3))
            (call $inner (local.get $n))
            (local.set $n)
            (call $check (i32.const 3))
            (local.get $n))"#;
    in_every_way(body, |name, mut store, instance| {
        let run = instance.get_typed_func::<i32, i32>(&store, "run").unwrap();
        let counts = store.data().clone();
        for n in [1, 2, 10] {
            let mut cx = Context::from_waker(Waker::noop());
            let mut call = run.call_async(&mut store, n);
            let mut polls = 0;
            let result = loop {
                match Pin::new(&mut call).poll(&mut cx) {
                    Poll::Ready(result) => break result,
                    Poll::Pending if polls % 2 == 0 => (),
                    // the second time in each round: it has collected
                    Poll::Pending => assert_eq!(counts.alive(), 3, "{name}"),
                }
                polls += 1;
                if polls % 3 == 0 {
                    call.normalize(|_| true).unwrap();
                }
            };
            assert_eq!(polls, 2 * n, "{name}");
            assert_eq!(result.unwrap(), 1, "{name}: the caller's");
            store.gc();
            assert_eq!(counts.alive(), 0, "{name}");
        }
    });
}

#[test]
fn what_a_dropped_call_held_is_released() {
    let body = r#"(func (export "run") (local $a externref)
        (local.set $a (call $make (i32.const 1)))
        (drop (call $pause (call $make (i32.const 2))))
        (call $check (local.get $a) (i32.const 1)))"#;
    in_every_way(body, |name, mut store, instance| {
        let run = instance.get_typed_func::<(), ()>(&store, "run").unwrap();
        let counts = store.data().clone();
        let mut call = run.call_async(&mut store, ());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Pin::new(&mut call).poll(&mut cx).is_pending());
        drop(call);
        assert_eq!(counts.alive(), 2);
        store.gc();
        assert_eq!(counts.alive(), 0, "{name}");
        // one that is leaked is found, until it is cancelled
        let mut call = run.call_async(&mut store, ());
        assert!(Pin::new(&mut call).poll(&mut cx).is_pending());
        std::mem::forget(call);
        store.gc();
        assert_eq!(counts.alive(), 2, "{name}");
        block_on(run.call_async(&mut store, ())).unwrap();
        store.gc();
        assert_eq!(counts.alive(), 0, "{name}");
        // an owned call gives up its store with all that is in it
        let call = run.start(store, ());
        assert_eq!(counts.alive(), 2, "{name}");
        drop(call);
        assert_eq!(counts.alive(), 0, "{name}");
    });
}

#[test]
fn frames_beneath_nested_calls_are_found() {
    // run -> host -> run -> host -> …, each level with a reference on its operand stack
    let engines = engines();
    for (name, engine) in &engines {
        let mut linker = linker(engine);
        linker
            .func_wrap(
                "host",
                "again",
                |mut caller: Caller<'_, Counts>, n: i32| -> midair::Result<i32> {
                    if n == 0 {
                        caller.gc();
                        return Ok(i32::try_from(caller.data().alive()).unwrap());
                    }
                    let run = caller.get_export("run").unwrap().into_func().unwrap();
                    if n % 2 == 0 {
                        return run.typed::<i32, i32>(&caller)?.call(&mut caller, n - 1);
                    }
                    match run.call(&mut caller, &[Val::I32(n - 1)])?[0] {
                        Val::I32(alive) => Ok(alive),
                        _ => unreachable!(),
                    }
                },
            )
            .unwrap();
        linker
            .func_wrap_async(
                "host",
                "later",
                |caller: AsyncCaller<Counts>, (n,): (i32,)| async move {
                    let run = caller
                        .get_export("run")
                        .unwrap()
                        .unwrap()
                        .into_func()
                        .unwrap();
                    let run = caller
                        .with(|caller| run.typed::<i32, i32>(&caller))
                        .unwrap()?;
                    Pause::default().await;
                    let alive = caller.call_async(&run, n).await?;
                    Pause::default().await;
                    caller.with(|mut caller| caller.gc()).unwrap();
                    Ok::<i32, midair::Error>(alive)
                },
            )
            .unwrap();
        let text = format!(
            r#"(module {IMPORTS}
            (import "host" "again" (func $again (param i32) (result i32)))
            (import "host" "later" (func $later (param i32) (result i32)))
            (func (export "run") (param $n i32) (result i32)
                (call $make (local.get $n))
                (call $again (local.get $n))
                (call $check (call $make (i32.const -5)) (i32.const -5))
                (local.get $n)
                (local.set $n)
                (call $check (local.get $n)))
            (func (export "wait") (param $n i32) (result i32)
                (call $make (local.get $n))
                (call $later (local.get $n))
                (call $check (call $make (i32.const -5)) (i32.const -5))
                (local.get $n)
                (local.set $n)
                (call $check (local.get $n))))"#
        );
        // the operand stack is reference, count: swap them through a local
        let text = text
            .replace("(local.get $n)\n                (local.set $n)\n                (call $check (local.get $n))", "(local.set $got) (local.get $n) (call $check) (local.get $got)")
            .replace("(param $n i32) (result i32)\n", "(param $n i32) (result i32) (local $got i32)\n");
        let module = Module::new(engine, text).unwrap();
        let mut store = Store::new(engine, Counts::default());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance.get_typed_func::<i32, i32>(&store, "run").unwrap();
        assert_eq!(run.call(&mut store, 6).unwrap(), 7, "{name}");
        store.gc();
        assert_eq!(store.data().alive(), 0, "{name}");
        let wait = instance.get_typed_func::<i32, i32>(&store, "wait").unwrap();
        assert_eq!(
            block_on(wait.call_async(&mut store, 4)).unwrap(),
            6,
            "{name}"
        );
        store.gc();
        assert_eq!(store.data().alive(), 0, "{name}");
    }
}

#[test]
fn calls_between_instances_keep_what_both_hold() {
    for (name, engine) in engines() {
        let (mut store, outer) = instantiate(
            &engine,
            r#"(func (export "inner") (param $r externref) (result i32) (local $a externref)
                (local.set $a (call $make (i32.const 5)))
                (drop (call $pause (local.get $r)))
                (call $check (local.get $a) (i32.const 5))
                (call $gc))"#,
        );
        let mut linker = linker(&engine);
        linker.instance(&mut store, "other", outer).unwrap();
        let text = format!(
            r#"(module {IMPORTS} (import "other" "inner" (func $inner (param externref) (result i32)))
            (func (export "run") (result i32) (local $a externref) (local $n i32)
                (local.set $a (call $make (i32.const 6)))
                (local.set $n (call $inner (call $make (i32.const 7))))
                (call $check (local.get $a) (i32.const 6))
                (local.get $n)))"#
        );
        let module = Module::new(&engine, text).unwrap();
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance.get_typed_func::<(), i32>(&store, "run").unwrap();
        let alive = block_on(run.call_async(&mut store, ())).unwrap();
        assert_eq!(alive, 1, "{name}: the outer frame's");
    }
}

#[test]
fn globals_keep_what_they_hold() {
    let engine = Engine::default();
    let counts = Counts::default();
    let mut store = Store::new(&engine, counts.clone());
    let first = ExternRef::new(&mut store, counts.make(1));
    let constant = ExternRef::new(&mut store, counts.make(2));
    let mutable = Global::new(&mut store, first, true);
    let immutable = Global::new(&mut store, constant, false);
    let module = Module::new(
        &engine,
        r#"(module
            (import "g" "mutable" (global $m (mut externref)))
            (import "g" "immutable" (global $i externref))
            (global $copy (export "copy") (mut externref) (global.get $i))
            (global (export "null") funcref (ref.null func))
            (global (export "func") funcref (ref.func $set))
            (func $set (export "set") (global.set $m (global.get $copy)) (global.set $copy (ref.null extern))))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .define("g", "mutable", midair::Extern::Global(mutable))
        .unwrap();
    linker
        .define("g", "immutable", midair::Extern::Global(immutable))
        .unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    store.gc();
    assert_eq!(counts.alive(), 2);
    assert!(
        instance
            .get_global(&store, "copy")
            .unwrap()
            .get_as::<Ref>(&store)
            .unwrap()
            .is_some()
    );
    let null = instance.get_global(&store, "null").unwrap();
    assert!(matches!(null.get(&store), Val::FuncRef(None)));
    let func = instance.get_global(&store, "func").unwrap();
    let Val::FuncRef(Some(set)) = func.get(&store) else {
        panic!("a function")
    };
    set.call(&mut store, &[]).unwrap();
    store.gc();
    assert_eq!(counts.alive(), 1);
    let left = mutable.get_as::<Ref>(&store).unwrap().unwrap();
    assert_eq!(number_of(&store, &left), 2);
    mutable.set(&mut store, Val::ExternRef(None)).unwrap();
    drop(left);
    store.gc();
    // the immutable one keeps it
    assert_eq!(counts.alive(), 1);
}

#[test]
fn handles_keep_what_they_stand_for() {
    let engine = Engine::default();
    let counts = Counts::default();
    let mut store = Store::new(&engine, counts.clone());
    let mut a = ExternRef::new(&mut store, counts.make(1));
    let b = a.clone();
    store.gc();
    assert_eq!(counts.alive(), 1);
    drop(std::mem::replace(
        &mut a,
        ExternRef::new(&mut store, counts.make(2)),
    ));
    store.gc();
    assert_eq!(counts.alive(), 2);
    // the last handle may end on another thread
    std::thread::spawn(move || drop(b)).join().unwrap();
    store.gc();
    assert_eq!(counts.alive(), 1);
    // something that holds a handle is released first, then the other
    let chained = ExternRef::new(&mut store, (counts.make(3), a));
    drop(chained);
    store.gc();
    assert_eq!(counts.alive(), 0);
    // handles do not outlive the store's hold
    let last = ExternRef::new(&mut store, counts.make(4));
    drop(store);
    assert_eq!(counts.alive(), 0);
    drop(last);
}

#[test]
fn data_can_be_read_and_changed() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let reference = ExternRef::new(&mut store, vec![1]);
    let data = reference.data_mut(&mut store).unwrap();
    data.downcast_mut::<Vec<i32>>().unwrap().push(2);
    let data = reference.data(&store).unwrap();
    assert_eq!(data.downcast_ref::<Vec<i32>>().unwrap(), &[1, 2]);
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "the bomb");
    }
}

#[test]
fn a_destructor_that_panics_leaves_the_store_whole() {
    let engine = Engine::default();
    let counts = Counts::default();
    let mut store = Store::new(&engine, counts.clone());
    drop(ExternRef::new(&mut store, counts.make(1)));
    drop(ExternRef::new(&mut store, Bomb));
    drop(ExternRef::new(&mut store, counts.make(2)));
    let kept = ExternRef::new(&mut store, counts.make(3));
    let panic = catch_unwind(AssertUnwindSafe(|| store.gc())).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the bomb"));
    assert_eq!(counts.alive(), 1);
    assert_eq!(number_of(&store, &kept), 3);
    store.gc();
    drop(kept);
    // beneath guest frames it ends the outer call
    let (mut store, instance) = instantiate(&engine, r#"(func (export "run") (drop (call $gc)))"#);
    drop(ExternRef::new(&mut store, Bomb));
    let run = instance.get_typed_func::<(), ()>(&store, "run").unwrap();
    let panic = catch_unwind(AssertUnwindSafe(|| run.call(&mut store, ()))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"the bomb"));
    run.call(&mut store, ()).unwrap();
    // and at the store's end it passes, after all else was released
    drop(ExternRef::new(&mut store, Bomb));
    let made = store.data().make(4);
    let counts = store.data().clone();
    drop(ExternRef::new(&mut store, made));
    catch_unwind(AssertUnwindSafe(|| drop(store))).unwrap_err();
    assert_eq!(counts.alive(), 0);
}

#[test]
fn a_destructor_may_use_other_stores() {
    struct Nested(Option<Store<()>>, Engine);
    impl Drop for Nested {
        fn drop(&mut self) {
            let mut store = self.0.take().unwrap();
            drop(ExternRef::new(&mut store, 1));
            store.gc();
            let _other = Store::new(&self.1, ());
        }
    }
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let nested = Nested(Some(Store::new(&engine, ())), engine.clone());
    drop(ExternRef::new(&mut store, nested));
    store.gc();
}

const FUNCTIONS: &str = r#"
    (type $binary (func (param i32 i32) (result i32)))
    (table $t 1 funcref)
    (global $chosen (mut funcref) (ref.null func))
    (elem declare func $add)
    (func $add (export "add") (type $binary) (i32.add (local.get 0) (local.get 1)))
    (func $sub (export "sub") (type $binary) (i32.sub (local.get 0) (local.get 1)))
    (func (export "choose") (param $which i32) (result funcref)
        (local $none funcref)
        (if (result funcref) (i32.eqz (local.get $which))
            (then (ref.func $add))
            (else (select (result funcref) (ref.func $sub) (local.get $none) (i32.eq (local.get $which) (i32.const 1))))))
    (func (export "keep") (param $f funcref) (global.set $chosen (local.get $f)))
    (func (export "apply") (param i32 i32) (result i32)
        (table.set $t (i32.const 0) (global.get $chosen))
        (call_indirect $t (type $binary) (local.get 0) (local.get 1) (i32.const 0)))
    (func (export "is_null") (param funcref) (result i32) (ref.is_null (local.get 0)))
"#;

#[test]
fn functions_go_around_as_values() {
    in_every_way(FUNCTIONS, |name, mut store, instance| {
        let choose = instance
            .get_typed_func::<i32, Option<Func>>(&store, "choose")
            .unwrap();
        let add = choose.call(&mut store, 0).unwrap().unwrap();
        let sub = choose.call(&mut store, 1).unwrap().unwrap();
        assert!(choose.call(&mut store, 2).unwrap().is_none());
        assert_eq!(add, instance.get_func(&store, "add").unwrap());
        let params = [Val::I32(7), Val::I32(5)];
        let result = sub.call(&mut store, &params).unwrap();
        assert!(matches!(result[..], [Val::I32(2)]), "{name}");
        let typed = add.typed::<(i32, i32), i32>(&store).unwrap();
        assert_eq!(typed.call(&mut store, (7, 5)).unwrap(), 12, "{name}");
        assert!(add.typed::<i32, i32>(&store).is_err());
        let keep = instance.get_func(&store, "keep").unwrap();
        let apply = instance
            .get_typed_func::<(i32, i32), i32>(&store, "apply")
            .unwrap();
        for (func, result) in [(sub, 2), (add, 12)] {
            keep.call(&mut store, &[func.into()]).unwrap();
            assert_eq!(apply.call(&mut store, (7, 5)).unwrap(), result, "{name}");
        }
        keep.call(&mut store, &[Val::FuncRef(None)]).unwrap();
        assert!(apply.call(&mut store, (7, 5)).is_err());
        let is_null = instance
            .get_typed_func::<Option<Func>, i32>(&store, "is_null")
            .unwrap();
        assert_eq!(is_null.call(&mut store, None).unwrap(), 1);
        assert_eq!(is_null.call(&mut store, Some(add)).unwrap(), 0);
    });
}

#[test]
fn host_functions_take_and_give_functions() {
    for (name, engine) in engines() {
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap(
                "host",
                "twice",
                |mut caller: Caller<'_, ()>, f: Option<Func>, x: i32| -> midair::Result<i32> {
                    let f = f.expect("not null").typed::<i32, i32>(&caller)?;
                    let once = f.call(&mut caller, x)?;
                    f.call(&mut caller, once)
                },
            )
            .unwrap();
        linker
            .func_wrap("host", "same", |f: Option<Func>| f)
            .unwrap();
        let module = Module::new(
            &engine,
            r#"(module
                (import "host" "twice" (func $twice (param funcref i32) (result i32)))
                (import "host" "same" (func $same (param funcref) (result funcref)))
                (import "host" "same" (func $again (param funcref) (result funcref)))
                (export "again" (func $again))
                (func $triple (export "triple") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3)))
                (func (export "run") (param i32) (result i32)
                    (call $twice (call $same (ref.func $triple)) (local.get 0)))
                (func (export "host") (result funcref) (ref.func $again)))"#,
        )
        .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run = instance.get_typed_func::<i32, i32>(&store, "run").unwrap();
        assert_eq!(run.call(&mut store, 5).unwrap(), 45, "{name}");
        // a host function is a function, too
        let host = instance
            .get_typed_func::<(), Option<Func>>(&store, "host")
            .unwrap();
        let host = host.call(&mut store, ()).unwrap().unwrap();
        let same = host.typed::<Option<Func>, Option<Func>>(&store).unwrap();
        assert_eq!(
            same.call(&mut store, Some(host)).unwrap(),
            Some(host),
            "{name}"
        );
    }
}

#[test]
fn references_of_another_store_are_refused() {
    let engine = Engine::default();
    let (mut other, stranger) = instantiate(&engine, FUNCTIONS);
    let foreign = ExternRef::new(&mut other, 1);
    let foreign_func = stranger.get_func(&other, "add").unwrap();
    let body = format!(
        r#"{FUNCTIONS}
        (func (export "same") (param externref) (result externref) (local.get 0))"#
    );
    let (mut store, instance) = instantiate(&engine, &body);
    let own = ExternRef::new(&mut store, 2);
    assert!(foreign.data(&store).is_err());
    assert!(foreign.data_mut(&mut store).is_err());
    let same = instance.get_typed_func::<Ref, Ref>(&store, "same").unwrap();
    let error = same.call(&mut store, Some(foreign.clone())).unwrap_err();
    assert!(error.to_string().contains("another store"), "{error}");
    let error = block_on(same.call_async(&mut store, Some(foreign.clone()))).unwrap_err();
    assert!(error.to_string().contains("another store"), "{error}");
    let params = [foreign.clone().into()];
    assert!(same.func().call(&mut store, &params).is_err());
    assert!(same.func().call_async(&mut store, &params).is_err());
    let keep = instance
        .get_typed_func::<Option<Func>, ()>(&store, "keep")
        .unwrap();
    let error = keep.call(&mut store, Some(foreign_func)).unwrap_err();
    assert!(error.to_string().contains("another store"), "{error}");
    let global = Global::new(&mut store, Val::ExternRef(None), true);
    assert!(global.set(&mut store, foreign.clone()).is_err());
    let made = catch_unwind(AssertUnwindSafe(|| {
        Global::new(&mut store, foreign.clone(), true)
    }));
    assert!(made.is_err());
    // a type is checked before
    assert!(global.set(&mut store, Val::FuncRef(None)).is_err());
    assert!(same.func().call(&mut store, &[Val::FuncRef(None)]).is_err());
    // a host function that returns one fails its call
    let mut linker = linker(&engine);
    linker
        .func_wrap("bad", "sync", move || Some(foreign.clone()))
        .unwrap();
    let foreign = ExternRef::new(&mut other, 1);
    linker
        .func_wrap_async("bad", "async", move |_: AsyncCaller<Counts>, (): ()| {
            let foreign = foreign.clone();
            async move {
                Pause::default().await;
                Some(foreign)
            }
        })
        .unwrap();
    let module = Module::new(
        &engine,
        r#"(module
            (import "bad" "sync" (func $sync (result externref)))
            (import "bad" "async" (func $async (result externref)))
            (func (export "sync") (drop (call $sync)))
            (func (export "async") (drop (call $async))))"#,
    )
    .unwrap();
    let bad = linker.instantiate(&mut store, &module).unwrap();
    for export in ["sync", "async"] {
        let run = bad.get_typed_func::<(), ()>(&store, export).unwrap();
        let error = block_on(run.call_async(&mut store, ())).unwrap_err();
        assert!(error.to_string().contains("another store"), "{error}");
    }
    // and the store goes on
    let back = same.call(&mut store, Some(own.clone())).unwrap().unwrap();
    assert!(back.same(&own));
}

/// Random programs about references, with a model that says what they must find.
mod random {
    use super::{Counts, ExternRef, IMPORTS, engines, linker, number_of};
    use midair::{AsyncCaller, Caller, Module, Store, executor::block_on};
    use std::{
        collections::HashSet,
        fmt::Write,
        sync::{Arc, Mutex},
    };

    const LOCALS: u32 = 5;
    const GLOBALS: u32 = 2;
    const ELEMENTS: u32 = 3;

    /// A statement; the numbers are locals unless they say otherwise.
    #[derive(Clone, Debug)]
    enum Op {
        Make(u32, i32),
        Copy(u32, u32),
        Null(u32),
        SetGlobal(u32, u32),
        GetGlobal(u32, u32),
        SetElement(u32, u32),
        GetElement(u32, u32),
        Select(u32, u32, u32),
        Await(u32, u32),
        /// One on the operand stack, beneath an await of the second, which becomes the third; the fourth gets it back.
        Beneath(u32, u32, u32, u32),
        /// A call that awaits and gives both back, swapped.
        Swap(u32, u32),
        Note(u32),
        Collect,
        IfOdd(Vec<Self>),
    }

    struct Random(u64);

    impl Random {
        fn below(&mut self, n: u32) -> u32 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u32::try_from((self.0 >> 33) % u64::from(n)).unwrap()
        }

        fn ops(&mut self, count: u32, depth: u32) -> Vec<Op> {
            (0..count).map(|_| self.op(depth)).collect()
        }

        fn op(&mut self, depth: u32) -> Op {
            let mut local = || self.below(LOCALS);
            let (a, b, c, d) = (local(), local(), local(), local());
            match self.below(if depth > 0 { 15 } else { 14 }) {
                0 | 1 => Op::Make(a, i32::try_from(self.below(100)).unwrap()),
                2 => Op::Copy(a, b),
                3 => Op::Null(a),
                4 => Op::SetGlobal(self.below(GLOBALS), a),
                5 => Op::GetGlobal(a, self.below(GLOBALS)),
                6 => Op::SetElement(self.below(ELEMENTS), a),
                7 => Op::GetElement(a, self.below(ELEMENTS)),
                8 => Op::Select(a, b, c),
                9 => Op::Await(a, b),
                10 => Op::Beneath(a, b, c, d),
                11 => Op::Swap(a, b),
                12 => Op::Note(a),
                13 => Op::Collect,
                _ => Op::IfOdd(self.ops(3, depth - 1)),
            }
        }
    }

    fn text(ops: &[Op], out: &mut String) {
        for op in ops {
            let _ = match op {
                Op::Make(a, x) => writeln!(
                    out,
                    "(local.set {a} (call $make (i32.add (i32.const {x}) (i32.mul (local.get $n) (i32.const 1000)))))"
                ),
                Op::Copy(a, b) => writeln!(out, "(local.set {a} (local.get {b}))"),
                Op::Null(a) => writeln!(out, "(local.set {a} (ref.null extern))"),
                Op::SetGlobal(g, a) => writeln!(out, "(global.set {g} (local.get {a}))"),
                Op::GetGlobal(a, g) => writeln!(out, "(local.set {a} (global.get {g}))"),
                Op::SetElement(e, a) => {
                    writeln!(out, "(table.set (i32.const {e}) (local.get {a}))")
                }
                Op::GetElement(a, e) => {
                    writeln!(out, "(local.set {a} (table.get (i32.const {e})))")
                }
                Op::Select(a, b, c) => writeln!(
                    out,
                    "(local.set {a} (select (result externref) (local.get {b}) (local.get {c}) (i32.and (local.get $n) (i32.const 1))))"
                ),
                Op::Await(a, b) => writeln!(out, "(local.set {a} (call $pause (local.get {b})))"),
                Op::Beneath(a, b, c, d) => writeln!(
                    out,
                    "(local.get {a}) (local.set {c} (call $pause (local.get {b}))) (local.set {d})"
                ),
                Op::Swap(a, b) => writeln!(
                    out,
                    "(call $swap (local.get {a}) (local.get {b})) (local.set {b}) (local.set {a})"
                ),
                Op::Note(a) => writeln!(out, "(call $note (local.get {a}))"),
                Op::Collect => writeln!(out, "(drop (call $gc)) (call $count)"),
                Op::IfOdd(ops) => {
                    out.push_str("(if (i32.and (local.get $n) (i32.const 1)) (then\n");
                    text(ops, out);
                    writeln!(out, "))")
                }
            };
        }
    }

    /// What a program does: each thing that is made has a number of its own.
    #[derive(Default)]
    struct Model {
        made: Vec<i32>,
        locals: [Option<usize>; LOCALS as usize],
        globals: [Option<usize>; GLOBALS as usize],
        elements: [Option<usize>; ELEMENTS as usize],
        notes: Vec<i32>,
        /// At each `Collect`, the most that can be alive.
        most: Vec<usize>,
    }

    impl Model {
        fn held(&self, with_locals: bool) -> usize {
            let locals = self.locals.iter().filter(|_| with_locals);
            let all = locals.chain(&self.globals).chain(&self.elements);
            all.flatten().collect::<HashSet<_>>().len()
        }

        fn run(&mut self, ops: &[Op], n: i32) {
            for op in ops {
                let l = |a: &u32| *a as usize;
                match op {
                    Op::Make(a, x) => {
                        self.made.push(x + n * 1000);
                        self.locals[l(a)] = Some(self.made.len() - 1);
                    }
                    Op::Copy(a, b) | Op::Await(a, b) => self.locals[l(a)] = self.locals[l(b)],
                    Op::Null(a) => self.locals[l(a)] = None,
                    Op::SetGlobal(g, a) => self.globals[l(g)] = self.locals[l(a)],
                    Op::GetGlobal(a, g) => self.locals[l(a)] = self.globals[l(g)],
                    Op::SetElement(e, a) => self.elements[l(e)] = self.locals[l(a)],
                    Op::GetElement(a, e) => self.locals[l(a)] = self.elements[l(e)],
                    Op::Select(a, b, c) => {
                        self.locals[l(a)] = self.locals[l(if n % 2 == 1 { b } else { c })];
                    }
                    Op::Beneath(a, b, c, d) => {
                        let beneath = self.locals[l(a)];
                        self.locals[l(c)] = self.locals[l(b)];
                        self.locals[l(d)] = beneath;
                    }
                    // the results are popped from the top: the second, which was the first, into `b`
                    Op::Swap(a, b) => {
                        let (first, second) = (self.locals[l(a)], self.locals[l(b)]);
                        self.locals[l(b)] = first;
                        self.locals[l(a)] = second;
                    }
                    Op::Note(a) => {
                        let noted = self.locals[l(a)].map_or(-1, |number| self.made[number]);
                        self.notes.push(noted);
                    }
                    Op::Collect => self.most.push(self.held(true)),
                    Op::IfOdd(ops) if n % 2 == 1 => self.run(ops, n),
                    Op::IfOdd(_) => (),
                }
            }
        }
    }

    #[test]
    fn random_programs_find_what_they_kept_and_keep_no_more() {
        const ROUNDS: i32 = 5;
        let engines = engines();
        let mut noted = 0;
        for seed in 0..40 {
            let ops = Random(seed).ops(25, 2);
            let mut body = String::new();
            text(&ops, &mut body);
            let text = format!(
                r#"(module {IMPORTS}
                (import "host" "note" (func $note (param externref)))
                (import "host" "count" (func $count))
                (global (mut externref) (ref.null extern)) (global (mut externref) (ref.null extern))
                (table {ELEMENTS} externref)
                (func $swap (param externref externref) (result externref externref)
                    (call $pause (local.get 1)) (local.get 0))
                (func (export "run") (local externref externref externref externref externref) (local $n i32)
                    (local.set $n (i32.const {ROUNDS}))
                    (loop $l
                        {body}
                        (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))"#
            );
            let mut model = Model::default();
            (1..=ROUNDS).rev().for_each(|n| model.run(&ops, n));
            noted += model.notes.iter().filter(|&&number| number >= 0).count();
            for (name, engine) in &engines {
                let notes = Arc::new(Mutex::new(Vec::new()));
                let counts = Arc::new(Mutex::new(Vec::new()));
                let mut linker = linker(engine);
                let seen = Arc::clone(&notes);
                linker
                    .func_wrap_async(
                        "host",
                        "note",
                        move |caller: AsyncCaller<Counts>, (r,): (Option<ExternRef>,)| {
                            let seen = Arc::clone(&seen);
                            async move {
                                let number = caller
                                    .with(|caller| r.map_or(-1, |r| number_of(&caller, &r)))
                                    .unwrap();
                                seen.lock().unwrap().push(number);
                            }
                        },
                    )
                    .unwrap();
                let seen = Arc::clone(&counts);
                linker
                    .func_wrap("host", "count", move |caller: Caller<'_, Counts>| {
                        seen.lock().unwrap().push(caller.data().alive());
                    })
                    .unwrap();
                let module = Module::new(engine, &text).unwrap();
                let mut store = Store::new(engine, Counts::default());
                let instance = linker.instantiate(&mut store, &module).unwrap();
                let run = instance.get_typed_func::<(), ()>(&store, "run").unwrap();
                block_on(run.call_async(&mut store, ())).unwrap();
                let context = || format!("seed {seed}, {name}:\n{text}");
                assert_eq!(*notes.lock().unwrap(), model.notes, "{}", context());
                let counts = counts.lock().unwrap();
                assert_eq!(counts.len(), model.most.len());
                for (found, most) in counts.iter().zip(&model.most) {
                    assert!(found <= most, "{found} for {most} in {}", context());
                }
                store.gc();
                assert_eq!(store.data().alive(), model.held(false), "{}", context());
            }
        }
        assert!(noted > 100, "{noted} notes say nothing");
    }
}
