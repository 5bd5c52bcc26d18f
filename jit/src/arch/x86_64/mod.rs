//! The x86-64 machine: register roles and the macro assembler.

pub mod registers;

pub mod masm;

pub mod stubs;

pub mod enter;

pub mod cross_instance;

pub mod non_local_jump;

pub mod sequences;
