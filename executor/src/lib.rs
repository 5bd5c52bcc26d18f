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

mod sync;

mod current;

mod park;

mod idle;

mod metrics;

mod task;

mod queue;

mod scheduler;

pub mod resumption;

mod local;

mod worker;

mod executor;

mod block_on;

pub use block_on::block_on;
pub use executor::{Executor, Handle, global, spawn};
pub use local::{LocalExecutor, spawn_local};
pub use task::handle::{AbortHandle, JoinError, JoinHandle};
