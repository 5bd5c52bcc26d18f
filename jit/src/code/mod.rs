//! Code being written, published and found again.

pub mod draft;
