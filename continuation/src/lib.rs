//! A suspended call as a chain of small heap objects.
//!
//! ```text
//!   leaf (host)          guest frame, innermost      guest frame, outermost
//!  ┌──────────────┐     ┌──────────────┐            ┌──────────────┐
//!  │ next ────────┼────▶│ next ────────┼──▶  ...  ──▶│ next = null  │
//!  │ resume = null│     │ resume ──────┼─▶ stub      │ resume       │
//!  │ resume addr. │     │ resume addr.─┼─▶ code/null │ resume addr. │
//!  │ site ────────┼─▶   │ site ────────┼─▶ which     │ site         │
//!  │ flags        │type │ flags,counter│   point     │ flags,counter│
//!  │ context      │     │ context      │             │ context      │
//!  ├──────────────┤     ├──────────────┤            ├──────────────┤
//!  │ a future     │     │ image: the   │            │ image        │
//!  │ or an awaiter│     │ live slots   │            │              │
//!  └──────────────┘     └──────────────┘            └──────────────┘
//! ```
//!
//! A call that cannot go on returns *suspended*, leaf first: each frame copies its live slots into a continuation, hangs it
//! behind the previous one and returns the same word. Resuming touches the leaf only, however deep the call is.
//!
//! This crate knows neither Wasm nor threads and contains no machine code: it is the memory that both share.
//!
//! # Who owns a parked chain
//!
//! [essay: ownership of a chain]
//!
//! | moment | owner | what it may do |
//! |---|---|---|
//! | a guest frame runs | the guest stack | nothing is parked; finished blocks lie on the free lists |
//! | a resumed frame runs | the dispatch loop, its continuation *kept* in the context | be suspended into it again, if it is the outermost frame; its callers wait behind it |
//! | frames return *suspended* | the context's `chain_head`/`chain_tail` | append, never look inside |
//! | the last frame has returned | the dispatch loop, as a [`Chain`] | hand it on, resume its leaf, or drop it |
//! | waiting for an awaiter | the one-shot token | resume, schedule, or drop: each exactly once |
//! | waiting for a future | the call's future (or its store, so that a leaked future leaves nothing behind) | poll the leaf |
//! | scheduled | the executor's queue | run it or cancel it |
//! | being resumed | the dispatch loop again | the leaf's block is free before its caller runs; a frame's block, when the frame has left otherwise than into it |
//!
//! Passing the token *is* the transfer: no word is contended, so the await path needs no atomic read-modify-write.
//!
//! **Invariant (one owner).** A chain is reachable for writing from one owner at a time, and free lists belong to the
//! thread that runs the store. All `unsafe` here rests on it.

pub mod header;

pub mod recycle;

pub mod chain;

pub use chain::Chain;
pub use header::Header;
