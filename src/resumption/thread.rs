//! What a thread knows of the calls it runs: its number, and the `on_completed` that runs on it.

use super::state::FIRST_THREAD;
use crate::store::StoreCore;
use std::{
    cell::Cell,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
};

/// What has become of a token that was given to an `on_completed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It went elsewhere; the call is not ours any more.
    None,
    /// It was used on this thread meanwhile.
    Resumed,
    /// It was dropped on this thread meanwhile.
    Dropped,
}

/// In [`HERE`]: the token was used.
pub(super) const RESUMED: usize = 1;
/// In [`HERE`]: the token was dropped.
pub(super) const DROPPED: usize = 2;

thread_local! {
    /// What a token's call must have as its home to be resumed without further questions: this thread's number. While an
    /// `on_completed` runs here it is the owned call it belongs to, the innermost, with one of the two bits above once its
    /// token came back; no home is that, so tokens used meanwhile ask.
    pub(super) static HERE: Cell<usize> = const { Cell::new(0) };
    /// This thread's number; 0 until it is first asked for.
    pub(super) static THREAD: Cell<usize> = const { Cell::new(0) };
}

/// A number no other thread of this process has, or had.
#[inline(always)]
pub(super) fn this_thread() -> usize {
    match THREAD.get() {
        0 => number_thread(),
        number => number,
    }
}

#[cold]
fn number_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(FIRST_THREAD);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    THREAD.set(number);
    // an `on_completed` that runs here has taken note of the 0 before; `at_home` mends that
    if HERE.get() == 0 {
        HERE.set(number);
    }
    number
}

/// Answers an `on_completed` of this call on this thread, if there is one.
pub(super) fn answer(core: NonNull<StoreCore>, answer: usize) -> bool {
    let call = core.addr().get();
    let inside = HERE.get() == call;
    if inside {
        HERE.set(call | answer);
    }
    inside
}

/// What [`HERE`] says at the end, of this call.
pub(super) fn answer_of(core: NonNull<StoreCore>, after: usize) -> Answer {
    match after.wrapping_sub(core.addr().get()) {
        RESUMED => Answer::Resumed,
        DROPPED => Answer::Dropped,
        _ => Answer::None,
    }
}
