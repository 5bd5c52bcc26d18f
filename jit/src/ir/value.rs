//! The vocabulary: functions, blocks, instructions, values.
//!
//! [essay: ir]
//!
//! A function is a graph of blocks; blocks have parameters instead of phis; the last instruction of a block, and only
//! that, is a terminator. Every instruction that can trap or leave carries its Wasm offset.
//!
//! **Effects.** Besides values there is the *epoch*: what memory, globals and the context hold. `Call`, `Checkpoint` and
//! `MemoryGrow` begin a new epoch for everything (memory may be another, guest code may have run in between);
//! `Store` and `Bulk` begin one for loads, `GlobalSet` for its global, whatever writes tables for tables. An address
//! (`Type::Ptr`) lives in one epoch only, but for checkpoints: where guest code suspends there, it makes the address anew.
//!
//! **Bounds.** (In guarded memories too: see `tier1::guard`.) `Load` and `Store` do not check; `BoundsCheck { index, end }` traps unless `index + end <= memory
//! length`. A memory never shrinks, so a check made on a dominating path holds for ever, across epochs too. The same is
//! true of tables: `TableLoad` and `TableStore` do not check, `TableCheck` does. `FuncCheck` traps unless a reference is a
//! function of some type, which it stays for ever.
//!
//! **Frame states.** `Call`, `MemoryGrow`'s cousins and `Checkpoint` carry the SSA values of their canonical layout:
//! live locals in index order, then the operand stack from the bottom (after a call's arguments are popped, before its
//! results are pushed). They count as uses.

use crate::{
    suspension::point::CanonicalLayout,
    wasm::types::{
        DataIndex, ElementIndex, FrameOffset, FuncIndex, FuncType, GlobalIndex, TableIndex,
        TypeIndex, ValType, WasmOffset, index_type,
    },
};
use std::fmt;

index_type!(
    /// An SSA value.
    Value, "v"
);
index_type!(
    /// A block.
    Block, "block"
);
index_type!(
    /// An instruction.
    Inst, "inst"
);

/// Type of an SSA value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    /// 32-bit integer, upper half of its register zero.
    I32,
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// A function or null.
    FuncRef,
    /// A reference of the host's or null.
    ExternRef,
    /// A native address; never in a frame state, never live across a suspension point.
    Ptr,
}

impl Type {
    /// Whether values of this type live in vector registers.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

impl From<ValType> for Type {
    fn from(ty: ValType) -> Self {
        match ty {
            ValType::I32 => Self::I32,
            ValType::I64 => Self::I64,
            ValType::F32 => Self::F32,
            ValType::F64 => Self::F64,
            ValType::FuncRef => Self::FuncRef,
            ValType::ExternRef => Self::ExternRef,
        }
    }
}

/// Operators with one operand. Names follow Wasm; result types are fixed by the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the Wasm operator of that name")]
#[rustfmt::skip]
pub enum UnaryOp {
    I32Clz, I32Ctz, I32Popcnt, I32Eqz, I64Clz, I64Ctz, I64Popcnt, I64Eqz,
    I32WrapI64, I64ExtendI32S, I64ExtendI32U,
    I32Extend8S, I32Extend16S, I64Extend8S, I64Extend16S, I64Extend32S,
    F32Abs, F32Neg, F32Ceil, F32Floor, F32Trunc, F32Nearest, F32Sqrt,
    F64Abs, F64Neg, F64Ceil, F64Floor, F64Trunc, F64Nearest, F64Sqrt,
    F32ConvertI32S, F32ConvertI32U, F32ConvertI64S, F32ConvertI64U, F32DemoteF64,
    F64ConvertI32S, F64ConvertI32U, F64ConvertI64S, F64ConvertI64U, F64PromoteF32,
    I32ReinterpretF32, I64ReinterpretF64, F32ReinterpretI32, F64ReinterpretI64,
    /// These eight trap on NaN and on values out of range.
    I32TruncF32S, I32TruncF32U, I32TruncF64S, I32TruncF64U, I64TruncF32S, I64TruncF32U, I64TruncF64S, I64TruncF64U,
    I32TruncSatF32S, I32TruncSatF32U, I32TruncSatF64S, I32TruncSatF64U,
    I64TruncSatF32S, I64TruncSatF32U, I64TruncSatF64S, I64TruncSatF64U,
}

/// Operators with two operands. Names follow Wasm; comparisons give an i32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the Wasm operator of that name, but for those that say so")]
#[rustfmt::skip]
pub enum BinaryOp {
    I32Add, I32Sub, I32Mul, I32And, I32Or, I32Xor, I32Shl, I32ShrS, I32ShrU, I32Rotl, I32Rotr,
    I64Add, I64Sub, I64Mul, I64And, I64Or, I64Xor, I64Shl, I64ShrS, I64ShrU, I64Rotl, I64Rotr,
    /// These eight trap on a zero divisor, the signed quotients also on overflow.
    I32DivS, I32DivU, I32RemS, I32RemU, I64DivS, I64DivU, I64RemS, I64RemU,
    /// No Wasm operators: the upper half of the 128-bit product.
    I64MulHighS, I64MulHighU,
    I32Eq, I32Ne, I32LtS, I32LtU, I32GtS, I32GtU, I32LeS, I32LeU, I32GeS, I32GeU,
    I64Eq, I64Ne, I64LtS, I64LtU, I64GtS, I64GtU, I64LeS, I64LeU, I64GeS, I64GeU,
    F32Add, F32Sub, F32Mul, F32Div, F32Min, F32Max, F32Copysign,
    F64Add, F64Sub, F64Mul, F64Div, F64Min, F64Max, F64Copysign,
    F32Eq, F32Ne, F32Lt, F32Gt, F32Le, F32Ge, F64Eq, F64Ne, F64Lt, F64Gt, F64Le, F64Ge,
}

/// Width and extension of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the Wasm operator of that name")]
#[rustfmt::skip]
pub enum LoadOp {
    I32Load, I64Load, F32Load, F64Load,
    I32Load8S, I32Load8U, I32Load16S, I32Load16U,
    I64Load8S, I64Load8U, I64Load16S, I64Load16U, I64Load32S, I64Load32U,
}

/// Width of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the Wasm operator of that name")]
#[rustfmt::skip]
pub enum StoreOp {
    I32Store, I64Store, F32Store, F64Store, I32Store8, I32Store16, I64Store8, I64Store16, I64Store32,
}

/// An operation on a range of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BulkOp {
    /// To an address, from an address, so many bytes; the ranges may overlap.
    Copy,
    /// To an address, a byte, so many times.
    Fill,
    /// To an address, from an offset in this data segment, so many bytes.
    Init(DataIndex),
}

/// Why guest code trapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum TrapCode {
    /// `unreachable` was executed.
    Unreachable = 1,
    /// A load or store outside the memory.
    MemoryOutOfBounds = 2,
    /// Integer division by zero.
    IntegerDivisionByZero = 3,
    /// The quotient, or a float converted to an integer, does not fit.
    IntegerOverflow = 4,
    /// NaN converted to an integer.
    BadConversionToInteger = 5,
    /// No room left on the stack.
    StackOverflow = 6,
    /// The epoch deadline was reached.
    Interrupt = 7,
    /// An access outside a table.
    TableOutOfBounds = 8,
    /// An indirect call outside its table.
    UndefinedElement = 9,
    /// An indirect call of a null reference.
    UninitializedElement = 10,
    /// An indirect call of a function of another type.
    IndirectCallTypeMismatch = 11,
}

/// A jump to a block, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Jump {
    /// Where to.
    pub block: Block,
    /// One value per parameter of that block.
    pub args: Vec<Value>,
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Callee {
    /// A function defined by this module.
    Defined(FuncIndex),
    /// A function imported by this module.
    Imported(FuncIndex),
    /// What a reference names, which was checked.
    Reference(Value),
}

/// Operations on tables that the runtime does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableOp {
    /// `(element, count) -> old length or -1`.
    Grow(TableIndex),
    /// `(start, element, count)`
    Fill(TableIndex),
    /// `(destination, source, count)`
    Copy {
        /// What is written.
        to: TableIndex,
        /// What is read.
        from: TableIndex,
    },
    /// `(destination, source, count)`
    Init {
        /// What is written.
        table: TableIndex,
        /// What is read.
        segment: ElementIndex,
    },
    /// `()`
    DropSegment(ElementIndex),
}

/// The SSA values of a suspension point's canonical layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameState {
    /// Where, and which locals and operand types.
    pub layout: CanonicalLayout,
    /// One value per entry of the layout.
    pub values: Vec<Value>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum InstData {
    /// A constant; floats by their bits, 32-bit types in the low half.
    Const {
        /// Its type.
        ty: Type,
        /// Its bits.
        bits: u64,
    },
    /// Pure, except for the trapping truncations.
    Unary {
        /// The operator.
        op: UnaryOp,
        /// The operand.
        arg: Value,
    },
    /// Pure, except for divisions and remainders.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// The operands.
        args: [Value; 2],
    },
    /// `cond != 0 ? args[0] : args[1]`.
    Select {
        /// Its type.
        ty: Type,
        /// An i32.
        cond: Value,
        /// The operands.
        args: [Value; 2],
    },
    /// The value of a tier-0 home slot; only in the entry block of OSR code.
    FrameLoad {
        /// Its type.
        ty: Type,
        /// Which slot.
        slot: FrameOffset,
    },
    /// The address of linear memory; lives for one epoch.
    MemoryBase,
    /// Trap unless `index + end <= memory length`; `index` is an i32, `end` = offset + access size.
    BoundsCheck {
        /// The index.
        index: Value,
        /// One behind the last byte accessed, from `index`.
        end: u64,
    },
    /// Read `base + index + offset`; `index` is an i32 (taken as unsigned) or an i64, `offset` is below 2^31.
    Load {
        /// The operator.
        op: LoadOp,
        /// The base address.
        base: Value,
        /// The index.
        index: Value,
        /// Constant part of the address.
        offset: u32,
    },
    /// Write `base + index + offset`; `index` and `offset` as for `Load`.
    Store {
        /// The operator.
        op: StoreOp,
        /// The base address.
        base: Value,
        /// The index.
        index: Value,
        /// Constant part of the address.
        offset: u32,
        /// What is written.
        value: Value,
    },
    /// Length of memory in pages.
    MemorySize,
    /// Grow memory by that many pages; gives the old length or -1. Calls the runtime: all registers are lost.
    MemoryGrow {
        /// How many pages.
        pages: Value,
    },
    /// Write a range of memory, or trap before anything is written. Calls the runtime: all registers are lost.
    Bulk {
        /// What is done.
        op: BulkOp,
        /// Three i32.
        args: [Value; 3],
    },
    /// Empty a data segment. Calls the runtime: all registers are lost.
    DataDrop {
        /// Which one.
        segment: DataIndex,
    },
    /// Read a global.
    GlobalGet {
        /// Its type.
        ty: Type,
        /// Which global.
        global: GlobalIndex,
    },
    /// A reference to a function; not null. Its record never moves, but is each instance's own.
    RefFunc {
        /// Which function.
        func: FuncIndex,
    },
    /// Write a global.
    GlobalSet {
        /// Which global.
        global: GlobalIndex,
        /// What is written.
        value: Value,
    },
    /// Trap with that code unless `index` (an i32) is below the table's length.
    TableCheck {
        /// Which table.
        table: TableIndex,
        /// The index.
        index: Value,
        /// `TableOutOfBounds` or `UndefinedElement`.
        code: TrapCode,
    },
    /// Read an element.
    TableLoad {
        /// The table's type of elements.
        ty: Type,
        /// Which table.
        table: TableIndex,
        /// Its index, an i32 that was checked.
        index: Value,
    },
    /// Write an element.
    TableStore {
        /// Which table.
        table: TableIndex,
        /// Its index, an i32 that was checked.
        index: Value,
        /// What is written.
        value: Value,
    },
    /// Number of elements.
    TableSize {
        /// Which table.
        table: TableIndex,
    },
    /// Calls the runtime: all registers are lost. Traps if elements lie outside.
    Table {
        /// What is done.
        op: TableOp,
        /// The operands.
        args: Vec<Value>,
    },
    /// Trap unless a reference is a function of that type.
    FuncCheck {
        /// The reference.
        func: Value,
        /// The type.
        ty: TypeIndex,
    },
    /// A call, which may return late. Boxed parts keep instructions small.
    Call {
        /// Who is called.
        callee: Callee,
        /// Its type.
        ty: Box<FuncType>,
        /// The operands.
        args: Vec<Value>,
        /// What Wasm sees there.
        state: Box<FrameState>,
    },
    /// Test the checkpoint word; if it is set, call the runtime, which may suspend or trap.
    Checkpoint {
        /// What Wasm sees there.
        state: Box<FrameState>,
    },
    /// Go on there.
    Jump(Jump),
    /// Go on at the first if `cond != 0`, else at the second.
    Branch {
        /// An i32.
        cond: Value,
        /// If it is not zero.
        then: Jump,
        /// If it is zero.
        otherwise: Jump,
    },
    /// Go on at `targets[index]`, or at the last one if there are not so many.
    BranchTable {
        /// The index.
        index: Value,
        /// One per index; the last one for all others.
        targets: Vec<Jump>,
    },
    /// Leave with these results.
    Return {
        /// The results.
        values: Vec<Value>,
    },
    /// Leave, and let another function return to the caller; its results are this one's.
    TailCall {
        /// Who is called.
        callee: Callee,
        /// Its type.
        ty: Box<FuncType>,
        /// The operands.
        args: Vec<Value>,
    },
    /// Trap.
    Trap {
        /// Why.
        code: TrapCode,
    },
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueDef {
    /// The n-th result of an instruction.
    Result(Inst, u32),
    /// The n-th parameter of a block.
    Param(Block, u32),
}

/// A value.
#[derive(Clone, Copy, Debug)]
pub struct ValueData {
    /// Its type.
    pub ty: Type,
    /// Its definition.
    pub def: ValueDef,
}

/// A block.
#[derive(Clone, Debug, Default)]
pub struct BlockData {
    /// Its parameters.
    pub params: Vec<Value>,
    /// Its instructions, the terminator last.
    pub insts: Vec<Inst>,
    /// Rarely run: laid out of line.
    pub cold: bool,
}

/// An instruction with what is known of it.
#[derive(Clone, Debug)]
pub struct InstNode {
    /// What it does.
    pub data: InstData,
    /// Its results; calls may have any number, the rest at most one.
    pub results: Vec<Value>,
    /// The Wasm operator it comes from.
    pub offset: WasmOffset,
}

/// Where the code starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// At the function's top: the entry block's parameters are the function's.
    Top,
    /// At a loop header: the entry block has no parameters and loads tier-0 homes with `FrameLoad`.
    Osr(WasmOffset),
}

/// A function in SSA form.
#[derive(Clone, Debug)]
pub struct Function {
    /// Which function of the module.
    pub index: FuncIndex,
    /// Its type.
    pub ty: FuncType,
    /// How it is entered.
    pub entry: Entry,
    /// Blocks; block 0 is the entry and has no predecessors.
    pub blocks: Vec<BlockData>,
    /// Instructions, in no order.
    pub insts: Vec<InstNode>,
    /// Values, in no order.
    pub values: Vec<ValueData>,
}

/// The entry block.
pub const ENTRY: Block = Block(0);

impl Function {
    /// An empty function with an empty entry block.
    pub fn new(index: FuncIndex, ty: FuncType, entry: Entry) -> Self {
        Self {
            index,
            ty,
            entry,
            blocks: vec![BlockData::default()],
            insts: Vec::new(),
            values: Vec::new(),
        }
    }

    /// Adds an empty block.
    pub fn add_block(&mut self) -> Block {
        self.blocks.push(BlockData::default());
        Block::new(self.blocks.len() - 1)
    }

    /// Adds a parameter to a block.
    pub fn add_param(&mut self, block: Block, ty: Type) -> Value {
        let position =
            u32::try_from(self.blocks[block.index()].params.len()).expect("parameters fit 32 bits");
        self.values.push(ValueData {
            ty,
            def: ValueDef::Param(block, position),
        });
        let value = Value::new(self.values.len() - 1);
        self.blocks[block.index()].params.push(value);
        value
    }

    /// Makes an instruction with results of these types, in no block yet.
    pub fn add_inst(&mut self, data: InstData, results: &[Type], offset: WasmOffset) -> Inst {
        let inst = Inst::new(self.insts.len());
        let results = results
            .iter()
            .zip(0..)
            .map(|(&ty, position)| {
                self.values.push(ValueData {
                    ty,
                    def: ValueDef::Result(inst, position),
                });
                Value::new(self.values.len() - 1)
            })
            .collect();
        self.insts.push(InstNode {
            data,
            results,
            offset,
        });
        inst
    }

    /// Type of a value.
    pub fn type_of(&self, value: Value) -> Type {
        self.values[value.index()].ty
    }

    /// The terminator of a block.
    ///
    /// # Panics
    /// If the block is empty.
    pub fn terminator(&self, block: Block) -> &InstNode {
        let last = *self.blocks[block.index()]
            .insts
            .last()
            .expect("a block ends with a terminator");
        &self.insts[last.index()]
    }
}

impl InstData {
    /// Whether it ends a block.
    pub fn is_terminator(&self) -> bool {
        matches!(
            self,
            Self::Jump(_)
                | Self::Branch { .. }
                | Self::BranchTable { .. }
                | Self::Return { .. }
                | Self::TailCall { .. }
                | Self::Trap { .. }
        )
    }
}

impl fmt::Display for TrapCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreachable => "unreachable",
            Self::MemoryOutOfBounds => "out of bounds memory access",
            Self::IntegerDivisionByZero => "integer divide by zero",
            Self::IntegerOverflow => "integer overflow",
            Self::BadConversionToInteger => "invalid conversion to integer",
            Self::StackOverflow => "call stack exhausted",
            Self::Interrupt => "interrupted: the epoch deadline was reached",
            Self::TableOutOfBounds => "out of bounds table access",
            Self::UndefinedElement => "undefined element",
            Self::UninitializedElement => "uninitialized element",
            Self::IndirectCallTypeMismatch => "indirect call type mismatch",
        })
    }
}
