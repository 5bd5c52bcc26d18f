//! What machine code is given, and the Rust functions it may call.

pub mod context;

pub mod functions;

pub mod helpers;

pub mod old_path;

pub mod signal;

pub mod trap;

pub mod migrate;
