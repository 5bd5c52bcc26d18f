//! The abstract operand stack: each entry a constant, an unread local, a register, or in its home.

use crate::{
    arch::regs::{Gpr, R8, R9, R10, R12, R13, R14, RAX, RBX, RDI, RSI, Xmm},
    wasm::types::{LocalIndex, ValType},
};

/// Where the value of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loc {
    /// Nowhere: it is this constant (floats by their bits, 32-bit types in the low half).
    Const(u64),
    /// Still in the home of that local, which has not been written since.
    Local(LocalIndex),
    /// In this register, which belongs to the entry alone.
    Gpr(Gpr),
    /// In this register, which belongs to the entry alone.
    Xmm(Xmm),
    /// In the entry's own home.
    Home,
}

/// An entry of the operand stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) ty: ValType,
    pub(super) loc: Loc,
}

/// At most that many entries, the uppermost ones, are not in their homes; so that no operator looks at more.
pub(super) const WINDOW: usize = 64;

/// Registers that entries may live in, besides `rcx`, `rdx` and the scratch registers that operators use inside.
const GPRS: [Gpr; 10] = [RAX, RSI, RDI, R8, R9, R10, RBX, R12, R13, R14];
/// All but the scratch register.
const XMMS: u8 = 15;

/// The operand stack and the registers its entries own.
#[derive(Debug)]
pub(super) struct ValueStack {
    entries: Vec<Entry>,
    /// All entries below are in their homes.
    flushed: usize,
    /// The highest the stack ever was.
    max: usize,
    free_gprs: u16,
    free_xmms: u16,
}

fn bit(number: u8) -> u16 {
    1 << number
}

impl ValueStack {
    pub(super) fn new() -> Self {
        Self {
            entries: Vec::new(),
            flushed: 0,
            max: 0,
            free_gprs: GPRS.iter().map(|reg| bit(reg.number())).sum(),
            free_xmms: (1 << XMMS) - 1,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The highest the stack ever was.
    pub(super) fn max(&self) -> usize {
        self.max
    }

    /// First entry that may be outside its home.
    pub(super) fn flushed(&self) -> usize {
        self.flushed
    }

    pub(super) fn entry(&self, index: usize) -> Entry {
        self.entries[index]
    }

    pub(super) fn types(&self) -> impl Iterator<Item = ValType> + '_ {
        self.entries.iter().map(|entry| entry.ty)
    }

    pub(super) fn push(&mut self, ty: ValType, loc: Loc) {
        if loc == Loc::Home && self.flushed == self.entries.len() {
            self.flushed += 1;
        }
        self.entries.push(Entry { ty, loc });
        self.max = self.max.max(self.entries.len());
    }

    /// The entry's register, if it has one, now belongs to the caller.
    pub(super) fn pop(&mut self) -> Entry {
        let entry = self.entries.pop().expect("bodies are validated");
        self.flushed = self.flushed.min(self.entries.len());
        entry
    }

    /// Drops entries with their registers.
    pub(super) fn truncate(&mut self, len: usize) {
        for index in self.flushed.max(len)..self.entries.len() {
            self.release(self.entries[index].loc);
        }
        self.entries.truncate(len);
        self.flushed = self.flushed.min(len);
    }

    /// An entry's value moved; its old register, if it had one, is free again.
    pub(super) fn relocate(&mut self, index: usize, loc: Loc) {
        self.release(self.entries[index].loc);
        self.entries[index].loc = loc;
        if loc == Loc::Home && index == self.flushed {
            self.flushed += 1;
        }
    }

    /// Frees the register of a place.
    pub(super) fn release(&mut self, loc: Loc) {
        match loc {
            Loc::Gpr(reg) => self.free_gprs |= bit(reg.number()),
            Loc::Xmm(reg) => self.free_xmms |= bit(reg.number()),
            Loc::Const(_) | Loc::Local(_) | Loc::Home => {}
        }
    }

    /// Takes a free register.
    pub(super) fn take_gpr(&mut self) -> Option<Gpr> {
        let number = u8::try_from(self.free_gprs.trailing_zeros()).ok()?;
        (number < 16).then(|| {
            self.free_gprs &= !bit(number);
            Gpr::new(number)
        })
    }

    /// Takes a free register.
    pub(super) fn take_xmm(&mut self) -> Option<Xmm> {
        let number = u8::try_from(self.free_xmms.trailing_zeros()).ok()?;
        (number < 16).then(|| {
            self.free_xmms &= !bit(number);
            Xmm::new(number)
        })
    }

    /// Takes this register if it is free.
    pub(super) fn take_this(&mut self, loc: Loc) -> bool {
        let (free, number) = match loc {
            Loc::Gpr(reg) => (&mut self.free_gprs, reg.number()),
            Loc::Xmm(reg) => (&mut self.free_xmms, reg.number()),
            Loc::Const(_) | Loc::Local(_) | Loc::Home => return false,
        };
        let was_free = *free & bit(number) != 0;
        *free &= !bit(number);
        was_free
    }

    /// The lowest entry that satisfies the condition, among those that may be outside their homes.
    pub(super) fn find(&self, condition: impl Fn(Loc) -> bool) -> Option<usize> {
        (self.flushed..self.entries.len()).find(|&index| condition(self.entries[index].loc))
    }
}
