//! Appending instructions to a block.

#![forbid(unsafe_code)]

use super::value::{BinaryOp, Block, Function, Inst, InstData, Jump, Type, UnaryOp, Value};
use crate::wasm::types::WasmOffset;

/// Appends instructions at the end of one block of a function.
#[derive(Debug)]
pub struct Cursor<'a> {
    /// The function.
    pub func: &'a mut Function,
    /// The block.
    pub block: Block,
    /// The Wasm operator that new instructions come from.
    pub offset: WasmOffset,
}

impl<'a> Cursor<'a> {
    /// At the end of a block.
    pub fn new(func: &'a mut Function, block: Block, offset: WasmOffset) -> Self {
        Self {
            func,
            block,
            offset,
        }
    }

    /// Appends an instruction.
    pub fn push(&mut self, data: InstData) -> Inst {
        let results = self.func.result_types(&data);
        let inst = self.func.add_inst(data, &results, self.offset);
        self.func.blocks[self.block.index()].insts.push(inst);
        inst
    }

    /// Appends an instruction that has one result.
    pub fn value(&mut self, data: InstData) -> Value {
        let inst = self.push(data);
        self.func.insts[inst.index()].results[0]
    }

    /// A constant.
    pub fn constant(&mut self, ty: Type, bits: u64) -> Value {
        self.value(InstData::Const { ty, bits })
    }

    /// A unary operator.
    pub fn unary(&mut self, op: UnaryOp, arg: Value) -> Value {
        self.value(InstData::Unary { op, arg })
    }

    /// A binary operator.
    pub fn binary(&mut self, op: BinaryOp, args: [Value; 2]) -> Value {
        self.value(InstData::Binary { op, args })
    }

    /// Ends the block with a jump.
    pub fn jump(&mut self, block: Block, args: Vec<Value>) {
        self.push(InstData::Jump(Jump { block, args }));
    }
}
