//! Models of the task state, the queue, parking, shutdown, abort against wake, join against completion.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p midair-executor --test loom --release`

#![cfg(loom)]

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc as StdArc;
use std::task::{Context, Poll, Waker};

use loom::future::AtomicWaker;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use loom::thread;
use midair_executor::JoinHandle;
use midair_executor::model::{Executor, Parker, Queue};

fn model(preemptions: usize, f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(f);
}

/// Counts polls and drops of a future that is ready when the flag is set.
struct Flagged {
    flag: Arc<AtomicBool>,
    waker: Arc<AtomicWaker>,
    drops: Arc<AtomicUsize>,
}

impl Future for Flagged {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<usize> {
        self.waker.register(context.waker().clone());
        // relaxed: what the waker wrote before the wake must be seen by the poll that follows it
        if self.flag.load(Ordering::Relaxed) {
            Poll::Ready(7)
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Flagged {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Flag {
    flag: Arc<AtomicBool>,
    waker: Arc<AtomicWaker>,
    drops: Arc<AtomicUsize>,
}

impl Flag {
    fn new() -> Self {
        Self {
            flag: Arc::new(AtomicBool::new(false)),
            waker: Arc::new(AtomicWaker::new()),
            drops: Arc::new(AtomicUsize::new(0)),
        }
    }

    fn future(&self) -> Flagged {
        Flagged {
            flag: Arc::clone(&self.flag),
            waker: Arc::clone(&self.waker),
            drops: Arc::clone(&self.drops),
        }
    }

    fn set(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.waker.wake();
    }
}

fn poll_join<T>(task: &mut JoinHandle<T>) -> Poll<Result<T, midair_executor::JoinError>> {
    Pin::new(task).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a_wake_is_never_lost_and_the_body_is_dropped_once() {
    model(3, || {
        let executor = Executor::new(1);
        let flag = Flag::new();
        let mut task = executor.spawn(flag.future());
        let waker = {
            let flag = flag.clone();
            thread::spawn(move || flag.set())
        };
        while executor.run_one() {}
        waker.join().unwrap();
        while executor.run_one() {}
        assert!(matches!(poll_join(&mut task), Poll::Ready(Ok(7))));
        assert_eq!(flag.drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn an_abort_against_a_wake_drops_the_body_once() {
    model(3, || {
        let executor = Executor::new(1);
        let flag = Flag::new();
        let mut task = executor.spawn(flag.future());
        let abort = task.abort_handle();
        let aborter = thread::spawn(move || abort.abort());
        let waker = {
            let flag = flag.clone();
            thread::spawn(move || flag.set())
        };
        while executor.run_one() {}
        aborter.join().unwrap();
        waker.join().unwrap();
        while executor.run_one() {}
        match poll_join(&mut task) {
            Poll::Ready(Ok(value)) => assert_eq!(value, 7),
            Poll::Ready(Err(error)) => assert!(error.is_aborted()),
            Poll::Pending => panic!("it must have finished"),
        }
        assert_eq!(flag.drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_join_against_the_completion_gets_the_output() {
    model(3, || {
        let executor = Executor::new(1);
        let task = executor.spawn(async { 7 });
        let joiner = thread::spawn(move || loom::future::block_on(task).unwrap());
        while executor.run_one() {}
        assert_eq!(joiner.join().unwrap(), 7);
    });
}

#[test]
fn a_detach_against_the_completion_drops_the_output_once() {
    struct Output(Arc<AtomicUsize>);
    impl Drop for Output {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    model(3, || {
        let executor = Executor::new(1);
        let drops = Arc::new(AtomicUsize::new(0));
        let output = Output(Arc::clone(&drops));
        let mut task = executor.spawn(async move { output });
        let dropper = thread::spawn(move || {
            let _ = poll_join(&mut task);
            drop(task);
        });
        while executor.run_one() {}
        dropper.join().unwrap();
        assert_eq!(drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn the_last_waker_against_the_detach_drops_the_body_once() {
    model(3, || {
        let executor = Executor::new(1);
        let flag = Flag::new();
        let task = executor.spawn(flag.future());
        executor.run_one();
        let dropper = {
            let flag = flag.clone();
            thread::spawn(move || drop(flag.waker.take_waker()))
        };
        drop(task);
        dropper.join().unwrap();
        while executor.run_one() {}
        assert_eq!(flag.drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn every_item_of_a_queue_is_taken_once() {
    model(3, || {
        let queue = StdArc::new(Queue::default());
        for number in 0..3 {
            queue.push(number);
        }
        let thief = {
            let queue = StdArc::clone(&queue);
            thread::spawn(move || {
                let own = Queue::default();
                queue.steal(&own);
                std::iter::from_fn(|| own.pop()).collect::<Vec<_>>()
            })
        };
        let mut taken: Vec<_> = queue.pop().into_iter().collect();
        // the ring holds four: these wrap around, or overflow
        queue.push(3);
        queue.push(4);
        queue.push(5);
        taken.extend(std::iter::from_fn(|| queue.pop()));
        taken.extend(thief.join().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3, 4, 5]);
    });
}

#[test]
fn two_thieves_and_the_owner_share_without_a_double() {
    model(2, || {
        let queue = StdArc::new(Queue::default());
        for number in 0..4 {
            queue.push(number);
        }
        let thieves: Vec<_> = (0..2)
            .map(|_| {
                let queue = StdArc::clone(&queue);
                thread::spawn(move || {
                    let own = Queue::default();
                    queue.steal(&own);
                    std::iter::from_fn(|| own.pop()).collect::<Vec<_>>()
                })
            })
            .collect();
        let mut taken: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        for thief in thieves {
            taken.extend(thief.join().unwrap());
        }
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3]);
    });
}

#[test]
fn a_thief_may_be_stolen_from_meanwhile() {
    model(2, || {
        let queue = Queue::default();
        queue.push(1);
        queue.push(2);
        let own = StdArc::new(Queue::default());
        own.push(0);
        let second = {
            let own = StdArc::clone(&own);
            thread::spawn(move || {
                let theirs = Queue::default();
                own.steal(&theirs);
                std::iter::from_fn(|| theirs.pop()).collect::<Vec<_>>()
            })
        };
        queue.steal(&own);
        let mut taken: Vec<_> = std::iter::from_fn(|| own.pop()).collect();
        taken.extend(std::iter::from_fn(|| queue.pop()));
        taken.extend(second.join().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
    });
}

#[test]
fn the_slot_of_the_newest_gives_each_item_once() {
    model(3, || {
        let queue = StdArc::new(Queue::default());
        queue.push_lifo(0);
        let thief = {
            let queue = StdArc::clone(&queue);
            thread::spawn(move || queue.pop_lifo())
        };
        queue.push_lifo(1);
        let mut taken: Vec<_> = queue.pop_lifo().into_iter().collect();
        taken.extend(queue.pop());
        taken.extend(thief.join().unwrap());
        taken.sort_unstable();
        assert_eq!(taken, [0, 1]);
    });
}

#[test]
fn an_unpark_is_never_lost_and_carries_what_was_written() {
    model(3, || {
        let parker = StdArc::new(Parker::default());
        let written = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let parker = StdArc::clone(&parker);
                let written = Arc::clone(&written);
                thread::spawn(move || {
                    written.fetch_add(1, Ordering::Relaxed);
                    parker.unpark();
                })
            })
            .collect();
        while written.load(Ordering::Relaxed) != 2 {
            parker.park();
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn a_worker_sees_what_is_spawned_while_it_goes_to_sleep() {
    model(2, || {
        let executor = Executor::new(1);
        let worker = {
            let executor = executor.clone();
            thread::spawn(move || executor.work(0))
        };
        let task = executor.spawn(async { 7 });
        assert_eq!(loom::future::block_on(task).unwrap(), 7);
        executor.close();
        worker.join().unwrap();
    });
}

#[test]
fn a_shutdown_against_a_wake_ends_and_drops_the_body_once() {
    model(2, || {
        let executor = Executor::new(1);
        let flag = Flag::new();
        let mut task = executor.spawn(flag.future());
        executor.run_one();
        let waker = {
            let flag = flag.clone();
            thread::spawn(move || flag.set())
        };
        executor.close();
        executor.work(0);
        waker.join().unwrap();
        assert!(poll_join(&mut task).is_ready());
        assert_eq!(flag.drops.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_shutdown_against_a_spawn_ends() {
    model(2, || {
        let executor = Executor::new(1);
        let spawner = {
            let executor = executor.clone();
            thread::spawn(move || executor.spawn(pending::<()>()))
        };
        executor.close();
        executor.work(0);
        let task = spawner.join().unwrap();
        assert!(task.is_finished());
    });
}

/// The calibration: without the wake, the models above would have to fail. So they do look.
#[test]
#[should_panic(expected = "it must have finished")]
fn a_flag_without_a_wake_is_noticed() {
    model(2, || {
        let executor = Executor::new(1);
        let flag = Flag::new();
        let mut task = executor.spawn(flag.future());
        let setter = {
            let flag = flag.clone();
            thread::spawn(move || flag.flag.store(true, Ordering::Relaxed))
        };
        while executor.run_one() {}
        setter.join().unwrap();
        while executor.run_one() {}
        assert!(poll_join(&mut task).is_ready(), "it must have finished");
    });
}

/// A poll reads what was written before a redundant wake.
#[test]
fn a_redundant_wake_carries_what_was_written() {
    model(3, || {
        let executor = Executor::new(1);
        let written = Arc::new(AtomicUsize::new(0));
        let seen = Arc::new(AtomicUsize::new(0));
        let waker = Arc::new(AtomicWaker::new());
        let task = {
            let (written, seen, waker) =
                (Arc::clone(&written), Arc::clone(&seen), Arc::clone(&waker));
            executor.spawn(poll_fn(move |context: &mut Context<'_>| {
                waker.register(context.waker().clone());
                seen.store(written.load(Ordering::Relaxed), Ordering::Relaxed);
                Poll::<()>::Pending
            }))
        };
        executor.run_one();
        let wake = waker.take_waker().unwrap();
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (written, wake) = (Arc::clone(&written), wake.clone());
                thread::spawn(move || {
                    written.fetch_add(1, Ordering::Relaxed);
                    wake.wake_by_ref();
                })
            })
            .collect();
        while executor.run_one() {}
        for thread in threads {
            thread.join().unwrap();
        }
        while executor.run_one() {}
        assert_eq!(seen.load(Ordering::Relaxed), 2);
        drop(wake);
        drop(waker.take_waker());
        drop(task);
        while executor.run_one() {}
    });
}
