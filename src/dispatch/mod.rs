//! The dispatch loop: runs a chain until it suspends again or ends, and polls what it waits for.
//!
//! [essay: dispatch]
//!
//! ```text
//!   leaf is ready ─▶ its results go to the context, its block to the free list
//!   loop: take the next continuation ─▶ enter its resume stub ─▶ returned: next one, with the results
//!                                                             ─▶ suspended: a new chain, the rest behind it
//!                                                             ─▶ trapped: the rest is released
//! ```
//!
//! Only the leaf's caller is touched by an await, however deep the call is: the rest of the chain is one pointer.

mod activations;

mod thread;

mod run;

mod poll;

mod parked;

mod observe;

use midair_continuation::Header;
use midair_jit::runtime::context::VmContext;
use std::ptr::NonNull;

pub(crate) use activations::{
    Activations, Beneath, Mode, ModeGuard, Parked, Waiting, WaitingGuard,
};
pub(crate) use parked::{code_kinds, logical_frames};
pub(crate) use poll::{Progress, awaited_beneath, complete, completed, poll, poll_once};
pub(crate) use thread::{current, current_store, is_roomy, stack_is_short, with_current};

/// How guest code left.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// The outermost frame returned; its results are in this context.
    Returned(*mut VmContext),
    /// The chain that begins at this leaf is parked.
    Suspended(NonNull<Header>),
    /// The reason is pending in the store; no frame is left.
    Trapped,
}
