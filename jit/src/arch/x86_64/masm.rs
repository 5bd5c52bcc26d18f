//! The macro assembler: one method per instruction form, infallible, collecting bytes, relocations, notes, labels and
//! comments for a `code::draft::CodeDraft`.
//!
//! Branches, label references and instructions without free operands go through `dynasm!`, here and nowhere else. Forms
//! with free registers or memory go through one small encoder (`Masm::encode`) into the same buffer: dynasm's dynamic
//! registers cost a SIB byte on every access to a frame slot, and cannot choose the width of a displacement.
//!
//! *Widths.* Every 32-bit operation zeroes the upper half of its destination register, which is the invariant of
//! `frame::abi`.
//!
//! *Scratch.* `registers::SCRATCH` and `registers::FLOAT_SCRATCH` are lost in the sequences of `sequences.rs`; plain
//! instructions touch only what they name. Flags are lost in anything that is not a plain move.
//!
//! *Cold code.* [`Masm::defer`] queues code to stand behind the body; [`Masm::trap_site`] hands out labels of trap sites.
//! [`Masm::emit_deferred`] emits both.

#![expect(
    clippy::useless_conversion,
    reason = "dynasm converts the numbers of dynamic registers, which are bytes already"
)]

use super::registers::{
    CONTEXT, EXIT, FRAME, Gpr, HELPER_ARGS, HELPER_RESULT, R8, RAX, RCX, RDI, RDX, RSI, SCRATCH,
    STACK, Xmm,
};
use crate::{
    code::{
        draft::{Reloc, RelocTarget},
        faults::Faults,
    },
    error::CompileError,
    frame::abi::EXIT_TRAPPED,
    ir::value::{LoadOp, StoreOp, TrapCode},
    runtime::context::offsets,
    wasm::types::{CodeOffset, FrameOffset, WasmOffset},
};
use dynasmrt::{DynamicLabel, DynasmApi, DynasmLabelApi, VecAssembler, dynasm, x64::X64Relocation};
use std::{collections::HashMap, fmt};

/// Width of an operation, of integers and floats alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Width {
    /// 32 bits.
    W32,
    /// 64 bits.
    W64,
}

/// A place in the code, perhaps not emitted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Label(DynamicLabel);

/// A memory operand: `[base + index * scale + disp]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mem {
    /// Base register.
    pub base: Gpr,
    /// Index register (not the stack register) and its scale: 1, 2, 4 or 8.
    pub index: Option<(Gpr, u8)>,
    /// Displacement.
    pub disp: i32,
    /// A fault there is a trap of this operator: an address in a guarded memory.
    pub traps: Option<WasmOffset>,
}

impl Mem {
    /// `[base + disp]`.
    pub const fn new(base: Gpr, disp: i32) -> Self {
        Self {
            base,
            index: None,
            disp,
            traps: None,
        }
    }

    /// The same address, where a fault is a trap of this operator. The frame must be as at a jump to a trap site.
    #[must_use]
    pub const fn trapping(mut self, at: WasmOffset) -> Self {
        self.traps = Some(at);
        self
    }

    /// `[base + index * scale + disp]`.
    pub const fn indexed(base: Gpr, index: Gpr, scale: u8, disp: i32) -> Self {
        Self {
            base,
            index: Some((index, scale)),
            disp,
            traps: None,
        }
    }

    /// A frame slot.
    pub const fn frame(slot: FrameOffset) -> Self {
        Self::new(FRAME, slot.0)
    }

    /// A field of the context.
    pub const fn context(offset: i32) -> Self {
        Self::new(CONTEXT, offset)
    }
}

impl From<FrameOffset> for Mem {
    fn from(slot: FrameOffset) -> Self {
        Self::frame(slot)
    }
}

/// A general-purpose register or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegMem {
    /// A register.
    Reg(Gpr),
    /// Memory.
    Mem(Mem),
}

/// A vector register or memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum XmmMem {
    /// A register.
    Reg(Xmm),
    /// Memory.
    Mem(Mem),
}

impl From<Gpr> for RegMem {
    fn from(reg: Gpr) -> Self {
        Self::Reg(reg)
    }
}

impl From<Mem> for RegMem {
    fn from(mem: Mem) -> Self {
        Self::Mem(mem)
    }
}

impl From<FrameOffset> for RegMem {
    fn from(slot: FrameOffset) -> Self {
        Self::Mem(slot.into())
    }
}

impl From<Xmm> for XmmMem {
    fn from(reg: Xmm) -> Self {
        Self::Reg(reg)
    }
}

impl From<Mem> for XmmMem {
    fn from(mem: Mem) -> Self {
        Self::Mem(mem)
    }
}

impl From<FrameOffset> for XmmMem {
    fn from(slot: FrameOffset) -> Self {
        Self::Mem(slot.into())
    }
}

/// Two-operand integer instructions that set all flags; values are their `/n` in the immediate forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the instruction of that name")]
#[rustfmt::skip]
pub enum Alu { Add = 0, Or = 1, And = 4, Sub = 5, Xor = 6, Cmp = 7 }

/// Shifts and rotates; values are their `/n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the instruction of that name")]
#[rustfmt::skip]
pub enum Shift { Rol = 0, Ror = 1, Shl = 4, Shr = 5, Sar = 7 }

/// Scalar float arithmetic, hardware semantics; values are opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the instruction of that name")]
#[rustfmt::skip]
pub enum FloatOp { Sqrt = 0x51, Add = 0x58, Mul = 0x59, Sub = 0x5c, Min = 0x5d, Div = 0x5e, Max = 0x5f }

/// Bitwise operations on vector registers; values are opcodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the instruction of that name")]
#[rustfmt::skip]
pub enum FloatBits { And = 0x54, AndNot = 0x55, Or = 0x56, Xor = 0x57 }

/// Rounding modes; values are the immediates of `roundss`, precision exceptions suppressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the Wasm operator of that name")]
#[rustfmt::skip]
pub enum Rounding { Nearest = 8, Floor = 9, Ceil = 10, Trunc = 11 }

/// Condition codes; values are their hardware numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[expect(missing_docs, reason = "each is the condition of that name")]
#[rustfmt::skip]
pub enum Cc {
    Overflow, NoOverflow, Below, AboveEqual, Equal, NotEqual, BelowEqual, Above,
    Sign, NoSign, Parity, NoParity, Less, GreaterEqual, LessEqual, Greater,
}

impl Cc {
    /// The opposite.
    pub fn negate(self) -> Self {
        use Cc::{
            Above, AboveEqual, Below, BelowEqual, Equal, Greater, GreaterEqual, Less, LessEqual,
            NoOverflow, NoParity, NoSign, NotEqual, Overflow, Parity, Sign,
        };
        match self {
            Overflow => NoOverflow,
            NoOverflow => Overflow,
            Below => AboveEqual,
            AboveEqual => Below,
            Equal => NotEqual,
            NotEqual => Equal,
            BelowEqual => Above,
            Above => BelowEqual,
            Sign => NoSign,
            NoSign => Sign,
            Parity => NoParity,
            NoParity => Parity,
            Less => GreaterEqual,
            GreaterEqual => Less,
            LessEqual => Greater,
            Greater => LessEqual,
        }
    }

    /// The condition that holds when the operands of the comparison are swapped.
    ///
    /// # Panics
    /// On conditions that do not come from a comparison of two numbers.
    pub fn swap_operands(self) -> Self {
        match self {
            Self::Equal | Self::NotEqual => self,
            Self::Below => Self::Above,
            Self::Above => Self::Below,
            Self::BelowEqual => Self::AboveEqual,
            Self::AboveEqual => Self::BelowEqual,
            Self::Less => Self::Greater,
            Self::Greater => Self::Less,
            Self::LessEqual => Self::GreaterEqual,
            Self::GreaterEqual => Self::LessEqual,
            _ => panic!("{self:?} is no order"),
        }
    }
}

/// Which instructions beyond the x86-64 baseline may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct CpuFeatures {
    /// `lzcnt`.
    pub lzcnt: bool,
    /// `tzcnt`.
    pub bmi1: bool,
    /// `popcnt`.
    pub popcnt: bool,
    /// `roundss`, `roundsd`.
    pub sse41: bool,
}

impl CpuFeatures {
    /// What every x86-64 machine has.
    pub const BASELINE: Self = Self {
        lzcnt: false,
        bmi1: false,
        popcnt: false,
        sse41: false,
    };

    /// What this machine has (the answer is cached by the standard library).
    pub fn detect() -> Self {
        Self {
            lzcnt: is_x86_feature_detected!("lzcnt"),
            bmi1: is_x86_feature_detected!("bmi1"),
            popcnt: is_x86_feature_detected!("popcnt"),
            sse41: is_x86_feature_detected!("sse4.1"),
        }
    }
}

/// What the assembler collected.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// Machine code.
    pub bytes: Vec<u8>,
    /// Absolute words.
    pub relocs: Vec<Reloc>,
    /// Return addresses and their Wasm operators, rising.
    pub notes: Vec<(CodeOffset, WasmOffset)>,
    /// Instructions whose fault is a trap.
    pub faults: Faults,
    /// Names of places, rising.
    pub labels: Vec<(CodeOffset, String)>,
    /// Comments, rising.
    pub comments: Vec<(CodeOffset, String)>,
}

type Cold = Box<dyn FnOnce(&mut Masm)>;

/// A table of 32-bit distances from its own start.
struct JumpTable {
    start: Label,
    targets: Vec<Label>,
}

/// The macro assembler.
pub struct Masm {
    pub(super) asm: VecAssembler<X64Relocation>,
    pub(super) features: CpuFeatures,
    relocs: Vec<Reloc>,
    notes: Vec<(CodeOffset, WasmOffset)>,
    faults: Faults,
    labels: Vec<(CodeOffset, String)>,
    comments: Vec<(CodeOffset, String)>,
    cold: Vec<Cold>,
    traps: Vec<(TrapCode, WasmOffset, Label)>,
    trap_labels: HashMap<(TrapCode, WasmOffset), Label>,
    tables: Vec<JumpTable>,
    constants: Vec<(u64, Label)>,
    constant_labels: HashMap<u64, Label>,
    /// 32-bit words to overwrite when all is known.
    patches: Vec<(usize, i32)>,
}

/// A displacement to be filled in by [`Masm::fix_room`].
#[derive(Clone, Copy, Debug)]
pub struct RoomFixup(usize);

impl fmt::Debug for Masm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Masm")
            .field("offset", &self.offset())
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}

/// `reg` field and register-or-memory operand of an instruction.
#[derive(Clone, Copy)]
pub(super) enum Rm {
    Reg(u8),
    Mem(Mem),
}

impl From<RegMem> for Rm {
    fn from(operand: RegMem) -> Self {
        match operand {
            RegMem::Reg(reg) => Self::Reg(reg.0),
            RegMem::Mem(mem) => Self::Mem(mem),
        }
    }
}

impl From<XmmMem> for Rm {
    fn from(operand: XmmMem) -> Self {
        match operand {
            XmmMem::Reg(reg) => Self::Reg(reg.0),
            XmmMem::Mem(mem) => Self::Mem(mem),
        }
    }
}

/// Opcode of an instruction: mandatory prefix (0 for none), escape bytes, opcode byte.
#[derive(Clone, Copy)]
pub(super) struct Opcode {
    prefix: u8,
    escape: &'static [u8],
    byte: u8,
    /// An operand is a byte register in the r/m position (then `rsi`, `rdi` and so on need a REX prefix).
    byte_rm: bool,
    /// The `reg` operand is a byte register.
    byte_reg: bool,
}

const fn op(byte: u8) -> Opcode {
    Opcode {
        prefix: 0,
        escape: &[],
        byte,
        byte_rm: false,
        byte_reg: false,
    }
}

const fn op_0f(byte: u8) -> Opcode {
    Opcode {
        escape: &[0x0f],
        ..op(byte)
    }
}

const fn op_pre(prefix: u8, byte: u8) -> Opcode {
    Opcode {
        prefix,
        ..op_0f(byte)
    }
}

/// The prefix that says single or double precision.
const fn scalar(width: Width) -> u8 {
    match width {
        Width::W32 => 0xf3,
        Width::W64 => 0xf2,
    }
}

impl Masm {
    /// An empty buffer for a machine with these features.
    pub fn new(features: CpuFeatures) -> Self {
        Self {
            asm: VecAssembler::new(0),
            features,
            relocs: Vec::new(),
            notes: Vec::new(),
            faults: Faults::default(),
            labels: Vec::new(),
            comments: Vec::new(),
            cold: Vec::new(),
            traps: Vec::new(),
            trap_labels: HashMap::new(),
            tables: Vec::new(),
            constants: Vec::new(),
            constant_labels: HashMap::new(),
            patches: Vec::new(),
        }
    }

    // --- Places -----------------------------------------------------------------------------------------------------

    /// Where the next instruction goes.
    pub fn offset(&self) -> CodeOffset {
        // `finish` refuses code that is larger; until then a clamped offset is as good as any
        CodeOffset(u32::try_from(self.asm.offset().0).unwrap_or(u32::MAX))
    }

    /// A label to be bound later.
    pub fn label(&mut self) -> Label {
        Label(self.asm.new_dynamic_label())
    }

    /// Binds a label here.
    pub fn bind(&mut self, label: Label) {
        dynasm!(self.asm ; .arch x64 ; =>label.0);
    }

    /// Binds a label here, with a name for listings.
    pub fn bind_named(&mut self, label: Label, name: impl Into<String>) {
        self.bind(label);
        self.name(name);
    }

    /// A label bound here.
    pub fn here(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Names this place, for listings.
    pub fn name(&mut self, name: impl Into<String>) {
        let at = self.offset();
        self.labels.push((at, name.into()));
    }

    /// A comment on the next instruction, for listings.
    pub fn comment(&mut self, comment: impl Into<String>) {
        let at = self.offset();
        self.comments.push((at, comment.into()));
    }

    /// Records that this place, a return address, belongs to a Wasm operator.
    pub fn note(&mut self, offset: WasmOffset) {
        let at = self.offset();
        self.notes.push((at, offset));
    }

    /// Where a bound label is.
    ///
    /// # Panics
    /// If it is not bound.
    pub fn offset_of(&self, label: Label) -> CodeOffset {
        let at = self
            .asm
            .labels()
            .resolve_dynamic(label.0)
            .unwrap_or_else(|error| panic!("label {label:?} is not bound: {error}"));
        CodeOffset(u32::try_from(at.0).unwrap_or(u32::MAX))
    }

    /// Queues code that is rarely run, to be emitted behind the body.
    pub fn defer(&mut self, cold: impl FnOnce(&mut Self) + 'static) {
        self.cold.push(Box::new(cold));
    }

    /// The label of a trap site: jump there to trap with this code at this operator.
    ///
    /// # Machine contract
    /// *At the jump*: `rbp` is the frame register of this activation, `r15` the context, `rsp` 16-aligned. Nothing returns.
    pub fn trap_site(&mut self, code: TrapCode, offset: WasmOffset) -> Label {
        if let Some(&label) = self.trap_labels.get(&(code, offset)) {
            return label;
        }
        let label = self.label();
        self.trap_labels.insert((code, offset), label);
        self.traps.push((code, offset, label));
        label
    }

    /// Emits all deferred code and trap sites. Call it once, behind the body and the cold code of the tier itself.
    pub fn emit_deferred(&mut self) {
        while !self.cold.is_empty() {
            for cold in std::mem::take(&mut self.cold) {
                cold(self);
            }
        }
        let mut codes: Vec<(TrapCode, Label)> = Vec::new();
        for (code, offset, label) in std::mem::take(&mut self.traps) {
            let common = match codes.iter().find(|&&(known, _)| known == code) {
                Some(&(_, common)) => common,
                None => {
                    let common = self.label();
                    codes.push((code, common));
                    common
                }
            };
            self.bind(label);
            self.mov_imm(RDX, u64::from(offset.0));
            self.jmp(common);
        }
        let faults = TrapCode::MemoryOutOfBounds;
        if !self.faults.is_empty() && codes.iter().all(|&(code, _)| code != faults) {
            let common = self.label();
            codes.push((faults, common));
        }
        for (code, label) in codes {
            if code == faults {
                // a fault arrives here with its operator where a jump would have left it
                self.faults.landing = self.offset();
            }
            self.bind_named(label, format!("trap.{code:?}"));
            let behind = self.label();
            self.mov(Width::W64, RDI, CONTEXT);
            self.mov_imm(RSI, u64::from(code as u32));
            self.mov(Width::W64, RCX, FRAME);
            self.lea_label(R8, behind);
            self.call_helper(offsets::HELPER_TRAP);
            self.bind(behind);
            self.mov_imm(EXIT, u64::from(EXIT_TRAPPED));
            self.leave();
            self.ret();
        }
        self.trap_labels.clear();
    }

    /// The finished code. Jump tables and constants are placed at its end.
    ///
    /// # Errors
    /// [`CompileError::Limit`] if the code is too large for its own branches.
    ///
    /// # Panics
    /// If a label was used and never bound, or code is still deferred: bugs of the compiler.
    pub fn finish(mut self) -> Result<Emitted, CompileError> {
        assert!(
            self.cold.is_empty() && self.traps.is_empty(),
            "deferred code was not emitted"
        );
        if !self.constants.is_empty() {
            self.align(8, 0xcc);
            self.name("constants");
            for (bits, label) in std::mem::take(&mut self.constants) {
                self.bind(label);
                self.bytes(&bits.to_le_bytes());
            }
        }
        let mut patches = Vec::new();
        for (table, n) in std::mem::take(&mut self.tables).into_iter().zip(0..) {
            self.align(4, 0xcc);
            self.bind_named(table.start, format!("table{n}"));
            let start = self.asm.offset().0;
            for (target, i) in table.targets.iter().zip(0..) {
                patches.push((start + 4 * i, start, *target));
                self.bytes(&[0; 4]);
            }
        }
        let too_large = || CompileError::Limit {
            what: "machine code of one function is larger than 2 GiB".into(),
        };
        if i32::try_from(self.asm.offset().0).is_err() {
            return Err(too_large());
        }
        let mut words = Vec::with_capacity(patches.len());
        for (at, start, target) in patches {
            let target = i64::from(self.offset_of(target).0);
            let start = i64::try_from(start).map_err(|_| too_large())?;
            let distance = i32::try_from(target - start).map_err(|_| too_large())?;
            words.push((at, distance));
        }
        let mut bytes = self
            .asm
            .finalize()
            .unwrap_or_else(|error| panic!("a label was used and never bound: {error}"));
        for (at, distance) in words.into_iter().chain(self.patches) {
            bytes[at..at + 4].copy_from_slice(&distance.to_le_bytes());
        }
        Ok(Emitted {
            bytes,
            relocs: self.relocs,
            notes: self.notes,
            faults: self.faults,
            labels: self.labels,
            comments: self.comments,
        })
    }

    // --- The encoder ------------------------------------------------------------------------------------------------

    fn bytes(&mut self, bytes: &[u8]) {
        self.asm.extend(bytes);
    }

    fn align(&mut self, alignment: usize, with: u8) {
        self.asm.align(alignment, with);
    }

    /// Prefixes, opcode, operand bytes and displacement; an immediate is the caller's to append.
    pub(super) fn encode(&mut self, opcode: Opcode, width: Width, reg: u8, rm: Rm) {
        if let Rm::Mem(Mem {
            traps: Some(operator),
            ..
        }) = rm
        {
            let at = self.offset();
            self.faults.at.push((at, operator));
        }
        let mut code = [0u8; 16];
        let mut len = 0;
        let mut push = |byte: u8| {
            code[len] = byte;
            len += 1;
        };
        if opcode.prefix != 0 {
            push(opcode.prefix);
        }
        let (base, index) = match rm {
            Rm::Reg(reg) => (reg, 0),
            Rm::Mem(mem) => (mem.base.0, mem.index.map_or(0, |(index, _)| index.0)),
        };
        let mut rex = (u8::from(width == Width::W64) << 3)
            | ((reg >> 3) << 2)
            | ((index >> 3) << 1)
            | (base >> 3);
        let high_byte = |n: u8| (4..8).contains(&n);
        if (opcode.byte_reg && high_byte(reg))
            || (opcode.byte_rm && matches!(rm, Rm::Reg(n) if high_byte(n)))
        {
            rex |= 0x40;
        }
        if rex != 0 {
            push(0x40 | rex);
        }
        opcode.escape.iter().for_each(|&byte| push(byte));
        push(opcode.byte);
        let reg = (reg & 7) << 3;
        match rm {
            Rm::Reg(n) => push(0xc0 | reg | (n & 7)),
            Rm::Mem(mem) => {
                let disp8 = i8::try_from(mem.disp);
                // base 101 without displacement means something else
                let mode = match disp8 {
                    Ok(0) if mem.base.0 & 7 != 5 => 0x00,
                    Ok(_) => 0x40,
                    Err(_) => 0x80,
                };
                let base = mem.base.0 & 7;
                if let Some((index, scale)) = mem.index {
                    debug_assert!(index != STACK, "the stack register cannot be an index");
                    debug_assert!(matches!(scale, 1 | 2 | 4 | 8), "scale {scale}");
                    let scale = u8::try_from(scale.trailing_zeros()).unwrap_or(0);
                    push(mode | reg | 4);
                    push((scale << 6) | ((index.0 & 7) << 3) | base);
                } else if base == 4 {
                    push(mode | reg | 4);
                    push(0x24);
                } else {
                    push(mode | reg | base);
                }
                match (mode, disp8) {
                    (0x40, Ok(disp)) => push(disp.cast_unsigned()),
                    (0x80, _) => mem.disp.to_le_bytes().into_iter().for_each(push),
                    _ => {}
                }
            }
        }
        self.asm.extend(&code[..len]);
    }

    // --- Integer moves ----------------------------------------------------------------------------------------------

    /// `dst = src`; a 32-bit move zeroes the upper half, so it is emitted even from a register to itself.
    pub fn mov(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op(0x8b), width, dst.0, src.into().into());
    }

    /// `[mem] = src`.
    pub fn store(&mut self, width: Width, mem: impl Into<Mem>, src: Gpr) {
        self.encode(op(0x89), width, src.0, Rm::Mem(mem.into()));
    }

    /// `[mem] = imm`, sign-extended to the width.
    pub fn store_imm(&mut self, width: Width, mem: impl Into<Mem>, imm: i32) {
        self.encode(op(0xc7), width, 0, Rm::Mem(mem.into()));
        self.bytes(&imm.to_le_bytes());
    }

    /// `dst = imm`, the shortest form that leaves the flags alone.
    pub fn mov_imm(&mut self, dst: Gpr, imm: u64) {
        if let Ok(imm) = u32::try_from(imm) {
            if dst.0 >= 8 {
                self.bytes(&[0x41]);
            }
            self.bytes(&[0xb8 | (dst.0 & 7)]);
            self.bytes(&imm.to_le_bytes());
        } else if let Ok(imm) = i32::try_from(imm.cast_signed()) {
            self.encode(op(0xc7), Width::W64, 0, Rm::Reg(dst.0));
            self.bytes(&imm.to_le_bytes());
        } else {
            self.mov_imm64(dst, imm);
        }
    }

    fn mov_imm64(&mut self, dst: Gpr, imm: u64) {
        self.bytes(&[0x48 | (dst.0 >> 3), 0xb8 | (dst.0 & 7)]);
        self.bytes(&imm.to_le_bytes());
    }

    /// `dst = 0`; the flags are lost.
    pub fn zero(&mut self, dst: Gpr) {
        self.alu(Alu::Xor, Width::W32, dst, dst);
    }

    /// `dst =` an absolute word that publishing fills in.
    pub fn mov_reloc(&mut self, dst: Gpr, target: RelocTarget) {
        self.mov_imm64(dst, 0);
        let CodeOffset(end) = self.offset();
        self.relocs.push(Reloc {
            at: CodeOffset(end.saturating_sub(8)),
            target,
        });
    }

    /// Sign-extends the low 8 bits.
    pub fn movsx8(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        let opcode = Opcode {
            byte_rm: true,
            ..op_0f(0xbe)
        };
        self.encode(opcode, width, dst.0, src.into().into());
    }

    /// Sign-extends the low 16 bits.
    pub fn movsx16(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op_0f(0xbf), width, dst.0, src.into().into());
    }

    /// Sign-extends the low 32 bits to 64.
    pub fn movsx32(&mut self, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op(0x63), Width::W64, dst.0, src.into().into());
    }

    /// Zero-extends the low 8 bits to 64.
    pub fn movzx8(&mut self, dst: Gpr, src: impl Into<RegMem>) {
        let opcode = Opcode {
            byte_rm: true,
            ..op_0f(0xb6)
        };
        self.encode(opcode, Width::W32, dst.0, src.into().into());
    }

    /// Zero-extends the low 16 bits to 64.
    pub fn movzx16(&mut self, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op_0f(0xb7), Width::W32, dst.0, src.into().into());
    }

    /// Stores the low 8 bits.
    pub fn store8(&mut self, mem: impl Into<Mem>, src: Gpr) {
        let opcode = Opcode {
            byte_reg: true,
            ..op(0x88)
        };
        self.encode(opcode, Width::W32, src.0, Rm::Mem(mem.into()));
    }

    /// Stores the low 16 bits.
    pub fn store16(&mut self, mem: impl Into<Mem>, src: Gpr) {
        let opcode = Opcode {
            prefix: 0x66,
            ..op(0x89)
        };
        self.encode(opcode, Width::W32, src.0, Rm::Mem(mem.into()));
    }

    /// Stores the low 8 bits of a constant.
    pub fn store8_imm(&mut self, mem: impl Into<Mem>, imm: u8) {
        self.encode(op(0xc6), Width::W32, 0, Rm::Mem(mem.into()));
        self.bytes(&[imm]);
    }

    /// Stores the low 16 bits of a constant.
    pub fn store16_imm(&mut self, mem: impl Into<Mem>, imm: u16) {
        let opcode = Opcode {
            prefix: 0x66,
            ..op(0xc7)
        };
        self.encode(opcode, Width::W32, 0, Rm::Mem(mem.into()));
        self.bytes(&imm.to_le_bytes());
    }

    /// A Wasm load into a general-purpose register (the float loads by their bits).
    pub fn load_op(&mut self, load: LoadOp, dst: Gpr, mem: Mem) {
        use LoadOp::{
            F32Load, F64Load, I32Load, I32Load8S, I32Load8U, I32Load16S, I32Load16U, I64Load,
            I64Load8S, I64Load8U, I64Load16S, I64Load16U, I64Load32S, I64Load32U,
        };
        match load {
            I32Load | F32Load | I64Load32U => self.mov(Width::W32, dst, mem),
            I64Load | F64Load => self.mov(Width::W64, dst, mem),
            I32Load8S => self.movsx8(Width::W32, dst, mem),
            I32Load8U | I64Load8U => self.movzx8(dst, mem),
            I32Load16S => self.movsx16(Width::W32, dst, mem),
            I32Load16U | I64Load16U => self.movzx16(dst, mem),
            I64Load8S => self.movsx8(Width::W64, dst, mem),
            I64Load16S => self.movsx16(Width::W64, dst, mem),
            I64Load32S => self.movsx32(dst, mem),
        }
    }

    /// A Wasm store from a general-purpose register (the float stores by their bits).
    pub fn store_op(&mut self, store: StoreOp, mem: Mem, src: Gpr) {
        use StoreOp::{
            F32Store, F64Store, I32Store, I32Store8, I32Store16, I64Store, I64Store8, I64Store16,
            I64Store32,
        };
        match store {
            I32Store | F32Store | I64Store32 => self.store(Width::W32, mem, src),
            I64Store | F64Store => self.store(Width::W64, mem, src),
            I32Store8 | I64Store8 => self.store8(mem, src),
            I32Store16 | I64Store16 => self.store16(mem, src),
        }
    }

    /// `dst =` the address of the operand.
    pub fn lea(&mut self, width: Width, dst: Gpr, mem: impl Into<Mem>) {
        self.encode(op(0x8d), width, dst.0, Rm::Mem(mem.into()));
    }

    /// `dst =` the address of a label.
    pub fn lea_label(&mut self, dst: Gpr, label: Label) {
        dynasm!(self.asm ; .arch x64 ; lea Rq(dst.0), [=>label.0]);
    }

    /// Exchanges two registers.
    pub fn xchg(&mut self, a: Gpr, b: Gpr) {
        self.encode(op(0x87), Width::W64, a.0, Rm::Reg(b.0));
    }

    // --- Integer arithmetic -----------------------------------------------------------------------------------------

    /// `dst = dst op src` (or just the flags, for `Cmp`).
    pub fn alu(&mut self, alu: Alu, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op((alu as u8) << 3 | 3), width, dst.0, src.into().into());
    }

    /// `[mem] = [mem] op src`.
    pub fn alu_to_mem(&mut self, alu: Alu, width: Width, mem: impl Into<Mem>, src: Gpr) {
        self.encode(op((alu as u8) << 3 | 1), width, src.0, Rm::Mem(mem.into()));
    }

    /// `dst = dst op imm`.
    pub fn alu_imm(&mut self, alu: Alu, width: Width, dst: impl Into<RegMem>, imm: i32) {
        let dst = dst.into().into();
        if let Ok(imm) = i8::try_from(imm) {
            self.encode(op(0x83), width, alu as u8, dst);
            self.bytes(&[imm.cast_unsigned()]);
        } else {
            self.encode(op(0x81), width, alu as u8, dst);
            self.bytes(&imm.to_le_bytes());
        }
    }

    /// Flags of `a & b`.
    pub fn test(&mut self, width: Width, a: impl Into<RegMem>, b: Gpr) {
        self.encode(op(0x85), width, b.0, a.into().into());
    }

    /// Flags of `a & imm`.
    pub fn test_imm(&mut self, width: Width, a: impl Into<RegMem>, imm: i32) {
        self.encode(op(0xf7), width, 0, a.into().into());
        self.bytes(&imm.to_le_bytes());
    }

    /// `dst = dst * src`, the low half.
    pub fn imul(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op_0f(0xaf), width, dst.0, src.into().into());
    }

    /// `dst = src * imm`, the low half.
    pub fn imul_imm(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>, imm: i32) {
        let src = src.into().into();
        if let Ok(imm) = i8::try_from(imm) {
            self.encode(op(0x6b), width, dst.0, src);
            self.bytes(&[imm.cast_unsigned()]);
        } else {
            self.encode(op(0x69), width, dst.0, src);
            self.bytes(&imm.to_le_bytes());
        }
    }

    /// `dst = dst shifted by imm` (taken modulo the width).
    pub fn shift_imm(&mut self, shift: Shift, width: Width, dst: impl Into<RegMem>, imm: u8) {
        let dst = dst.into().into();
        if imm == 1 {
            self.encode(op(0xd1), width, shift as u8, dst);
        } else {
            self.encode(op(0xc1), width, shift as u8, dst);
            self.bytes(&[imm]);
        }
    }

    /// `dst = dst shifted by cl` (taken modulo the width).
    pub fn shift_cl(&mut self, shift: Shift, width: Width, dst: impl Into<RegMem>) {
        self.encode(op(0xd3), width, shift as u8, dst.into().into());
    }

    /// `dst = -dst`.
    pub fn neg(&mut self, width: Width, dst: impl Into<RegMem>) {
        self.encode(op(0xf7), width, 3, dst.into().into());
    }

    /// `dst = !dst`.
    pub fn not(&mut self, width: Width, dst: impl Into<RegMem>) {
        self.encode(op(0xf7), width, 2, dst.into().into());
    }

    /// `dst = dst - 1`; the carry flag stays.
    pub fn dec(&mut self, width: Width, dst: impl Into<RegMem>) {
        self.encode(op(0xff), width, 1, dst.into().into());
    }

    /// `rdx:rax = rax * src`, unsigned.
    pub fn mul(&mut self, width: Width, src: impl Into<RegMem>) {
        self.encode(op(0xf7), width, 4, src.into().into());
    }

    /// `rax, rdx = rdx:rax / src, rdx:rax % src`, unsigned; faults where the quotient does not fit.
    pub fn div(&mut self, width: Width, src: impl Into<RegMem>) {
        self.encode(op(0xf7), width, 6, src.into().into());
    }

    /// `rax, rdx = rdx:rax / src, rdx:rax % src`, signed; faults where the quotient does not fit.
    pub fn idiv(&mut self, width: Width, src: impl Into<RegMem>) {
        self.encode(op(0xf7), width, 7, src.into().into());
    }

    /// `rdx:rax = rax * src`.
    pub fn mul_high(&mut self, signed: bool, src: impl Into<RegMem>) {
        let digit = if signed { 5 } else { 4 };
        self.encode(op(0xf7), Width::W64, digit, src.into().into());
    }

    /// Sign-extends `rax` into `rdx` (`cdq`, `cqo`).
    pub fn sign_extend_rax(&mut self, width: Width) {
        match width {
            Width::W32 => dynasm!(self.asm ; .arch x64 ; cdq),
            Width::W64 => dynasm!(self.asm ; .arch x64 ; cqo),
        }
    }

    /// Index of the highest set bit; `dst` undefined and zero flag set if there is none.
    pub fn bsr(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op_0f(0xbd), width, dst.0, src.into().into());
    }

    /// Index of the lowest set bit; `dst` undefined and zero flag set if there is none.
    pub fn bsf(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op_0f(0xbc), width, dst.0, src.into().into());
    }

    /// Needs [`CpuFeatures::lzcnt`]; see [`Masm::clz`].
    pub fn lzcnt(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op_pre(0xf3, 0xbd), width, dst.0, src.into().into());
    }

    /// Needs [`CpuFeatures::bmi1`]; see [`Masm::ctz`].
    pub fn tzcnt(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op_pre(0xf3, 0xbc), width, dst.0, src.into().into());
    }

    /// Needs [`CpuFeatures::popcnt`]; see [`Masm::popcount`].
    pub fn popcnt(&mut self, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op_pre(0xf3, 0xb8), width, dst.0, src.into().into());
    }

    /// `dst`'s low byte `= cc`; the other bytes stay.
    pub fn setcc(&mut self, cc: Cc, dst: Gpr) {
        let opcode = Opcode {
            byte_rm: true,
            ..op_0f(0x90 | cc as u8)
        };
        self.encode(opcode, Width::W32, 0, Rm::Reg(dst.0));
    }

    /// `dst = cc`, as a whole register; leaves the flags alone.
    pub fn set_bool(&mut self, cc: Cc, dst: Gpr) {
        self.setcc(cc, dst);
        self.movzx8(dst, dst);
    }

    /// `if cc { dst = src }`; a 32-bit move zeroes the upper half either way.
    pub fn cmov(&mut self, cc: Cc, width: Width, dst: Gpr, src: impl Into<RegMem>) {
        self.encode(op_0f(0x40 | cc as u8), width, dst.0, src.into().into());
    }

    // --- Control ----------------------------------------------------------------------------------------------------

    /// Jumps.
    pub fn jmp(&mut self, label: Label) {
        dynasm!(self.asm ; .arch x64 ; jmp =>label.0);
    }

    /// Jumps to an address.
    pub fn jmp_to(&mut self, target: impl Into<RegMem>) {
        self.encode(op(0xff), Width::W32, 4, target.into().into());
    }

    /// Calls an address.
    pub fn call(&mut self, target: impl Into<RegMem>) {
        self.encode(op(0xff), Width::W32, 2, target.into().into());
    }

    /// Calls a helper by its offset in the helper table. `rax` and, as by any call, all registers but the three pinned
    /// ones are lost; the stack is 16-aligned in every frame body.
    pub fn call_helper(&mut self, helper: i32) {
        self.mov(Width::W64, RAX, Mem::context(offsets::HELPERS));
        self.call(Mem::new(RAX, helper));
    }

    /// Jumps if `cc`.
    pub fn jcc(&mut self, cc: Cc, label: Label) {
        match cc {
            Cc::Overflow => dynasm!(self.asm ; .arch x64 ; jo =>label.0),
            Cc::NoOverflow => dynasm!(self.asm ; .arch x64 ; jno =>label.0),
            Cc::Below => dynasm!(self.asm ; .arch x64 ; jb =>label.0),
            Cc::AboveEqual => dynasm!(self.asm ; .arch x64 ; jae =>label.0),
            Cc::Equal => dynasm!(self.asm ; .arch x64 ; je =>label.0),
            Cc::NotEqual => dynasm!(self.asm ; .arch x64 ; jne =>label.0),
            Cc::BelowEqual => dynasm!(self.asm ; .arch x64 ; jbe =>label.0),
            Cc::Above => dynasm!(self.asm ; .arch x64 ; ja =>label.0),
            Cc::Sign => dynasm!(self.asm ; .arch x64 ; js =>label.0),
            Cc::NoSign => dynasm!(self.asm ; .arch x64 ; jns =>label.0),
            Cc::Parity => dynasm!(self.asm ; .arch x64 ; jp =>label.0),
            Cc::NoParity => dynasm!(self.asm ; .arch x64 ; jnp =>label.0),
            Cc::Less => dynasm!(self.asm ; .arch x64 ; jl =>label.0),
            Cc::GreaterEqual => dynasm!(self.asm ; .arch x64 ; jge =>label.0),
            Cc::LessEqual => dynasm!(self.asm ; .arch x64 ; jle =>label.0),
            Cc::Greater => dynasm!(self.asm ; .arch x64 ; jg =>label.0),
        }
    }

    /// Returns.
    pub fn ret(&mut self) {
        dynasm!(self.asm ; .arch x64 ; ret);
    }

    /// Drops the frame.
    pub fn leave(&mut self) {
        dynasm!(self.asm ; .arch x64 ; leave);
    }

    /// A breakpoint: for places that are never reached.
    pub fn int3(&mut self) {
        dynasm!(self.asm ; .arch x64 ; int3);
    }

    /// Pushes a register.
    pub fn push(&mut self, reg: Gpr) {
        dynasm!(self.asm ; .arch x64 ; push Rq(reg.0));
    }

    /// Pops a register.
    pub fn pop(&mut self, reg: Gpr) {
        dynasm!(self.asm ; .arch x64 ; pop Rq(reg.0));
    }

    /// Jumps to `targets[index]`; `index` is in bounds and zero-extended. `temp`, which it may be, and the scratch register
    /// are lost.
    pub fn jump_table(&mut self, index: Gpr, temp: Gpr, targets: Vec<Label>) {
        debug_assert!(
            index != SCRATCH && temp != SCRATCH,
            "the scratch register holds the table"
        );
        let start = self.label();
        self.lea_label(SCRATCH, start);
        self.movsx32(temp, Mem::indexed(SCRATCH, index, 4, 0));
        self.alu(Alu::Add, Width::W64, SCRATCH, temp);
        self.jmp_to(SCRATCH);
        self.tables.push(JumpTable { start, targets });
    }

    // --- Frames -----------------------------------------------------------------------------------------------------

    /// `push rbp; mov rbp, rsp`.
    pub fn enter_frame(&mut self) {
        self.push(FRAME);
        self.mov(Width::W64, FRAME, STACK);
    }

    /// Sets the stack register `size` bytes below the frame register, if the stack limit allows; else jumps to
    /// `overflow` with a stack register of no use: reset it there with [`Masm::reset_stack`]. The scratch register is
    /// lost. A large frame is tested before the stack register moves, so that a signal finds a usable one.
    pub fn make_room(&mut self, size: u32, overflow: Label) {
        let disp = i32::try_from(size).map_or(i32::MIN, |size| -size);
        if size <= LARGE_FRAME {
            self.lea(Width::W64, STACK, Mem::new(FRAME, disp));
            self.alu(
                Alu::Cmp,
                Width::W64,
                STACK,
                Mem::context(offsets::STACK_LIMIT),
            );
            self.jcc(Cc::Below, overflow);
        } else {
            self.lea(Width::W64, SCRATCH, Mem::new(FRAME, disp));
            self.alu(
                Alu::Cmp,
                Width::W64,
                SCRATCH,
                Mem::context(offsets::STACK_LIMIT),
            );
            self.jcc(Cc::Below, overflow);
            self.mov(Width::W64, STACK, SCRATCH);
        }
    }

    /// [`Masm::make_room`] for a size that [`Masm::fix_room`] fills in later.
    pub fn make_room_later(&mut self, overflow: Label) -> RoomFixup {
        self.lea(Width::W64, SCRATCH, Mem::new(FRAME, i32::MIN));
        let at = self.asm.offset().0 - 4;
        self.alu(
            Alu::Cmp,
            Width::W64,
            SCRATCH,
            Mem::context(offsets::STACK_LIMIT),
        );
        self.jcc(Cc::Below, overflow);
        self.mov(Width::W64, STACK, SCRATCH);
        RoomFixup(at)
    }

    /// Fills a size in.
    pub fn fix_room(&mut self, fixup: RoomFixup, size: u32) {
        let disp = i32::try_from(size).map_or(i32::MIN, |size| -size);
        self.patches.push((fixup.0, disp));
    }

    /// Makes the stack register usable again when a frame did not fit: 16 bytes below the frame register.
    pub fn reset_stack(&mut self) {
        self.lea(Width::W64, STACK, Mem::new(FRAME, -16));
    }

    /// First helper arguments: the context, and one constant.
    pub fn helper_args_context_imm(&mut self, imm: u32) {
        self.mov(Width::W64, HELPER_ARGS[0], CONTEXT);
        self.mov_imm(HELPER_ARGS[1], u64::from(imm));
    }

    /// The result register of helpers.
    pub fn helper_result() -> Gpr {
        HELPER_RESULT
    }

    // --- Floats -----------------------------------------------------------------------------------------------------

    /// `dst = src`, the whole register.
    pub fn fmov(&mut self, dst: Xmm, src: Xmm) {
        if dst != src {
            self.encode(op_0f(0x28), Width::W32, dst.0, Rm::Reg(src.0));
        }
    }

    /// `dst = [mem]`, upper part zero.
    pub fn fload(&mut self, width: Width, dst: Xmm, mem: impl Into<Mem>) {
        self.encode(
            op_pre(scalar(width), 0x10),
            Width::W32,
            dst.0,
            Rm::Mem(mem.into()),
        );
    }

    /// `[mem] = src`.
    pub fn fstore(&mut self, width: Width, mem: impl Into<Mem>, src: Xmm) {
        self.encode(
            op_pre(scalar(width), 0x11),
            Width::W32,
            src.0,
            Rm::Mem(mem.into()),
        );
    }

    /// `dst = dst op src` (`Sqrt`: `dst = sqrt src`), hardware semantics.
    pub fn float(&mut self, float: FloatOp, width: Width, dst: Xmm, src: impl Into<XmmMem>) {
        self.encode(
            op_pre(scalar(width), float as u8),
            Width::W32,
            dst.0,
            src.into().into(),
        );
    }

    /// `dst = dst op src` on all 128 bits (`AndNot`: `!dst & src`).
    pub fn float_bits(&mut self, bits: FloatBits, dst: Xmm, src: Xmm) {
        self.encode(op_0f(bits as u8), Width::W32, dst.0, Rm::Reg(src.0));
    }

    /// `dst = 0.0`.
    pub fn fzero(&mut self, dst: Xmm) {
        self.float_bits(FloatBits::Xor, dst, dst);
    }

    /// All bits of `dst` set.
    pub fn fones(&mut self, dst: Xmm) {
        self.encode(op_pre(0x66, 0x76), Width::W32, dst.0, Rm::Reg(dst.0));
    }

    /// Shifts each lane of the width left.
    pub fn fshl(&mut self, width: Width, dst: Xmm, by: u8) {
        self.lane_shift(width, 6, dst, by);
    }

    /// Shifts each lane of the width right, unsigned.
    pub fn fshr(&mut self, width: Width, dst: Xmm, by: u8) {
        self.lane_shift(width, 2, dst, by);
    }

    fn lane_shift(&mut self, width: Width, extension: u8, dst: Xmm, by: u8) {
        let opcode = match width {
            Width::W32 => 0x72,
            Width::W64 => 0x73,
        };
        self.encode(op_pre(0x66, opcode), Width::W32, extension, Rm::Reg(dst.0));
        self.bytes(&[by]);
    }

    /// Flags of a comparison: above, below, equal; NaN sets carry, zero and parity.
    pub fn ucomis(&mut self, width: Width, a: Xmm, b: impl Into<XmmMem>) {
        let prefix = match width {
            Width::W32 => 0,
            Width::W64 => 0x66,
        };
        self.encode(op_pre(prefix, 0x2e), Width::W32, a.0, b.into().into());
    }

    /// Needs [`CpuFeatures::sse41`]; see [`Masm::float_round`].
    pub fn rounds(&mut self, rounding: Rounding, width: Width, dst: Xmm, src: impl Into<XmmMem>) {
        let opcode = Opcode {
            prefix: 0x66,
            escape: &[0x0f, 0x3a],
            ..op(match width {
                Width::W32 => 0x0a,
                Width::W64 => 0x0b,
            })
        };
        self.encode(opcode, Width::W32, dst.0, src.into().into());
        self.bytes(&[rounding as u8]);
    }

    /// `dst = src` as a signed integer, rounded to nearest. The old `dst` is not waited for.
    pub fn int_to_float(&mut self, float: Width, int: Width, dst: Xmm, src: impl Into<RegMem>) {
        self.fzero(dst);
        self.encode(op_pre(scalar(float), 0x2a), int, dst.0, src.into().into());
    }

    /// `dst = src` truncated to a signed integer; the smallest integer where it does not fit.
    pub fn float_to_int(&mut self, float: Width, int: Width, dst: Gpr, src: impl Into<XmmMem>) {
        self.encode(op_pre(scalar(float), 0x2c), int, dst.0, src.into().into());
    }

    /// `f32 -> f64` (`to` is 64 bits) or `f64 -> f32`.
    pub fn float_to_float(&mut self, to: Width, dst: Xmm, src: impl Into<XmmMem>) {
        let from = match to {
            Width::W32 => Width::W64,
            Width::W64 => Width::W32,
        };
        self.encode(
            op_pre(scalar(from), 0x5a),
            Width::W32,
            dst.0,
            src.into().into(),
        );
    }

    /// Bits of a general-purpose register into a vector register.
    pub fn gpr_to_xmm(&mut self, width: Width, dst: Xmm, src: Gpr) {
        self.encode(op_pre(0x66, 0x6e), width, dst.0, Rm::Reg(src.0));
    }

    /// Bits of a vector register into a general-purpose register.
    pub fn xmm_to_gpr(&mut self, width: Width, dst: Gpr, src: Xmm) {
        self.encode(op_pre(0x66, 0x7e), width, src.0, Rm::Reg(dst.0));
    }

    /// `dst =` a float constant by its bits; zero by `xorps`, anything else from the constants at the code's end.
    pub fn fmov_imm(&mut self, width: Width, dst: Xmm, bits: u64) {
        if bits == 0 {
            self.fzero(dst);
            return;
        }
        let label = self.constant(bits);
        match width {
            Width::W32 => dynasm!(self.asm ; .arch x64 ; movss Rx(dst.0), [=>label.0]),
            Width::W64 => dynasm!(self.asm ; .arch x64 ; movsd Rx(dst.0), [=>label.0]),
        }
    }

    /// `dst = dst op constant`, the constant by its bits.
    pub fn float_constant(&mut self, float: FloatOp, width: Width, dst: Xmm, bits: u64) {
        let label = self.constant(bits);
        match (float, width) {
            (FloatOp::Add, Width::W32) => {
                dynasm!(self.asm ; .arch x64 ; addss Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Add, Width::W64) => {
                dynasm!(self.asm ; .arch x64 ; addsd Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Sub, Width::W32) => {
                dynasm!(self.asm ; .arch x64 ; subss Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Sub, Width::W64) => {
                dynasm!(self.asm ; .arch x64 ; subsd Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Mul, Width::W32) => {
                dynasm!(self.asm ; .arch x64 ; mulss Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Mul, Width::W64) => {
                dynasm!(self.asm ; .arch x64 ; mulsd Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Div, Width::W32) => {
                dynasm!(self.asm ; .arch x64 ; divss Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Div, Width::W64) => {
                dynasm!(self.asm ; .arch x64 ; divsd Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Sqrt, Width::W32) => {
                dynasm!(self.asm ; .arch x64 ; sqrtss Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Sqrt, Width::W64) => {
                dynasm!(self.asm ; .arch x64 ; sqrtsd Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Min, Width::W32) => {
                dynasm!(self.asm ; .arch x64 ; minss Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Min, Width::W64) => {
                dynasm!(self.asm ; .arch x64 ; minsd Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Max, Width::W32) => {
                dynasm!(self.asm ; .arch x64 ; maxss Rx(dst.0), [=>label.0]);
            }
            (FloatOp::Max, Width::W64) => {
                dynasm!(self.asm ; .arch x64 ; maxsd Rx(dst.0), [=>label.0]);
            }
        }
    }

    /// `dst = dst & constant`, 64 bits, any constant.
    pub(super) fn and_constant(&mut self, dst: Gpr, bits: u64) {
        let label = self.constant(bits);
        dynasm!(self.asm ; .arch x64 ; and Rq(dst.0), [=>label.0]);
    }

    /// `dst = dst * constant`, 64 bits, any constant.
    pub(super) fn imul_constant(&mut self, dst: Gpr, bits: u64) {
        let label = self.constant(bits);
        dynasm!(self.asm ; .arch x64 ; imul Rq(dst.0), [=>label.0]);
    }

    fn constant(&mut self, bits: u64) -> Label {
        if let Some(&label) = self.constant_labels.get(&bits) {
            return label;
        }
        let label = self.label();
        self.constant_labels.insert(bits, label);
        self.constants.push((bits, label));
        label
    }
}

/// Frames larger than this are tested against the stack limit before the stack register moves.
pub const LARGE_FRAME: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arch::x86_64::registers::{FLOAT_SCRATCH, R9, R10, R12, R13, R14, RBX, RSP};
    use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

    fn masm() -> Masm {
        Masm::new(CpuFeatures::BASELINE)
    }

    fn disassemble(masm: Masm) -> Vec<String> {
        let bytes = masm.finish().expect("small code").bytes;
        let mut formatter = IntelFormatter::new();
        Decoder::with_ip(64, &bytes, 0, DecoderOptions::NONE)
            .iter()
            .map(|instruction| {
                let mut text = String::new();
                formatter.format(&instruction, &mut text);
                text
            })
            .collect()
    }

    fn one(emit: impl FnOnce(&mut Masm)) -> String {
        let mut masm = masm();
        emit(&mut masm);
        disassemble(masm).join("; ")
    }

    #[test]
    fn every_base_register_can_be_addressed_at_every_distance() {
        for base in 0..16 {
            let base = Gpr::new(base);
            for disp in [0, 1, -128, 127, 128, -129, i32::MAX, i32::MIN] {
                let mem = Mem::new(base, disp);
                let text = one(|masm| masm.mov(Width::W64, R9, mem));
                let sign = if disp < 0 { '-' } else { '+' };
                let distance = disp.unsigned_abs();
                let expected = match distance {
                    0 => format!("mov r9,[{base:?}]"),
                    1..10 => format!("mov r9,[{base:?}{sign}{distance}]"),
                    _ => {
                        let hex = format!("{distance:X}h");
                        let zero = if hex.starts_with(|c: char| c.is_ascii_digit()) {
                            ""
                        } else {
                            "0"
                        };
                        format!("mov r9,[{base:?}{sign}{zero}{hex}]")
                    }
                };
                assert_eq!(text, expected);
                for index in (0..16).map(Gpr::new).filter(|&index| index != RSP) {
                    for scale in [1, 2, 4, 8] {
                        let text =
                            one(|m| m.mov(Width::W64, R9, Mem::indexed(base, index, scale, disp)));
                        let factor = if scale == 1 {
                            String::new()
                        } else {
                            format!("*{scale}")
                        };
                        // iced prints what the bytes say; base and index must both be there
                        assert!(
                            text.starts_with(&format!("mov r9,[{base:?}+{index:?}{factor}")),
                            "{text}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn byte_registers_are_the_low_ones() {
        assert_eq!(one(|m| m.store8(Mem::new(RAX, 0), RSI)), "mov [rax],sil");
        assert_eq!(one(|m| m.store8(Mem::new(RAX, 0), R12)), "mov [rax],r12b");
        assert_eq!(one(|m| m.setcc(Cc::Equal, RDI)), "sete dil");
        assert_eq!(one(|m| m.movzx8(RSI, RSI)), "movzx esi,sil");
        assert_eq!(one(|m| m.movsx8(Width::W64, RBX, RDI)), "movsx rbx,dil");
    }

    #[test]
    fn instructions_are_what_their_methods_say() {
        use Width::{W32, W64};
        let mem = Mem::new(FRAME, -16);
        let x = Xmm::new(9);
        let y = Xmm::new(1);
        assert_eq!(one(|m| m.mov(W32, RAX, R13)), "mov eax,r13d");
        assert_eq!(one(|m| m.mov_imm(R13, 1)), "mov r13d,1");
        assert_eq!(
            one(|m| m.mov_imm(RAX, u64::MAX)),
            "mov rax,0FFFFFFFFFFFFFFFFh"
        );
        assert_eq!(
            one(|m| m.mov_imm(R14, 1 << 63)),
            "mov r14,8000000000000000h"
        );
        assert_eq!(
            one(|m| m.store_imm(W32, mem, -1)),
            "mov dword ptr [rbp-10h],0FFFFFFFFh"
        );
        assert_eq!(one(|m| m.store16(mem, R9)), "mov [rbp-10h],r9w");
        assert_eq!(one(|m| m.store16_imm(mem, 7)), "mov word ptr [rbp-10h],7");
        assert_eq!(one(|m| m.store8_imm(mem, 7)), "mov byte ptr [rbp-10h],7");
        assert_eq!(
            one(|m| m.movsx16(W64, RAX, mem)),
            "movsx rax,word ptr [rbp-10h]"
        );
        assert_eq!(one(|m| m.movsx32(RAX, R9)), "movsxd rax,r9d");
        assert_eq!(one(|m| m.lea(W64, RAX, mem)), "lea rax,[rbp-10h]");
        assert_eq!(one(|m| m.xchg(RAX, R9)), "xchg r9,rax");
        assert_eq!(one(|m| m.alu(Alu::Add, W32, RAX, R9)), "add eax,r9d");
        assert_eq!(one(|m| m.alu(Alu::Or, W64, RAX, mem)), "or rax,[rbp-10h]");
        assert_eq!(one(|m| m.alu(Alu::And, W64, RAX, mem)), "and rax,[rbp-10h]");
        assert_eq!(one(|m| m.alu(Alu::Sub, W64, RAX, R9)), "sub rax,r9");
        assert_eq!(one(|m| m.alu(Alu::Xor, W32, R9, R9)), "xor r9d,r9d");
        assert_eq!(
            one(|m| m.alu_to_mem(Alu::Cmp, W64, mem, R9)),
            "cmp [rbp-10h],r9"
        );
        assert_eq!(
            one(|m| m.alu_imm(Alu::Sub, W32, mem, 1)),
            "sub dword ptr [rbp-10h],1"
        );
        assert_eq!(one(|m| m.alu_imm(Alu::Cmp, W64, R9, 1000)), "cmp r9,3E8h");
        assert_eq!(one(|m| m.test(W32, RCX, RCX)), "test ecx,ecx");
        assert_eq!(one(|m| m.test_imm(W32, R9, 4)), "test r9d,4");
        assert_eq!(one(|m| m.imul(W64, R9, mem)), "imul r9,[rbp-10h]");
        assert_eq!(one(|m| m.imul_imm(W32, R9, RAX, 10)), "imul r9d,eax,0Ah");
        assert_eq!(one(|m| m.imul_imm(W32, R9, RAX, 1000)), "imul r9d,eax,3E8h");
        assert_eq!(one(|m| m.shift_imm(Shift::Shl, W64, R9, 5)), "shl r9,5");
        assert_eq!(one(|m| m.shift_imm(Shift::Rol, W32, RAX, 1)), "rol eax,1");
        assert_eq!(one(|m| m.shift_cl(Shift::Ror, W32, R9)), "ror r9d,cl");
        assert_eq!(one(|m| m.shift_cl(Shift::Sar, W64, RAX)), "sar rax,cl");
        assert_eq!(one(|m| m.shift_cl(Shift::Shr, W64, RAX)), "shr rax,cl");
        assert_eq!(one(|m| m.neg(W32, R9)), "neg r9d");
        assert_eq!(one(|m| m.not(W64, R9)), "not r9");
        assert_eq!(one(|m| m.dec(W32, mem)), "dec dword ptr [rbp-10h]");
        assert_eq!(one(|m| m.mul(W64, R9)), "mul r9");
        assert_eq!(one(|m| m.div(W32, R9)), "div r9d");
        assert_eq!(one(|m| m.idiv(W64, R9)), "idiv r9");
        assert_eq!(one(|m| m.sign_extend_rax(W32)), "cdq");
        assert_eq!(one(|m| m.sign_extend_rax(W64)), "cqo");
        assert_eq!(one(|m| m.bsr(W32, R9, RAX)), "bsr r9d,eax");
        assert_eq!(one(|m| m.bsf(W64, R9, RAX)), "bsf r9,rax");
        assert_eq!(one(|m| m.lzcnt(W64, R9, RAX)), "lzcnt r9,rax");
        assert_eq!(one(|m| m.tzcnt(W32, R9, RAX)), "tzcnt r9d,eax");
        assert_eq!(one(|m| m.popcnt(W64, R9, R10)), "popcnt r9,r10");
        assert_eq!(one(|m| m.cmov(Cc::Less, W32, R9, RAX)), "cmovl r9d,eax");
        assert_eq!(one(|m| m.call(Mem::new(RAX, 8))), "call qword ptr [rax+8]");
        assert_eq!(one(|m| m.jmp_to(R10)), "jmp r10");
        assert_eq!(one(|m| m.push(R12)), "push r12");
        assert_eq!(one(|m| m.pop(RAX)), "pop rax");
        assert_eq!(one(|m| m.fmov(x, y)), "movaps xmm9,xmm1");
        assert_eq!(one(|m| m.fload(W32, x, mem)), "movss xmm9,[rbp-10h]");
        assert_eq!(one(|m| m.fstore(W64, mem, x)), "movsd [rbp-10h],xmm9");
        assert_eq!(one(|m| m.float(FloatOp::Add, W32, x, y)), "addss xmm9,xmm1");
        assert_eq!(
            one(|m| m.float(FloatOp::Sub, W64, x, mem)),
            "subsd xmm9,[rbp-10h]"
        );
        assert_eq!(one(|m| m.float(FloatOp::Mul, W64, y, x)), "mulsd xmm1,xmm9");
        assert_eq!(one(|m| m.float(FloatOp::Div, W32, y, x)), "divss xmm1,xmm9");
        assert_eq!(one(|m| m.float(FloatOp::Min, W32, y, x)), "minss xmm1,xmm9");
        assert_eq!(one(|m| m.float(FloatOp::Max, W64, y, x)), "maxsd xmm1,xmm9");
        assert_eq!(
            one(|m| m.float(FloatOp::Sqrt, W64, y, x)),
            "sqrtsd xmm1,xmm9"
        );
        assert_eq!(
            one(|m| m.float_bits(FloatBits::And, y, x)),
            "andps xmm1,xmm9"
        );
        assert_eq!(
            one(|m| m.float_bits(FloatBits::AndNot, y, x)),
            "andnps xmm1,xmm9"
        );
        assert_eq!(one(|m| m.float_bits(FloatBits::Or, y, x)), "orps xmm1,xmm9");
        assert_eq!(one(|m| m.fzero(x)), "xorps xmm9,xmm9");
        assert_eq!(one(|m| m.fones(FLOAT_SCRATCH)), "pcmpeqd xmm15,xmm15");
        assert_eq!(one(|m| m.fshl(W64, x, 63)), "psllq xmm9,3Fh");
        assert_eq!(one(|m| m.fshr(W32, x, 1)), "psrld xmm9,1");
        assert_eq!(one(|m| m.ucomis(W32, x, y)), "ucomiss xmm9,xmm1");
        assert_eq!(one(|m| m.ucomis(W64, x, mem)), "ucomisd xmm9,[rbp-10h]");
        assert_eq!(
            one(|m| m.rounds(Rounding::Ceil, W64, x, y)),
            "roundsd xmm9,xmm1,0Ah"
        );
        assert_eq!(
            one(|m| m.rounds(Rounding::Nearest, W32, x, y)),
            "roundss xmm9,xmm1,8"
        );
        assert_eq!(
            one(|m| m.int_to_float(W64, W32, x, R9)),
            "xorps xmm9,xmm9; cvtsi2sd xmm9,r9d"
        );
        assert_eq!(
            one(|m| m.float_to_int(W32, W64, R9, x)),
            "cvttss2si r9,xmm9"
        );
        assert_eq!(one(|m| m.float_to_float(W64, x, y)), "cvtss2sd xmm9,xmm1");
        assert_eq!(one(|m| m.float_to_float(W32, x, y)), "cvtsd2ss xmm9,xmm1");
        assert_eq!(one(|m| m.gpr_to_xmm(W64, x, R9)), "movq xmm9,r9");
        assert_eq!(one(|m| m.xmm_to_gpr(W32, R9, x)), "movd r9d,xmm9");
    }

    #[test]
    fn labels_resolve_forwards_and_backwards() {
        let mut masm = masm();
        let end = masm.label();
        let top = masm.here();
        masm.jcc(Cc::Equal, end);
        masm.jmp(top);
        masm.bind_named(end, "end");
        masm.ret();
        assert_eq!(masm.offset_of(end), CodeOffset(11));
        assert_eq!(disassemble(masm), ["je 000000000000000Bh", "jmp 0", "ret"]);
    }

    #[test]
    fn a_relocation_lies_in_its_instruction() {
        let mut masm = masm();
        masm.mov_reloc(R9, RelocTarget::Site(3));
        let emitted = masm.finish().expect("small code");
        assert_eq!(
            emitted.relocs,
            [Reloc {
                at: CodeOffset(2),
                target: RelocTarget::Site(3)
            }]
        );
        assert_eq!(emitted.bytes.len(), 10);
    }

    #[test]
    fn a_jump_table_holds_distances_from_its_start() {
        let mut masm = masm();
        let target = masm.here();
        masm.jump_table(RAX, RAX, vec![target, target]);
        let emitted = masm.finish().expect("small code");
        let table = emitted.labels.iter().find(|(_, name)| name == "table0");
        let at = table.expect("the table has a name").0.0 as usize;
        let word = |n: usize| {
            let at = at + 4 * n;
            i32::from_le_bytes(emitted.bytes[at..at + 4].try_into().expect("four bytes"))
        };
        assert_eq!(usize::try_from(-word(0)), Ok(at));
        assert_eq!(word(0), word(1));
        assert_eq!(emitted.bytes.len(), at + 8);
    }

    #[test]
    fn a_trap_site_is_shared_by_jumps_with_the_same_code_and_operator() {
        let mut masm = masm();
        let a = masm.trap_site(TrapCode::Unreachable, WasmOffset(7));
        let b = masm.trap_site(TrapCode::Unreachable, WasmOffset(7));
        let c = masm.trap_site(TrapCode::Unreachable, WasmOffset(8));
        assert_eq!(a, b);
        assert_ne!(a, c);
        masm.jmp(a);
        masm.jmp(c);
        masm.emit_deferred();
        let text = disassemble(masm).join("; ");
        assert_eq!(text.matches("call").count(), 1, "{text}");
        assert!(text.ends_with("mov edx,80000000h; leave; ret"), "{text}");
    }
}
