//! The x86-64 machine: register roles and the macro assembler.

pub mod registers;

pub mod masm;

pub mod sequences;
