//! The optimizing compiler: whole functions, and OSR code that starts at a loop header.

pub mod build;

mod operators;

mod osr_entry;

pub mod passes;

pub mod pipeline;

#[cfg(test)]
mod tests;
