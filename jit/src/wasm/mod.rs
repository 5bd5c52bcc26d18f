//! Core Wasm, as the compilers see it: types, the module, one body at a time, and what is live where.

pub mod types;

pub mod module;

pub mod liveness;
