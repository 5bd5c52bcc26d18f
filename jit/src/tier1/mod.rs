//! The optimizing compiler: whole functions, and OSR code that starts at a loop header.
//!
//! `pipeline` is the plan on one screen; its front half is `build` and `passes`, its back half turns the optimized
//! function into machine code.
#![forbid(unsafe_code)]

pub mod pipeline;

pub mod build;

mod inline;

mod operators;

mod osr_entry;

pub mod passes;

mod back;

mod order;

mod guard;

mod lower;

mod minst;

mod regalloc;

mod recipe;

mod emit;

pub use back::compile_ir;

#[cfg(test)]
mod tests;
