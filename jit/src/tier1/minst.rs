//! Machine instructions over virtual registers: what lowering selects and the allocator rewrites.
//!
//! One enum serves before and after allocation: a [`Reg`] is virtual first and an allocation afterwards. Every
//! instruction shows its operands through [`MInst::visit_operands`], in one fixed order: once to collect constraints, once to
//! put the answers in.
//!
//! **Invariant (a checkpoint destroys nothing).** A checkpoint's helper call loses all registers, but its cold path saves
//! the registers that live across it itself (in the frame's *save area*) and loads them again. The allocator sees an
//! instruction that writes nothing, so a loop pays one test for its checkpoint, never a spill. It may also keep a value in
//! two places at once: `regalloc::add_second_places` finds the ones it does not name. The memory's address is not saved:
//! memory may move while the loop waits, so the cold path loads it from the context again, wherever it was.

use crate::{
    ir::value::{BinaryOp, Block, LoadOp, StoreOp, TrapCode, UnaryOp, Value},
    suspension::point::CanonicalLayout,
    wasm::types::{FuncIndex, ValType, WasmOffset},
};
use regalloc2::{
    Allocation, OperandConstraint, OperandKind, OperandPos, PReg, PRegSet, RegClass, VReg,
};

/// A register operand: virtual until the allocator has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reg {
    /// Before allocation.
    Virtual(VReg),
    /// After allocation.
    At(Allocation),
}

/// Operand size of an integer or float instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    S32,
    S64,
}

/// What an address starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    /// A register.
    Reg(Reg),
    /// The pinned context register.
    Context,
    /// The frame register.
    Frame,
}

/// `[base + index << scale + offset]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mem {
    pub(crate) base: Base,
    pub(crate) index: Option<(Reg, u8)>,
    pub(crate) offset: i32,
    /// A fault there is a trap of this operator.
    pub(crate) traps: Option<WasmOffset>,
}

impl Mem {
    /// A field of the context.
    pub(crate) fn context(offset: i32) -> Self {
        Self {
            base: Base::Context,
            index: None,
            offset,
            traps: None,
        }
    }

    /// What a register points to.
    pub(crate) fn at(base: Reg) -> Self {
        Self {
            base: Base::Reg(base),
            index: None,
            offset: 0,
            traps: None,
        }
    }
}

/// A right-hand operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rhs {
    Reg(Reg),
    Imm(i32),
    Mem(Mem),
    /// A float constant in the pool behind the code.
    Pool(u64),
}

/// Two-operand integer arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AluOp {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Mul,
}

/// One-operand integer arithmetic in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AluUnaryOp {
    Neg,
    Not,
}

/// Shifts and rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShiftOp {
    Shl,
    ShrS,
    ShrU,
    Rotl,
    Rotr,
}

/// Two-operand float arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatOp {
    Add,
    Sub,
    Mul,
    Div,
}

/// What a test asks of the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    Equal,
    NotEqual,
    LessSigned,
    LessUnsigned,
    GreaterSigned,
    GreaterUnsigned,
    LessEqualSigned,
    LessEqualUnsigned,
    GreaterEqualSigned,
    GreaterEqualUnsigned,
}

impl Condition {
    /// The opposite.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::LessSigned => Self::GreaterEqualSigned,
            Self::LessUnsigned => Self::GreaterEqualUnsigned,
            Self::GreaterSigned => Self::LessEqualSigned,
            Self::GreaterUnsigned => Self::LessEqualUnsigned,
            Self::LessEqualSigned => Self::GreaterSigned,
            Self::LessEqualUnsigned => Self::GreaterUnsigned,
            Self::GreaterEqualSigned => Self::LessSigned,
            Self::GreaterEqualUnsigned => Self::LessUnsigned,
        }
    }

    /// The same question with the operands exchanged.
    pub(crate) fn swapped(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::LessSigned => Self::GreaterSigned,
            Self::LessUnsigned => Self::GreaterUnsigned,
            Self::GreaterSigned => Self::LessSigned,
            Self::GreaterUnsigned => Self::LessUnsigned,
            Self::LessEqualSigned => Self::GreaterEqualSigned,
            Self::LessEqualUnsigned => Self::GreaterEqualUnsigned,
            Self::GreaterEqualSigned => Self::LessEqualSigned,
            Self::GreaterEqualUnsigned => Self::LessEqualUnsigned,
        }
    }
}

/// What a float comparison asks; `<` and `<=` are `>` and `>=` with the operands exchanged, so that "unordered" needs no
/// second jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FloatCondition {
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    /// Not greater, or unordered.
    NotGreater,
    /// Not greater nor equal, or unordered.
    NotGreaterEqual,
}

impl FloatCondition {
    /// The opposite.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Greater => Self::NotGreater,
            Self::GreaterEqual => Self::NotGreaterEqual,
            Self::NotGreater => Self::Greater,
            Self::NotGreaterEqual => Self::GreaterEqual,
        }
    }
}

/// A comparison whose answer stays in the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    Compare {
        size: Size,
        lhs: Reg,
        rhs: Rhs,
        condition: Condition,
    },
    /// `lhs & rhs` compared with zero.
    And {
        size: Size,
        lhs: Reg,
        rhs: Rhs,
        condition: Condition,
    },
    Float {
        size: Size,
        lhs: Reg,
        rhs: Rhs,
        condition: FloatCondition,
    },
}

/// Who is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Through the table of functions.
    Defined(FuncIndex),
    /// Through an import entry at this offset from the context.
    Imported(i32),
    /// A function as a value, which was checked; it is in the environment register.
    Reference(Reg),
}

/// Where a table's descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor {
    /// At this offset from the context.
    Context(i32),
    /// Where a register points.
    At(Reg),
}

impl Descriptor {
    /// A field of it.
    pub(crate) fn field(self, offset: i32) -> Mem {
        match self {
            Self::Context(at) => Mem::context(at + offset),
            Self::At(base) => Mem {
                offset,
                ..Mem::at(base)
            },
        }
    }
}

/// Where an entry of a canonical layout is found at a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// In the n-th value that lives across the site.
    Live(u32),
    /// Nowhere: a constant.
    Const(u64),
}

/// A suspension point on its way through the back end.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) layout: CanonicalLayout,
    pub(crate) results: Box<[ValType]>,
    /// One per entry of the layout.
    pub(crate) map: Vec<Source>,
    /// The IR value behind each value that lives across; `None` for one that lowering made up.
    pub(crate) values: Vec<Option<Value>>,
    /// Where it stands.
    pub(crate) block: Block,
}

/// A machine instruction.
#[derive(Clone, Debug)]
pub(crate) enum MInst {
    /// The parameters that arrive in registers.
    Params {
        defs: Vec<(Reg, PReg)>,
    },
    Const {
        dst: Reg,
        bits: u64,
    },
    FloatConst {
        size: Size,
        dst: Reg,
        bits: u64,
    },
    Move {
        dst: Reg,
        src: Reg,
    },
    Alu {
        op: AluOp,
        size: Size,
        dst: Reg,
        lhs: Reg,
        rhs: Rhs,
    },
    AluUnary {
        op: AluUnaryOp,
        size: Size,
        dst: Reg,
        src: Reg,
    },
    /// Three-operand addition: in place where the allocator chose so, else `lea`.
    Add {
        size: Size,
        dst: Reg,
        lhs: Reg,
        rhs: Reg,
    },
    AddImm {
        size: Size,
        dst: Reg,
        lhs: Reg,
        imm: i32,
    },
    Lea {
        size: Size,
        dst: Reg,
        mem: Mem,
    },
    MulImm {
        size: Size,
        dst: Reg,
        lhs: Rhs,
        imm: i32,
    },
    ShiftImm {
        op: ShiftOp,
        size: Size,
        dst: Reg,
        src: Reg,
        amount: u8,
    },
    Shift {
        op: ShiftOp,
        size: Size,
        dst: Reg,
        src: Reg,
        amount: Reg,
    },
    /// Quotient or remainder. `overflow`: the divisor may be -1; `zero`: it may be zero.
    Divide {
        signed: bool,
        remainder: bool,
        size: Size,
        dst: Reg,
        lhs: Reg,
        rhs: Reg,
        zero: bool,
        overflow: bool,
    },
    /// The upper half of a 128-bit product.
    MulHigh {
        signed: bool,
        dst: Reg,
        lhs: Reg,
        rhs: Reg,
    },
    Unary {
        op: UnaryOp,
        dst: Reg,
        src: Reg,
    },
    Load {
        op: LoadOp,
        dst: Reg,
        mem: Mem,
    },
    Store {
        op: StoreOp,
        mem: Mem,
        src: Reg,
    },
    StoreImm {
        op: StoreOp,
        mem: Mem,
        imm: i32,
    },
    Float {
        op: FloatOp,
        size: Size,
        dst: Reg,
        lhs: Reg,
        rhs: Rhs,
    },
    /// `min`, `max`, `copysign`.
    FloatBinary {
        op: BinaryOp,
        dst: Reg,
        lhs: Reg,
        rhs: Reg,
    },
    SetCondition {
        test: Test,
        dst: Reg,
    },
    Select {
        test: Test,
        dst: Reg,
        on_true: Reg,
        on_false: Reg,
        class: RegClass,
        size: Size,
    },
    /// Trap unless `index + end` is within memory.
    BoundsCheck {
        index: Reg,
        end: u64,
    },
    /// The same for a constant.
    BoundsCheckConst {
        end: u64,
    },
    MemorySize {
        dst: Reg,
    },
    /// Trap unless `index` is below the length.
    TableCheck {
        index: Reg,
        len: Mem,
        code: TrapCode,
    },
    /// The same for a constant.
    TableCheckConst {
        index: u32,
        len: Mem,
        code: TrapCode,
    },
    /// Trap unless a reference is a function of the type with that id.
    FuncCheck {
        func: Reg,
        type_id: u32,
    },
    /// A helper is called with the context, these numbers, and the operands.
    Runtime {
        helper: i32,
        numbers: Vec<u32>,
        uses: Vec<(Reg, PReg)>,
        dst: Option<Reg>,
        /// Trap with this unless the answer is 0.
        code: Option<TrapCode>,
    },
    MemoryGrow {
        dst: Reg,
        pages: Reg,
    },
    TransferLoad {
        dst: Reg,
        word: u32,
        class: RegClass,
    },
    TransferStore {
        src: Reg,
        word: u32,
        class: RegClass,
    },
    /// `addresses`: where the memory's address lives across. It is no part of the image; the cold path makes it anew.
    Checkpoint {
        site: u32,
        live: Vec<Reg>,
        addresses: Vec<Reg>,
    },
    Call {
        target: Target,
        site: u32,
        uses: Vec<(Reg, PReg)>,
        defs: Vec<(Reg, PReg)>,
        live: Vec<Reg>,
    },
    Jump,
    Branch {
        test: Test,
    },
    /// To the n-th successor, n being the index-th target or the last.
    Table {
        index: Reg,
        temp: Reg,
        targets: Vec<u32>,
    },
    Return {
        uses: Vec<(Reg, PReg)>,
    },
    TailCall {
        target: Target,
        uses: Vec<(Reg, PReg)>,
    },
    Trap {
        code: TrapCode,
    },
}

/// How the allocator is told of an operand.
pub(crate) type Visit<'a> = &'a mut dyn FnMut(&mut Reg, OperandConstraint, OperandKind, OperandPos);

/// A read at the start.
fn read(visit: Visit<'_>, reg: &mut Reg) {
    visit(
        reg,
        OperandConstraint::Reg,
        OperandKind::Use,
        OperandPos::Early,
    );
}

/// A read that must not share a register with what is written.
fn read_late(visit: Visit<'_>, reg: &mut Reg) {
    visit(
        reg,
        OperandConstraint::Reg,
        OperandKind::Use,
        OperandPos::Late,
    );
}

fn read_fixed(visit: Visit<'_>, reg: &mut Reg, at: PReg) {
    visit(
        reg,
        OperandConstraint::FixedReg(at),
        OperandKind::Use,
        OperandPos::Early,
    );
}

/// A read of a place that is still untouched at the end.
fn read_anywhere(visit: Visit<'_>, reg: &mut Reg) {
    visit(
        reg,
        OperandConstraint::Any,
        OperandKind::Use,
        OperandPos::Late,
    );
}

fn write(visit: Visit<'_>, reg: &mut Reg) {
    visit(
        reg,
        OperandConstraint::Reg,
        OperandKind::Def,
        OperandPos::Late,
    );
}

fn write_fixed(visit: Visit<'_>, reg: &mut Reg, at: PReg) {
    visit(
        reg,
        OperandConstraint::FixedReg(at),
        OperandKind::Def,
        OperandPos::Late,
    );
}

/// A write into the register of the first operand.
fn write_first(visit: Visit<'_>, reg: &mut Reg) {
    visit(
        reg,
        OperandConstraint::Reuse(0),
        OperandKind::Def,
        OperandPos::Late,
    );
}

fn read_mem(visit: Visit<'_>, mem: &mut Mem) {
    if let Base::Reg(base) = &mut mem.base {
        read(visit, base);
    }
    if let Some((index, _)) = &mut mem.index {
        read(visit, index);
    }
}

fn read_rhs(visit: Visit<'_>, rhs: &mut Rhs) {
    match rhs {
        Rhs::Reg(reg) => read(visit, reg),
        Rhs::Mem(mem) => read_mem(visit, mem),
        Rhs::Imm(_) | Rhs::Pool(_) => {}
    }
}

fn read_test(visit: Visit<'_>, test: &mut Test) {
    match test {
        Test::Compare { lhs, rhs, .. }
        | Test::And { lhs, rhs, .. }
        | Test::Float { lhs, rhs, .. } => {
            read(visit, lhs);
            read_rhs(visit, rhs);
        }
    }
}

impl MInst {
    /// Shows each operand, in a fixed order.
    #[expect(clippy::match_same_arms, reason = "one arm per instruction reads as a table")]
    #[rustfmt::skip]
    pub(crate) fn visit_operands(&mut self, v: Visit<'_>) {
        match self {
            Self::Params { defs } => defs.iter_mut().for_each(|(reg, at)| write_fixed(v, reg, *at)),
            Self::Const { dst, .. } | Self::FloatConst { dst, .. } => write(v, dst),
            Self::Move { dst, src } => {
                v(src, OperandConstraint::Any, OperandKind::Use, OperandPos::Early);
                write(v, dst);
            }
            Self::Alu { dst, lhs, rhs, .. } => { read(v, lhs); read_rhs(v, rhs); write_first(v, dst); }
            Self::AluUnary { dst, src, .. } => { read(v, src); write_first(v, dst); }
            Self::Add { dst, lhs, rhs, .. } => { read(v, lhs); read(v, rhs); write(v, dst); }
            Self::AddImm { dst, lhs, .. } => { read(v, lhs); write(v, dst); }
            Self::Lea { dst, mem, .. } => { read_mem(v, mem); write(v, dst); }
            Self::MulImm { dst, lhs, .. } => { read_rhs(v, lhs); write(v, dst); }
            Self::ShiftImm { dst, src, .. } => { read(v, src); write_first(v, dst); }
            Self::Shift { dst, src, amount, .. } => {
                read(v, src);
                read_fixed(v, amount, super::regalloc::RCX);
                write_first(v, dst);
            }
            Self::Divide { remainder, dst, lhs, rhs, .. } => {
                read_fixed(v, lhs, super::regalloc::RAX);
                read_late(v, rhs);
                write_fixed(v, dst, if *remainder { super::regalloc::RDX } else { super::regalloc::RAX });
            }
            Self::MulHigh { dst, lhs, rhs, .. } => {
                read_fixed(v, lhs, super::regalloc::RAX);
                read(v, rhs);
                write_fixed(v, dst, super::regalloc::RDX);
            }
            Self::Unary { dst, src, .. } => { read(v, src); write(v, dst); }
            Self::Load { dst, mem, .. } => { read_mem(v, mem); write(v, dst); }
            Self::Store { mem, src, .. } => { read_mem(v, mem); read(v, src); }
            Self::StoreImm { mem, .. } => read_mem(v, mem),
            Self::Float { dst, lhs, rhs, .. } => { read(v, lhs); read_rhs(v, rhs); write_first(v, dst); }
            Self::FloatBinary { dst, lhs, rhs, .. } => { read(v, lhs); read_late(v, rhs); write_first(v, dst); }
            Self::SetCondition { test, dst } => { read_test(v, test); write(v, dst); }
            Self::Select { test, dst, on_true, on_false, .. } => {
                read(v, on_false);
                read(v, on_true);
                read_test(v, test);
                write_first(v, dst);
            }
            Self::BoundsCheck { index, .. } => read(v, index),
            Self::BoundsCheckConst { .. } => {}
            Self::MemorySize { dst } => write(v, dst),
            Self::TableCheck { index, len, .. } => { read(v, index); read_mem(v, len); }
            Self::TableCheckConst { len, .. } => read_mem(v, len),
            Self::FuncCheck { func, .. } => read(v, func),
            Self::Runtime { uses, dst, .. } => {
                uses.iter_mut().for_each(|(reg, at)| read_fixed(v, reg, *at));
                dst.iter_mut().for_each(|dst| write_fixed(v, dst, super::regalloc::HELPER_RESULT));
            }
            Self::MemoryGrow { dst, pages } => {
                read_fixed(v, pages, super::regalloc::RSI);
                write_fixed(v, dst, super::regalloc::RAX);
            }
            Self::TransferLoad { dst, .. } => write(v, dst),
            Self::TransferStore { src, .. } => read(v, src),
            Self::Checkpoint { live, addresses, .. } => {
                live.iter_mut().chain(addresses).for_each(|reg| read_anywhere(v, reg));
            }
            Self::Call { target, uses, defs, live, .. } => {
                if let Target::Reference(func) = target {
                    read_fixed(v, func, super::regalloc::ENVIRONMENT);
                }
                uses.iter_mut().for_each(|(reg, at)| read_fixed(v, reg, *at));
                live.iter_mut().for_each(|reg| read_anywhere(v, reg));
                defs.iter_mut().for_each(|(reg, at)| write_fixed(v, reg, *at));
            }
            Self::Jump | Self::Trap { .. } => {}
            Self::Branch { test } => read_test(v, test),
            Self::Table { index, temp, .. } => {
                read(v, index);
                v(temp, OperandConstraint::Reg, OperandKind::Def, OperandPos::Early);
            }
            Self::TailCall { target, uses } => {
                if let Target::Reference(func) = target {
                    read_fixed(v, func, super::regalloc::ENVIRONMENT);
                }
                uses.iter_mut().for_each(|(reg, at)| read_fixed(v, reg, *at));
            }
            Self::Return { uses } => uses.iter_mut().for_each(|(reg, at)| read_fixed(v, reg, *at)),
        }
    }

    /// Registers that hold garbage afterwards.
    pub(crate) fn clobbers(&self) -> PRegSet {
        use super::regalloc::{RAX, RDX, allocatable};
        match self {
            Self::Divide { remainder, .. } => {
                PRegSet::empty().with(if *remainder { RAX } else { RDX })
            }
            Self::MulHigh { .. } => PRegSet::empty().with(RAX),
            Self::MemoryGrow { .. } => {
                let mut all = allocatable();
                all.remove(RAX);
                all
            }
            Self::Runtime { dst, .. } => {
                let mut all = allocatable();
                if dst.is_some() {
                    all.remove(super::regalloc::HELPER_RESULT);
                }
                all
            }
            Self::Call { defs, .. } => {
                let mut all = allocatable();
                defs.iter().for_each(|&(_, at)| all.remove(at));
                all
            }
            _ => PRegSet::empty(),
        }
    }
}
