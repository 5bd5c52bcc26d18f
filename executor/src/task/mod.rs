//! A task: one header for every kind of body, the state word, the waker, the handle.

pub(crate) mod header;

pub(crate) mod state;

pub(crate) mod memory;

pub(crate) mod cell;

pub(crate) mod waker;

pub(crate) mod handle;
