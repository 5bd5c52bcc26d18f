//! The optimizing compiler: whole functions, and OSR code that starts at a loop header.
#![forbid(unsafe_code)]

mod lower;
mod minst;
mod order;
mod regalloc;
