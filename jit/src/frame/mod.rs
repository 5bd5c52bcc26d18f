//! Calling convention and frame layouts.

pub mod abi;

pub mod layout;
