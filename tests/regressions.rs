//! Bugs that were found in the embedding API; each test opens with its story.

use midair::{
    Awaiter, Call, Config, Engine, Linker, Module, Resumption, Store, Tiers, Trap, TypedFunc,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

type Handle = Arc<Mutex<Option<Call<(), i32>>>>;

/// What an awaiter does with its token.
type OnCompleted = Arc<dyn Fn(Resumption) + Send + Sync>;

#[derive(Clone)]
struct Scripted {
    script: OnCompleted,
    alive: Arc<Alive>,
}

/// Counts how often the last clone of an awaiter was dropped.
struct Alive(Arc<AtomicU32>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Awaiter for Scripted {
    type Output = i32;
    fn is_completed(&self) -> bool {
        false
    }
    fn on_completed(self, resumption: Resumption) {
        let Self { script, alive } = self;
        drop(alive);
        script(resumption);
    }
    fn get_result(self) -> i32 {
        1
    }
}

const TWO_AWAITS: &str = r#"(module
    (import "host" "await" (func $await (result i32)))
    (func (export "run") (result i32) (i32.add (call $await) (call $await))))"#;

/// A guest that awaits twice, the awaiters made by `make` from their number.
fn start_two(make: impl Fn(u32) -> Scripted + Send + Sync + 'static) -> Call<(), i32> {
    let engine = Engine::default();
    let module = Module::new(&engine, TWO_AWAITS).unwrap();
    let mut linker = Linker::new(&engine);
    let made = AtomicU32::new(0);
    linker
        .func_awaiter("host", "await", move |_, ()| {
            make(made.fetch_add(1, Ordering::SeqCst))
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run: TypedFunc<(), i32> = instance.get_typed_func(&store, "run").unwrap();
    run.start(store, ())
}

/// The second `on_completed` dropped the call's own handle and then panicked: the chain was released by the handle, and once
/// more by the loop that saw the panic, so the awaiter was dropped twice.
#[test]
fn a_handle_dropped_in_on_completed_that_panics_releases_the_chain_once() {
    let handle = Handle::default();
    let kept = Arc::new(Mutex::new(None));
    let dropped = Arc::new(AtomicU32::new(0));
    let call = start_two({
        let (handle, kept, dropped) = (handle.clone(), kept.clone(), dropped.clone());
        move |number| {
            let (handle, kept) = (handle.clone(), kept.clone());
            Scripted {
                script: Arc::new(move |resumption| {
                    if number == 0 {
                        *kept.lock().unwrap() = Some(resumption);
                    } else {
                        let call = handle.lock().unwrap().take();
                        drop(call);
                        panic!("after the handle");
                    }
                }),
                alive: Arc::new(Alive(dropped.clone())),
            }
        }
    });
    *handle.lock().unwrap() = Some(call);
    let first: Resumption = kept.lock().unwrap().take().unwrap();
    let resumed = catch_unwind(AssertUnwindSafe(|| first.resume()));
    assert!(resumed.is_err(), "the panic goes on at the resumption");
    assert_eq!(dropped.load(Ordering::SeqCst), 2, "each awaiter once");
}

/// `normalize` asked its closure while the call was locked; a panic there left it locked, and the token span for ever.
#[test]
fn a_panic_in_the_choice_of_frames_leaves_the_call_resumable() {
    let kept = Arc::new(Mutex::new(None));
    let mut call = start_two({
        let kept = kept.clone();
        move |_| {
            let kept = kept.clone();
            Scripted {
                script: Arc::new(move |resumption| *kept.lock().unwrap() = Some(resumption)),
                alive: Arc::new(Alive(Arc::default())),
            }
        }
    });
    let chosen = catch_unwind(AssertUnwindSafe(|| call.normalize(|_| panic!("undecided"))));
    assert!(chosen.is_err());
    for _ in 0..2 {
        let resumption: Resumption = kept.lock().unwrap().take().unwrap();
        resumption.resume();
    }
    assert_eq!(call.finish().unwrap().1.unwrap(), 2);
}

/// A nested call that was polled and dropped while guest code ran above it took that code's stack limit away: its next call
/// trapped as if the stack were exhausted.
#[test]
fn a_nested_call_that_is_given_up_leaves_the_stack_limit_of_its_caller() {
    for tiers in [Tiers::Tier0, Tiers::Tier1] {
        let mut config = Config::new();
        config.tiers(tiers);
        let engine = Engine::new(&config);
        let module = Module::new(
            &engine,
            r#"(module
                (import "host" "try" (func $try))
                (import "host" "pending" (func $pending))
                (func (export "waits") (call $pending))
                (func $leaf (param i32) (result i32) (local.get 0))
                (func (export "run") (result i32) (call $try) (call $leaf (i32.const 7))))"#,
        )
        .unwrap();
        let mut linker = Linker::new(&engine);
        linker
            .func_wrap_async(
                "host",
                "try",
                |caller: midair::AsyncCaller<()>, ()| async move {
                    let waits = caller
                        .with(|caller| {
                            caller
                                .get_export("waits")
                                .and_then(midair::Extern::into_func)
                        })
                        .unwrap()
                        .unwrap();
                    let waits = caller
                        .with(|caller| waits.typed::<(), ()>(&caller))
                        .unwrap()
                        .unwrap();
                    let mut nested = caller.call_async(&waits, ());
                    let polled = futures::poll!(&mut nested);
                    assert!(polled.is_pending());
                },
            )
            .unwrap();
        linker
            .func_wrap_async("host", "pending", |_caller, ()| {
                std::future::pending::<()>()
            })
            .unwrap();
        let mut store = Store::new(&engine, ());
        let run = linker
            .instantiate(&mut store, &module)
            .unwrap()
            .get_typed_func::<(), i32>(&store, "run")
            .unwrap();
        let result = midair::executor::block_on(run.call_async(&mut store, ()));
        assert_eq!(result.unwrap(), 7, "{tiers:?}");
    }
}

/// A store that was awaited in on one thread and then called synchronously on another kept the first thread's stack limit
/// after a forced suspension, so that a guest could overrun the second thread's stack.
#[test]
fn a_forced_suspension_on_another_thread_has_that_threads_stack_limit() {
    let mut config = Config::new();
    config.stress_suspend(std::num::NonZeroU32::new(1));
    let engine = Engine::new(&config);
    let module = Module::new(
        &engine,
        r#"(module
            (import "host" "yield" (func $yield))
            (func (export "await") (call $yield))
            (func $down (export "down") (call $down)))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap_async("host", "yield", |_caller, ()| {
            let mut pending = true;
            std::future::poll_fn(move |cx| {
                if std::mem::take(&mut pending) {
                    cx.waker().wake_by_ref();
                    return std::task::Poll::Pending;
                }
                std::task::Poll::Ready(())
            })
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let wait = instance.get_typed_func::<(), ()>(&store, "await").unwrap();
    let down = instance.get_typed_func::<(), ()>(&store, "down").unwrap();
    midair::executor::block_on(wait.call_async(&mut store, ())).unwrap();
    for _ in 0..2 {
        store = std::thread::Builder::new()
            .stack_size(1 << 20)
            .spawn(move || {
                let error = down.call(&mut store, ()).unwrap_err();
                assert_eq!(error.downcast_ref(), Some(&Trap::StackOverflow));
                midair::executor::block_on(wait.call_async(&mut store, ())).unwrap();
                store
            })
            .unwrap()
            .join()
            .unwrap();
    }
}

/// Starting a function of another store panics, as it should, but lost the store.
#[test]
fn starting_a_function_of_another_store_gives_the_store_back_to_its_owner() {
    let engine = Engine::default();
    let module = Module::new(&engine, r#"(module (func (export "f")))"#).unwrap();
    let mut store = Store::new(&engine, Arc::new(()));
    let f = Linker::new(&engine)
        .instantiate(&mut store, &module)
        .unwrap()
        .get_typed_func::<(), ()>(&store, "f")
        .unwrap();
    let data = Arc::new(());
    let other = Store::new(&engine, data.clone());
    let started = catch_unwind(AssertUnwindSafe(|| f.start(other, ())));
    assert!(started.is_err());
    assert_eq!(Arc::strong_count(&data), 1, "the other store was dropped");
}

/// An awaiter was cloned out of its leaf after the call had been declared parked: a clone that dropped the call's handle, on
/// the call's own thread, had the awaiter freed while it looked at it.
#[test]
fn an_awaiter_may_drop_its_own_call_while_it_is_cloned() {
    #[derive(Default)]
    struct Shared {
        token: Mutex<Option<Resumption>>,
        call: Handle,
        alive: AtomicU32,
    }
    struct Cloned(Arc<Shared>, Box<u64>);
    impl Cloned {
        fn new(shared: &Arc<Shared>) -> Self {
            shared.alive.fetch_add(1, Ordering::SeqCst);
            Self(Arc::clone(shared), Box::new(0x0123_4567_89ab_cdef))
        }
    }
    impl Clone for Cloned {
        fn clone(&self) -> Self {
            let call = self.0.call.lock().unwrap().take();
            let alive = self.0.alive.load(Ordering::SeqCst);
            drop(call);
            assert_eq!(self.0.alive.load(Ordering::SeqCst), alive, "still in use");
            assert_eq!(*self.1, 0x0123_4567_89ab_cdef);
            Self::new(&self.0)
        }
    }
    impl Drop for Cloned {
        fn drop(&mut self) {
            self.0.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }
    impl Awaiter for Cloned {
        type Output = i32;
        fn is_completed(&self) -> bool {
            false
        }
        fn on_completed(self, resumption: Resumption) {
            *self.0.token.lock().unwrap() = Some(resumption);
        }
        fn get_result(self) -> i32 {
            1
        }
    }
    let shared = Arc::new(Shared::default());
    let engine = Engine::default();
    let module = Module::new(
        &engine,
        r#"(module (import "host" "await" (func $await (result i32)))
            (func (export "run") (result i32) (i32.add (call $await) (call $await))))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    let made = Arc::clone(&shared);
    linker
        .func_awaiter("host", "await", move |_, ()| Cloned::new(&made))
        .unwrap();
    let mut store = Store::new(&engine, ());
    let run: TypedFunc<(), i32> = linker
        .instantiate(&mut store, &module)
        .unwrap()
        .get_typed_func(&store, "run")
        .unwrap();
    let call = run.start(store, ());
    *shared.call.lock().unwrap() = Some(call);
    let token = shared.token.lock().unwrap().take().unwrap();
    token.resume();
    assert!(
        shared.call.lock().unwrap().is_none(),
        "dropped by the clone"
    );
    // the second await's token is all that is left of the call
    let token = shared.token.lock().unwrap().take().unwrap();
    token.resume();
    assert_eq!(shared.alive.load(Ordering::SeqCst), 0);
}

/// The blocks of a call that was dropped or had trapped all went to the store's last instance: another instance, which had to
/// make new ones for its next call, grew the store with every call that was cancelled.
#[test]
fn calls_that_are_dropped_leave_their_blocks_to_their_own_instance() {
    let resident = || {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        4096 * pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    };
    let engine = Engine::default();
    let mut linker = Linker::<()>::new(&engine);
    linker
        .func_wrap_async("host", "wait", |_, ()| std::future::pending::<()>())
        .unwrap();
    let module = Module::new(
        &engine,
        r#"(module (import "host" "wait" (func $wait))
            (func $run (export "run") (param i32)
                (if (local.get 0)
                    (then (call $run (i32.sub (local.get 0) (i32.const 1))))
                    (else (call $wait)))))"#,
    )
    .unwrap();
    let mut store = Store::new(&engine, ());
    let run = linker
        .instantiate(&mut store, &module)
        .unwrap()
        .get_typed_func::<i32, ()>(&store, "run")
        .unwrap();
    // an instance behind it
    midair::Func::wrap(&mut store, || 1i32).unwrap();
    let before = resident();
    for _ in 0..100_000 {
        let mut call = std::pin::pin!(run.call_async(&mut store, 16));
        let poll = Future::poll(
            call.as_mut(),
            &mut std::task::Context::from_waker(std::task::Waker::noop()),
        );
        assert!(poll.is_pending());
    }
    // it was 140 MB
    assert!(resident().saturating_sub(before) < 60 << 20);
}

/// Only the module's engine was compared with the store's, though a panic was promised for the linker's, too.
#[test]
fn a_linker_of_another_engine_is_noticed() {
    let (one, other) = (Engine::default(), Engine::default());
    let module = Module::new(&one, "(module)").unwrap();
    let linker = Linker::<()>::new(&other);
    let mut store = Store::new(&one, ());
    let made = catch_unwind(AssertUnwindSafe(|| {
        linker.instantiate(&mut store, &module).map(drop)
    }));
    assert!(made.is_err());
    assert!(
        catch_unwind(AssertUnwindSafe(|| linker
            .instantiate_pre(&module)
            .map(drop)))
        .is_err()
    );
}
