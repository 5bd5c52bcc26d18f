//! What differs per machine: registers by their roles, and a macro assembler. Compilers name roles and call methods; only
//! the machine's own folder knows encodings.

/// x86-64.
pub mod x86_64;

pub use x86_64::{
    masm::{self, Masm},
    registers as regs,
};
