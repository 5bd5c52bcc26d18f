//! What a task may expect, on both executors.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;

use futures::channel::oneshot;
use midair_executor::{Executor, LocalExecutor, block_on};

/// Pends once, after waking itself.
fn yield_once() -> impl Future<Output = ()> {
    let mut yielded = false;
    poll_fn(move |context| {
        if std::mem::replace(&mut yielded, true) {
            Poll::Ready(())
        } else {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_ready_future_needs_no_executor() {
    assert_eq!(block_on(async { 7 }), 7);
}

#[test]
fn block_on_may_nest() {
    let sum = block_on(async {
        1 + block_on(async {
            yield_once().await;
            2
        })
    });
    assert_eq!(sum, 3);
}

#[test]
fn block_on_is_woken_by_another_thread() {
    let (sender, receiver) = oneshot::channel();
    let thread = thread::spawn(move || sender.send(5).expect("someone waits"));
    assert_eq!(block_on(receiver), Ok(5));
    thread.join().expect("no panic");
}

#[test]
fn local_tasks_share_what_is_not_send() {
    let executor = LocalExecutor::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = (0..3)
        .map(|id| {
            let log = Rc::clone(&log);
            executor.spawn(async move {
                for round in 0..2 {
                    log.borrow_mut().push((id, round));
                    yield_once().await;
                }
            })
        })
        .collect();
    executor.block_on(async {
        for task in tasks {
            task.await.expect("no panic");
        }
    });
    let expected = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)];
    assert_eq!(*log.borrow(), expected, "first in, first out");
}

#[test]
fn a_panic_reaches_the_joiner_and_nobody_else() {
    let executor = Executor::new(1);
    let bad = executor.spawn(async { panic!("told so") });
    let good = executor.spawn(async { 1 });
    let error: midair_executor::JoinError = executor.block_on(bad).expect_err("it panicked");
    assert!(error.is_panic());
    assert_eq!(error.to_string(), "the task panicked: told so");
    assert_eq!(executor.block_on(good).expect("no panic"), 1);
}

#[test]
fn an_aborted_parked_task_drops_its_future_and_tells_the_joiner() {
    let drops = Arc::new(AtomicUsize::new(0));
    let executor = Executor::new(2);
    let guard = CountDrop(Arc::clone(&drops));
    let task = executor.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    task.abort();
    assert!(executor.block_on(task).expect_err("aborted").is_aborted());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn a_task_aborted_by_itself_ends_at_its_next_await() {
    let executor = LocalExecutor::new();
    let (sender, receiver) = oneshot::channel::<midair_executor::AbortHandle>();
    let after = Rc::new(Cell::new(false));
    let flag = Rc::clone(&after);
    let task = executor.spawn(async move {
        receiver.await.expect("sent").abort();
        yield_once().await;
        flag.set(true);
    });
    assert!(sender.send(task.abort_handle()).is_ok());
    assert!(executor.block_on(task).expect_err("aborted").is_aborted());
    assert!(!after.get());
}

#[test]
fn a_detached_task_goes_on() {
    let executor = Executor::new(1);
    let (sender, receiver) = oneshot::channel();
    executor
        .spawn(async move {
            yield_once().await;
            let _ = sender.send(3);
        })
        .detach();
    assert_eq!(block_on(receiver), Ok(3));
}

#[test]
fn dropping_an_executor_drops_every_future_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
    let started = Arc::new(AtomicUsize::new(0));
    let executor = Executor::new(2);
    let mut handles = Vec::new();
    for _ in 0..50 {
        let guard = CountDrop(Arc::clone(&drops));
        let wakers = Arc::clone(&wakers);
        let started = Arc::clone(&started);
        handles.push(executor.spawn(async move {
            let _guard = guard;
            started.fetch_add(1, Ordering::SeqCst);
            poll_fn(|context: &mut Context<'_>| {
                wakers
                    .lock()
                    .expect("no panic")
                    .push(context.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        }));
    }
    while started.load(Ordering::SeqCst) < 25 {
        thread::yield_now();
    }
    drop(executor);
    assert_eq!(drops.load(Ordering::SeqCst), 50);
    for waker in wakers.lock().expect("no panic").drain(..) {
        waker.wake();
    }
    for handle in handles {
        assert!(block_on(handle).expect_err("shut down").is_aborted());
    }
}

#[test]
fn a_task_that_nobody_can_wake_is_dropped() {
    let drops = Arc::new(AtomicUsize::new(0));
    let executor = LocalExecutor::new();
    let guard = CountDrop(Arc::clone(&drops));
    executor
        .spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        })
        .detach();
    executor.run_until_idle();
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn the_last_waker_dropped_by_a_foreign_thread_drops_the_future_at_home() {
    struct DropThread(mpsc::Sender<thread::ThreadId>);
    impl Drop for DropThread {
        fn drop(&mut self) {
            let _ = self.0.send(thread::current().id());
        }
    }
    let executor = LocalExecutor::new();
    let (sender, receiver) = mpsc::channel();
    let (waker_sender, waker_receiver) = mpsc::channel::<Waker>();
    let guard = DropThread(sender);
    executor
        .spawn(async move {
            let _guard = guard;
            poll_fn(|context: &mut Context<'_>| {
                let _ = waker_sender.send(context.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        })
        .detach();
    executor.run_until_idle();
    let waker = waker_receiver.recv().expect("polled");
    thread::spawn(move || drop(waker)).join().expect("no panic");
    assert!(receiver.try_recv().is_err(), "not on the foreign thread");
    executor.run_until_idle();
    assert_eq!(receiver.try_recv(), Ok(thread::current().id()));
}

#[test]
fn a_wake_while_the_task_runs_makes_it_run_again() {
    let executor = Executor::new(1);
    let (waker_sender, waker_receiver) = mpsc::channel::<Waker>();
    let woken = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&woken);
    let task = executor.spawn(async move {
        let mut first = true;
        poll_fn(move |context: &mut Context<'_>| {
            if !std::mem::replace(&mut first, false) {
                return Poll::Ready(());
            }
            waker_sender
                .send(context.waker().clone())
                .expect("someone waits");
            while !flag.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            Poll::Pending
        })
        .await;
    });
    waker_receiver.recv().expect("polled").wake();
    woken.store(true, Ordering::SeqCst);
    block_on(task).expect("woken");
}

#[test]
fn more_wakes_than_the_counter_holds_are_one() {
    let executor = LocalExecutor::new();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let polls = Rc::new(Cell::new(0));
    let task = executor.spawn({
        let (waker, polls) = (Rc::clone(&waker), Rc::clone(&polls));
        poll_fn(move |context: &mut Context<'_>| {
            polls.set(polls.get() + 1);
            *waker.borrow_mut() = Some(context.waker().clone());
            if polls.get() == 3 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    });
    executor.run_until_idle();
    for expected in [2, 3] {
        let waker = waker.borrow().clone().expect("polled");
        for _ in 0..1000 {
            waker.wake_by_ref();
        }
        executor.run_until_idle();
        assert_eq!(polls.get(), expected);
    }
    assert!(task.is_finished());
}

#[test]
fn spawning_on_an_ended_executor_answers_aborted() {
    let executor = Executor::new(1);
    let handle = executor.handle().clone();
    drop(executor);
    assert!(
        block_on(handle.spawn(async {}))
            .expect_err("ended")
            .is_aborted()
    );
}

#[test]
fn a_task_spawned_by_a_drop_during_the_end_is_dropped_too() {
    struct SpawnInDrop(midair_executor::Handle, Arc<AtomicUsize>);
    impl Drop for SpawnInDrop {
        fn drop(&mut self) {
            let guard = CountDrop(Arc::clone(&self.1));
            self.0
                .spawn(async move {
                    let _guard = guard;
                    pending::<()>().await;
                })
                .detach();
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let executor = Executor::new(2);
    let guard = SpawnInDrop(executor.handle().clone(), Arc::clone(&drops));
    let (sender, receiver) = mpsc::channel();
    let task = executor.spawn(async move {
        let _guard = guard;
        sender.send(()).expect("someone waits");
        pending::<()>().await;
    });
    receiver.recv().expect("started");
    drop(executor);
    assert!(task.is_finished());
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

#[test]
fn a_waker_stays_the_same_across_clones() {
    let executor = LocalExecutor::new();
    let same = executor.block_on(executor.spawn(poll_fn(|context: &mut Context<'_>| {
        let clone = context.waker().clone();
        Poll::Ready(clone.will_wake(context.waker()) && context.waker().will_wake(&clone))
    })));
    assert!(same.expect("no panic"));
}

#[test]
fn a_large_future_is_spawned_on_a_small_stack() {
    let executor = LocalExecutor::new();
    let size = executor.block_on(async {
        let bytes = [1u8; 300_000];
        let task = executor.spawn(async move {
            yield_once().await;
            bytes.iter().map(|&byte| usize::from(byte)).sum::<usize>()
        });
        task.await
    });
    assert_eq!(size.expect("no panic"), 300_000);
}

#[test]
fn a_joiner_that_changes_its_waker_is_woken_by_the_last_one() {
    let executor = LocalExecutor::new();
    let (sender, receiver) = oneshot::channel();
    let mut task = executor.spawn(async move { receiver.await.expect("sent") });
    executor.run_until_idle();
    let first = futures::task::noop_waker();
    assert!(
        Pin::new(&mut task)
            .poll(&mut Context::from_waker(&first))
            .is_pending()
    );
    let joiner = executor.spawn(async move { task.await.expect("no panic") });
    executor.run_until_idle();
    sender.send(9).expect("someone waits");
    assert_eq!(executor.block_on(joiner).expect("no panic"), 9);
}
