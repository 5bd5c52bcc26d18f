//! Task-locals and executors follow a guest call through its suspensions, and never leave it: what CoreCLR's tests of
//! execution and synchronization contexts demand, with guest calls for its asynchronous methods.

use midair::{
    Awaiter, Config, Engine, Linker, Module, Resumption, ResumptionPath, Store, TypedFunc,
    executor::{Executor, LocalExecutor, context::Context, task_local},
};
use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Waker},
    thread,
};

task_local! {
    static VALUE: i64;
    static HELD: Arc<()>;
}

const GUEST: &str = r#"(module
    (import "host" "set" (func $set (param i64)))
    (import "host" "get" (func $get (result i64)))
    (import "host" "pause" (func $pause))
    (func $change (export "change") (param $to i64) (result i64)
        (call $set (local.get $to))
        (call $get))
    (func (export "change_and_trap") (param $to i64) (result i64)
        (call $set (local.get $to))
        (unreachable))
    (func $pausing (export "change_and_pause") (param $to i64) (result i64)
        (call $set (local.get $to))
        (call $pause)
        (call $get))
    (func (export "change_pause_and_trap") (param $to i64) (result i64)
        (drop (call $pausing (local.get $to)))
        (unreachable))
    (func (export "pause") (param i64) (result i64)
        (call $pause)
        (call $get))
    ;; sets 1, 2, .. and pauses each time; the sum of what it found afterwards
    (func (export "loop") (param $n i64) (result i64) (local $sum i64)
        (loop $again
            (call $set (local.get $n))
            (call $pause)
            (local.set $sum (i64.add (local.get $sum) (call $get)))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $sum)))"#;

/// Tokens that wait to be used.
#[derive(Clone, Default)]
struct Parking(Arc<Mutex<Vec<Resumption>>>);

impl Parking {
    fn take(&self) -> Resumption {
        self.0.lock().unwrap().pop().expect("parked")
    }

    fn next(&self) -> Option<Resumption> {
        self.0.lock().unwrap().pop()
    }
}

impl Awaiter for Parking {
    type Output = ();
    fn is_completed(&self) -> bool {
        false
    }
    fn on_completed(self, resumption: Resumption) {
        self.0.lock().unwrap().push(resumption);
    }
    fn get_result(self) {}
}

fn yield_once() -> impl Future<Output = ()> + Send {
    let mut yielded = false;
    std::future::poll_fn(move |cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// What `pause` is.
enum Pause {
    Parking(Parking),
    Future,
}

fn get() -> i64 {
    VALUE.get().unwrap_or(-1)
}

fn guest(config: &Config, pause: Pause) -> (Store<()>, impl Fn(&Store<()>, &str) -> Run + use<>) {
    let engine = Engine::new(config);
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "set", |to: i64| VALUE.set(to))
        .unwrap();
    linker.func_wrap("host", "get", get).unwrap();
    match pause {
        Pause::Parking(parking) => {
            linker.func_awaiter("host", "pause", move |_, ()| parking.clone())
        }
        Pause::Future => linker.func_wrap_async("host", "pause", |_, ()| async {
            // a host function's own values stay its own
            let before = get();
            VALUE.set(-7);
            yield_once().await;
            assert_eq!(get(), -7);
            assert_ne!(before, -7);
        }),
    }
    .unwrap();
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, GUEST).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    (store, move |store, name| {
        instance.get_typed_func(store, name).unwrap()
    })
}

type Run = TypedFunc<i64, i64>;

fn parked(config: &Config, name: &str) -> (Store<()>, Run, Parking) {
    let parking = Parking::default();
    let (store, func) = guest(config, Pause::Parking(parking.clone()));
    let run = func(&store, name);
    (store, run, parking)
}

/// Polls until it is ready.
fn drive<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = std::task::Context::from_waker(Waker::noop());
    loop {
        let before = Context::capture();
        let poll = future.as_mut().poll(&mut cx);
        assert!(Context::capture().is_same(&before), "a poll left something");
        if let Poll::Ready(output) = poll {
            return output;
        }
    }
}

#[test]
fn what_a_guest_sets_ends_with_its_call() {
    let (mut store, func) = guest(&Config::new(), Pause::Future);
    let [change, trap] = ["change", "change_and_trap"].map(|name| func(&store, name));
    for value in [None, Some(42)] {
        let mine = || {
            assert_eq!(VALUE.get(), value);
            assert_eq!(change.call(&mut store, 5).unwrap(), 5);
            assert_eq!(VALUE.get(), value, "after a return");
            trap.call(&mut store, 6).unwrap_err();
            assert_eq!(VALUE.get(), value, "after a trap");
            assert_eq!(drive(change.call_async(&mut store, 7)).unwrap(), 7);
            assert_eq!(VALUE.get(), value, "after a future");
            drive(trap.call_async(&mut store, 8)).unwrap_err();
            assert_eq!(VALUE.get(), value, "after a future's trap");
        };
        match value {
            Some(value) => VALUE.sync_scope(value, mine),
            None => {
                let mut mine = mine;
                mine();
            }
        }
    }
    let (store, result) = change.start(store, 9).finish().unwrap();
    assert_eq!(result.unwrap(), 9);
    assert_eq!(VALUE.get(), None, "after an owned call");
    let (_store, result) = trap.start(store, 10).finish().unwrap();
    result.unwrap_err();
    assert_eq!(VALUE.get(), None, "after an owned call's trap");
}

#[test]
fn a_guest_begins_with_its_callers_values() {
    let (mut store, func) = guest(&Config::new(), Pause::Future);
    let pause = func(&store, "pause");
    VALUE.sync_scope(3, || {
        assert_eq!(drive(pause.call_async(&mut store, 0)).unwrap(), 3);
    });
    let (store, run, parking) = parked(&Config::new(), "pause");
    let call = VALUE.sync_scope(4, || run.start(store, 0));
    parking.take().resume();
    assert_eq!(call.finish().unwrap().1.unwrap(), 4);
}

#[test]
fn a_guest_goes_on_with_the_values_it_was_suspended_with() {
    let (mut store, func) = guest(&Config::new(), Pause::Future);
    let [pausing, trap] =
        ["change_and_pause", "change_pause_and_trap"].map(|name| func(&store, name));
    assert_eq!(drive(pausing.call_async(&mut store, 5)).unwrap(), 5);
    VALUE.sync_scope(42, || {
        assert_eq!(drive(pausing.call_async(&mut store, 6)).unwrap(), 6);
        assert_eq!(get(), 42);
        drive(trap.call_async(&mut store, 6)).unwrap_err();
        assert_eq!(get(), 42);
    });
    let (_store, result) = drive(VALUE.scope(43, async { pausing.start(store, 8).await }));
    assert_eq!(result.unwrap(), 8);

    let (store, run, parking) = parked(&Config::new(), "change_and_pause");
    VALUE.sync_scope(1, || {
        let call = run.start(store, 2);
        assert_eq!(get(), 1, "suspended");
        VALUE.sync_scope(3, || {
            parking.take().resume();
            assert_eq!(get(), 3, "resumed");
        });
        assert_eq!(get(), 1);
        assert_eq!(call.finish().unwrap().1.unwrap(), 2);
    });
}

#[test]
fn every_code_version_keeps_them_through_thousands_of_pauses() {
    const N: i64 = 2000;
    let hot = || {
        let mut config = Config::new();
        config.osr_after(10, 10, 1);
        config
    };
    let configs = [
        Config::new().osr(false).clone(),
        hot(),
        hot().resumption(ResumptionPath::ViaTier0).clone(),
        hot().resumption(ResumptionPath::Patchpoint).clone(),
        hot().tier_up_on_resumption(Some(100)).clone(),
        hot().stress_normalize(std::num::NonZeroU32::new(3)).clone(),
    ];
    for config in &configs {
        let (store, run, parking) = parked(config, "loop");
        VALUE.sync_scope(-3, || {
            let call = run.start(store, N);
            while let Some(token) = parking.next() {
                token.resume();
                assert_eq!(get(), -3);
            }
            assert_eq!(call.finish().unwrap().1.unwrap(), N * (N + 1) / 2);
        });
        let (mut store, func) = guest(config, Pause::Future);
        let run = func(&store, "loop");
        VALUE.sync_scope(-3, || {
            let sum = drive(run.call_async(&mut store, N)).unwrap();
            assert_eq!(sum, N * (N + 1) / 2);
        });
    }
    assert_eq!(VALUE.get(), None);
}

#[test]
fn a_guest_takes_them_to_another_thread_which_keeps_its_own() {
    let (store, run, parking) = parked(&Config::new(), "loop");
    let mut call = Some(run.start(store, 10));
    for thread in 0..10 {
        let token = parking.take();
        thread::scope(|scope| {
            scope.spawn(|| {
                VALUE.set(100 + thread);
                token.resume();
                assert_eq!(get(), 100 + thread);
            });
        });
    }
    assert_eq!(call.take().unwrap().finish().unwrap().1.unwrap(), 55);
}

#[test]
fn a_normalized_call_keeps_them() {
    let (store, run, parking) = parked(&Config::new().osr_after(10, 10, 1), "loop");
    let mut call = run.start(store, 100);
    while let Some(token) = parking.next() {
        // (of a call that has moved on there is nothing to normalize)
        let _ = call.normalize(|_| true).map(Result::unwrap);
        token.resume();
    }
    assert_eq!(call.finish().unwrap().1.unwrap(), 5050);

    let (mut store, func) = guest(&Config::new().osr_after(10, 10, 1), Pause::Future);
    let run = func(&store, "loop");
    let mut call = run.call_async(&mut store, 100);
    let sum = loop {
        let mut cx = std::task::Context::from_waker(Waker::noop());
        match pin!(&mut call).poll(&mut cx) {
            Poll::Ready(sum) => break sum.unwrap(),
            Poll::Pending => assert_eq!(call.normalize(|_| true).unwrap(), 1),
        }
    };
    assert_eq!(sum, 5050);
}

#[test]
fn a_call_that_is_dropped_while_it_is_suspended_releases_them() {
    let held = Arc::new(());
    // owned, at an awaiter: the handle dropped, then the token; the token dropped, then the handle
    for token_first in [false, true] {
        let (store, run, parking) = parked(&Config::new(), "pause");
        let call = HELD.sync_scope(Arc::clone(&held), || run.start(store, 0));
        assert!(Arc::strong_count(&held) > 1);
        VALUE.sync_scope(1, || {
            if token_first {
                drop(parking.take());
                assert!(call.is_finished());
            }
            drop(call);
            assert_eq!(get(), 1);
        });
        assert_eq!(Arc::strong_count(&held), 1);
        drop(parking.next());
    }
    // owned and borrowed, at a future
    let (store, func) = guest(&Config::new(), Pause::Future);
    let run = func(&store, "pause");
    drop(HELD.sync_scope(Arc::clone(&held), || run.start(store, 0)));
    assert_eq!(Arc::strong_count(&held), 1);
    let (mut store, func) = guest(&Config::new(), Pause::Future);
    let run = func(&store, "pause");
    {
        let mut call = pin!(run.call_async(&mut store, 0));
        let mut cx = std::task::Context::from_waker(Waker::noop());
        let poll = HELD.sync_scope(Arc::clone(&held), || {
            call.as_mut().poll(&mut cx).is_pending()
        });
        assert!(poll);
        assert!(Arc::strong_count(&held) > 1);
    }
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(drive(run.call_async(&mut store, 0)).unwrap(), -1);
}

#[test]
fn on_completed_runs_with_the_calls_values_and_keeps_none() {
    #[derive(Clone)]
    struct Telling(Arc<Mutex<Vec<i64>>>, Parking);
    impl Awaiter for Telling {
        type Output = ();
        fn is_completed(&self) -> bool {
            false
        }
        fn on_completed(self, resumption: Resumption) {
            self.0.lock().unwrap().push(get());
            VALUE.set(-9);
            self.1.0.lock().unwrap().push(resumption);
        }
        fn get_result(self) {
            self.0.lock().unwrap().push(get());
        }
    }
    let told = Telling(Arc::default(), Parking::default());
    let telling = told.clone();
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "set", |to: i64| VALUE.set(to))
        .unwrap();
    linker.func_wrap("host", "get", get).unwrap();
    linker
        .func_awaiter("host", "pause", move |_, ()| telling.clone())
        .unwrap();
    let module = Module::new(&engine, GUEST).unwrap();
    for name in ["pause", "change_and_pause"] {
        let mut store = Store::new(&engine, ());
        let instance = linker.instantiate(&mut store, &module).unwrap();
        let run: Run = instance.get_typed_func(&store, name).unwrap();
        let expected = if name == "pause" { -1 } else { 5 };
        let call = run.start(store, 5);
        assert_eq!(VALUE.get(), None);
        told.1.take().resume();
        assert_eq!(VALUE.get(), None);
        let (mut store, result) = call.finish().unwrap();
        assert_eq!(result.unwrap(), expected);
        let mut future = pin!(run.call_async(&mut store, 5));
        let mut cx = std::task::Context::from_waker(Waker::noop());
        assert!(future.as_mut().poll(&mut cx).is_pending());
        assert_eq!(VALUE.get(), None);
        told.1.take().resume();
        assert_eq!(drive(future).unwrap(), expected);
        assert_eq!(std::mem::take(&mut *told.0.lock().unwrap()), [expected; 4]);
    }
}

#[test]
fn a_panic_of_a_host_function_brings_the_callers_back() {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "set", |_: i64| {}).unwrap();
    linker.func_wrap("host", "get", get).unwrap();
    linker
        .func_wrap("host", "pause", || {
            VALUE.set(8);
            assert!(VALUE.get().is_none(), "of the host");
        })
        .unwrap();
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, GUEST).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run: Run = instance.get_typed_func(&store, "pause").unwrap();
    VALUE.sync_scope(1, || {
        let call = catch_unwind(AssertUnwindSafe(|| run.call(&mut store, 0)));
        call.unwrap_err();
        assert_eq!(get(), 1);
    });
    assert_eq!(VALUE.get(), None);
}

#[test]
fn a_guest_called_by_a_host_future_has_values_of_its_own() {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    linker
        .func_wrap("host", "set", |to: i64| VALUE.set(to))
        .unwrap();
    linker.func_wrap("host", "get", get).unwrap();
    let nested = Arc::new(AtomicUsize::new(0));
    let depth = Arc::clone(&nested);
    linker
        .func_wrap_async(
            "host",
            "pause",
            move |caller: midair::AsyncCaller<()>, ()| {
                let depth = Arc::clone(&depth);
                async move {
                    if depth.fetch_add(1, Ordering::Relaxed) != 0 {
                        yield_once().await;
                        return;
                    }
                    let run: Run = caller
                        .with(|caller| {
                            caller
                                .instance()
                                .get_typed_func(&caller, "change_and_pause")
                        })
                        .unwrap()
                        .unwrap();
                    VALUE.set(20);
                    assert_eq!(caller.call_async(&run, 30).await.unwrap(), 30);
                    assert_eq!(get(), 20);
                }
            },
        )
        .unwrap();
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, GUEST).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run: Run = instance.get_typed_func(&store, "change_and_pause").unwrap();
    assert_eq!(drive(run.call_async(&mut store, 10)).unwrap(), 10);
    assert_eq!(VALUE.get(), None);
}

/// Which executor's thread this is: the first letter of its name.
fn letter() -> i64 {
    i64::from(
        thread::current()
            .name()
            .map_or(0, |name| name.as_bytes()[0]),
    )
}

fn executor(name: &str) -> Executor {
    midair::executor::Builder::new()
        .workers(1)
        .thread_name(name)
        .build()
        .unwrap()
}

/// `run` is where it goes on.
fn wandering(parking: &Parking) -> (Store<()>, Run) {
    let engine = Engine::default();
    let mut linker = Linker::new(&engine);
    linker.func_wrap("host", "set", |_: i64| {}).unwrap();
    linker.func_wrap("host", "get", letter).unwrap();
    let parking = parking.clone();
    linker
        .func_awaiter("host", "pause", move |_, ()| parking.clone())
        .unwrap();
    let mut store = Store::new(&engine, ());
    let module = Module::new(&engine, GUEST).unwrap();
    let instance = linker.instantiate(&mut store, &module).unwrap();
    let run = instance.get_typed_func(&store, "pause").unwrap();
    (store, run)
}

#[test]
fn a_scheduled_call_goes_on_with_the_executor_it_was_suspended_on() {
    let executors = [executor("a"), executor("b")];
    for _ in 0..10 {
        for (executor, name) in executors.iter().zip([b'a', b'b']) {
            let parking = Parking::default();
            let (store, run) = wandering(&parking);
            // suspended by one of its workers, or by a thread that waits for it
            let started = executor.spawn(async move { run.start(store, 0) });
            let call = executor.block_on(started).unwrap();
            parking.take().schedule();
            let (store, result) = executor.block_on(call);
            assert_eq!(result.unwrap(), i64::from(name));
            let call = executor.block_on(async { run.start(store, 0) });
            // from the other's worker, too
            let token = parking.take();
            let other = &executors[usize::from(name == b'a')];
            other
                .block_on(other.spawn(async move { token.schedule() }))
                .unwrap();
            assert_eq!(executor.block_on(call).1.unwrap(), i64::from(name));
        }
    }
    // each was queued once per suspension, no more
    for executor in &executors {
        let resumes: u64 = executor
            .handle()
            .metrics()
            .workers
            .iter()
            .map(|worker| worker.resumes)
            .sum();
        assert_eq!(resumes, 20);
    }
}

#[test]
fn a_resumed_call_goes_on_where_its_token_is_used() {
    let executors = [executor("a"), executor("b")];
    let parking = Parking::default();
    let (store, run) = wandering(&parking);
    let started = executors[0].spawn(async move { run.start(store, 0) });
    let call = executors[0].block_on(started).unwrap();
    let token = parking.take();
    let used = executors[1].spawn(async move { token.resume() });
    executors[1].block_on(used).unwrap();
    assert_eq!(call.finish().unwrap().1.unwrap(), i64::from(b'b'));
}

#[test]
fn a_call_of_a_local_executor_comes_back_to_its_thread() {
    let local = LocalExecutor::new();
    let parking = Parking::default();
    let (store, run) = wandering(&parking);
    let here = letter();
    let result = local.block_on(async {
        let call = run.start(store, 0);
        let token = parking.take();
        thread::spawn(move || token.schedule());
        call.await.1
    });
    assert_eq!(result.unwrap(), here);
}

#[test]
fn a_call_scheduled_on_an_executor_that_has_ended_fails() {
    let ended = executor("a");
    let parking = Parking::default();
    let (store, run) = wandering(&parking);
    let call = ended
        .block_on(ended.spawn(async move { run.start(store, 0) }))
        .unwrap();
    drop(ended);
    parking.take().schedule();
    let error = call.finish().unwrap().1.unwrap_err();
    assert_eq!(
        error.downcast_ref::<midair::NotCurrent>(),
        Some(&midair::NotCurrent::Cancelled)
    );
}
