//! Registers by role; the only file that gives a hardware number a meaning.
//!
//! | role | register | |
//! |---|---|---|
//! | [`FRAME`] | `rbp` | survives calls |
//! | [`STACK`] | `rsp` | survives calls, 16-aligned in every frame body |
//! | [`CONTEXT`] | `r15` | survives calls, points at `runtime::context::VmContext` |
//! | [`CONTINUATION`] | `rdi` | on entry to resume entries and doors |
//! | [`ENVIRONMENT`] | `r10` | on entry to imported functions |
//! | [`EXIT`] | `edx` | exit word behind a call |
//! | [`SCRATCH`], [`FLOAT_SCRATCH`] | `r11`, `xmm15` | lost in any macro-assembler sequence; never allocated |
//!
//! The tables below must match the table in `frame::abi`.

use crate::frame::abi::{FLOAT_ARGS, FLOAT_RESULTS, INT_ARGS, INT_RESULTS};
use std::fmt;

/// A general-purpose register by its hardware number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gpr(pub(super) u8);

/// A vector register by its hardware number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Xmm(pub(super) u8);

impl Gpr {
    /// The register with that hardware number.
    ///
    /// # Panics
    /// If there is none.
    pub const fn new(number: u8) -> Self {
        assert!(number < 16, "there are 16 general-purpose registers");
        Self(number)
    }

    /// Hardware number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl Xmm {
    /// The register with that hardware number.
    ///
    /// # Panics
    /// If there is none.
    pub const fn new(number: u8) -> Self {
        assert!(number < 16, "there are 16 vector registers");
        Self(number)
    }

    /// Hardware number.
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Debug for Gpr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 16] = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15",
        ];
        f.write_str(NAMES[usize::from(self.0)])
    }
}

impl fmt::Debug for Xmm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "xmm{}", self.0)
    }
}

macro_rules! gprs {
    ($($name:ident = $number:literal)*) => {
        $(#[doc = concat!("Hardware register ", $number, ".")] pub const $name: Gpr = Gpr($number);)*
    };
}

gprs! {
    RAX = 0 RCX = 1 RDX = 2 RBX = 3 RSP = 4 RBP = 5 RSI = 6 RDI = 7
    R8 = 8 R9 = 9 R10 = 10 R11 = 11 R12 = 12 R13 = 13 R14 = 14 R15 = 15
}

/// Frame register.
pub const FRAME: Gpr = RBP;
/// Stack register.
pub const STACK: Gpr = RSP;
/// The pinned context register.
pub const CONTEXT: Gpr = R15;
/// A continuation, on entry to resume entries and doors.
pub const CONTINUATION: Gpr = RDI;
/// Environment of an imported function.
pub const ENVIRONMENT: Gpr = R10;
/// Exit word behind a call (32 bits).
pub const EXIT: Gpr = RDX;
/// Lost in any macro-assembler sequence.
pub const SCRATCH: Gpr = R11;
/// Lost in any macro-assembler sequence.
pub const FLOAT_SCRATCH: Xmm = Xmm(15);

/// Integer argument registers of guest calls.
pub const ARGS: [Gpr; INT_ARGS] = [RDI, RSI, RDX, RCX, R8, R9];
/// Float argument registers of guest calls.
pub const FLOAT_ARGUMENTS: [Xmm; FLOAT_ARGS] = [
    Xmm(0),
    Xmm(1),
    Xmm(2),
    Xmm(3),
    Xmm(4),
    Xmm(5),
    Xmm(6),
    Xmm(7),
];
/// Integer result registers of guest calls.
pub const RESULTS: [Gpr; INT_RESULTS] = [RAX, RCX];
/// Float result registers of guest calls.
pub const FLOAT_RESULT_REGISTERS: [Xmm; FLOAT_RESULTS] = [Xmm(0), Xmm(1)];

/// Integer argument registers of helper calls (the C convention).
pub const HELPER_ARGS: [Gpr; 6] = [RDI, RSI, RDX, RCX, R8, R9];
/// Result register of helper calls.
pub const HELPER_RESULT: Gpr = RAX;
