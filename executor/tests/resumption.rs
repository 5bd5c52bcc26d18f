//! An embedded task is run or cancelled, exactly once for each time it is scheduled.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;

use midair_executor::resumption::{self, TaskHeader, TaskVtable};
use midair_executor::{Executor, LocalExecutor};

#[derive(Debug, Default)]
struct Counts {
    run: AtomicU32,
    cancelled: AtomicU32,
}

#[repr(C)]
struct Scheduled {
    header: TaskHeader,
    counts: Arc<Counts>,
    /// Schedule it that many times again.
    again: u32,
    done: mpsc::Sender<thread::ThreadId>,
}

static VTABLE: TaskVtable = TaskVtable::new(run, cancel);

unsafe fn take(task: NonNull<TaskHeader>) -> Box<Scheduled> {
    // SAFETY: every queued header with this table is the front of a leaked `Scheduled`, given back by the queue.
    unsafe { Box::from_raw(task.cast::<Scheduled>().as_ptr()) }
}

unsafe fn run(task: NonNull<TaskHeader>) {
    // SAFETY: as `take`.
    let mut scheduled = unsafe { take(task) };
    scheduled.counts.run.fetch_add(1, Ordering::SeqCst);
    if scheduled.again > 0 {
        scheduled.again -= 1;
        queue(scheduled);
    } else {
        finish(*scheduled);
    }
}

unsafe fn cancel(task: NonNull<TaskHeader>) {
    // SAFETY: as `take`.
    let scheduled = unsafe { take(task) };
    scheduled.counts.cancelled.fetch_add(1, Ordering::SeqCst);
    finish(*scheduled);
}

fn finish(mut scheduled: Scheduled) {
    resumption::unbind(&mut scheduled.header);
    let _ = scheduled.done.send(thread::current().id());
}

fn make(
    again: u32,
) -> (
    Box<Scheduled>,
    Arc<Counts>,
    mpsc::Receiver<thread::ThreadId>,
) {
    let counts = Arc::new(Counts::default());
    let (done, receiver) = mpsc::channel();
    let scheduled = Box::new(Scheduled {
        header: TaskHeader::new(&VTABLE),
        counts: Arc::clone(&counts),
        again,
        done,
    });
    (scheduled, counts, receiver)
}

fn queue(scheduled: Box<Scheduled>) {
    let task = NonNull::from(Box::leak(scheduled)).cast();
    // SAFETY: 1. the header comes first. 2. it is leaked until `take`. 3. everything in it is `Send`.
    unsafe { resumption::schedule(task) };
}

#[test]
fn it_runs_on_the_local_executor_in_turn() {
    let (scheduled, counts, _done) = make(3);
    let executor = LocalExecutor::new();
    executor.block_on(async { queue(scheduled) });
    assert_eq!(counts.run.load(Ordering::SeqCst), 0, "never in place");
    assert_eq!(executor.run_until_idle(), 4);
    assert_eq!(counts.run.load(Ordering::SeqCst), 4);
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 0);
}

#[test]
#[cfg_attr(miri, ignore = "the global executor outlives the program")]
fn it_runs_on_the_global_executor_when_there_is_no_other() {
    let (scheduled, counts, done) = make(10);
    queue(scheduled);
    let thread = done.recv().expect("it runs");
    assert_ne!(thread, thread::current().id());
    assert_eq!(counts.run.load(Ordering::SeqCst), 11);
}

#[test]
fn a_bound_one_runs_on_its_executor() {
    let executor = Executor::new(1);
    let worker = executor
        .block_on(executor.spawn(async { thread::current().id() }))
        .expect("no panic");
    let (mut scheduled, _counts, done) = make(5);
    resumption::bind(&mut scheduled.header, executor.handle().into());
    queue(scheduled);
    assert_eq!(done.recv(), Ok(worker));
}

#[test]
fn one_bound_to_a_local_executor_comes_home_from_a_foreign_thread() {
    let executor = LocalExecutor::new();
    let (mut scheduled, counts, done) = make(2);
    resumption::bind(&mut scheduled.header, (&executor).into());
    thread::spawn(move || queue(scheduled))
        .join()
        .expect("no panic");
    assert_eq!(executor.run_until_idle(), 3);
    assert_eq!(counts.run.load(Ordering::SeqCst), 3);
    assert_eq!(done.recv(), Ok(thread::current().id()));
}

#[test]
fn the_end_of_an_executor_cancels_what_is_queued_once() {
    let (first, first_counts, _first_done) = make(0);
    let (second, second_counts, _second_done) = make(100);
    let executor = LocalExecutor::new();
    executor.block_on(async {
        queue(first);
        queue(second);
    });
    drop(executor);
    for counts in [first_counts, second_counts] {
        assert_eq!(counts.run.load(Ordering::SeqCst), 0);
        assert_eq!(counts.cancelled.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn scheduling_on_an_ended_executor_cancels_at_once() {
    let executor = Executor::new(1);
    let (mut scheduled, counts, done) = make(0);
    resumption::bind(&mut scheduled.header, executor.handle().into());
    drop(executor);
    queue(scheduled);
    assert_eq!(counts.cancelled.load(Ordering::SeqCst), 1);
    assert_eq!(done.recv(), Ok(thread::current().id()));
}

#[test]
fn a_foreign_thread_schedules_while_the_executor_ends() {
    for _ in 0..if cfg!(miri) { 5 } else { 50 } {
        let executor = Executor::new(2);
        let (mut scheduled, counts, done) = make(0);
        resumption::bind(&mut scheduled.header, executor.handle().into());
        let foreign = thread::spawn(move || queue(scheduled));
        drop(executor);
        foreign.join().expect("no panic");
        done.recv().expect("run or cancelled");
        let run = counts.run.load(Ordering::SeqCst);
        let cancelled = counts.cancelled.load(Ordering::SeqCst);
        assert_eq!(run + cancelled, 1);
    }
}

/// Far more than a ring holds, all of which schedule themselves again: each has its turns little by little.
#[test]
fn a_long_queue_of_continuations_goes_round_evenly() {
    #[repr(C)]
    struct Turn {
        header: TaskHeader,
        index: usize,
        turns: Arc<Vec<AtomicU32>>,
        uneven: Arc<AtomicU32>,
        done: mpsc::Sender<()>,
    }
    const TURNS: u32 = if cfg!(miri) { 10 } else { 40 };
    static TABLE: TaskVtable = TaskVtable::new(turn, turn);
    unsafe fn turn(task: NonNull<TaskHeader>) {
        // SAFETY: every queued header with this table is the front of a leaked `Turn`.
        let this = unsafe { Box::from_raw(task.cast::<Turn>().as_ptr()) };
        let turns = this.turns[this.index].fetch_add(1, Ordering::Relaxed) + 1;
        // the one farthest away from us in the line is a good witness of all others
        let other = (this.index + this.turns.len() / 2) % this.turns.len();
        let ahead = turns.saturating_sub(this.turns[other].load(Ordering::Relaxed));
        this.uneven.fetch_max(ahead, Ordering::Relaxed);
        if turns == TURNS {
            this.done.send(()).expect("somebody waits");
        } else {
            // SAFETY: 1. the header comes first. 2. it is leaked until `turn`. 3. everything in it is `Send`.
            unsafe { resumption::schedule(NonNull::from(Box::leak(this)).cast()) };
        }
    }
    let count = if cfg!(miri) { 300 } else { 3_000 };
    let turns: Arc<Vec<AtomicU32>> = Arc::new((0..count).map(|_| AtomicU32::new(0)).collect());
    let uneven = Arc::new(AtomicU32::new(0));
    let (done, all) = mpsc::channel();
    let executor = Executor::new(1);
    let spawned = {
        let (turns, uneven) = (Arc::clone(&turns), Arc::clone(&uneven));
        executor.spawn(async move {
            for index in 0..count {
                let task = Box::new(Turn {
                    header: TaskHeader::new(&TABLE),
                    index,
                    turns: Arc::clone(&turns),
                    uneven: Arc::clone(&uneven),
                    done: done.clone(),
                });
                // SAFETY: as in `turn`.
                unsafe { resumption::schedule(NonNull::from(Box::leak(task)).cast()) };
            }
        })
    };
    executor.block_on(spawned).expect("no panic");
    for _ in 0..count {
        all.recv().expect("each sends");
    }
    // a cohort has eight turns on average, and those at its front may have a few more
    let uneven = uneven.load(Ordering::Relaxed);
    assert!(uneven <= 16, "one was {uneven} turns ahead of another");
    assert!(
        turns
            .iter()
            .all(|turns| turns.load(Ordering::Relaxed) == TURNS)
    );
}
