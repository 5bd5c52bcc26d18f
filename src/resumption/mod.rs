//! The one-shot token that resumes a call, and the call that owns its store.
//!
//! [essay: owned calls]
//!
//! A [`Call`] owns its store; while it waits for an awaiter, the *token* owns the right to run it. Using the token is the
//! transfer, so an await takes no atomic read-modify-write. What is left to settle is the handle's own wish to drop a call
//! whose token is still out:
//!
//! | who | where | what |
//! |---|---|---|
//! | token used | the call's home thread | `home` says so: plain loads and stores |
//! | token used | another thread | moves `home` here, by compare-exchange |
//! | handle dropped | the home thread, call parked | cancels at once: `home` becomes [`CANCELLED`](state::CANCELLED), by compare-exchange |
//! | handle dropped | another thread | sets `home` = [`ORPHAN`](state::ORPHAN), then `claim` = [`ORPHANED`](state::ORPHANED): whoever uses or drops the token next cancels |
//! | the call ends | anywhere | `claim` = [`FINISHED`](state::FINISHED), by compare-exchange: the loser of that race frees the store |
//!
//! **Invariant (home).** `home` is the thread that ran the call last. Only that thread may run it, or cancel it, without
//! taking `home` first.
//!
//! A token used inside its own `on_completed`, on the same thread, sets a flag, and the loop that called `on_completed`
//! goes on: no recursion, whatever the number of awaits. The flag is the thread's, not the call's, because by then another
//! thread may be running the call.

mod token;

mod ticket;

mod state;

mod thread;

mod home;

mod turn;

mod park;

mod end;

mod handle;

pub(crate) use state::OwnedCall;
pub(crate) use ticket::{Ticket, TicketState};

pub use handle::Call;
pub use token::Resumption;
