//! Timers, budget, task-locals, hooks, metrics, shutdown, order: what a user of other executors looks for.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures::channel::oneshot;
use futures::task::{LocalSpawnExt, SpawnExt};
use futures::{FutureExt, StreamExt};
use midair_executor::context::Context;
use midair_executor::{
    Builder, Executor, Hooks, LocalExecutor, PanicPolicy, TaskId, TaskInfo, Took, block_on, coop,
    spawn_local, task_local, time, yield_now,
};

task_local! {
    static USER: u32;
    static REQUEST: String;
}

#[test]
fn timers_fire_in_the_order_of_their_deadlines_on_a_paused_clock() {
    let executor = Builder::new().paused(true).build_local();
    let order = Rc::new(RefCell::new(Vec::new()));
    let start = Instant::now();
    executor.block_on(async {
        let tasks: Vec<_> = [30, 10, 20]
            .map(|seconds| {
                let order = Rc::clone(&order);
                spawn_local(async move {
                    time::sleep(Duration::from_secs(seconds)).await;
                    order.borrow_mut().push(seconds);
                })
            })
            .into();
        for task in tasks {
            task.await.expect("no panic");
        }
    });
    assert_eq!(*order.borrow(), [10, 20, 30]);
    assert!(start.elapsed() < Duration::from_secs(10), "no one slept");
}

#[test]
fn advance_fires_exactly_what_is_due() {
    let executor = Builder::new().paused(true).build_local();
    executor.block_on(async {
        let mut short = tokio_test::task::spawn(time::sleep(Duration::from_millis(5)));
        let mut long = tokio_test::task::spawn(time::sleep(Duration::from_millis(6)));
        assert!(short.poll().is_pending());
        assert!(long.poll().is_pending());
        time::advance(Duration::from_millis(5)).await;
        assert!(short.is_woken());
        assert!(short.poll().is_ready());
        assert!(!long.is_woken());
        assert!(long.poll().is_pending());
    });
}

#[test]
fn a_dropped_timer_wakes_nobody() {
    let executor = Builder::new().paused(true).build_local();
    executor.block_on(async {
        let mut sleep = tokio_test::task::spawn(Box::pin(time::sleep(Duration::from_secs(1))));
        assert!(sleep.poll().is_pending());
        drop(sleep);
        let before = time::now();
        time::sleep(Duration::from_secs(2)).await;
        assert_eq!(time::now() - before, Duration::from_secs(2));
    });
}

#[test]
fn a_timer_wakes_an_executor_with_threads() {
    let executor = Executor::new(2);
    let task = executor.spawn(async {
        let start = Instant::now();
        time::sleep(Duration::from_millis(3)).await;
        start.elapsed()
    });
    assert!(executor.block_on(task).expect("no panic") >= Duration::from_millis(3));
}

#[test]
#[cfg_attr(miri, ignore = "the global executor outlives the program")]
fn a_timer_works_without_an_executor() {
    block_on(time::sleep(Duration::from_millis(1)));
}

#[test]
fn a_nearer_timer_set_from_outside_wakes_the_sleeper_earlier() {
    let executor = Executor::new(1);
    let far = executor.spawn(async { time::sleep(Duration::from_secs(3600)).await });
    let near = executor.spawn(async { time::sleep(Duration::from_millis(2)).await });
    block_on(near).expect("no panic");
    far.abort();
}

#[test]
fn yielding_tasks_do_not_starve_timers() {
    for executor in [Executor::new(1), Executor::new(2)] {
        let stop = Arc::new(AtomicUsize::new(0));
        for _ in 0..4 {
            let stop = Arc::clone(&stop);
            executor
                .spawn(async move {
                    while stop.load(Ordering::Relaxed) == 0 {
                        yield_now().await;
                    }
                })
                .detach();
        }
        let sleeper = executor.spawn(async { time::sleep(Duration::from_millis(2)).await });
        block_on(sleeper).expect("no panic");
        stop.store(1, Ordering::Relaxed);
    }
}

#[test]
fn missed_ticks_of_an_interval_are_skipped() {
    let executor = Builder::new().paused(true).build_local();
    executor.block_on(async {
        let start = time::now();
        let mut interval = time::interval(Duration::from_millis(10));
        let mut ticks = vec![interval.next().await.expect("endless") - start];
        time::advance(Duration::from_millis(35)).await;
        ticks.push(interval.next().await.expect("endless") - start);
        ticks.push(interval.next().await.expect("endless") - start);
        let ticks: Vec<u128> = ticks.iter().map(Duration::as_millis).collect();
        assert_eq!(ticks, [0, 10, 40]);
    });
}

#[test]
fn a_budget_lets_others_run() {
    let executor = LocalExecutor::new();
    let other = Rc::new(Cell::new(false));
    let seen = executor.block_on(executor.spawn({
        let other = Rc::clone(&other);
        async move {
            let flag = Rc::clone(&other);
            spawn_local(async move { flag.set(true) }).detach();
            let mut units = 0;
            while !other.get() {
                coop::consume().await;
                units += 1;
            }
            units
        }
    }));
    assert_eq!(
        seen.expect("no panic"),
        129,
        "128 units, and the one after the pause"
    );
}

#[test]
fn an_unconstrained_future_spends_nothing() {
    let executor = LocalExecutor::new();
    let pends = executor.block_on(executor.spawn(async {
        let mut pends = 0;
        let mut work = Box::pin(coop::unconstrained(async {
            for _ in 0..1000 {
                coop::consume().await;
            }
        }));
        poll_fn(|context| match work.poll_unpin(context) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => {
                pends += 1;
                Poll::Pending
            }
        })
        .await;
        pends
    }));
    assert_eq!(pends.expect("no panic"), 0);
}

#[test]
fn joining_more_pending_tasks_than_the_budget_has_units_does_not_spin() {
    let executor = LocalExecutor::new();
    let mut senders = Vec::new();
    let tasks: Vec<_> = (0..500)
        .map(|_| {
            let (sender, receiver) = oneshot::channel::<()>();
            senders.push(sender);
            executor.spawn(async move { receiver.await.is_ok() })
        })
        .collect();
    let all = executor.spawn(futures::future::join_all(tasks));
    let runs = executor.run_until_idle();
    assert!(runs < 600, "{runs} runs");
    drop(senders);
    executor.block_on(all).expect("no panic");
}

#[test]
fn task_locals_follow_a_task_across_threads() {
    let executor = Executor::new(2);
    let tasks: Vec<_> = (0..20)
        .map(|id| {
            executor.spawn(USER.scope(id, async move {
                for round in 0..50 {
                    assert_eq!(USER.get(), Some(id));
                    if round == 25 {
                        REQUEST.set(format!("request {id}"));
                    }
                    yield_now().await;
                }
                REQUEST.get()
            }))
        })
        .collect();
    for (id, task) in tasks.into_iter().enumerate() {
        let request = executor.block_on(task).expect("no panic");
        assert_eq!(request, Some(format!("request {id}")));
    }
}

#[test]
fn a_child_inherits_and_does_not_change_its_parents_locals() {
    let executor = LocalExecutor::new();
    executor
        .block_on(executor.spawn(async {
            USER.set(1);
            let child = spawn_local(async {
                assert_eq!(USER.get(), Some(1));
                USER.set(2);
                yield_now().await;
                USER.get()
            });
            USER.set(3);
            assert_eq!(child.await.expect("no panic"), Some(2));
            assert_eq!(USER.get(), Some(3));
        }))
        .expect("no panic");
    assert_eq!(USER.get(), None, "a task leaves nothing behind");
}

#[test]
fn a_panic_in_a_poll_leaves_no_locals_behind() {
    let executor = LocalExecutor::new();
    let task = executor.spawn(async {
        USER.set(9);
        panic!("in the middle");
    });
    assert!(executor.block_on(task).is_err());
    assert_eq!(executor.block_on(async { USER.get() }), None);
}

#[test]
fn a_captured_context_is_the_same_one_again() {
    USER.sync_scope(4, || {
        let captured = Context::capture();
        let raw = captured.clone().into_raw();
        assert!(!raw.is_null());
        // SAFETY: `into_raw` made it, and it is used once.
        let back = unsafe { Context::from_raw(raw) };
        assert!(back.is_same(&captured));
        assert_eq!(back.run(|| USER.get()), Some(4));
    });
    assert!(Context::capture().is_empty());
    assert!(
        Context::empty().into_raw().is_null(),
        "no context costs nothing"
    );
}

#[derive(Default)]
struct Recorder {
    before: Mutex<Vec<Option<String>>>,
    after: AtomicUsize,
}

struct Record(Arc<Recorder>);

impl Hooks for Record {
    fn before_poll(&self, task: &TaskInfo<'_>) {
        let name = task.name.map(str::to_owned);
        self.0.before.lock().expect("no panic").push(name);
    }

    fn after_poll(&self, _task: TaskId, _took: Took) {
        self.0.after.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn hooks_are_called_around_every_poll() {
    let recorder = Arc::new(Recorder::default());
    let executor = Builder::new()
        .hooks(Record(Arc::clone(&recorder)))
        .time_polls(true)
        .build_local();
    let task = executor.spawn_named("worker bee", async { yield_now().await });
    assert_eq!(task.name(), Some("worker bee"));
    executor.block_on(task).expect("no panic");
    let names = recorder.before.lock().expect("no panic").clone();
    assert_eq!(
        names,
        [Some("worker bee".to_owned()), Some("worker bee".to_owned())]
    );
    assert_eq!(recorder.after.load(Ordering::Relaxed), 2);
    assert!(executor.metrics().workers[0].longest_poll.is_some());
}

#[test]
fn metrics_count_polls_and_live_tasks() {
    let executor = Executor::new(2);
    let (sender, receiver) = mpsc::channel();
    let parked: Vec<_> = (0..3)
        .map(|_| {
            let sender = sender.clone();
            executor.spawn(async move {
                sender.send(()).expect("someone waits");
                pending::<()>().await;
            })
        })
        .collect();
    for _ in 0..3 {
        receiver.recv().expect("started");
    }
    let metrics = executor.handle().metrics();
    assert_eq!(metrics.live_tasks, 3);
    assert_eq!(metrics.workers.len(), 2);
    drop(parked);
}

#[test]
fn a_shutdown_waits_for_what_ends_by_itself() {
    let executor = Executor::new(2);
    let done = Arc::new(AtomicUsize::new(0));
    for _ in 0..20 {
        let done = Arc::clone(&done);
        executor
            .spawn(async move {
                for _ in 0..20 {
                    yield_now().await;
                }
                done.fetch_add(1, Ordering::SeqCst);
            })
            .detach();
    }
    let report = executor.shutdown(Duration::from_secs(30));
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(done.load(Ordering::SeqCst), 20);
}

#[test]
fn a_shutdown_without_time_drops_what_is_there() {
    let executor = Executor::new(1);
    let tasks: Vec<_> = (0..5).map(|_| executor.spawn(pending::<()>())).collect();
    let report = executor.shutdown(Duration::ZERO);
    assert_eq!(report.stuck, 0);
    assert!(tasks.iter().all(midair_executor::JoinHandle::is_finished));
}

#[test]
#[cfg_attr(miri, ignore = "the stuck worker may outlive the program")]
fn a_shutdown_reports_a_worker_that_does_not_come_back() {
    let executor = Executor::new(1);
    let (started, start) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let task = executor.spawn(async move {
        started.send(()).expect("someone waits");
        let _ = released.recv();
    });
    start.recv().expect("started");
    let report = executor.shutdown(Duration::from_millis(1));
    assert_eq!((report.dropped, report.stuck), (1, 1));
    release.send(()).expect("someone waits");
    block_on(task).expect("its poll came to its end, and it finished");
}

#[test]
fn a_panic_may_end_the_executor() {
    let executor = Builder::new()
        .workers(2)
        .on_panic(PanicPolicy::Shutdown)
        .build()
        .expect("threads");
    let parked = executor.spawn(pending::<()>());
    let bad = executor.spawn(async { panic!("enough") });
    assert!(block_on(bad).expect_err("it panicked").is_panic());
    assert!(block_on(parked).expect_err("the end").is_aborted());
    assert!(
        block_on(executor.spawn(async {}))
            .expect_err("ended")
            .is_aborted()
    );
}

#[test]
fn a_panic_may_end_a_local_executor() {
    let executor = Builder::new().on_panic(PanicPolicy::Shutdown).build_local();
    let parked = executor.spawn(pending::<()>());
    executor.spawn(async { panic!("enough") }).detach();
    assert!(executor.block_on(parked).expect_err("the end").is_aborted());
}

fn order_with_seed(seed: u64) -> Vec<u32> {
    let executor = Builder::new().seed(seed).build_local();
    let order = Rc::new(RefCell::new(Vec::new()));
    for id in 0..8 {
        let order = Rc::clone(&order);
        executor
            .spawn(async move {
                order.borrow_mut().push(id);
                yield_now().await;
                order.borrow_mut().push(id);
            })
            .detach();
    }
    executor.run_until_idle();
    drop(executor);
    Rc::into_inner(order)
        .expect("the tasks are gone")
        .into_inner()
}

#[test]
fn a_seed_gives_one_order_and_another_seed_another() {
    assert_eq!(order_with_seed(1), order_with_seed(1));
    assert!((2..20).any(|seed| order_with_seed(seed) != order_with_seed(1)));
}

#[test]
fn executors_are_spawners_of_the_futures_crate() {
    let executor = Executor::new(1);
    let remote = executor.spawn_with_handle(async { 1 }).expect("not ended");
    assert_eq!(block_on(remote), 1);
    let local = LocalExecutor::new();
    let answer = Rc::new(2);
    let remote = local
        .spawn_local_with_handle(async move { *answer })
        .expect("not ended");
    assert_eq!(local.block_on(remote), 2);
}

#[test]
fn a_scope_waits_for_tasks_that_borrow() {
    let executor = Executor::new(2);
    let numbers: Vec<u64> = (0..100).collect();
    let sum = AtomicUsize::new(0);
    executor.scope(|scope| {
        for chunk in numbers.chunks(10) {
            let sum = &sum;
            scope
                .spawn(async move {
                    yield_now().await;
                    let part = chunk.iter().sum::<u64>();
                    sum.fetch_add(usize::try_from(part).expect("small"), Ordering::Relaxed);
                })
                .detach();
        }
    });
    assert_eq!(sum.into_inner(), 4950);
}

#[test]
fn a_scope_on_the_only_worker_does_not_wait_for_itself() {
    let executor = Arc::new(Executor::new(1));
    let inner = Arc::clone(&executor);
    let task = executor.handle().spawn(async move {
        let text = String::from("inside");
        inner.scope(|scope| {
            scope
                .spawn(async {
                    yield_now().await;
                    assert_eq!(text, "inside");
                })
                .detach();
        });
        inner
            .block_on(inner.handle().spawn(async { 5 }))
            .expect("no panic")
    });
    assert_eq!(block_on(task).expect("no panic"), 5);
}

#[test]
fn a_nested_wait_ends_with_the_executor() {
    let executor = Arc::new(
        Builder::new()
            .workers(1)
            .on_panic(PanicPolicy::Shutdown)
            .build()
            .expect("a thread"),
    );
    let inner = Arc::clone(&executor);
    let task = executor.handle().spawn(async move {
        let parked = inner.handle().spawn(pending::<()>());
        inner.handle().spawn(async { panic!("enough") }).detach();
        inner.block_on(parked).expect_err("the end").is_aborted()
    });
    // it was running when the end began, and finished in that very poll
    assert!(block_on(task).expect("finished"));
}

#[test]
fn what_a_block_on_spawns_belongs_to_its_executor() {
    let executor = Builder::new()
        .workers(1)
        .thread_name("own")
        .build()
        .expect("a thread");
    let name = executor.block_on(async {
        time::sleep(Duration::from_millis(1)).await;
        let name = || std::thread::current().name().map(str::to_owned);
        midair_executor::spawn(async move { name() }).await
    });
    assert_eq!(name.expect("no panic").as_deref(), Some("own-0"));
}

#[test]
fn a_paused_clock_waits_for_other_threads() {
    let executor = Builder::new().paused(true).build_local();
    let (sender, receiver) = oneshot::channel();
    let thread = std::thread::spawn(move || sender.send(1));
    let value = executor.block_on(receiver);
    assert_eq!(value, Ok(1));
    assert!(thread.join().expect("no panic").is_ok());
}

#[test]
fn an_executor_with_threads_may_be_built_with_a_paused_clock() {
    let executor = Builder::new().workers(2).paused(true).build().unwrap();
    let year = Duration::from_secs(365 * 24 * 60 * 60);
    let slept = executor.block_on(async move {
        let start = time::now();
        let sleeper = midair_executor::spawn(async move {
            time::sleep(year).await;
            time::now()
        });
        // it stands, however often the workers find nothing to do
        assert_eq!(time::now(), start);
        while !sleeper.is_finished() {
            time::advance(Duration::from_secs(30 * 24 * 60 * 60)).await;
            yield_now().await;
        }
        sleeper.await.unwrap() - start
    });
    assert!(slept >= year);
}
