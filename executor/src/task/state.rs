//! The state word of a task, and every transition it can make.
//!
//! ```text
//! bit 0      COMPLETE        the body is gone; the output is there, or was taken
//! bit 1      CLOSED          the body is to be dropped instead of run again
//! bit 2      JOIN_INTEREST   a join handle exists
//! bit 3      JOIN_WAKER      the join waker is set
//! bits 8-15  WAKES           wakes since the last run began, saturating; not zero: a runnable exists
//! bits 16-31 SHARD           which part of the registry holds the task; never changes
//! bits 32-63 REFS            wakers and abort handles
//! ```
//!
//! Rules, cited by number in the SAFETY comments of `cell.rs`, `waker.rs` and `handle.rs`:
//!
//! 1. The transition that moves WAKES from zero creates the runnable; the one that moves it to zero, or sets
//!    COMPLETE, consumes it. The body is touched only by its holder.
//! 2. A run begins with a plain load. The wakes it saw are taken away when it ends; if more came, it runs again.
//! 3. Every wake writes the word with Release, redundant ones too; a run begins with Acquire. So what was written
//!    before a wake is seen by the run that follows it.
//! 4. CLOSED implies WAKES > 0 until COMPLETE: whoever closes a parked task gets it queued, so that its body is
//!    dropped by its executor.
//! 5. The memory is freed by the transition that leaves COMPLETE, no `JOIN_INTEREST`, WAKES = 0 and REFS = 0.
//! 6. A task that nobody can run again (WAKES = 0, REFS = 0, no `JOIN_INTEREST`, not COMPLETE) is closed at once.
//! 7. The join waker belongs to the handle while `JOIN_WAKER` is clear; while it is set, both sides may read it. The
//!    handle may take it back by clearing `JOIN_WAKER`, which fails once COMPLETE is set. The runner that set COMPLETE
//!    wakes it by reference and clears `JOIN_WAKER` afterwards; if the handle has gone by then, the runner drops it.
//! 8. Once COMPLETE is set, the output belongs to the join handle while `JOIN_INTEREST` is set. If there is no
//!    handle, the runner drops the output before it sets COMPLETE.

use std::fmt;

use crate::sync::atomic::{AtomicU64, Ordering};

const COMPLETE: u64 = 1 << 0;
const CLOSED: u64 = 1 << 1;
const JOIN_INTEREST: u64 = 1 << 2;
const JOIN_WAKER: u64 = 1 << 3;
const WAKE: u64 = 1 << 8;
const WAKES: u64 = 0xff << 8;
const SHARD_SHIFT: u32 = 16;
const SHARD: u64 = 0xffff << SHARD_SHIFT;
const REF: u64 = 1 << 32;
const REFS: u64 = !0 << 32;

/// Beyond this many wakers something leaks them without end; as `Arc`, we give up.
const MAX_REFS: u64 = (i32::MAX as u64) << 32;

/// The state word.
pub(crate) struct State(AtomicU64);

/// What a run finds at its beginning.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// Poll the body; hand the number back to [`State::end_run`].
    Run(u64),
    /// Drop the body and complete.
    Closed,
}

/// What follows a run that did not finish the body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The runnable is consumed. Do not touch the task again.
    Parked,
    /// Woken meanwhile: put the runnable at the back of the queue.
    Again,
    /// Drop the body and complete.
    Closed,
}

/// What the giver of a reference has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// Nothing, and the task may be gone.
    Nothing,
    /// The caller holds the runnable now: put it on the queue.
    Schedule,
    /// The caller was the last: free the memory.
    Free,
}

/// What a completed run has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Completed {
    /// Nothing, and the task may be gone.
    Nothing,
    /// Wake the joiner, then call [`State::finish_completion`].
    WakeJoiner,
    /// Free the memory.
    Free,
}

/// What is left after the joiner was woken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Finish {
    /// Nothing, and the task may be gone.
    Nothing,
    /// The handle went away: drop the join waker, then ask again.
    DropWaker,
    /// Free the memory.
    Free,
}

/// What a handle that polls finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Join {
    /// The output may be taken.
    Complete,
    /// No waker is set; the cell of the waker is the handle's.
    Unset,
    /// A waker is set; it may be read.
    Set,
}

/// What a handle that goes away has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The interest is given up. Do as the inner value says.
    Done(Released),
    /// The output is there and is the handle's: drop it, then call [`State::leave_completed`]. `waker`: so is the
    /// join waker.
    DropOutput {
        /// Drop it too.
        waker: bool,
    },
    /// A waker is set: take it back first.
    TakeWaker,
}

const fn free(word: u64) -> bool {
    word & COMPLETE != 0 && word & (JOIN_INTEREST | WAKES | REFS) == 0
}

const fn unreachable_task(word: u64) -> bool {
    word & (COMPLETE | JOIN_INTEREST | WAKES | REFS) == 0
}

impl State {
    /// The state of a task of the embedder, which has none.
    pub(crate) fn idle() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A task that has just been spawned: a runnable and a join handle exist.
    pub(crate) fn spawned(shard: usize) -> Self {
        let shard = u64::try_from(shard).expect("few shards") << SHARD_SHIFT;
        debug_assert_eq!(shard & !SHARD, 0, "a shard fits its field");
        Self(AtomicU64::new(WAKE | JOIN_INTEREST | shard))
    }

    pub(crate) fn shard(&self) -> usize {
        let shard = (self.0.load(Ordering::Relaxed) & SHARD) >> SHARD_SHIFT;
        usize::try_from(shard).expect("16 bits")
    }

    #[inline]
    fn update<R>(&self, mut f: impl FnMut(u64) -> (u64, R)) -> R {
        let mut current = self.0.load(Ordering::Relaxed);
        loop {
            let (next, result) = f(current);
            match self
                .0
                .compare_exchange_weak(current, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return result,
                Err(seen) => current = seen,
            }
        }
    }

    /// Begins a run. The caller holds the runnable.
    #[inline]
    pub(crate) fn begin_run(&self) -> Begin {
        let word = self.0.load(Ordering::Acquire);
        debug_assert!(word & WAKES != 0, "a runnable exists");
        debug_assert!(word & COMPLETE == 0, "no runnable outlives its body");
        if word & CLOSED != 0 {
            return Begin::Closed;
        }
        if word & WAKES == WAKES {
            return self.desaturate();
        }
        Begin::Run(word & WAKES)
    }

    /// A full counter could not show the wakes to come.
    #[cold]
    fn desaturate(&self) -> Begin {
        self.update(|word| {
            if word & CLOSED != 0 {
                (word, Begin::Closed)
            } else {
                ((word & !WAKES) | WAKE, Begin::Run(WAKE))
            }
        })
    }

    /// Ends a run that left the body pending.
    #[inline]
    pub(crate) fn end_run(&self, observed: u64) -> End {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            if word & CLOSED != 0 {
                return End::Closed;
            }
            if word & WAKES != observed {
                return End::Again;
            }
            let parked = word & !WAKES;
            if unreachable_task(parked) {
                return End::Closed;
            }
            match self
                .0
                .compare_exchange_weak(word, parked, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return End::Parked,
                Err(seen) => word = seen,
            }
        }
    }

    /// Ends a run in which the body woke itself: the runnable is kept, and nothing need be written.
    #[inline]
    pub(crate) fn end_run_self_woken(&self) -> End {
        if self.0.load(Ordering::Acquire) & CLOSED != 0 {
            End::Closed
        } else {
            End::Again
        }
    }

    /// Records a wake. `true`: the caller holds the runnable now.
    #[inline]
    pub(crate) fn wake_by_ref(&self) -> bool {
        self.update(|word| {
            if word & (COMPLETE | CLOSED) != 0 || word & WAKES == WAKES {
                (word, false)
            } else {
                (word + WAKE, word & WAKES == 0)
            }
        })
    }

    /// Records a wake and gives a reference up.
    #[inline]
    pub(crate) fn wake_by_value(&self) -> Released {
        self.update(|word| {
            debug_assert!(word & REFS != 0, "the waker is counted");
            let next = word - REF;
            if word & (COMPLETE | CLOSED) != 0 || word & WAKES == WAKES {
                let released = if free(next) {
                    Released::Free
                } else {
                    Released::Nothing
                };
                return (next, released);
            }
            let released = if word & WAKES == 0 {
                Released::Schedule
            } else {
                Released::Nothing
            };
            (next + WAKE, released)
        })
    }

    #[inline]
    pub(crate) fn add_ref(&self) {
        let before = self.0.fetch_add(REF, Ordering::Relaxed);
        if before >= MAX_REFS {
            std::process::abort();
        }
    }

    #[inline]
    pub(crate) fn release_ref(&self) -> Released {
        self.update(|word| {
            debug_assert!(word & REFS != 0, "the waker is counted");
            Self::released(word - REF)
        })
    }

    /// Rules 5 and 6.
    #[inline]
    fn released(next: u64) -> (u64, Released) {
        if free(next) {
            (next, Released::Free)
        } else if unreachable_task(next) {
            ((next | CLOSED) + WAKE, Released::Schedule)
        } else {
            (next, Released::Nothing)
        }
    }

    /// Asks for the body to be dropped. `true`: the caller holds the runnable now.
    pub(crate) fn close(&self) -> bool {
        self.update(|word| {
            if word & (COMPLETE | CLOSED) != 0 {
                (word, false)
            } else if word & WAKES == 0 {
                ((word | CLOSED) + WAKE, true)
            } else {
                (word | CLOSED, false)
            }
        })
    }

    /// Is there still someone who may take the output? Once `false`, for ever.
    #[inline]
    pub(crate) fn has_join_interest(&self) -> bool {
        self.0.load(Ordering::Acquire) & JOIN_INTEREST != 0
    }

    /// Completes a task whose output was written (`joined`) or dropped. `None`: the handle went away, drop the output.
    #[inline]
    pub(crate) fn complete(&self, joined: bool) -> Option<Completed> {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            if joined && word & JOIN_INTEREST == 0 {
                return None;
            }
            let (next, completed) = if joined && word & JOIN_WAKER != 0 {
                // one wake is kept: it holds the memory until the joiner is woken
                ((word & !WAKES) | COMPLETE | WAKE, Completed::WakeJoiner)
            } else {
                let next = (word & !WAKES) | COMPLETE;
                let completed = if free(next) {
                    Completed::Free
                } else {
                    Completed::Nothing
                };
                (next, completed)
            };
            match self
                .0
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Some(completed),
                Err(seen) => word = seen,
            }
        }
    }

    /// After [`Completed::WakeJoiner`]: gives the last hold on the memory up.
    pub(crate) fn finish_completion(&self) -> Finish {
        self.update(|word| {
            if word & JOIN_WAKER != 0 && word & JOIN_INTEREST == 0 {
                return (word & !JOIN_WAKER, Finish::DropWaker);
            }
            let next = word & !(WAKES | JOIN_WAKER);
            if free(next) {
                (next, Finish::Free)
            } else {
                (next, Finish::Nothing)
            }
        })
    }

    /// Is the output there?
    #[inline]
    pub(crate) fn is_complete(&self) -> bool {
        self.0.load(Ordering::Acquire) & COMPLETE != 0
    }

    #[inline]
    pub(crate) fn join_state(&self) -> Join {
        let word = self.0.load(Ordering::Acquire);
        if word & COMPLETE != 0 {
            Join::Complete
        } else if word & JOIN_WAKER != 0 {
            Join::Set
        } else {
            Join::Unset
        }
    }

    /// The join waker was written. `false`: too late, the task is complete and the waker still the handle's.
    pub(crate) fn set_join_waker(&self) -> bool {
        self.update(|word| {
            if word & COMPLETE != 0 {
                (word, false)
            } else {
                (word | JOIN_WAKER, true)
            }
        })
    }

    /// Takes the join waker back. `false`: too late, the task is complete and the waker not the handle's.
    pub(crate) fn unset_join_waker(&self) -> bool {
        self.update(|word| {
            if word & COMPLETE != 0 {
                (word, false)
            } else {
                (word & !JOIN_WAKER, true)
            }
        })
    }

    /// The join handle goes away.
    pub(crate) fn leave(&self) -> Leave {
        self.update(|word| {
            if word & COMPLETE != 0 {
                let waker = word & JOIN_WAKER == 0;
                (word, Leave::DropOutput { waker })
            } else if word & JOIN_WAKER != 0 {
                (word, Leave::TakeWaker)
            } else {
                let (next, released) = Self::released(word & !JOIN_INTEREST);
                (next, Leave::Done(released))
            }
        })
    }

    /// The join handle goes away after it took or dropped the output. `true`: free the memory.
    pub(crate) fn leave_completed(&self) -> bool {
        self.update(|word| {
            let next = word & !JOIN_INTEREST;
            (next, free(next))
        })
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.0.load(Ordering::Relaxed);
        f.debug_struct("State")
            .field("complete", &(word & COMPLETE != 0))
            .field("closed", &(word & CLOSED != 0))
            .field("join_interest", &(word & JOIN_INTEREST != 0))
            .field("join_waker", &(word & JOIN_WAKER != 0))
            .field("wakes", &((word & WAKES) / WAKE))
            .field("refs", &((word & REFS) / REF))
            .finish()
    }
}
