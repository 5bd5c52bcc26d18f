//! SSA with block parameters, between Wasm and machine instructions.

pub mod value;

pub mod ops;

pub mod builder;

pub mod cfg;

pub mod liveness;

pub mod text;

pub mod verify;

pub mod eval;

#[cfg(test)]
pub(crate) mod interp;
