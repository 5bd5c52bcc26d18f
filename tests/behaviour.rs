//! What an embedder can rely on: errors, panics, drops, threads, limits, lifetimes.

use midair::{
    AsyncCaller, Awaiter, Caller, CannotSuspend, Config, Engine, Error, Event, Extern, Instance,
    Job, LinkError, Linker, Memory, Module, NotCurrent, NotOptimized, Result, Resumption, Store,
    Tiers, Trap, TypedFunc, Val, executor::block_on,
};
use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
};

fn idle() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Pending so many times.
struct Pause(u32);

impl Future for Pause {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 == 0 {
            return Poll::Ready(());
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// An awaiter whose token somebody else uses.
#[derive(Clone, Default)]
struct Parking(Arc<Mutex<Vec<Resumption>>>);

impl Parking {
    fn take(&self) -> Option<Resumption> {
        self.0.lock().unwrap().pop()
    }
}

impl Awaiter for Parking {
    type Output = i32;
    fn is_completed(&self) -> bool {
        false
    }
    fn on_completed(self, resumption: Resumption) {
        self.0.lock().unwrap().push(resumption);
    }
    fn get_result(self) -> i32 {
        1
    }
}

const SUM: &str = r#"(module
    (import "host" "next" (func $next (result i32)))
    (func $one (result i32) (call $next))
    (func (export "seven") (result i32) (i32.const 7))
    (func (export "sum") (param $n i32) (result i32) (local $sum i32)
        (loop $again
            (local.set $sum (i32.add (local.get $sum) (call $one)))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
        (local.get $sum)))"#;

fn engine(configure: impl FnOnce(&mut Config)) -> Engine {
    let mut config = Config::new();
    configure(&mut config);
    Engine::new(&config)
}

fn sum_with<T: 'static>(
    engine: &Engine,
    data: T,
    define: impl FnOnce(&mut Linker<T>) -> Result<()>,
) -> (Store<T>, Instance, TypedFunc<i32, i32>) {
    let module = Module::new(engine, SUM).unwrap();
    let mut linker = Linker::new(engine);
    define(&mut linker).unwrap();
    let mut store = Store::new(engine, data);
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let sum = instance.get_typed_func(&store, "sum").unwrap();
    (store, instance, sum)
}

fn still_works<T: 'static>(store: &mut Store<T>, instance: Instance) {
    let seven = instance
        .get_typed_func::<(), i32>(&*store, "seven")
        .unwrap();
    assert_eq!(seven.call(&mut *store, ()).unwrap(), 7);
}

fn parked(parking: &Parking) -> impl FnOnce(&mut Linker<()>) -> Result<()> {
    let parking = parking.clone();
    move |linker| {
        linker
            .func_awaiter("host", "next", move |_, ()| parking.clone())
            .map(drop)
    }
}

// --- Errors -------------------------------------------------------------------------------------------------------------

#[test]
fn an_await_beneath_a_synchronous_call_names_both() {
    let engine = Engine::default();
    let (mut store, instance, sum) = sum_with(&engine, (), |linker| {
        linker
            .func_wrap_async("host", "next", |_, ()| async {
                Pause(1).await;
                1
            })
            .map(drop)
    });
    let error = sum.call(&mut store, 3).unwrap_err();
    let said = error.downcast_ref::<CannotSuspend>().unwrap();
    assert_eq!(said.awaiting, "host::next");
    assert!(said.beneath.contains("sum"), "{said}");
    still_works(&mut store, instance);
    assert_eq!(block_on(sum.call_async(&mut store, 3)).unwrap(), 3);
}

#[test]
fn an_await_beneath_a_synchronous_host_function_names_both() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
        (import "host" "next" (func $next (result i32)))
        (import "host" "again" (func $again))
        (func (export "inner") (result i32) (call $next))
        (func (export "seven") (result i32) (i32.const 7))
        (func (export "outer") (call $again)))"#,
    )
    .unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap_async("host", "next", |_, ()| async {
            Pause(1).await;
            1
        })
        .unwrap();
    linker
        .func_wrap(
            "host",
            "again",
            |mut caller: Caller<'_, ()>| -> Result<()> {
                let inner = caller
                    .get_export("inner")
                    .and_then(Extern::into_func)
                    .unwrap()
                    .typed::<(), i32>(&caller)?;
                inner.call(&mut caller, ()).map(drop)
            },
        )
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let outer = instance.get_typed_func::<(), ()>(&store, "outer").unwrap();
    let error = block_on(outer.call_async(&mut store, ())).unwrap_err();
    let said = error.downcast_ref::<CannotSuspend>().unwrap();
    assert_eq!(said.awaiting, "host::next");
    assert!(said.beneath.contains("host::again"), "{said}");
    still_works(&mut store, instance);
}

#[test]
fn an_await_beneath_an_instantiation_says_so() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
        (import "host" "next" (func $next (result i32)))
        (func $start (drop (call $next))) (start $start)
        (func (export "seven") (result i32) (i32.const 7)))"#,
    )
    .unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap_async("host", "next", |_, ()| async {
            Pause(1).await;
            1
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let error = linker.instantiate(&mut store, &module).unwrap_err();
    assert!(
        error
            .downcast_ref::<CannotSuspend>()
            .unwrap()
            .beneath
            .contains("instantiate")
    );
    let instance = block_on(linker.instantiate_async(&mut store, &module)).unwrap();
    still_works(&mut store, instance);
}

#[derive(Debug, PartialEq)]
struct Own(i32);
impl fmt::Display for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "own {}", self.0)
    }
}
impl std::error::Error for Own {}

#[test]
fn errors_of_host_functions_are_downcast_at_the_caller() {
    let engine = Engine::default();
    let (mut store, instance, sum) = sum_with(&engine, (), |linker| {
        linker
            .func_wrap("host", "next", || -> Result<i32, Own> { Err(Own(5)) })
            .map(drop)
    });
    let error = sum.call(&mut store, 1).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Own(5)));
    let names: Vec<&str> = error
        .backtrace()
        .unwrap()
        .frames()
        .iter()
        .map(|frame| frame.func_name())
        .collect();
    assert_eq!(names, ["one", "sum"]);
    still_works(&mut store, instance);

    let (mut store, instance, sum) = sum_with(&engine, (), |linker| {
        linker
            .func_wrap_async("host", "next", |_, ()| async {
                Pause(2).await;
                Err::<i32, _>(Own(6))
            })
            .map(drop)
    });
    let error = block_on(sum.call_async(&mut store, 1)).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Own(6)));
    let names: Vec<&str> = error
        .backtrace()
        .unwrap()
        .frames()
        .iter()
        .map(|frame| frame.func_name())
        .collect();
    assert_eq!(names, ["one", "sum"], "through parked callers");
    assert_eq!(error.downcast::<Own>().unwrap(), Own(6));
    still_works(&mut store, instance);
}

#[test]
fn an_unresolved_import_is_named() {
    let engine = Engine::default();
    let module = Module::new(&engine, SUM).unwrap();
    let error = Linker::new(&engine)
        .instantiate(&mut Store::new(&engine, ()), &module)
        .unwrap_err();
    assert!(matches!(
        error.downcast_ref(),
        Some(LinkError::UnknownImport { .. })
    ));
    assert!(error.to_string().contains("host::next"), "{error}");
}

#[test]
fn memory_access_errors_say_where() {
    let engine = Engine::default();
    let mut store = Store::new(&engine, ());
    let memory = Memory::new(&mut store, 1, Some(2)).unwrap();
    let error = memory.write(&mut store, 65533, &[1, 2, 3, 4]).unwrap_err();
    assert_eq!((error.offset, error.len), (65533, 4));
    assert!(memory.read(&store, usize::MAX, &mut [0; 2]).is_err());
    memory.write(&mut store, 65532, &[1, 2, 3, 4]).unwrap();
    assert!(memory.grow(&mut store, 2).is_err());
    assert_eq!(memory.grow(&mut store, 1).unwrap(), 1);
    assert_eq!(memory.data(&store)[65532..65537], [1, 2, 3, 4, 0]);
}

// --- Panics -------------------------------------------------------------------------------------------------------------

fn message(panic: Box<dyn std::any::Any + Send>) -> String {
    panic
        .downcast_ref::<&str>()
        .map_or_else(|| "?".to_owned(), |text| (*text).to_owned())
}

#[test]
fn panics_pass_to_the_outer_call_and_the_store_stays_usable() {
    #[derive(Clone)]
    struct Panicking(u32);
    impl Awaiter for Panicking {
        type Output = i32;
        fn is_completed(&self) -> bool {
            assert!(self.0 != 0, "is_completed");
            false
        }
        fn on_completed(self, resumption: Resumption) {
            assert!(self.0 != 1, "on_completed");
            resumption.resume();
        }
        fn get_result(self) -> i32 {
            panic!("get_result")
        }
    }
    struct PanicsWhenDropped;
    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("drop");
        }
    }
    type Define = Box<dyn FnOnce(&mut Linker<()>) -> Result<()>>;
    let cases: Vec<(&str, Define)> = vec![
        (
            "sync",
            Box::new(|l| {
                l.func_wrap("host", "next", || -> i32 { panic!("sync") })
                    .map(drop)
            }),
        ),
        (
            "first poll",
            Box::new(|l| {
                l.func_wrap_async("host", "next", |_, ()| async {
                    if std::hint::black_box(true) {
                        panic!("first poll")
                    }
                    1
                })
                .map(drop)
            }),
        ),
        (
            "later poll",
            Box::new(|l| {
                l.func_wrap_async("host", "next", |_, ()| async {
                    Pause(1).await;
                    if std::hint::black_box(true) {
                        panic!("later poll")
                    }
                    1
                })
                .map(drop)
            }),
        ),
        (
            "drop",
            Box::new(|l| {
                l.func_wrap_async("host", "next", |_, ()| {
                    let bomb = PanicsWhenDropped;
                    // dropped with the future, not in its poll
                    std::future::poll_fn({
                        let mut n = 0;
                        move |cx| {
                            let _ = &bomb;
                            n += 1;
                            cx.waker().wake_by_ref();
                            if n > 1 { Poll::Ready(1) } else { Poll::Pending }
                        }
                    })
                })
                .map(drop)
            }),
        ),
        (
            "is_completed",
            Box::new(|l| {
                l.func_awaiter("host", "next", |_, ()| Panicking(0))
                    .map(drop)
            }),
        ),
        (
            "on_completed",
            Box::new(|l| {
                l.func_awaiter("host", "next", |_, ()| Panicking(1))
                    .map(drop)
            }),
        ),
        (
            "get_result",
            Box::new(|l| {
                l.func_awaiter("host", "next", |_, ()| Panicking(2))
                    .map(drop)
            }),
        ),
    ];
    let engine = Engine::default();
    for (name, define) in cases {
        let (mut store, instance, sum) = sum_with(&engine, (), define);
        let panicked = catch_unwind(AssertUnwindSafe(|| block_on(sum.call_async(&mut store, 2))));
        assert_eq!(message(panicked.unwrap_err()), name);
        still_works(&mut store, instance);
    }
}

// --- Limits -------------------------------------------------------------------------------------------------------------

#[test]
fn recursion_without_end_traps_and_the_instance_still_works() {
    for tiers in [Tiers::Tier0, Tiers::Tier1, Tiers::Tiered] {
        let engine = engine(|config| {
            config.tiers(tiers);
        });
        let module = Module::new(
            &engine,
            r#"(module
            (func $down (export "down") (param i32) (result i32)
                (i32.add (call $down (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
            (func (export "seven") (result i32) (i32.const 7)))"#,
        )
        .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine)
            .instantiate(&mut store, &module)
            .unwrap();
        let down = instance.get_typed_func::<i32, i32>(&store, "down").unwrap();
        for _ in 0..2 {
            assert_eq!(
                down.call(&mut store, 0).unwrap_err().downcast_ref(),
                Some(&Trap::StackOverflow)
            );
            let error = block_on(down.call_async(&mut store, 0)).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
            still_works(&mut store, instance);
        }
    }
}

#[test]
fn a_recursion_that_awaits_at_every_level_traps_when_its_frames_fill_the_heap() {
    for tiers in [Tiers::Tier0, Tiers::Tier1] {
        let engine = engine(|config| {
            config.tiers(tiers).max_continuations(1 << 20);
        });
        let module = Module::new(
            &engine,
            r#"(module
            (import "host" "next" (func $next (result i32)))
            (func $down (export "down") (param i32) (result i32)
                (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
                (i32.add (call $next) (call $down (i32.sub (local.get 0) (i32.const 1)))))
            (func (export "seven") (result i32) (i32.const 7)))"#,
        )
        .unwrap();
        let mut linker = Linker::new(&engine);
        linker.func_awaiter("host", "next", |_, ()| Inline).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let down = instance.get_typed_func::<i32, i32>(&store, "down").unwrap();
        for _ in 0..3 {
            let error = block_on(down.call_async(&mut store, -1)).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
            // what was taken is free again
            assert_eq!(block_on(down.call_async(&mut store, 5000)).unwrap(), 5000);
            still_works(&mut store, instance);
        }
    }
}

#[test]
fn resumed_on_a_small_stack_recursion_traps_there() {
    for tiers in [Tiers::Tier0, Tiers::Tier1] {
        let engine = engine(|config| {
            config.tiers(tiers);
        });
        let module = Module::new(&engine, r#"(module
            (import "host" "next" (func $next (result i32)))
            (func $down (param i32) (result i32)
                (if (result i32) (local.get 0)
                    (then (i32.add (call $down (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))
                    (else (i32.const 0))))
            (func (export "run") (param i32) (result i32) (drop (call $next)) (call $down (local.get 0))))"#).unwrap();
        let parking = Parking::default();
        let mut linker = Linker::new(&engine);
        parked(&parking)(&mut linker).unwrap();
        let mut store = Store::new(&engine, ());
        let run = linker
            .instantiate(&mut store, &module)
            .unwrap()
            .get_typed_func::<i32, i32>(&store, "run")
            .unwrap();
        let small = |store: Store<()>, depth| {
            let call = run.start(store, depth);
            let token = parking.take().unwrap();
            std::thread::Builder::new()
                .stack_size(256 << 10)
                .spawn(move || token.resume())
                .unwrap()
                .join()
                .unwrap();
            call.finish().unwrap()
        };
        let (store, deep) = small(store, 1_000_000);
        assert_eq!(deep.unwrap_err().downcast_ref(), Some(&Trap::StackOverflow));
        let (_, shallow) = small(store, 10);
        assert_eq!(shallow.unwrap(), 10);
    }
}

#[test]
fn an_endless_loop_is_interrupted_from_another_thread() {
    for (name, configure) in [
        (
            "tier-0",
            (|c: &mut Config| {
                c.tiers(Tiers::Tier0).max_wasm_stack(1 << 19);
            }) as fn(&mut Config),
        ),
        ("tier-1", |c| {
            c.tiers(Tiers::Tier1).max_wasm_stack(1 << 19);
        }),
        ("osr", |c| {
            c.osr_after(1, 1, 1)
                .tier_up_on_calls(None)
                .max_wasm_stack(1 << 19);
        }),
    ] {
        let engine = engine(configure);
        let module = Module::new(
            &engine,
            r#"(module
            (import "host" "started" (func $started))
            (func (export "spin") (call $started) (loop $l (br $l)))
            (func (export "seven") (result i32) (i32.const 7)))"#,
        )
        .unwrap();
        let (say, hear) = mpsc::channel();
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap("host", "started", move || say.send(()).unwrap())
            .unwrap();
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let spin = instance.get_typed_func::<(), ()>(&store, "spin").unwrap();
        store.set_epoch_deadline(1);
        std::thread::scope(|scope| {
            let engine = engine.clone();
            scope.spawn(move || {
                hear.recv().unwrap();
                engine.increment_epoch();
            });
            let error = spin.call(&mut store, ()).unwrap_err();
            assert_eq!(error.downcast_ref(), Some(&Trap::Interrupt), "{name}");
        });
        store.set_epoch_deadline(1000);
        still_works(&mut store, instance);
    }
}

// --- Tokens -------------------------------------------------------------------------------------------------------------

#[derive(Clone)]
struct Inline;

impl Awaiter for Inline {
    type Output = i32;
    fn is_completed(&self) -> bool {
        false
    }
    fn on_completed(self, resumption: Resumption) {
        resumption.resume();
    }
    fn get_result(self) -> i32 {
        1
    }
}

#[test]
fn ten_million_inline_resumes_take_constant_stack() {
    let awaits = 10_000_000;
    let run = move || {
        let engine = Engine::default();
        let (mut store, _, sum) = sum_with(&engine, (), |linker| {
            linker
                .func_awaiter("host", "next", |_, ()| Inline)
                .map(drop)
        });
        assert_eq!(
            block_on(sum.call_async(&mut store, awaits)).unwrap(),
            awaits
        );
        let (_, result) = sum.start(store, awaits).finish().unwrap();
        assert_eq!(result.unwrap(), awaits);
    };
    // deep recursion would not fit
    std::thread::Builder::new()
        .stack_size(1 << 20)
        .spawn(run)
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn tokens_are_resumed_on_another_thread_from_inside_on_completed() {
    #[derive(Clone)]
    struct There(mpsc::Sender<Resumption>);
    impl Awaiter for There {
        type Output = i32;
        fn is_completed(&self) -> bool {
            false
        }
        fn on_completed(self, resumption: Resumption) {
            self.0.send(resumption).unwrap();
        }
        fn get_result(self) -> i32 {
            1
        }
    }
    let (send, receive) = mpsc::channel::<Resumption>();
    let threads = std::thread::spawn(move || {
        let mut resumed = 0;
        for token in receive {
            // each on a thread of its own, or here
            if resumed % 8 == 0 {
                std::thread::spawn(move || token.resume()).join().unwrap();
            } else {
                token.resume();
            }
            resumed += 1;
        }
        resumed
    });
    let engine = Engine::default();
    let there = Mutex::new(There(send));
    let (store, _, sum) = sum_with(&engine, (), |linker| {
        linker
            .func_awaiter("host", "next", move |_, ()| there.lock().unwrap().clone())
            .map(drop)
    });
    let (store, result) = block_on(sum.start(store, 2000));
    assert_eq!(result.unwrap(), 2000);
    drop((store, engine));
    assert!(threads.join().unwrap() >= 2000);
}

#[test]
fn a_token_dropped_unused_fails_its_call() {
    let engine = Engine::default();
    let parking = Parking::default();
    let (store, instance, sum) = sum_with(&engine, (), parked(&parking));
    let call = sum.start(store, 2);
    drop(parking.take().unwrap());
    let (mut store, result) = call.finish().unwrap();
    assert_eq!(
        result.unwrap_err().downcast_ref(),
        Some(&NotCurrent::ResumptionDropped)
    );
    still_works(&mut store, instance);

    let mut call = sum.call_async(&mut store, 2);
    assert!(Pin::new(&mut call).poll(&mut idle()).is_pending());
    drop(parking.take().unwrap());
    let Poll::Ready(Err(error)) = Pin::new(&mut call).poll(&mut idle()) else {
        panic!("it must fail")
    };
    assert_eq!(error.downcast_ref(), Some(&NotCurrent::ResumptionDropped));
    drop(call);
    still_works(&mut store, instance);
}

struct CountsDrops(Arc<AtomicU64>);
impl Drop for CountsDrops {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_call_dropped_while_its_token_is_out_leaves_the_token_inert() {
    for case in 0..4 {
        let dropped = Arc::new(AtomicU64::new(0));
        let parking = Parking::default();
        let awaiter = parking.clone();
        let engine = Engine::default();
        let (store, _, sum) = sum_with(&engine, CountsDrops(Arc::clone(&dropped)), |linker| {
            linker
                .func_awaiter("host", "next", move |_, ()| awaiter.clone())
                .map(drop)
        });
        let call = sum.start(store, 5);
        let token = parking.take().unwrap();
        match case {
            0 => {
                drop(call);
                token.resume();
            }
            1 => {
                std::thread::spawn(move || drop(call)).join().unwrap();
                token.resume();
            }
            2 => {
                drop(call);
                std::thread::spawn(move || token.resume()).join().unwrap();
            }
            _ => {
                drop(call);
                drop(token);
            }
        }
        assert_eq!(
            dropped.load(Ordering::SeqCst),
            1,
            "case {case}: the store goes with the call, once"
        );
        assert!(parking.take().is_none(), "case {case}: nothing ran");
    }
}

#[test]
fn a_leaked_future_is_cancelled_by_the_next_use_of_its_store() {
    let dropped = Arc::new(AtomicU64::new(0));
    let guard = Arc::clone(&dropped);
    let engine = Engine::default();
    let (mut store, instance, sum) = sum_with(&engine, (), |linker| {
        linker
            .func_wrap_async("host", "next", move |_, ()| {
                let guard = CountsDrops(Arc::clone(&guard));
                async move {
                    Pause(1).await;
                    drop(guard);
                    1
                }
            })
            .map(drop)
    });
    let mut call = sum.call_async(&mut store, 5);
    assert!(Pin::new(&mut call).poll(&mut idle()).is_pending());
    std::mem::forget(call);
    assert_eq!(dropped.load(Ordering::SeqCst), 0);
    still_works(&mut store, instance);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

// --- AsyncCaller --------------------------------------------------------------------------------------------------------

#[test]
fn an_async_caller_reaches_the_store_between_awaits_and_nowhere_else() {
    let engine = Engine::default();
    let kept = Arc::new(Mutex::new(None::<AsyncCaller<i32>>));
    let keep = Arc::clone(&kept);
    let (mut store, _, sum) = sum_with(&engine, 0, |linker| {
        linker
            .func_wrap_async("host", "next", move |caller: AsyncCaller<i32>, ()| {
                *keep.lock().unwrap() = Some(caller.clone());
                async move {
                    caller.with(|mut c| *c.data_mut() += 1)?;
                    Pause(1).await;
                    // not within itself
                    caller
                        .with(|_| assert_eq!(caller.with(|_| ()), Err(NotCurrent::AsyncCaller)))?;
                    caller.with(|mut c| {
                        *c.data_mut() += 1;
                        *c.data()
                    })
                }
            })
            .map(drop)
    });
    let outside = || kept.lock().unwrap().as_ref().unwrap().with(|_| ());
    let mut call = sum.call_async(&mut store, 3);
    assert!(Pin::new(&mut call).poll(&mut idle()).is_pending());
    assert_eq!(outside(), Err(NotCurrent::AsyncCaller), "parked");
    assert_eq!(block_on(call).unwrap(), 2 + 4 + 6);
    assert_eq!(outside(), Err(NotCurrent::AsyncCaller), "ended");
    assert_eq!(*store.data(), 6);
}

#[test]
fn guests_call_hosts_that_call_guests_three_deep() {
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module
        (import "host" "deeper" (func $deeper (param i32) (result i32)))
        (func (export "level") (param i32) (result i32)
            (i32.add (i32.mul (local.get 0) (i32.const 10)) (call $deeper (local.get 0)))))"#,
    )
    .unwrap();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap_async(
            "host",
            "deeper",
            |caller: AsyncCaller<()>, depth: i32| async move {
                Pause(1).await;
                if depth == 0 {
                    return Ok::<_, Error>(1);
                }
                let level = caller.with(|c| {
                    c.get_export("level")
                        .and_then(Extern::into_func)
                        .unwrap()
                        .typed::<i32, i32>(&c)
                })??;
                let inner = caller.call_async(&level, depth - 1).await?;
                Pause(1).await;
                Ok(inner + 1)
            },
        )
        .unwrap();
    let mut store = Store::new(&engine, ());
    let level = linker
        .instantiate(&mut store, &module)
        .unwrap()
        .get_typed_func::<i32, i32>(&store, "level")
        .unwrap();
    assert_eq!(block_on(level.call_async(&mut store, 3)).unwrap(), 64);
    let (mut store, owned) = block_on(level.start(store, 3));
    assert_eq!(owned.unwrap(), 64);
    // dropped three deep, then again
    for polls in 1..6 {
        let mut call = level.call_async(&mut store, 3);
        for _ in 0..polls {
            assert!(Pin::new(&mut call).poll(&mut idle()).is_pending());
        }
        drop(call);
        assert_eq!(block_on(level.call_async(&mut store, 2)).unwrap(), 33);
    }
}

#[test]
fn memory_grown_by_the_host_during_an_await_is_seen() {
    for tiers in [Tiers::Tier0, Tiers::Tier1, Tiers::Tiered] {
        let engine = engine(|config| {
            config.tiers(tiers).osr_after(1, 1, 1);
        });
        let module = Module::new(&engine, r#"(module
            (import "host" "grow" (func $grow))
            (memory (export "memory") 1)
            (func (export "run") (param $n i32) (result i32) (local $sum i32)
                (loop $again
                    (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (local.get $n))
                    (call $grow)
                    (local.set $sum (i32.add (local.get $sum)
                        (i32.load (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 65540)))))
                    (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (local.get $sum)))"#).unwrap();
        let mut linker = Linker::<()>::new(&engine);
        linker
            .func_wrap_async("host", "grow", |caller: AsyncCaller<()>, ()| async move {
                Pause(1).await;
                caller
                    .with(|mut c| {
                        c.get_export("memory")
                            .and_then(Extern::into_memory)
                            .unwrap()
                            .grow(&mut c, 1)
                    })?
                    .map(drop)
            })
            .unwrap();
        let mut store = Store::new(&engine, ());
        let run = linker
            .instantiate(&mut store, &module)
            .unwrap()
            .get_typed_func::<i32, i32>(&store, "run")
            .unwrap();
        assert_eq!(block_on(run.call_async(&mut store, 50)).unwrap(), 51 * 25);
    }
}

#[test]
fn a_future_larger_than_a_leaf_works() {
    let engine = Engine::default();
    let (mut store, _, sum) = sum_with(&engine, (), |linker| {
        linker
            .func_wrap_async("host", "next", |_, ()| async {
                let large = [1u8; 100_000];
                Pause(1).await;
                std::hint::black_box(&large)
                    .iter()
                    .map(|&byte| i32::from(byte))
                    .sum::<i32>()
            })
            .map(drop)
    });
    assert_eq!(block_on(sum.call_async(&mut store, 3)).unwrap(), 300_000);
}

// --- Compiling and code memory ------------------------------------------------------------------------------------------

#[test]
fn a_compilation_runs_on_another_thread_while_the_guest_goes_on() {
    let (give, jobs) = mpsc::channel::<Job>();
    let give = Mutex::new(give);
    let transitions = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&transitions);
    let published = Arc::new(AtomicBool::new(false));
    let engine = engine(|config| {
        config.osr_after(10, 10, 1).tier_up_on_calls(None);
        config.compile_with(move |job| give.lock().unwrap().send(job).unwrap());
        config.on_event(move |event| {
            if matches!(event, Event::Transition { .. }) {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        });
    });
    let done = Arc::clone(&published);
    let compiler = std::thread::spawn(move || {
        let mut ran = 0;
        for job in jobs {
            job.run();
            done.store(true, Ordering::SeqCst);
            ran += 1;
        }
        ran
    });
    let module = Module::new(&engine, r#"(module
        (import "host" "go_on" (func $go_on (result i32)))
        (func (export "run") (result i32) (local $more i32) (local $passes i32)
            (local.set $more (i32.const 100))
            (loop $l
                (local.set $passes (i32.add (local.get $passes) (i32.const 1)))
                ;; until the code is there, then a hundred passes more
                (if (i32.eqz (call $go_on)) (then (local.set $more (i32.sub (local.get $more) (i32.const 1)))))
                (br_if $l (local.get $more)))
            (local.get $passes)))"#).unwrap();
    let mut linker = Linker::new(&engine);
    let there = Arc::clone(&published);
    linker
        .func_wrap("host", "go_on", move || {
            i32::from(!there.load(Ordering::SeqCst))
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let run = linker
        .instantiate(&mut store, &module)
        .unwrap()
        .get_typed_func::<(), i32>(&store, "run")
        .unwrap();
    assert!(run.call(&mut store, ()).unwrap() >= 100);
    assert_eq!(transitions.load(Ordering::SeqCst), 1);
    drop((store, linker, module, engine));
    assert_eq!(compiler.join().unwrap(), 1);
}

#[test]
fn parked_calls_keep_their_code() {
    let parking = Parking::default();
    let call = {
        let engine = engine(|config| {
            config.osr_after(1, 1, 1);
        });
        let (store, _, sum) = sum_with(&engine, (), parked(&parking));
        sum.start(store, 40)
    };
    // no handle of module, linker or engine is left
    let mut resumed = 0;
    while let Some(token) = parking.take() {
        token.resume();
        resumed += 1;
    }
    assert_eq!(resumed, 40);
    assert_eq!(call.finish().unwrap().1.unwrap(), 40);
}

fn writable_and_executable(maps: &str) -> Vec<&str> {
    maps.lines()
        .filter(|line| {
            line.split_whitespace()
                .nth(1)
                .is_some_and(|flags| flags.contains('w') && flags.contains('x'))
        })
        .collect()
}

#[test]
fn no_mapping_is_writable_and_executable() {
    let engine = engine(|config| {
        config.osr_after(1, 1, 1).tier_up_on_resumption(Some(3));
    });
    let looked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&looked);
    let (mut store, _, sum) = sum_with(&engine, (), |linker| {
        linker
            .func_wrap_async("host", "next", move |_, ()| {
                count.fetch_add(1, Ordering::SeqCst);
                async {
                    Pause(1).await;
                    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
                    assert!(maps.contains("r-x"));
                    assert_eq!(writable_and_executable(&maps), Vec::<&str>::new());
                    1
                }
            })
            .map(drop)
    });
    assert_eq!(block_on(sum.call_async(&mut store, 10)).unwrap(), 10);
    assert_eq!(looked.load(Ordering::SeqCst), 10);
    // the check catches what it is for
    assert_eq!(
        writable_and_executable("7f00-7f01 rwxp 0 0:0 0\n7f02-7f03 r-xp 0 0:0 0").len(),
        1
    );
}

// --- Between instances --------------------------------------------------------------------------------------------------

#[test]
fn instances_share_functions_globals_and_memories_and_suspend_across() {
    for configure in [
        (|c| {
            c.tiers(Tiers::Tier0).max_wasm_stack(1 << 19);
        }) as fn(&mut Config),
        |c| {
            c.tiers(Tiers::Tier1).max_wasm_stack(1 << 19);
        },
        |c| {
            {
                c.osr_after(1, 1, 1)
                    .stress_normalize(std::num::NonZeroU32::new(2))
                    .max_wasm_stack(1 << 19);
            };
        },
    ] {
        let engine = engine(configure);
        let a = Module::new(&engine, r#"(module
            (import "host" "next" (func $next (result i32)))
            (memory (export "memory") 1) (global (export "count") (mut i32) (i32.const 0))
            (func (export "take") (param $n i32) (result i32 i64 f64) (local $sum i32)
                (global.set 0 (i32.add (global.get 0) (i32.const 1)))
                (loop $l
                    (local.set $sum (i32.add (local.get $sum) (call $next)))
                    (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
                (i32.store (i32.const 8) (local.get $sum))
                (local.get $sum) (i64.extend_i32_s (local.get $sum)) (f64.convert_i32_s (local.get $sum))))"#).unwrap();
        let b = Module::new(&engine, r#"(module
            (import "a" "take" (func $take (param i32) (result i32 i64 f64)))
            (import "a" "memory" (memory 1)) (import "a" "count" (global $count (mut i32)))
            (export "take" (func $take)) (export "count" (global $count)) (export "memory" (memory 0))
            (func (export "twice") (param i32) (result i32) (local $i i32) (local $l i64) (local $d f64)
                (local.set $d (call $take (local.get 0))) (local.set $l) (local.set $i)
                (local.set $d (call $take (i32.add (local.get 0) (i32.const 1)))) (local.set $l)
                (i32.add (local.get $i))
                (i32.add (i32.wrap_i64 (local.get $l))) (i32.add (i32.trunc_f64_s (local.get $d)))
                (i32.add (i32.mul (i32.load (i32.const 8)) (i32.const 1000)))
                (i32.add (i32.mul (global.get $count) (i32.const 1000000)))))"#).unwrap();
        let c = Module::new(
            &engine,
            r#"(module
            (import "b" "take" (func $take (param i32) (result i32 i64 f64)))
            (import "b" "twice" (func $twice (param i32) (result i32)))
            (func (export "run") (param i32) (result i32)
                (drop (drop (drop (call $take (local.get 0))))) (call $twice (local.get 0))))"#
                .replace(
                    "(drop (drop (drop (call $take (local.get 0)))))",
                    "(call $take (local.get 0)) drop drop drop",
                ),
        )
        .unwrap();
        let mut linker = Linker::<()>::new(&engine);
        linker
            .func_wrap_async("host", "next", |_, ()| async {
                Pause(1).await;
                1
            })
            .unwrap();
        let mut store = Store::new(&engine, ());
        let a = linker.instantiate(&mut store, &a).unwrap();
        linker.instance(&mut store, "a", a).unwrap();
        let b = linker.instantiate(&mut store, &b).unwrap();
        linker.instance(&mut store, "b", b).unwrap();
        let c = linker.instantiate(&mut store, &c).unwrap();
        let run = c.get_typed_func::<i32, i32>(&store, "run").unwrap();
        let result = block_on(run.call_async(&mut store, 4)).unwrap();
        assert_eq!(result, 3_000_000 + 5_000 + 4 + 5 + 5 + 5);
        assert!(matches!(
            b.get_global(&store, "count").unwrap().get(&store),
            Val::I32(3)
        ));
        assert_eq!(b.get_memory(&store, "memory").unwrap().data(&store)[8], 5);
        // dropped across instances, then again
        let mut call = run.call_async(&mut store, 4);
        for _ in 0..3 {
            assert!(Pin::new(&mut call).poll(&mut idle()).is_pending());
        }
        drop(call);
        let take = c.module(&store).exports().count();
        assert_eq!(take, 1);
        let result = block_on(
            b.get_func(&store, "take")
                .unwrap()
                .call_async(&mut store, &[Val::I32(2)])
                .unwrap(),
        )
        .unwrap();
        assert!(matches!(
            result[..],
            [Val::I32(2), Val::I64(2), Val::F64(_)]
        ));
    }
}

/// Nested loops, `depth` of them, of two rounds each; the innermost adds one.
fn nest(depth: u32) -> String {
    let mut text = String::from("(module (func (export \"run\") (result i32) (local $sum i32)");
    for level in 0..depth {
        text += &format!("(local $i{level} i32)");
    }
    for level in 0..depth {
        text += &format!("(local.set $i{level} (i32.const 0)) (loop $l{level} ");
    }
    text += "(local.set $sum (i32.add (local.get $sum) (i32.const 1)))";
    for level in (0..depth).rev() {
        // only the five innermost go round, so that the whole ends
        let rounds = if level + 5 >= depth { 4 } else { 1 };
        text += &format!(
            "(br_if $l{level} (i32.lt_u (local.tee $i{level} \
             (i32.add (local.get $i{level}) (i32.const 1))) (i32.const {rounds}))))"
        );
    }
    text + " (local.get $sum)))"
}

#[test]
fn a_nest_of_loops_too_deep_to_be_entered_stays_in_tier_0_and_says_why() {
    let run = |depth| {
        let seen = Arc::new(Mutex::new((0, Vec::new())));
        let sink = Arc::clone(&seen);
        let mut config = Config::new();
        config
            .osr_after(1, 1, 1)
            .tier_up_on_calls(None)
            .on_event(move |event| match event {
                Event::Transition { .. } => sink.lock().unwrap().0 += 1,
                Event::NotOptimized { reason, .. } => sink.lock().unwrap().1.push(reason),
                _ => (),
            });
        let engine = Engine::new(&config);
        let module = Module::new(&engine, nest(depth)).unwrap();
        let mut store = Store::new(&engine, ());
        let instance = Linker::new(&engine)
            .instantiate(&mut store, &module)
            .unwrap();
        let run = instance.get_typed_func::<(), i32>(&store, "run").unwrap();
        assert_eq!(run.call(&mut store, ()).unwrap(), 4i32.pow(5));
        let (transitions, reasons) = &*seen.lock().unwrap();
        (*transitions, reasons.clone())
    };
    let (transitions, reasons) = run(8);
    assert!(transitions > 0 && reasons.is_empty(), "{reasons:?}");
    let (_, reasons) = run(2000);
    assert!(
        !reasons.is_empty()
            && reasons
                .iter()
                .all(|reason| *reason == NotOptimized::TooLarge),
        "{reasons:?}"
    );
}
