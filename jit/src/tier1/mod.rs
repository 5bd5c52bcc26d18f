//! The optimizing compiler: whole functions, and OSR code that starts at a loop header.
#![forbid(unsafe_code)]

mod back;
mod emit;
mod lower;
mod minst;
mod order;
mod recipe;
mod regalloc;

pub use back::compile_ir;
