//! Passes over the IR; each says whether it changed something.

#![forbid(unsafe_code)]

use crate::ir::value::{BinaryOp, Function, InstData, Value};

pub mod redundant_params;

pub mod simplify;

pub mod number_values;

pub mod hoist;

pub mod dead_code;

pub mod blocks;

pub mod critical_edges;

pub mod layout;

/// Whether a pass changed the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Changed {
    /// It did.
    Yes,
    /// It did not.
    No,
}

impl From<bool> for Changed {
    fn from(changed: bool) -> Self {
        if changed { Self::Yes } else { Self::No }
    }
}

/// Values that stand for others.
#[derive(Debug)]
pub(super) struct Replacements {
    by: Vec<Value>,
    any: bool,
}

impl Replacements {
    pub(super) fn new(func: &Function) -> Self {
        Self {
            by: (0..func.values.len()).map(Value::new).collect(),
            any: false,
        }
    }

    /// What stands for a value; values made later stand for themselves.
    pub(super) fn resolve(&mut self, value: Value) -> Value {
        let mut root = value;
        while let Some(&by) = self.by.get(root.index())
            && by != root
        {
            root = by;
        }
        let mut at = value;
        while at != root {
            at = std::mem::replace(&mut self.by[at.index()], root);
        }
        root
    }

    pub(super) fn replace(&mut self, value: Value, by: Value) {
        let by = self.resolve(by);
        debug_assert_ne!(self.resolve(value), by, "a value cannot stand for itself");
        self.by[value.index()] = by;
        self.any = true;
    }

    /// Rewrites all operands; whether there was something to rewrite.
    pub(super) fn apply(mut self, func: &mut Function) -> bool {
        if self.any {
            for block in 0..func.blocks.len() {
                for at in 0..func.blocks[block].insts.len() {
                    let inst = func.blocks[block].insts[at];
                    func.insts[inst.index()]
                        .data
                        .for_each_operand_mut(|value| *value = self.resolve(*value));
                }
            }
        }
        self.any
    }
}

/// Whether an instruction neither traps nor leaves nor reads or writes what can change: it may run earlier, or never.
pub(super) fn is_pure(func: &Function, data: &InstData) -> bool {
    match data {
        InstData::Const { .. } | InstData::Select { .. } => true,
        InstData::Unary { op, .. } => !op.can_trap(),
        InstData::Binary { op, args } => {
            !op.can_trap() || divides_safely(*op, func.constant(args[1]))
        }
        _ => false,
    }
}

/// Whether it may be removed when its result is not used.
pub(super) fn is_removable(func: &Function, data: &InstData) -> bool {
    data.is_removable() || is_pure(func, data)
}

/// Whether a division or remainder by a constant cannot trap.
fn divides_safely(op: BinaryOp, divisor: Option<u64>) -> bool {
    use BinaryOp as B;
    let Some(divisor) = divisor else { return false };
    let minus_one = match op.types().0 {
        crate::ir::value::Type::I32 => u64::from(u32::MAX),
        _ => u64::MAX,
    };
    divisor != 0 && (divisor != minus_one || !matches!(op, B::I32DivS | B::I64DivS))
}
