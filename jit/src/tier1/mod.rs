//! The optimizing compiler: whole functions, and OSR code that starts at a loop header.
<<<<<<< HEAD
//!
//! [`pipeline`] is the plan on one screen; its front half is [`build`], [`osr_entry`] and [`passes`], its back half turns
//! the optimized function into machine code.
#![forbid(unsafe_code)]

pub mod pipeline;

=======
#![forbid(unsafe_code)]

>>>>>>> tier1-back
pub mod build;

mod operators;

mod osr_entry;

pub mod passes;

<<<<<<< HEAD
mod back;

mod order;

mod lower;

mod minst;

=======
pub mod pipeline;

mod order;

mod minst;

mod lower;

>>>>>>> tier1-back
mod regalloc;

mod recipe;

mod emit;

<<<<<<< HEAD
pub use back::compile_ir;

#[cfg(test)]
mod tests;
=======
mod back;

pub use back::compile_ir;
>>>>>>> tier1-back
