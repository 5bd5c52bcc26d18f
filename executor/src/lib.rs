//! Threads, queues, parking and tasks: resumes futures and continuations alike.
//!
//! ```
//! use midair_executor::{block_on, spawn};
//!
//! let hello = spawn(async { "hello" });
//! assert_eq!(block_on(hello).unwrap(), "hello");
//! ```
//!
//! A *task* is the unit of work. Its body is a Rust future ([`spawn`]) or something of the embedder's that is resumed
//! ([`resumption::schedule`]); both sit behind one header, in one queue.
//!
//! ```text
//!              other threads                        this worker's tasks
//!                   |                             wake |        | spawn, yield
//!                   v                                  v        v
//!              [injector] --a share, now and then--> [newest] [ring 256 | overflow] --half--> thieves
//!                                                      |        |
//!                                                      +--> run one --> run one --> ..   nothing left:
//!                                                           search, announce, look once more, park
//! ```
//!
//! | | threads | futures | queue |
//! |---|---|---|---|
//! | [`Executor`] | its own, work stealing | `Send` | as drawn |
//! | [`LocalExecutor`] | the one that made it | any | one list, no atomics |
//! | [`global`] | one per processor | `Send` | an `Executor` |
//! | [`block_on`] | the caller's | one, any | none |

mod sync;

mod current;

mod park;

mod idle;

mod ticks;

pub mod metrics;

mod task;

mod queue;

mod scheduler;

pub mod resumption;

mod config;

mod local;

mod worker;

mod executor;

mod scope;

mod shutdown;

mod block_on;

pub mod coop;

pub mod context;

pub mod time;

#[cfg(loom)]
#[doc(hidden)]
pub mod model;

pub use block_on::block_on;
pub use config::{Builder, Hooks, PanicPolicy, TaskId, TaskInfo};
pub use coop::{YieldNow, yield_now};
pub use executor::{Executor, Handle, global, spawn};
pub use local::{LocalExecutor, spawn_local};
pub use scope::Scope;
pub use shutdown::ShutdownReport;
pub use task::handle::{AbortHandle, AbortOnDrop, JoinError, JoinHandle};
pub use ticks::Took;

/// The pages of `docs/executor`, whose examples are run.
#[cfg(doctest)]
mod pages {
    #[doc = include_str!("../../docs/executor/spawn.md")]
    mod spawn {}

    #[doc = include_str!("../../docs/executor/block-on.md")]
    mod block_on {}

    #[doc = include_str!("../../docs/executor/cancel.md")]
    mod cancel {}

    #[doc = include_str!("../../docs/executor/not-send.md")]
    mod not_send {}

    #[doc = include_str!("../../docs/executor/borrow.md")]
    mod borrow {}

    #[doc = include_str!("../../docs/executor/timers.md")]
    mod timers {}

    #[doc = include_str!("../../docs/executor/fairness.md")]
    mod fairness {}

    #[doc = include_str!("../../docs/executor/task-locals.md")]
    mod task_locals {}

    #[doc = include_str!("../../docs/executor/panics.md")]
    mod panics {}

    #[doc = include_str!("../../docs/executor/shutdown.md")]
    mod shutdown {}

    #[doc = include_str!("../../docs/executor/io.md")]
    mod io {}

    #[doc = include_str!("../../docs/executor/metrics.md")]
    mod metrics {}

    #[doc = include_str!("../../docs/executor/seeded-order.md")]
    mod seeded_order {}

    #[doc = include_str!("../../docs/executor/continuations.md")]
    mod continuations {}

    #[doc = include_str!("../../docs/executor/coming-from.md")]
    mod coming_from {}
}
