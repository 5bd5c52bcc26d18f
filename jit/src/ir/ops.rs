//! Types, widths and properties of operators, and the operands of instructions.

#![forbid(unsafe_code)]
#![expect(
    clippy::use_self,
    reason = "tables of operators read better with one-letter names"
)]

use super::value::{
    BinaryOp, Block, BulkOp, Callee, Function, InstData, Jump, LoadOp, StoreOp, TableOp, Type,
    UnaryOp, Value,
};
use crate::runtime::context::offsets;

impl UnaryOp {
    /// Type of the operand and of the result.
    #[rustfmt::skip]
    pub fn types(self) -> (Type, Type) {
        use Type::{F32, F64, I32, I64};
        use UnaryOp as U;
        match self {
            U::I32Clz | U::I32Ctz | U::I32Popcnt | U::I32Eqz | U::I32Extend8S | U::I32Extend16S => (I32, I32),
            U::I64Clz | U::I64Ctz | U::I64Popcnt | U::I64Extend8S | U::I64Extend16S | U::I64Extend32S => (I64, I64),
            U::I64Eqz | U::I32WrapI64 => (I64, I32),
            U::I64ExtendI32S | U::I64ExtendI32U => (I32, I64),
            U::F32Abs | U::F32Neg | U::F32Ceil | U::F32Floor | U::F32Trunc | U::F32Nearest | U::F32Sqrt => (F32, F32),
            U::F64Abs | U::F64Neg | U::F64Ceil | U::F64Floor | U::F64Trunc | U::F64Nearest | U::F64Sqrt => (F64, F64),
            U::F32ConvertI32S | U::F32ConvertI32U | U::F32ReinterpretI32 => (I32, F32),
            U::F32ConvertI64S | U::F32ConvertI64U => (I64, F32),
            U::F32DemoteF64 => (F64, F32),
            U::F64ConvertI32S | U::F64ConvertI32U => (I32, F64),
            U::F64ConvertI64S | U::F64ConvertI64U | U::F64ReinterpretI64 => (I64, F64),
            U::F64PromoteF32 => (F32, F64),
            U::I32ReinterpretF32 | U::I32TruncF32S | U::I32TruncF32U | U::I32TruncSatF32S | U::I32TruncSatF32U => (F32, I32),
            U::I32TruncF64S | U::I32TruncF64U | U::I32TruncSatF64S | U::I32TruncSatF64U => (F64, I32),
            U::I64TruncF32S | U::I64TruncF32U | U::I64TruncSatF32S | U::I64TruncSatF32U => (F32, I64),
            U::I64ReinterpretF64 | U::I64TruncF64S | U::I64TruncF64U | U::I64TruncSatF64S | U::I64TruncSatF64U => (F64, I64),
        }
    }

    /// Whether some operand makes it trap.
    pub fn can_trap(self) -> bool {
        matches!(
            self,
            Self::I32TruncF32S
                | Self::I32TruncF32U
                | Self::I32TruncF64S
                | Self::I32TruncF64U
                | Self::I64TruncF32S
                | Self::I64TruncF32U
                | Self::I64TruncF64S
                | Self::I64TruncF64U
        )
    }
}

impl BinaryOp {
    /// Type of the operands and of the result.
    #[rustfmt::skip]
    pub fn types(self) -> (Type, Type) {
        use BinaryOp as B;
        use Type::{F32, F64, I32, I64};
        match self {
            B::I32Add | B::I32Sub | B::I32Mul | B::I32And | B::I32Or | B::I32Xor | B::I32Shl | B::I32ShrS | B::I32ShrU
            | B::I32Rotl | B::I32Rotr | B::I32DivS | B::I32DivU | B::I32RemS | B::I32RemU => (I32, I32),
            B::I64Add | B::I64Sub | B::I64Mul | B::I64And | B::I64Or | B::I64Xor | B::I64Shl | B::I64ShrS | B::I64ShrU
            | B::I64Rotl | B::I64Rotr | B::I64DivS | B::I64DivU | B::I64RemS | B::I64RemU
            | B::I64MulHighS | B::I64MulHighU => (I64, I64),
            B::I32Eq | B::I32Ne | B::I32LtS | B::I32LtU | B::I32GtS | B::I32GtU | B::I32LeS | B::I32LeU | B::I32GeS
            | B::I32GeU => (I32, I32),
            B::I64Eq | B::I64Ne | B::I64LtS | B::I64LtU | B::I64GtS | B::I64GtU | B::I64LeS | B::I64LeU | B::I64GeS
            | B::I64GeU => (I64, I32),
            B::F32Add | B::F32Sub | B::F32Mul | B::F32Div | B::F32Min | B::F32Max | B::F32Copysign => (F32, F32),
            B::F64Add | B::F64Sub | B::F64Mul | B::F64Div | B::F64Min | B::F64Max | B::F64Copysign => (F64, F64),
            B::F32Eq | B::F32Ne | B::F32Lt | B::F32Gt | B::F32Le | B::F32Ge => (F32, I32),
            B::F64Eq | B::F64Ne | B::F64Lt | B::F64Gt | B::F64Le | B::F64Ge => (F64, I32),
        }
    }

    /// Whether some operands make it trap.
    pub fn can_trap(self) -> bool {
        matches!(
            self,
            Self::I32DivS
                | Self::I32DivU
                | Self::I32RemS
                | Self::I32RemU
                | Self::I64DivS
                | Self::I64DivU
                | Self::I64RemS
                | Self::I64RemU
        )
    }

    /// Whether the operands may change places with the same bits as result.
    pub fn is_commutative(self) -> bool {
        matches!(
            self,
            Self::I32Add
                | Self::I32Mul
                | Self::I32And
                | Self::I32Or
                | Self::I32Xor
                | Self::I32Eq
                | Self::I32Ne
                | Self::I64Add
                | Self::I64Mul
                | Self::I64MulHighS
                | Self::I64MulHighU
                | Self::I64And
                | Self::I64Or
                | Self::I64Xor
                | Self::I64Eq
                | Self::I64Ne
        )
    }

    /// The integer comparison that holds exactly when this one does not.
    #[rustfmt::skip]
    pub fn inverse(self) -> Option<Self> {
        use BinaryOp as B;
        Some(match self {
            B::I32Eq => B::I32Ne, B::I32Ne => B::I32Eq,
            B::I32LtS => B::I32GeS, B::I32GeS => B::I32LtS, B::I32LtU => B::I32GeU, B::I32GeU => B::I32LtU,
            B::I32GtS => B::I32LeS, B::I32LeS => B::I32GtS, B::I32GtU => B::I32LeU, B::I32LeU => B::I32GtU,
            B::I64Eq => B::I64Ne, B::I64Ne => B::I64Eq,
            B::I64LtS => B::I64GeS, B::I64GeS => B::I64LtS, B::I64LtU => B::I64GeU, B::I64GeU => B::I64LtU,
            B::I64GtS => B::I64LeS, B::I64LeS => B::I64GtS, B::I64GtU => B::I64LeU, B::I64LeU => B::I64GtU,
            // NaN: a float comparison and its opposite can both be false.
            B::F32Eq => B::F32Ne, B::F32Ne => B::F32Eq, B::F64Eq => B::F64Ne, B::F64Ne => B::F64Eq,
            _ => return None,
        })
    }

    /// The comparison with its operands swapped.
    #[rustfmt::skip]
    pub fn swapped(self) -> Option<Self> {
        use BinaryOp as B;
        Some(match self {
            B::I32Eq | B::I32Ne | B::I64Eq | B::I64Ne | B::F32Eq | B::F32Ne | B::F64Eq | B::F64Ne => self,
            B::I32LtS => B::I32GtS, B::I32GtS => B::I32LtS, B::I32LtU => B::I32GtU, B::I32GtU => B::I32LtU,
            B::I32LeS => B::I32GeS, B::I32GeS => B::I32LeS, B::I32LeU => B::I32GeU, B::I32GeU => B::I32LeU,
            B::I64LtS => B::I64GtS, B::I64GtS => B::I64LtS, B::I64LtU => B::I64GtU, B::I64GtU => B::I64LtU,
            B::I64LeS => B::I64GeS, B::I64GeS => B::I64LeS, B::I64LeU => B::I64GeU, B::I64GeU => B::I64LeU,
            B::F32Lt => B::F32Gt, B::F32Gt => B::F32Lt, B::F32Le => B::F32Ge, B::F32Ge => B::F32Le,
            B::F64Lt => B::F64Gt, B::F64Gt => B::F64Lt, B::F64Le => B::F64Ge, B::F64Ge => B::F64Le,
            _ => return None,
        })
    }
}

impl LoadOp {
    /// Type of the result.
    #[rustfmt::skip]
    pub fn result_type(self) -> Type {
        match self {
            Self::I32Load | Self::I32Load8S | Self::I32Load8U | Self::I32Load16S | Self::I32Load16U => Type::I32,
            Self::I64Load | Self::I64Load8S | Self::I64Load8U | Self::I64Load16S | Self::I64Load16U
            | Self::I64Load32S | Self::I64Load32U => Type::I64,
            Self::F32Load => Type::F32,
            Self::F64Load => Type::F64,
        }
    }

    /// Bytes read.
    #[rustfmt::skip]
    pub fn access_size(self) -> u32 {
        match self {
            Self::I32Load8S | Self::I32Load8U | Self::I64Load8S | Self::I64Load8U => 1,
            Self::I32Load16S | Self::I32Load16U | Self::I64Load16S | Self::I64Load16U => 2,
            Self::I32Load | Self::F32Load | Self::I64Load32S | Self::I64Load32U => 4,
            Self::I64Load | Self::F64Load => 8,
        }
    }
}

impl StoreOp {
    /// Type of the value.
    pub fn value_type(self) -> Type {
        match self {
            Self::I32Store | Self::I32Store8 | Self::I32Store16 => Type::I32,
            Self::I64Store | Self::I64Store8 | Self::I64Store16 | Self::I64Store32 => Type::I64,
            Self::F32Store => Type::F32,
            Self::F64Store => Type::F64,
        }
    }

    /// Bytes written.
    pub fn access_size(self) -> u32 {
        match self {
            Self::I32Store8 | Self::I64Store8 => 1,
            Self::I32Store16 | Self::I64Store16 => 2,
            Self::I32Store | Self::F32Store | Self::I64Store32 => 4,
            Self::I64Store | Self::F64Store => 8,
        }
    }
}

impl BulkOp {
    /// Offset of its helper in the table.
    pub fn helper(self) -> i32 {
        match self {
            Self::Copy => offsets::HELPER_MEMORY_COPY,
            Self::Fill => offsets::HELPER_MEMORY_FILL,
            Self::Init(_) => offsets::HELPER_MEMORY_INIT,
        }
    }
}

impl InstData {
    /// Visits every operand: arguments, branch arguments and the values of frame states.
    pub fn for_each_operand(&self, mut visit: impl FnMut(Value)) {
        match self {
            Self::Const { .. }
            | Self::FrameLoad { .. }
            | Self::MemoryBase
            | Self::MemorySize
            | Self::GlobalGet { .. }
            | Self::DataDrop { .. }
            | Self::TableSize { .. }
            | Self::RefFunc { .. }
            | Self::Trap { .. } => {}
            Self::Unary { arg, .. } => visit(*arg),
            Self::Binary { args, .. } => args.iter().copied().for_each(visit),
            Self::Select { cond, args, .. } => {
                visit(*cond);
                args.iter().copied().for_each(visit);
            }
            Self::BoundsCheck { index, .. } => visit(*index),
            Self::Load { base, index, .. } => {
                visit(*base);
                visit(*index);
            }
            Self::Store {
                base, index, value, ..
            } => {
                visit(*base);
                visit(*index);
                visit(*value);
            }
            Self::MemoryGrow { pages } => visit(*pages),
            Self::Bulk { args, .. } => args.iter().copied().for_each(visit),
            Self::GlobalSet { value, .. } => visit(*value),
            Self::TableCheck { index, .. } | Self::TableLoad { index, .. } => visit(*index),
            Self::TableStore { index, value, .. } => {
                visit(*index);
                visit(*value);
            }
            Self::Table { args, .. } => args.iter().copied().for_each(visit),
            Self::FuncCheck { func, .. } => visit(*func),
            Self::Call {
                callee,
                args,
                state,
                ..
            } => {
                if let Callee::Reference(func) = callee {
                    visit(*func);
                }
                args.iter().copied().for_each(&mut visit);
                state.values.iter().copied().for_each(visit);
            }
            Self::Checkpoint { state } => state.values.iter().copied().for_each(visit),
            Self::Jump(jump) => jump.args.iter().copied().for_each(visit),
            Self::Branch {
                cond,
                then,
                otherwise,
            } => {
                visit(*cond);
                then.args.iter().copied().for_each(&mut visit);
                otherwise.args.iter().copied().for_each(visit);
            }
            Self::BranchTable { index, targets } => {
                visit(*index);
                for target in targets {
                    target.args.iter().copied().for_each(&mut visit);
                }
            }
            Self::Return { values } => values.iter().copied().for_each(visit),
            Self::TailCall { callee, args, .. } => {
                if let Callee::Reference(func) = callee {
                    visit(*func);
                }
                args.iter().copied().for_each(visit);
            }
        }
    }

    /// The same, to change them.
    pub fn for_each_operand_mut(&mut self, mut visit: impl FnMut(&mut Value)) {
        match self {
            Self::Const { .. }
            | Self::FrameLoad { .. }
            | Self::MemoryBase
            | Self::MemorySize
            | Self::GlobalGet { .. }
            | Self::DataDrop { .. }
            | Self::TableSize { .. }
            | Self::RefFunc { .. }
            | Self::Trap { .. } => {}
            Self::Unary { arg, .. } => visit(arg),
            Self::Binary { args, .. } => args.iter_mut().for_each(visit),
            Self::Select { cond, args, .. } => {
                visit(cond);
                args.iter_mut().for_each(visit);
            }
            Self::BoundsCheck { index, .. } => visit(index),
            Self::Load { base, index, .. } => {
                visit(base);
                visit(index);
            }
            Self::Store {
                base, index, value, ..
            } => {
                visit(base);
                visit(index);
                visit(value);
            }
            Self::MemoryGrow { pages } => visit(pages),
            Self::Bulk { args, .. } => args.iter_mut().for_each(visit),
            Self::GlobalSet { value, .. } => visit(value),
            Self::TableCheck { index, .. } | Self::TableLoad { index, .. } => visit(index),
            Self::TableStore { index, value, .. } => {
                visit(index);
                visit(value);
            }
            Self::Table { args, .. } => args.iter_mut().for_each(visit),
            Self::FuncCheck { func, .. } => visit(func),
            Self::Call {
                callee,
                args,
                state,
                ..
            } => {
                if let Callee::Reference(func) = callee {
                    visit(func);
                }
                args.iter_mut().for_each(&mut visit);
                state.values.iter_mut().for_each(visit);
            }
            Self::Checkpoint { state } => state.values.iter_mut().for_each(visit),
            Self::Jump(jump) => jump.args.iter_mut().for_each(visit),
            Self::Branch {
                cond,
                then,
                otherwise,
            } => {
                visit(cond);
                then.args.iter_mut().for_each(&mut visit);
                otherwise.args.iter_mut().for_each(visit);
            }
            Self::BranchTable { index, targets } => {
                visit(index);
                for target in targets {
                    target.args.iter_mut().for_each(&mut visit);
                }
            }
            Self::Return { values } => values.iter_mut().for_each(visit),
            Self::TailCall { callee, args, .. } => {
                if let Callee::Reference(func) = callee {
                    visit(func);
                }
                args.iter_mut().for_each(visit);
            }
        }
    }

    /// The jumps of a terminator; none for other instructions.
    pub fn jumps(&self) -> impl Iterator<Item = &Jump> {
        let (first, second, rest): (_, _, &[Jump]) = match self {
            Self::Jump(jump) => (Some(jump), None, &[]),
            Self::Branch {
                then, otherwise, ..
            } => (Some(then), Some(otherwise), &[]),
            Self::BranchTable { targets, .. } => (None, None, targets),
            _ => (None, None, &[]),
        };
        first.into_iter().chain(second).chain(rest)
    }

    /// The n-th jump of a terminator.
    pub fn jump(&self, n: usize) -> Option<&Jump> {
        match self {
            Self::BranchTable { targets, .. } => targets.get(n),
            _ => self.jumps().nth(n),
        }
    }

    /// The jumps of a terminator, to change them.
    pub fn jumps_mut(&mut self) -> impl Iterator<Item = &mut Jump> {
        let (first, second, rest): (_, _, &mut [Jump]) = match self {
            Self::Jump(jump) => (Some(jump), None, &mut []),
            Self::Branch {
                then, otherwise, ..
            } => (Some(then), Some(otherwise), &mut []),
            Self::BranchTable { targets, .. } => (None, None, targets),
            _ => (None, None, &mut []),
        };
        first.into_iter().chain(second).chain(rest)
    }

    /// Whether it may be removed when its result is not used: it neither traps nor leaves nor writes.
    pub fn is_removable(&self) -> bool {
        match self {
            Self::Unary { op, .. } => !op.can_trap(),
            Self::Binary { op, .. } => !op.can_trap(),
            Self::Const { .. }
            | Self::Select { .. }
            | Self::FrameLoad { .. }
            | Self::MemoryBase
            | Self::Load { .. }
            | Self::MemorySize
            | Self::TableLoad { .. }
            | Self::TableSize { .. }
            | Self::GlobalGet { .. }
            | Self::RefFunc { .. } => true,
            _ => false,
        }
    }

    /// Whether it writes memory, and no more: it begins an epoch for loads.
    pub fn writes_memory(&self) -> bool {
        matches!(self, Self::Store { .. } | Self::Bulk { .. })
    }

    /// Whether it begins an epoch for everything.
    pub fn begins_epoch(&self) -> bool {
        matches!(
            self,
            Self::Call { .. } | Self::Checkpoint { .. } | Self::MemoryGrow { .. }
        )
    }

    /// Whether addresses from before are of no use behind it. Behind a checkpoint they are: it makes them anew.
    pub fn renews_addresses(&self) -> bool {
        self.begins_epoch() && !matches!(self, Self::Checkpoint { .. })
    }
}

impl TableOp {
    /// Types of its operands, if its tables hold elements of type `element`.
    pub fn params(self, element: Type) -> Vec<Type> {
        use Type::I32;
        match self {
            Self::Grow(_) => vec![element, I32],
            Self::Fill(_) => vec![I32, element, I32],
            Self::Copy { .. } | Self::Init { .. } => vec![I32; 3],
            Self::DropSegment(_) => Vec::new(),
        }
    }
}

impl Function {
    /// Blocks a block can go on to, one per jump.
    pub fn successors(&self, block: Block) -> impl Iterator<Item = Block> {
        self.terminator(block).data.jumps().map(|jump| jump.block)
    }

    /// The constant a value is, if it is one.
    pub fn constant(&self, value: Value) -> Option<u64> {
        match self.definition(value)? {
            InstData::Const { bits, .. } => Some(*bits),
            _ => None,
        }
    }

    /// The instruction a value is a result of.
    pub fn definition(&self, value: Value) -> Option<&InstData> {
        match self.values[value.index()].def {
            super::value::ValueDef::Result(inst, _) => Some(&self.insts[inst.index()].data),
            super::value::ValueDef::Param(..) => None,
        }
    }

    /// The result types that an instruction must have.
    pub fn result_types(&self, data: &InstData) -> Vec<Type> {
        match data {
            InstData::Const { ty, .. }
            | InstData::Select { ty, .. }
            | InstData::FrameLoad { ty, .. }
            | InstData::TableLoad { ty, .. }
            | InstData::GlobalGet { ty, .. } => vec![*ty],
            InstData::Unary { op, .. } => vec![op.types().1],
            InstData::Binary { op, .. } => vec![op.types().1],
            InstData::RefFunc { .. } => vec![Type::FuncRef],
            InstData::MemoryBase => vec![Type::Ptr],
            InstData::Load { op, .. } => vec![op.result_type()],
            InstData::MemorySize
            | InstData::MemoryGrow { .. }
            | InstData::TableSize { .. }
            | InstData::Table {
                op: TableOp::Grow(_),
                ..
            } => vec![Type::I32],
            InstData::Call { ty, .. } => ty.results.iter().map(|&ty| ty.into()).collect(),
            _ => Vec::new(),
        }
    }
}

/// Every operator of its kind.
#[rustfmt::skip]
pub const ALL_UNARY: [UnaryOp; 60] = {
    use UnaryOp::*;
    [
        I32Clz, I32Ctz, I32Popcnt, I32Eqz, I64Clz, I64Ctz, I64Popcnt,
        I64Eqz, I32WrapI64, I64ExtendI32S, I64ExtendI32U, I32Extend8S, I32Extend16S, I64Extend8S,
        I64Extend16S, I64Extend32S, F32Abs, F32Neg, F32Ceil, F32Floor, F32Trunc,
        F32Nearest, F32Sqrt, F64Abs, F64Neg, F64Ceil, F64Floor, F64Trunc,
        F64Nearest, F64Sqrt, F32ConvertI32S, F32ConvertI32U, F32ConvertI64S, F32ConvertI64U, F32DemoteF64,
        F64ConvertI32S, F64ConvertI32U, F64ConvertI64S, F64ConvertI64U, F64PromoteF32, I32ReinterpretF32, I64ReinterpretF64,
        F32ReinterpretI32, F64ReinterpretI64, I32TruncF32S, I32TruncF32U, I32TruncF64S, I32TruncF64U, I64TruncF32S,
        I64TruncF32U, I64TruncF64S, I64TruncF64U, I32TruncSatF32S, I32TruncSatF32U, I32TruncSatF64S, I32TruncSatF64U,
        I64TruncSatF32S, I64TruncSatF32U, I64TruncSatF64S, I64TruncSatF64U,
    ]
};

/// Every operator of its kind.
#[rustfmt::skip]
pub const ALL_BINARY: [BinaryOp; 78] = {
    use BinaryOp::*;
    [
        I32Add, I32Sub, I32Mul, I32And, I32Or, I32Xor, I32Shl,
        I32ShrS, I32ShrU, I32Rotl, I32Rotr, I64Add, I64Sub, I64Mul,
        I64And, I64Or, I64Xor, I64Shl, I64ShrS, I64ShrU, I64Rotl,
        I64Rotr, I32DivS, I32DivU, I32RemS, I32RemU, I64DivS, I64DivU,
        I64RemS, I64RemU, I32Eq, I32Ne, I32LtS, I32LtU, I32GtS,
        I32GtU, I32LeS, I32LeU, I32GeS, I32GeU, I64Eq, I64Ne,
        I64LtS, I64LtU, I64GtS, I64GtU, I64LeS, I64LeU, I64GeS,
        I64GeU, F32Add, F32Sub, F32Mul, F32Div, F32Min, F32Max,
        F32Copysign, F64Add, F64Sub, F64Mul, F64Div, F64Min, F64Max,
        F64Copysign, F32Eq, F32Ne, F32Lt, F32Gt, F32Le, F32Ge,
        F64Eq, F64Ne, F64Lt, F64Gt, F64Le, F64Ge, I64MulHighS, I64MulHighU,
    ]
};

/// Every operator of its kind.
#[rustfmt::skip]
pub const ALL_LOADS: [LoadOp; 14] = {
    use LoadOp::*;
    [
        I32Load, I64Load, F32Load, F64Load, I32Load8S, I32Load8U, I32Load16S,
        I32Load16U, I64Load8S, I64Load8U, I64Load16S, I64Load16U, I64Load32S, I64Load32U,
    ]
};

/// Every operator of its kind.
#[rustfmt::skip]
pub const ALL_STORES: [StoreOp; 9] = {
    use StoreOp::*;
    [
        I32Store, I64Store, F32Store, F64Store, I32Store8, I32Store16, I64Store8,
        I64Store16, I64Store32,
    ]
};
