//! The guest calling convention: where arguments and results travel.
//!
//! [essay: guest calling convention]
//!
//! *No register is preserved by a call* but the frame register, the stack register and the context register. So a value
//! that lives across a call lies in a frame slot (or is a constant), and a suspended call is nothing but a copy of those
//! slots.
//!
//! | | integers | floats | the rest |
//! |---|---|---|---|
//! | arguments | `rdi rsi rdx rcx r8 r9` | `xmm0`..`xmm7` | transfer area, in order of appearance |
//! | results | `rax rcx` | `xmm0 xmm1` | transfer area, in order of appearance |
//! | exit word | `edx` | | |
//! | environment of an imported function | `r10` | | |
//!
//! **Invariant (no frame points into its caller's frame).** Arguments in the transfer area are copied out at entry,
//! before anything else can run; results in it are read at the return point before anything else can run.
//!
//! **Invariant (i32 registers are zero-extended).** A 64-bit register or slot that holds an i32 has a zero upper half.
//! An f32's slot may hold garbage above its 32 bits; `normalize` clears it.
//!
//! The *exit word* after a call: [`EXIT_RETURNED`] and the results are there, [`EXIT_SUSPENDED`] and the caller must add
//! its continuation to the chain and return the same word, or [`EXIT_TRAPPED`] and the caller returns the same word at
//! once. Callers test it with one branch: `test edx, edx; jne`; behind it, the sign tells the two apart.
//!
//! `rax` and `edx` are what a function of the C convention returns a pair of words in, so such a function can be a guest
//! function's tail.

use crate::wasm::types::{FuncType, ValType};
use std::mem::MaybeUninit;

/// Exit word: the callee finished and its results are there.
pub const EXIT_RETURNED: u32 = 0;
/// Exit word: the callee is suspended, the chain so far hangs in the context.
pub const EXIT_SUSPENDED: u32 = 1;
/// Exit word: as [`EXIT_SUSPENDED`], of the outermost frame: it wrote its slots into the continuation it was resumed from,
/// [`kept`](crate::runtime::context::VmContext::kept), which is linked to its caller's already.
pub const EXIT_SUSPENDED_AGAIN: u32 = 2;
/// Exit word: a trap, an error or a panic is recorded in the context. The only one with its sign bit set.
pub const EXIT_TRAPPED: u32 = 1 << 31;

/// How a function of the C convention leaves as guest code does: the pair of registers it returns is the first integer result
/// and the exit word.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct HostExit {
    /// `rax`. Host stubs do not look at it: results travel in their words.
    value: MaybeUninit<u64>,
    /// `rdx`: the exit word.
    pub word: u64,
}

impl From<u32> for HostExit {
    #[inline(always)]
    fn from(word: u32) -> Self {
        Self {
            value: MaybeUninit::uninit(),
            word: word.into(),
        }
    }
}

/// Integer argument registers.
pub const INT_ARGS: usize = 6;
/// Float argument registers.
pub const FLOAT_ARGS: usize = 8;
/// Integer result registers.
pub const INT_RESULTS: usize = 2;
/// Float result registers.
pub const FLOAT_RESULTS: usize = 2;

/// Where one argument or result travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The n-th integer register of the convention (see the table: arguments and results differ).
    Int(u8),
    /// The n-th float register.
    Float(u8),
    /// The n-th 8-byte word of the transfer area.
    Transfer(u32),
}

/// Hands out places in order.
#[derive(Clone, Debug)]
pub struct Places {
    ints: u8,
    floats: u8,
    transfer: u32,
    int_registers: u8,
    float_registers: u8,
}

impl Places {
    /// Places of arguments.
    #[inline]
    pub fn args() -> Self {
        Self::new(INT_ARGS, FLOAT_ARGS)
    }

    /// Places of results.
    #[inline]
    pub fn results() -> Self {
        Self::new(INT_RESULTS, FLOAT_RESULTS)
    }

    #[inline]
    fn new(int_registers: usize, float_registers: usize) -> Self {
        let count = |registers| u8::try_from(registers).expect("a handful of registers");
        Self {
            ints: 0,
            floats: 0,
            transfer: 0,
            int_registers: count(int_registers),
            float_registers: count(float_registers),
        }
    }

    /// The place of the next value.
    #[inline]
    pub fn next(&mut self, ty: ValType) -> Place {
        let (used, registers) = if ty.is_float() {
            (&mut self.floats, self.float_registers)
        } else {
            (&mut self.ints, self.int_registers)
        };
        if *used < registers {
            *used += 1;
            if ty.is_float() {
                Place::Float(*used - 1)
            } else {
                Place::Int(*used - 1)
            }
        } else {
            self.transfer += 1;
            Place::Transfer(self.transfer - 1)
        }
    }

    /// Words of the transfer area handed out so far.
    pub fn transfer_words(&self) -> u32 {
        self.transfer
    }
}

/// The places of a function's parameters, in order.
pub fn param_places(ty: &FuncType) -> Vec<Place> {
    let mut places = Places::args();
    ty.params.iter().map(|&ty| places.next(ty)).collect()
}

/// The places of a function's results, in order.
pub fn result_places(ty: &FuncType) -> Vec<Place> {
    let mut places = Places::results();
    ty.results.iter().map(|&ty| places.next(ty)).collect()
}

/// Words of transfer area that calls of this type need.
pub fn transfer_words(ty: &FuncType) -> u32 {
    let mut args = Places::args();
    let mut results = Places::results();
    for &ty in ty.params.iter() {
        args.next(ty);
    }
    for &ty in ty.results.iter() {
        results.next(ty);
    }
    args.transfer_words().max(results.transfer_words())
}
