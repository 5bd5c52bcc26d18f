//! What machine code is given, and the Rust functions it may call.

pub mod context;
