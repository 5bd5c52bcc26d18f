//! The optimizing compiler: whole functions, and OSR code that starts at a loop header.
#![forbid(unsafe_code)]

pub mod build;

mod operators;

mod osr_entry;

pub mod passes;

pub mod pipeline;

mod order;

mod minst;

mod lower;

mod regalloc;

mod recipe;

mod emit;

mod back;

pub use back::compile_ir;
