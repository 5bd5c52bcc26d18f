//! SSA with block parameters, between Wasm and machine instructions.

pub mod value;
