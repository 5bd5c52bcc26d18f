//! Wasm operators as operators of the IR.

#![forbid(unsafe_code)]

use crate::ir::value::{BinaryOp, LoadOp, StoreOp, UnaryOp};
use wasmparser::Operator;

macro_rules! operators {
    ($operator:expr, $kind:ident: $($name:ident),*) => {
        match $operator {
            $(Operator::$name { .. } => Some($kind::$name),)*
            _ => None,
        }
    };
}

#[rustfmt::skip]
pub(super) fn unary(operator: &Operator<'_>) -> Option<UnaryOp> {
    operators!(operator, UnaryOp:
        I32Clz, I32Ctz, I32Popcnt, I32Eqz, I64Clz, I64Ctz, I64Popcnt,
        I64Eqz, I32WrapI64, I64ExtendI32S, I64ExtendI32U, I32Extend8S, I32Extend16S, I64Extend8S,
        I64Extend16S, I64Extend32S, F32Abs, F32Neg, F32Ceil, F32Floor, F32Trunc,
        F32Nearest, F32Sqrt, F64Abs, F64Neg, F64Ceil, F64Floor, F64Trunc,
        F64Nearest, F64Sqrt, F32ConvertI32S, F32ConvertI32U, F32ConvertI64S, F32ConvertI64U, F32DemoteF64,
        F64ConvertI32S, F64ConvertI32U, F64ConvertI64S, F64ConvertI64U, F64PromoteF32, I32ReinterpretF32, I64ReinterpretF64,
        F32ReinterpretI32, F64ReinterpretI64, I32TruncF32S, I32TruncF32U, I32TruncF64S, I32TruncF64U, I64TruncF32S,
        I64TruncF32U, I64TruncF64S, I64TruncF64U, I32TruncSatF32S, I32TruncSatF32U, I32TruncSatF64S, I32TruncSatF64U,
        I64TruncSatF32S, I64TruncSatF32U, I64TruncSatF64S, I64TruncSatF64U)
}

#[rustfmt::skip]
pub(super) fn binary(operator: &Operator<'_>) -> Option<BinaryOp> {
    operators!(operator, BinaryOp:
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
        F64Eq, F64Ne, F64Lt, F64Gt, F64Le, F64Ge)
}

#[rustfmt::skip]
pub(super) fn load(operator: &Operator<'_>) -> Option<(LoadOp, u64)> {
    Some(match operator {
        Operator::I32Load { memarg } => (LoadOp::I32Load, memarg.offset),
        Operator::I64Load { memarg } => (LoadOp::I64Load, memarg.offset),
        Operator::F32Load { memarg } => (LoadOp::F32Load, memarg.offset),
        Operator::F64Load { memarg } => (LoadOp::F64Load, memarg.offset),
        Operator::I32Load8S { memarg } => (LoadOp::I32Load8S, memarg.offset),
        Operator::I32Load8U { memarg } => (LoadOp::I32Load8U, memarg.offset),
        Operator::I32Load16S { memarg } => (LoadOp::I32Load16S, memarg.offset),
        Operator::I32Load16U { memarg } => (LoadOp::I32Load16U, memarg.offset),
        Operator::I64Load8S { memarg } => (LoadOp::I64Load8S, memarg.offset),
        Operator::I64Load8U { memarg } => (LoadOp::I64Load8U, memarg.offset),
        Operator::I64Load16S { memarg } => (LoadOp::I64Load16S, memarg.offset),
        Operator::I64Load16U { memarg } => (LoadOp::I64Load16U, memarg.offset),
        Operator::I64Load32S { memarg } => (LoadOp::I64Load32S, memarg.offset),
        Operator::I64Load32U { memarg } => (LoadOp::I64Load32U, memarg.offset),
        _ => return None,
    })
}

#[rustfmt::skip]
pub(super) fn store(operator: &Operator<'_>) -> Option<(StoreOp, u64)> {
    Some(match operator {
        Operator::I32Store { memarg } => (StoreOp::I32Store, memarg.offset),
        Operator::I64Store { memarg } => (StoreOp::I64Store, memarg.offset),
        Operator::F32Store { memarg } => (StoreOp::F32Store, memarg.offset),
        Operator::F64Store { memarg } => (StoreOp::F64Store, memarg.offset),
        Operator::I32Store8 { memarg } => (StoreOp::I32Store8, memarg.offset),
        Operator::I32Store16 { memarg } => (StoreOp::I32Store16, memarg.offset),
        Operator::I64Store8 { memarg } => (StoreOp::I64Store8, memarg.offset),
        Operator::I64Store16 { memarg } => (StoreOp::I64Store16, memarg.offset),
        Operator::I64Store32 { memarg } => (StoreOp::I64Store32, memarg.offset),
        _ => return None,
    })
}
