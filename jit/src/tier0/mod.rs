//! The baseline compiler: one pass over a validated body, no intermediate form, fast to compile.
//!
//! ```text
//! entry:    make the frame, arguments to their homes, other locals zero, counters, checkpoint    entry.rs
//!           body, operator by operator                                  compile.rs control.rs numeric.rs calls.rs
//!             operands wait in registers, as constants, or unread in their local's home    value_stack.rs
//!           loop headers count down and test the checkpoint word                           patchpoint.rs
//! resume:   to a site's refill door, or the non-local jump to optimized code               entry.rs
//! cold:     suspensions and doors of every site, patchpoint hits, traps
//! ```
//!
//! **Invariant (homes).** At every loop header and at every call, every local and every operand-stack entry (beneath the
//! call's arguments) is in its home. Locals always are: no register outlives an operator with a local's only copy.
//!
//! **Invariant (linear time).** Whatever a body contains, compiling it takes time and code proportional to its length and
//! to the size of its sites: at most `value_stack::WINDOW` entries are not in their homes, more than a few words are
//! copied by loops, and the sites' size is bounded.

#![forbid(unsafe_code)]

mod calls;
mod compile;
mod control;
mod entry;
mod numeric;
mod patchpoint;
mod tables;
mod value_stack;

pub use compile::{compile, compile_for};

#[cfg(test)]
mod tests;
