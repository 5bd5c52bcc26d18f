//! Wakers: a counted pointer to a task, or the borrowed one that a poll is given.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::current;
use crate::scheduler;
use crate::task::header::TaskHeader;
use crate::task::state::Released;

/// One table for all tasks, a `static` so that `will_wake` compares one address.
static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop);

/// The waker that a poll is given: the runnable keeps the task alive, so it is not counted.
///
/// # Safety
///
/// 1. `task` is a task made by `spawn`.
/// 2. The caller holds its runnable for as long as the waker is used.
#[inline]
pub(crate) unsafe fn borrowed(task: NonNull<TaskHeader>) -> ManuallyDrop<Waker> {
    let data = task.as_ptr().cast_const().cast();
    // SAFETY: the functions of VTABLE keep the contract of a waker for such a task (1); clones are counted, and
    // the count of this one is never given up because it is never dropped (2).
    ManuallyDrop::new(unsafe { Waker::new(data, &VTABLE) })
}

fn task(data: *const ()) -> NonNull<TaskHeader> {
    NonNull::new(data.cast_mut().cast()).expect("a waker points to its task")
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker holds the task: by its count, or by the runnable it borrows from.
    unsafe { task(data).as_ref() }.state.add_ref();
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    let task = task(data);
    if current::wake_running(task) {
        // SAFETY: the count of this waker is ours to give.
        unsafe { drop(data) };
        return;
    }
    // SAFETY: the waker holds the task.
    let released = unsafe { task.as_ref() }.state.wake_by_value();
    // SAFETY: `released` came from a transition of this task.
    unsafe { settle(task, released) };
}

unsafe fn wake_by_ref(data: *const ()) {
    let task = task(data);
    if current::wake_running(task) {
        return;
    }
    // SAFETY: the waker holds the task.
    if unsafe { task.as_ref() }.state.wake_by_ref() {
        // SAFETY: that transition gave us the runnable.
        unsafe { scheduler::schedule_woken(task) };
    }
}

unsafe fn drop(data: *const ()) {
    let task = task(data);
    // SAFETY: the waker holds the task.
    let released = unsafe { task.as_ref() }.state.release_ref();
    // SAFETY: `released` came from a transition of this task.
    unsafe { settle(task, released) };
}

/// Does what a transition left to do.
///
/// # Safety
///
/// 1. `released` was answered by a transition of this task, and nothing else acted on it.
pub(crate) unsafe fn settle(task: NonNull<TaskHeader>, released: Released) {
    match released {
        Released::Nothing => {}
        // SAFETY: (1) we hold the runnable.
        Released::Schedule => unsafe { scheduler::schedule_woken(task) },
        Released::Free => {
            // SAFETY: (1) nobody else can reach the task (rule 5 of `state.rs`), but it is still allocated.
            let dealloc = unsafe { task.as_ref() }.vtable.dealloc;
            // SAFETY: as above.
            unsafe { dealloc(task) };
        }
    }
}
