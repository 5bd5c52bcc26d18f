//! What allocates, counted: scheduling a continuation never does, nor does a yield, nor a spawn that finds a kept block.

#![cfg(not(miri))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr::NonNull;

use midair_executor::resumption::{self, TaskHeader, TaskVtable};
use midair_executor::{Executor, LocalExecutor, block_on, yield_now};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is the system's; we only count.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's contract is the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the system's.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

#[repr(C)]
struct Counter {
    header: TaskHeader,
    left: Cell<u32>,
}

unsafe fn run(task: NonNull<TaskHeader>) {
    // SAFETY: only counters are queued, and the queue has given it back; they outlive the test.
    let counter = unsafe { task.cast::<Counter>().as_ref() };
    if counter.left.get() != 0 {
        counter.left.set(counter.left.get() - 1);
        // SAFETY: the counter is ours again, comes with its header first, and is never freed.
        unsafe { resumption::schedule(task) };
    }
}

static VTABLE: TaskVtable = TaskVtable::new(run, run);

fn counters(count: usize) -> Vec<NonNull<TaskHeader>> {
    let counter = || Counter {
        header: TaskHeader::new(&VTABLE),
        left: Cell::new(3),
    };
    (0..count)
        .map(|_| NonNull::from(Box::leak(Box::new(counter()))).cast())
        .collect()
}

#[test]
fn scheduling_on_a_local_executor_allocates_nothing() {
    let executor = LocalExecutor::new();
    let counters = counters(10_000);
    let before = executor.block_on(async {
        let before = allocations();
        for &counter in &counters {
            // SAFETY: it is queued nowhere, and never freed.
            unsafe { resumption::schedule(counter) };
        }
        before
    });
    executor.run_until_idle();
    assert_eq!(allocations() - before, 0);
}

#[test]
fn scheduling_on_a_worker_allocates_nothing_however_many_there_are() {
    struct Send10k(Vec<NonNull<TaskHeader>>);
    // SAFETY: the counters are only touched by the one worker.
    unsafe impl Send for Send10k {}
    let executor = Executor::new(1);
    let counters = Send10k(counters(10_000));
    let task = executor.spawn(async move {
        let counters = counters;
        let before = allocations();
        for &counter in &counters.0 {
            // SAFETY: it is queued nowhere, and never freed.
            unsafe { resumption::schedule(counter) };
        }
        for _ in 0..10 {
            yield_now().await;
        }
        allocations() - before
    });
    assert_eq!(block_on(task).expect("no panic"), 0);
}

#[test]
fn a_spawn_after_another_one_has_finished_allocates_nothing() {
    let executor = LocalExecutor::new();
    let allocated = executor.block_on(async {
        executor.spawn(async {}).await.expect("no panic");
        let before = allocations();
        for _ in 0..100 {
            executor.spawn(yield_now()).detach();
            executor.spawn(async {}).await.expect("no panic");
        }
        allocations() - before
    });
    assert!(allocated <= 4, "{allocated} allocations");
}
