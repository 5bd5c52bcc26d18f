//! Queues of runnables. None of them allocates.

pub(crate) mod list;

pub(crate) mod injector;

pub(crate) mod owned;

pub(crate) mod ring;

pub(crate) mod local;
