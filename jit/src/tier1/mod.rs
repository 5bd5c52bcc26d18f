//! The optimizing compiler: whole functions, and OSR code that starts at a loop header.

pub mod pipeline;
