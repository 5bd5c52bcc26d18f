//! Bugs that executors had, each as a test that would have caught it; and a random mix of everything.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use futures::channel::{mpsc as channel, oneshot};
use futures::task::AtomicWaker;
use futures::{SinkExt, StreamExt};
use midair_executor::{
    Builder, Executor, JoinHandle, LocalExecutor, block_on, spawn_local, time, yield_now,
};

fn few(many: usize) -> usize {
    if cfg!(miri) { many.div_ceil(100) } else { many }
}

/// Lost wake-ups: a storm of wakes from a foreign thread must make progress (a bounded remote queue lost them).
#[test]
fn a_storm_of_foreign_wakes_reaches_every_task() {
    let tasks = few(100);
    let rounds = few(200);
    for executor in [Executor::new(1), Executor::new(2), Executor::new(4)] {
        let wakers: Arc<Vec<AtomicWaker>> =
            Arc::new((0..tasks).map(|_| AtomicWaker::new()).collect());
        let round = Arc::new(AtomicUsize::new(0));
        let arrived = Arc::new(AtomicUsize::new(0));
        let joins: Vec<_> = (0..tasks)
            .map(|task| {
                let (wakers, round, arrived) = (
                    Arc::clone(&wakers),
                    Arc::clone(&round),
                    Arc::clone(&arrived),
                );
                executor.spawn(async move {
                    for next in 1..=rounds {
                        arrived.fetch_add(1, Ordering::SeqCst);
                        poll_fn(|context: &mut Context<'_>| {
                            wakers[task].register(context.waker());
                            if round.load(Ordering::SeqCst) >= next {
                                Poll::Ready(())
                            } else {
                                Poll::Pending
                            }
                        })
                        .await;
                    }
                })
            })
            .collect();
        for next in 1..=rounds {
            while arrived.load(Ordering::SeqCst) < next * tasks {
                thread::yield_now();
            }
            round.store(next, Ordering::SeqCst);
            for waker in wakers.iter() {
                waker.wake();
            }
        }
        for join in joins {
            block_on(join).expect("no panic");
        }
    }
}

/// Double polls: a wake during the last poll must not run a finished task again.
#[test]
fn a_wake_during_the_last_poll_runs_nothing() {
    let executor = LocalExecutor::new();
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let place = Rc::clone(&waker);
    let task = executor.spawn(poll_fn(move |context| {
        count.set(count.get() + 1);
        context.waker().wake_by_ref();
        *place.borrow_mut() = Some(context.waker().clone());
        Poll::Ready(())
    }));
    assert_eq!(executor.run_until_idle(), 1);
    waker.borrow().as_ref().expect("polled").wake_by_ref();
    assert_eq!(executor.run_until_idle(), 0);
    assert_eq!(polls.get(), 1);
    assert!(task.is_finished());
}

/// An old waker must not wake the task that has taken the place of its own.
#[test]
fn an_old_waker_does_not_wake_a_new_task() {
    let executor = LocalExecutor::new();
    let waker = Rc::new(RefCell::new(None::<Waker>));
    let place = Rc::clone(&waker);
    executor
        .spawn(poll_fn(move |context| {
            *place.borrow_mut() = Some(context.waker().clone());
            Poll::Ready(())
        }))
        .detach();
    executor.run_until_idle();
    let polls = Rc::new(Cell::new(0));
    let count = Rc::clone(&polls);
    let next = executor.spawn(poll_fn(move |_| {
        count.set(count.get() + 1);
        Poll::<()>::Pending
    }));
    executor.run_until_idle();
    waker.borrow().as_ref().expect("polled").wake_by_ref();
    executor.run_until_idle();
    assert_eq!(polls.get(), 1);
    drop(next);
}

/// Abort during a poll: the future is dropped when the poll is over, by the thread that polled.
#[test]
fn an_abort_during_a_poll_waits_for_its_end() {
    let executor = Executor::new(2);
    let (inside, is_inside) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    let polled_to_the_end = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&polled_to_the_end);
    let task = executor.spawn(async move {
        inside.send(()).expect("someone waits");
        let _ = may_go.recv();
        flag.store(true, Ordering::SeqCst);
        pending::<()>().await;
    });
    is_inside.recv().expect("started");
    task.abort();
    assert!(!task.is_finished());
    go.send(()).expect("someone waits");
    assert!(block_on(task).expect_err("aborted").is_aborted());
    assert!(polled_to_the_end.load(Ordering::SeqCst));
}

/// Wake during drop: a future that wakes itself, or another task, while it is dropped.
#[test]
fn a_future_may_wake_anyone_while_it_is_dropped() {
    struct WakeInDrop(Option<Waker>, Option<oneshot::Sender<()>>);
    impl Future for WakeInDrop {
        type Output = ();
        fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
            self.0 = Some(context.waker().clone());
            Poll::Pending
        }
    }
    impl Drop for WakeInDrop {
        fn drop(&mut self) {
            if let Some(waker) = self.0.take() {
                waker.wake();
            }
            let _ = self.1.take().expect("once").send(());
        }
    }
    let executor = LocalExecutor::new();
    let (sender, receiver) = oneshot::channel();
    let task = executor.spawn(WakeInDrop(None, Some(sender)));
    let other = executor.spawn(receiver);
    executor.run_until_idle();
    task.abort();
    assert_eq!(executor.block_on(other).expect("no panic"), Ok(()));
    assert!(task.is_finished());
}

struct PanicInDrop;

impl Drop for PanicInDrop {
    fn drop(&mut self) {
        if !thread::panicking() {
            panic!("in drop");
        }
    }
}

/// Panics in drop: of the future, when it finishes and when it is aborted.
#[test]
fn a_panic_while_the_future_is_dropped_reaches_the_joiner() {
    let executor = Executor::new(1);
    let bomb = PanicInDrop;
    let finished = executor.spawn(poll_fn(move |_| {
        let _ = &bomb;
        Poll::Ready(1)
    }));
    assert!(
        block_on(finished)
            .expect_err("its drop panicked")
            .is_panic()
    );
    let bomb = PanicInDrop;
    let aborted = executor.spawn(async move {
        let _bomb = bomb;
        pending::<()>().await;
    });
    aborted.abort();
    assert!(block_on(aborted).is_err());
    assert_eq!(
        block_on(executor.spawn(async { 2 })).expect("it goes on"),
        2
    );
}

/// Panics in drop: of the output, when nobody wants it, and when the handle is dropped after the end.
#[test]
fn a_panic_while_the_output_is_dropped_frees_the_task_all_the_same() {
    let executor = LocalExecutor::new();
    executor.spawn(async { PanicInDrop }).detach();
    executor.run_until_idle();
    let task = executor.spawn(async { PanicInDrop });
    executor.run_until_idle();
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(task)));
    assert!(caught.is_err(), "the panic is the dropper's");
}

/// Fairness: a task that wakes itself goes behind everything that is queued.
#[test]
fn a_self_waker_runs_after_all_others() {
    let executor = LocalExecutor::new();
    let log = Rc::new(RefCell::new(Vec::new()));
    for id in 0..100 {
        let log = Rc::clone(&log);
        executor
            .spawn(async move {
                for _ in 0..3 {
                    log.borrow_mut().push(id);
                    yield_now().await;
                }
            })
            .detach();
    }
    executor.run_until_idle();
    let expected: Vec<_> = (0..3).flat_map(|_| 0..100).collect();
    assert_eq!(*log.borrow(), expected);
}

/// Fairness: two tasks that wake each other through the slot of the newest do not starve a third.
#[test]
fn a_pair_in_the_slot_of_the_newest_lets_a_third_run() {
    let executor = Executor::new(1);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut to_b, mut from_a) = channel::channel::<()>(0);
    let (mut to_a, mut from_b) = channel::channel::<()>(0);
    let flag = Arc::clone(&stop);
    executor
        .spawn(async move {
            while !flag.load(Ordering::SeqCst) {
                let _ = to_b.send(()).await;
                from_b.next().await;
            }
        })
        .detach();
    executor
        .spawn(async move {
            while from_a.next().await.is_some() {
                if to_a.send(()).await.is_err() {
                    break;
                }
            }
        })
        .detach();
    let third = executor.spawn(async {
        for _ in 0..10 {
            yield_now().await;
        }
    });
    block_on(third).expect("it had its turns");
    stop.store(true, Ordering::SeqCst);
}

/// A worker that blocks must not keep what it has woken just before: the watch takes it.
#[test]
fn a_task_behind_a_blocked_worker_is_rescued() {
    let executor = Executor::new(2);
    let (sender, receiver) = mpsc::channel();
    let handle = executor.handle().clone();
    // let the other worker see that this one is busy, so that it is on watch
    let task = executor.spawn(async move {
        for _ in 0..1000 {
            handle.spawn(async {}).detach();
            yield_now().await;
        }
        handle
            .spawn(async move { sender.send(()).expect("someone waits") })
            .detach();
        // blocking like this is wrong, but it must not hang
        receiver.recv().expect("the other worker ran it");
    });
    block_on(task).expect("no panic");
}

/// Cycles: two tasks that await each other are both freed.
#[test]
fn two_tasks_that_await_each_other_are_freed() {
    struct CountDrop(Arc<AtomicUsize>);
    impl Drop for CountDrop {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let executor = Executor::new(2);
    let (to_one, in_one) = oneshot::channel::<JoinHandle<()>>();
    let (to_two, in_two) = oneshot::channel::<JoinHandle<()>>();
    let started = Arc::new(AtomicUsize::new(0));
    let make = |other: oneshot::Receiver<JoinHandle<()>>| {
        let guard = CountDrop(Arc::clone(&drops));
        let started = Arc::clone(&started);
        executor.spawn(async move {
            let _guard = guard;
            let mut other = other.await.expect("sent");
            poll_fn(|context| {
                let polled = Pin::new(&mut other).poll(context).map(|_| ());
                started.fetch_add(1, Ordering::SeqCst);
                polled
            })
            .await;
        })
    };
    let one = make(in_one);
    let two = make(in_two);
    assert!(to_one.send(two).is_ok());
    assert!(to_two.send(one).is_ok());
    while started.load(Ordering::SeqCst) < 2 {
        thread::yield_now();
    }
    drop(executor);
    assert_eq!(drops.load(Ordering::SeqCst), 2);
}

/// Two executors on one thread, one within the other: wakes find their own.
#[test]
fn an_executor_runs_within_a_task_of_another() {
    let outer = LocalExecutor::new();
    let value = outer.block_on(async {
        let (sender, receiver) = oneshot::channel();
        let outer_task = spawn_local(async move { receiver.await.expect("sent") });
        let inner = LocalExecutor::new();
        let from_inner = inner.block_on(async {
            let inner_task = spawn_local(async {
                yield_now().await;
                1
            });
            sender.send(10).expect("someone waits");
            inner_task.await.expect("no panic")
        });
        outer_task.await.expect("no panic") + from_inner
    });
    assert_eq!(value, 11);
}

/// A drop during the end that sends to another task must not loop or hang.
#[test]
fn drops_that_send_to_each_other_come_to_an_end() {
    let executor = LocalExecutor::new();
    let (sender, mut receiver) = channel::unbounded::<u32>();
    struct SendInDrop(channel::UnboundedSender<u32>);
    impl Drop for SendInDrop {
        fn drop(&mut self) {
            let _ = self.0.unbounded_send(1);
        }
    }
    for _ in 0..10 {
        let guard = SendInDrop(sender.clone());
        executor
            .spawn(async move {
                let _guard = guard;
                yield_now().await;
                time::sleep(Duration::from_secs(3600)).await;
            })
            .detach();
    }
    executor
        .spawn(async move { while receiver.next().await.is_some() {} })
        .detach();
    executor.run_until_idle();
    drop(executor);
}

/// A large future does not overflow the stack of a thread, in a debug build either.
#[test]
#[cfg_attr(miri, ignore = "slow")]
fn a_future_of_three_megabytes_is_spawned() {
    let thread = thread::Builder::new().stack_size(64 << 20);
    let thread = thread.spawn(|| {
        let executor = Executor::new(1);
        let bytes = [1u8; 3 << 20];
        let task = executor.spawn(async move {
            yield_now().await;
            bytes.len()
        });
        block_on(task).expect("no panic")
    });
    assert_eq!(thread.expect("a thread").join().expect("no panic"), 3 << 20);
}

/// Late timers: many tasks that sleep on several threads all wake.
#[test]
fn every_sleeper_wakes() {
    let executor = Executor::new(3);
    let tasks: Vec<_> = (0..u64::try_from(few(300)).expect("small"))
        .map(|id| {
            executor.spawn(async move {
                for round in 0..3 {
                    time::sleep(Duration::from_micros((id * 37 + round * 11) % 2000)).await;
                }
            })
        })
        .collect();
    for task in tasks {
        block_on(task).expect("no panic");
    }
}

/// A small generator of random numbers.
struct Random(u64);

impl Random {
    fn next(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

struct Counted {
    live: Arc<AtomicUsize>,
    wakers: Arc<Mutex<Vec<Waker>>>,
    left: u64,
}

impl Counted {
    fn new(live: &Arc<AtomicUsize>, wakers: &Arc<Mutex<Vec<Waker>>>, left: u64) -> Self {
        live.fetch_add(1, Ordering::SeqCst);
        Self {
            live: Arc::clone(live),
            wakers: Arc::clone(wakers),
            left,
        }
    }
}

impl Future for Counted {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<u64> {
        if self.left == 0 {
            return Poll::Ready(7);
        }
        self.left -= 1;
        if self.left.is_multiple_of(2) {
            context.waker().wake_by_ref();
        } else {
            let waker = context.waker().clone();
            self.wakers.lock().expect("no panic").push(waker);
        }
        Poll::Pending
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Random spawns, wakes, aborts, drops of handles and wakers from several threads, then a shutdown in the middle.
#[test]
fn a_random_mix_leaves_nothing_behind() {
    for seed in 1..=u64::try_from(few(60)).expect("small") {
        let live = Arc::new(AtomicUsize::new(0));
        let wakers = Arc::new(Mutex::new(Vec::<Waker>::new()));
        let workers = 1 + usize::try_from(seed % 3).expect("small");
        let executor = Builder::new().workers(workers).build().expect("threads");
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (live, wakers) = (Arc::clone(&live), Arc::clone(&wakers));
                let handle = executor.handle().clone();
                thread::spawn(move || {
                    let mut random = Random(seed * 7919 + thread + 1);
                    let mut tasks = Vec::new();
                    for _ in 0..few(200) {
                        match random.next(8) {
                            0..=2 => {
                                let future = Counted::new(&live, &wakers, random.next(6));
                                tasks.push(handle.spawn(future));
                            }
                            3 => {
                                let (live, wakers) = (Arc::clone(&live), Arc::clone(&wakers));
                                let inner = handle.clone();
                                let left = random.next(4);
                                handle
                                    .spawn(async move {
                                        let future = Counted::new(&live, &wakers, left);
                                        let _ = inner.spawn(future).await;
                                    })
                                    .detach();
                            }
                            4 => drop(tasks.pop()),
                            5 => {
                                if let Some(task) = tasks.last() {
                                    task.abort();
                                }
                            }
                            6 => {
                                let waker = wakers.lock().expect("no panic").pop();
                                drop(waker);
                            }
                            _ => {
                                let woken = std::mem::take(&mut *wakers.lock().expect("no panic"));
                                for waker in woken {
                                    waker.wake();
                                }
                            }
                        }
                    }
                    tasks
                })
            })
            .collect();
        if seed.is_multiple_of(2) {
            let report = executor.shutdown(Duration::ZERO);
            assert_eq!(report.stuck, 0);
        } else {
            thread::yield_now();
            drop(executor);
        }
        for thread in threads {
            for task in thread.join().expect("no panic") {
                match block_on(task) {
                    Ok(value) => assert_eq!(value, 7),
                    Err(error) => assert!(error.is_aborted()),
                }
            }
        }
        drop(wakers);
        assert_eq!(live.load(Ordering::SeqCst), 0, "seed {seed}");
    }
}

/// Double polls: wakes from several threads while a task runs never make it run on two workers at once.
#[test]
fn a_task_is_never_polled_by_two_workers_at_once() {
    let executor = Executor::new(4);
    let waker = Arc::new(AtomicWaker::new());
    let polled = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let task = {
        let (waker, polled) = (Arc::clone(&waker), Arc::clone(&polled));
        let mut left = few(20_000);
        executor.spawn(poll_fn(move |context| {
            assert!(!polled.swap(true, Ordering::AcqRel), "two at once");
            waker.register(context.waker());
            // woken by others and by itself, before and after it says so
            context.waker().wake_by_ref();
            left -= 1;
            polled.store(false, Ordering::Release);
            if left == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }))
    };
    let wakers: Vec<_> = (0..2)
        .map(|_| {
            let (waker, stop) = (Arc::clone(&waker), Arc::clone(&stop));
            thread::spawn(move || {
                while !stop.load(Ordering::Acquire) {
                    waker.wake();
                    thread::yield_now();
                }
            })
        })
        .collect();
    let ended = block_on(task);
    stop.store(true, Ordering::Release);
    for waker in wakers {
        waker.join().expect("no panic");
    }
    ended.expect("never two at once");
}

/// Shutdown with tasks that spawn: each starts its successor for ever, and the end comes all the same.
#[test]
fn a_shutdown_ends_a_lineage_of_tasks() {
    fn next(born: Arc<AtomicUsize>, handle: midair_executor::Handle) {
        let again = handle.clone();
        let spawned = handle.spawn(async move {
            born.fetch_add(1, Ordering::Relaxed);
            yield_now().await;
            next(born, again);
        });
        spawned.detach();
    }
    let executor = Executor::new(2);
    let born = Arc::new(AtomicUsize::new(0));
    for _ in 0..4 {
        next(Arc::clone(&born), executor.handle().clone());
    }
    while born.load(Ordering::Relaxed) < few(1_000) {
        thread::yield_now();
    }
    drop(executor);
    assert_eq!(Arc::strong_count(&born), 1, "every task was dropped");
}

/// A waker that is dropped last, on a foreign thread, after its executor has gone: the task's memory goes with it.
#[test]
fn the_last_waker_may_outlive_the_executor() {
    let (sender, receiver) = mpsc::channel();
    let alive = Arc::new(());
    let executor = Executor::new(2);
    let witness = Arc::clone(&alive);
    executor
        .spawn(poll_fn(move |context| {
            let _ = &witness;
            sender.send(context.waker().clone()).expect("we listen");
            Poll::<()>::Pending
        }))
        .detach();
    let waker: Waker = receiver.recv().expect("it is polled");
    drop(executor);
    assert_eq!(
        Arc::strong_count(&alive),
        1,
        "the future was dropped at the end"
    );
    thread::spawn(move || {
        waker.wake_by_ref();
        drop(waker);
    })
    .join()
    .expect("no panic");
}
