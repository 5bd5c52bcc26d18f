//! Guest calls are ordinary futures: they run under tokio, on several of its threads, and under this project's own executor.

use midair::{
    Awaiter, Config, Engine, Linker, Module, Resumption, Store, TypedFunc,
    executor::{self, Executor},
};
use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Poll,
};

/// `run(n)` is the sum of what the host gives for `n, n - 1, .. 1`, awaited at a depth that grows and shrinks.
const GUEST: &str = r#"(module
    (import "host" "get" (func $get (param i64) (result i64)))
    (func $sum (export "run") (param $n i64) (result i64)
        (if (result i64) (i64.eqz (local.get $n))
            (then (i64.const 0))
            (else (i64.add
                (call $get (local.get $n))
                (call $sum (i64.sub (local.get $n) (i64.const 1)))))))
    (func (export "loop") (param $n i64) (result i64) (local $sum i64)
        (loop $again
            (local.set $sum (i64.add (local.get $sum) (call $get (local.get $n))))
            (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
        (local.get $sum)))"#;

/// What the host gives for `n`.
fn value(n: i64) -> i64 {
    n * n + 1
}

fn expected(n: i64) -> i64 {
    (1..=n).map(value).sum()
}

/// Loops are replaced after a few passes, so that awaits are met in every tier.
fn engine() -> Engine {
    Engine::new(
        Config::new()
            .osr_after(10, 10, 1)
            .tier_up_on_calls(Some(20))
            .tier_up_on_resumption(Some(50)),
    )
}

fn load<Fut>(
    engine: &Engine,
    get: impl Fn(i64) -> Fut + Send + Sync + 'static,
) -> (Linker<()>, Module)
where
    Fut: Future<Output = i64> + Send + 'static,
{
    let mut linker = Linker::new(engine);
    linker
        .func_wrap_async("host", "get", move |_, n: i64| get(n))
        .expect("defined once");
    (linker, Module::new(engine, GUEST).expect("valid"))
}

fn instantiate(
    linker: &Linker<()>,
    module: &Module,
    name: &str,
) -> (Store<()>, TypedFunc<i64, i64>) {
    let mut store = Store::new(module.engine(), ());
    let instance = linker.instantiate(&mut store, module).expect("linked");
    let run = instance.get_typed_func(&store, name).expect("exported");
    (store, run)
}

fn tokio(workers: usize) -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers)
        .enable_time()
        .build()
        .expect("threads")
}

#[test]
fn calls_run_as_tasks_of_tokio_on_several_threads() {
    let engine = engine();
    let (linker, module) = load(&engine, |n| async move {
        tokio::task::yield_now().await;
        value(n)
    });
    tokio(4).block_on(async {
        let tasks: Vec<_> = (0..64)
            .map(|i| {
                let (mut store, run) =
                    instantiate(&linker, &module, if i % 2 == 0 { "run" } else { "loop" });
                // `spawn` demands a future that is `Send`
                (
                    i,
                    tokio::spawn(async move {
                        run.call_async(&mut store, 100 + i).await.expect("returns")
                    }),
                )
            })
            .collect();
        for (i, task) in tasks {
            assert_eq!(task.await.expect("no panic"), expected(100 + i));
        }
    });
}

#[test]
fn calls_that_own_their_store_run_as_tasks_of_tokio() {
    let engine = engine();
    let (linker, module) = load(&engine, |n| async move {
        tokio::task::yield_now().await;
        value(n)
    });
    tokio(4).block_on(async {
        let tasks: Vec<_> = (0..32)
            .map(|i| {
                let (store, run) = instantiate(&linker, &module, "loop");
                (i, tokio::spawn(run.start(store, 100 + i)))
            })
            .collect();
        for (i, task) in tasks {
            let (_store, result) = task.await.expect("no panic");
            assert_eq!(result.expect("returns"), expected(100 + i));
        }
    });
}

#[test]
fn tokio_wakes_a_guest_through_a_channel() {
    let engine = engine();
    let (sender, receiver) = tokio::sync::mpsc::channel::<i64>(1);
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let (linker, module) = load(&engine, move |_| {
        let receiver = Arc::clone(&receiver);
        async move {
            receiver
                .lock()
                .await
                .recv()
                .await
                .expect("as many as asked for")
        }
    });
    tokio(2).block_on(async {
        let (mut store, run) = instantiate(&linker, &module, "loop");
        let guest =
            tokio::spawn(async move { run.call_async(&mut store, 500).await.expect("returns") });
        for n in (1..=500).rev() {
            sender.send(value(n)).await.expect("the guest listens");
        }
        assert_eq!(guest.await.expect("no panic"), expected(500));
    });
}

/// Counts how many of it are alive.
struct Alive(Arc<AtomicU32>);

impl Alive {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_call_cut_off_by_a_timeout_of_tokio_drops_what_it_awaits_and_leaves_its_instance_usable() {
    let engine = engine();
    let alive = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&alive);
    let (linker, module) = load(&engine, move |n| {
        let alive = Alive::new(&count);
        async move {
            if n == 60 {
                std::future::pending::<()>().await;
            }
            tokio::task::yield_now().await;
            drop(alive);
            value(n)
        }
    });
    let (mut store, run) = instantiate(&linker, &module, "loop");
    tokio(1).block_on(async {
        for _ in 0..2 {
            let endless = run.call_async(&mut store, 100);
            assert!(
                tokio::time::timeout(std::time::Duration::from_millis(1), endless)
                    .await
                    .is_err()
            );
            assert_eq!(alive.load(Ordering::SeqCst), 0);
            assert_eq!(
                run.call_async(&mut store, 50).await.expect("returns"),
                expected(50)
            );
        }
    });
}

#[test]
fn an_aborted_task_of_tokio_drops_its_store_and_the_future_in_it() {
    let engine = engine();
    let alive = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&alive);
    let (parked, mut is_parked) = tokio::sync::mpsc::unbounded_channel();
    let (linker, module) = load(&engine, move |_| {
        let alive = Alive::new(&count);
        let parked = parked.clone();
        async move {
            parked.send(()).expect("the test listens");
            std::future::pending::<()>().await;
            drop(alive);
            0
        }
    });
    tokio(2).block_on(async {
        let (mut store, run) = instantiate(&linker, &module, "run");
        let task = tokio::spawn(async move { run.call_async(&mut store, 1).await });
        is_parked.recv().await.expect("it parks");
        assert_eq!(alive.load(Ordering::SeqCst), 1);
        task.abort();
        assert!(task.await.expect_err("aborted").is_cancelled());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn calls_run_as_tasks_of_the_own_executor() {
    let engine = engine();
    let (linker, module) = load(&engine, |n| async move {
        executor::yield_now().await;
        value(n)
    });
    let executor = Executor::new(2);
    let tasks: Vec<_> = (0..64)
        .map(|i| {
            let (mut store, run) =
                instantiate(&linker, &module, if i % 2 == 0 { "run" } else { "loop" });
            (
                i,
                executor.spawn(async move {
                    run.call_async(&mut store, 100 + i).await.expect("returns")
                }),
            )
        })
        .collect();
    for (i, task) in tasks {
        assert_eq!(
            executor.block_on(task).expect("no panic"),
            expected(100 + i)
        );
    }
}

#[test]
fn a_guest_sleeps_by_the_timers_of_the_own_executor() {
    let engine = engine();
    let (linker, module) = load(&engine, |n| async move {
        executor::time::sleep(std::time::Duration::from_secs(3600)).await;
        value(n)
    });
    let (mut store, run) = instantiate(&linker, &module, "loop");
    // its clock is stopped, and steps from timer to timer when nothing else is left to do
    let executor = executor::Builder::new().paused(true).build_local();
    let sum =
        executor.block_on(async move { run.call_async(&mut store, 100).await.expect("returns") });
    assert_eq!(sum, expected(100));
}

/// Puts its call on the queue of the executor that runs it.
#[derive(Clone)]
struct Yield(i64);

impl Awaiter for Yield {
    type Output = i64;

    fn is_completed(&self) -> bool {
        false
    }

    fn on_completed(self, resumption: Resumption) {
        resumption.schedule();
    }

    fn get_result(self) -> i64 {
        value(self.0)
    }
}

#[test]
fn a_call_goes_through_the_queue_beside_tasks_that_are_futures() {
    let engine = engine();
    let mut linker = Linker::new(&engine);
    linker
        .func_awaiter("host", "get", |_, n: i64| Yield(n))
        .expect("defined once");
    let module = Module::new(&engine, GUEST).expect("valid");
    let executor = Executor::new(2);
    let futures: Vec<_> = (0..16)
        .map(|_| {
            executor.spawn(async {
                for _ in 0..100 {
                    executor::yield_now().await;
                }
            })
        })
        .collect();
    let calls: Vec<_> = (0..16)
        .map(|i| {
            let (store, run) = instantiate(&linker, &module, "loop");
            (
                i,
                executor.spawn(async move { run.start(store, 100 + i).await }),
            )
        })
        .collect();
    for (i, call) in calls {
        let (_store, result) = executor.block_on(call).expect("no panic");
        assert_eq!(result.expect("returns"), expected(100 + i));
    }
    for future in futures {
        executor.block_on(future).expect("no panic");
    }
}

#[test]
fn a_waker_may_outlive_the_call_it_woke() {
    let engine = engine();
    let kept = Arc::new(std::sync::Mutex::new(Vec::new()));
    let keep = Arc::clone(&kept);
    let (linker, module) = load(&engine, move |n| {
        let keep = Arc::clone(&keep);
        let mut waited = false;
        std::future::poll_fn(move |cx| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(value(n));
            }
            keep.lock().expect("no panic").push(cx.waker().clone());
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    });
    let (mut store, run) = instantiate(&linker, &module, "loop");
    let executor = Executor::new(1);
    let task =
        executor.spawn(async move { run.call_async(&mut store, 100).await.expect("returns") });
    assert_eq!(executor.block_on(task).expect("no panic"), expected(100));
    let wakers = std::mem::take(&mut *kept.lock().expect("no panic"));
    assert_eq!(wakers.len(), 100);
    wakers.into_iter().for_each(std::task::Waker::wake);
}
