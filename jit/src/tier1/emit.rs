//! Machine instructions to a code draft: blocks in order, the allocator's moves between them, and around each site what
//! suspends and resumes it.
//!
//! ```text
//! [rbp - tier0_frame_size - 8*(k+1)]   spill slot k
//! below the spill slots                save area: registers that live across a checkpoint's helper call
//! ```
//!
//! OSR code runs in a tier-0 frame with this extension below it; in tier-1 code the tier-0 part is empty.

use super::{
    minst::{
        AluOp, AluUnaryOp, Base, Condition, FloatCondition, FloatOp, MInst, Mem, Reg, Rhs, ShiftOp,
        Site, Size, Source, Target, Test,
    },
    recipe::RecipeBuilder,
    regalloc::Allocated,
};
use crate::{
    arch::{
        Masm,
        masm::{self, Alu, Cc, CpuFeatures, Label, Rounding, Shift, Width, XmmMem},
        regs::{
            CONTEXT, ENVIRONMENT, EXIT, FLOAT_RESULT_REGISTERS, FLOAT_SCRATCH, FRAME, Gpr,
            HELPER_ARGS, HELPER_RESULT, RAX, RDX, RESULTS, SCRATCH, STACK, Xmm,
        },
        x86_64::{masm::RegMem, sequences::Truncation},
    },
    code::draft::{CodeDraft, CodeKind},
    error::NotOptimized,
    frame::abi::{EXIT_RETURNED, Place, Places},
    ir::{
        cfg::Cfg,
        value::{
            BinaryOp, Block, ENTRY, Function, LoadOp, StoreOp, TrapCode, Type, UnaryOp, Value,
            ValueDef,
        },
    },
    options::{CompileOptions, ResumptionPath},
    runtime::context::offsets,
    suspension::{
        point::{ImageSource, SiteDraft},
        resume::{Door, DoorKind, Landing, Register, emit_door},
        suspend::{
            Again, ResumeEntry, SiteLabels, Suspend, emit_exit_test, emit_leave, emit_suspend,
        },
    },
    wasm::types::{CodeOffset, FrameOffset, ValType, WasmOffset},
};
use regalloc2::{Allocation, Edit, Inst, InstPosition, PReg, ProgPoint, RegClass};
use std::collections::HashMap;

/// Emits allocated code.
///
/// # Errors
/// If the code is too large for its own branches.
pub(crate) fn emit(
    ir: &Function,
    allocated: &Allocated,
    sites: Vec<Site>,
    kind: CodeKind,
    tier0_frame_size: u32,
    options: &CompileOptions,
) -> Result<CodeDraft, NotOptimized> {
    let save_slots = count_save_slots(allocated);
    let words = u32::try_from(allocated.spill_slots + save_slots)
        .map_err(|_| NotOptimized::RegisterAllocation)?;
    let frame_size = words
        .checked_mul(8)
        .and_then(|size| size.checked_next_multiple_of(16))
        .and_then(|size| size.checked_add(tier0_frame_size))
        .filter(|&size| size < MAX_FRAME)
        .ok_or(NotOptimized::RegisterAllocation)?;
    let mut masm = Masm::new(CpuFeatures::detect());
    let labels = allocated.ranges.iter().map(|_| masm.label()).collect();
    let mut emit = Emit {
        ir,
        masm,
        allocated,
        kind,
        options,
        tier0_frame_size,
        frame_size,
        slots: allocated.spill_slots + save_slots,
        labels,
        next_edit: 0,
        done_edits: Vec::new(),
        zero_flag: None,
        sites: sites.into_iter().map(Some).collect(),
        suspensions: Vec::new(),
        checkpoints: Vec::new(),
    };
    emit.run();
    emit.finish()
}

/// Frames are at most that large; larger ones stay in tier-0.
const MAX_FRAME: u32 = 1 << 20;

/// So many blocks are moved to rotate loops.
const MAX_ROTATED: usize = 1 << 16;

/// The most registers any checkpoint saves.
fn count_save_slots(allocated: &Allocated) -> usize {
    let saved = |inst: &MInst| match inst {
        MInst::Checkpoint { live, .. } => {
            let mut registers: Vec<PReg> =
                live.iter().filter_map(|&reg| at(reg).as_reg()).collect();
            registers.sort_unstable();
            registers.dedup();
            registers.len()
        }
        _ => 0,
    };
    let insts = allocated.insts.iter();
    insts.map(|(inst, _)| saved(inst)).max().unwrap_or(0)
}

/// The allocator's answer.
fn at(reg: Reg) -> Allocation {
    match reg {
        Reg::At(allocation) => allocation,
        Reg::Virtual(vreg) => panic!("{vreg} has no allocation"),
    }
}

fn gpr(reg: Reg) -> Gpr {
    gpr_of(at(reg).as_reg().expect("the operand is in a register"))
}

fn xmm(reg: Reg) -> Xmm {
    xmm_of(at(reg).as_reg().expect("the operand is in a register"))
}

fn gpr_of(reg: PReg) -> Gpr {
    debug_assert_eq!(reg.class(), RegClass::Int);
    Gpr::new(u8::try_from(reg.hw_enc()).expect("register numbers are small"))
}

fn xmm_of(reg: PReg) -> Xmm {
    debug_assert_eq!(reg.class(), RegClass::Float);
    Xmm::new(u8::try_from(reg.hw_enc()).expect("register numbers are small"))
}

fn width(size: Size) -> Width {
    match size {
        Size::S32 => Width::W32,
        Size::S64 => Width::W64,
    }
}

fn mem(mem: Mem) -> masm::Mem {
    let base = match mem.base {
        Base::Reg(reg) => gpr(reg),
        Base::Context => CONTEXT,
        Base::Frame => FRAME,
    };
    let address = match mem.index {
        Some((index, scale)) => masm::Mem::indexed(base, gpr(index), 1 << scale, mem.offset),
        None => masm::Mem::new(base, mem.offset),
    };
    masm::Mem {
        traps: mem.traps,
        ..address
    }
}

fn shift(op: ShiftOp) -> Shift {
    match op {
        ShiftOp::Shl => Shift::Shl,
        ShiftOp::ShrS => Shift::Sar,
        ShiftOp::ShrU => Shift::Shr,
        ShiftOp::Rotl => Shift::Rol,
        ShiftOp::Rotr => Shift::Ror,
    }
}

fn float_op(op: FloatOp) -> masm::FloatOp {
    match op {
        FloatOp::Add => masm::FloatOp::Add,
        FloatOp::Sub => masm::FloatOp::Sub,
        FloatOp::Mul => masm::FloatOp::Mul,
        FloatOp::Div => masm::FloatOp::Div,
    }
}

fn condition_code(condition: Condition) -> Cc {
    match condition {
        Condition::Equal => Cc::Equal,
        Condition::NotEqual => Cc::NotEqual,
        Condition::LessSigned => Cc::Less,
        Condition::LessUnsigned => Cc::Below,
        Condition::GreaterSigned => Cc::Greater,
        Condition::GreaterUnsigned => Cc::Above,
        Condition::LessEqualSigned => Cc::LessEqual,
        Condition::LessEqualUnsigned => Cc::BelowEqual,
        Condition::GreaterEqualSigned => Cc::GreaterEqual,
        Condition::GreaterEqualUnsigned => Cc::AboveEqual,
    }
}

/// What the flags say after a test.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    /// The test holds if this does.
    If(Cc),
    /// Equal and not unordered.
    FloatEqual,
    /// Not equal or unordered.
    FloatNotEqual,
}

impl Answer {
    fn negated(self) -> Self {
        match self {
            Self::If(cc) => Self::If(cc.negate()),
            Self::FloatEqual => Self::FloatNotEqual,
            Self::FloatNotEqual => Self::FloatEqual,
        }
    }
}

/// A register that lives across a checkpoint, and its place in the save area.
#[derive(Clone, Copy, Debug)]
struct Saved {
    register: PReg,
    slot: FrameOffset,
}

/// A site whose out-of-line code is still to be emitted.
struct Suspension {
    site: Site,
    /// Number of the site in the draft.
    number: u32,
    labels: SiteLabels,
    /// Return address.
    returned: CodeOffset,
    /// The slots that live across.
    image: Vec<FrameOffset>,
    /// What the code right behind the resumption point loads, which slots it reads besides, and where it goes on then.
    loads: Vec<(u32, Register)>,
    slots: Vec<bool>,
    landing: Label,
}

/// A checkpoint whose cold path is still to be emitted.
struct ColdCheckpoint {
    number: u32,
    /// Where the set checkpoint word leads.
    cold: Label,
    back: Label,
    saved: Vec<Saved>,
    /// Places of the memory's address.
    addresses: Vec<Allocation>,
    offset: WasmOffset,
    /// The slot of each value that lives across.
    slots: Vec<FrameOffset>,
}

struct Emit<'a> {
    ir: &'a Function,
    masm: Masm,
    allocated: &'a Allocated,
    kind: CodeKind,
    options: &'a CompileOptions,
    tier0_frame_size: u32,
    frame_size: u32,
    /// Spill slots and save area.
    slots: usize,
    labels: Vec<Label>,
    next_edit: usize,
    /// Moves emitted before their turn.
    done_edits: Vec<usize>,
    /// The zero flag says whether this register is zero.
    zero_flag: Option<(Gpr, Size)>,
    sites: Vec<Option<Site>>,
    suspensions: Vec<Suspension>,
    checkpoints: Vec<ColdCheckpoint>,
}

impl Emit<'_> {
    fn slot(&self, index: usize) -> FrameOffset {
        let index = i32::try_from(index).expect("frames are bounded");
        FrameOffset(-self.tier0_frame_size.cast_signed() - 8 * (index + 1))
    }

    fn run(&mut self) {
        self.prologue();
        let order = self.emission_order();
        for (i, &block) in order.iter().enumerate() {
            self.block(block, order.get(i + 1).copied());
        }
        for checkpoint in std::mem::take(&mut self.checkpoints) {
            self.cold_checkpoint(checkpoint);
        }
    }

    fn prologue(&mut self) {
        self.masm.name("entry");
        match self.kind {
            CodeKind::Osr(_) => {
                self.masm
                    .comment("the tier-0 frame stays; room was checked");
                let size = i32::try_from(self.frame_size).expect("frames are bounded");
                self.masm
                    .lea(Width::W64, STACK, masm::Mem::new(FRAME, -size));
            }
            CodeKind::Tier0 | CodeKind::Tier1 => {
                self.masm.enter_frame();
                let overflow = self.masm.label();
                self.masm.make_room(self.frame_size, overflow);
                let offset = self.entry_offset();
                self.masm.defer(move |masm| {
                    masm.bind(overflow);
                    masm.reset_stack();
                    let trap = masm.trap_site(TrapCode::StackOverflow, offset);
                    masm.jmp(trap);
                });
            }
        }
    }

    /// The Wasm operator the function begins with.
    fn entry_offset(&self) -> WasmOffset {
        self.allocated
            .insts
            .first()
            .map_or(WasmOffset(0), |&(_, offset)| offset)
    }

    /// Blocks as they are laid out: those that are only a jump are left out, cold ones come last.
    fn emission_order(&mut self) -> Vec<usize> {
        let blocks = self.allocated.ranges.len();
        let mut has_edits = vec![false; self.allocated.insts.len()];
        for (point, edit) in &self.allocated.edits {
            let Edit::Move { from, to } = edit;
            has_edits[point.inst().index()] |= from != to;
        }
        // where a block that is nothing but a jump leads
        let mut leads: Vec<Option<usize>> = (0..blocks)
            .map(|block| {
                let range = self.allocated.ranges[block];
                let only = range.first().index();
                (block != 0
                    && range.len() == 1
                    && matches!(self.allocated.insts[only].0, MInst::Jump)
                    && !has_edits[only])
                    .then(|| self.allocated.succs[block][0].index())
            })
            .collect();
        let mut order = Vec::new();
        for block in 0..blocks {
            let mut end = block;
            let mut path = Vec::new();
            while let Some(next) = leads[end] {
                if path.contains(&end) || path.len() > 64 {
                    // an empty endless loop, or an absurd chain: emit this one
                    leads[end] = None;
                    break;
                }
                path.push(end);
                end = next;
            }
            if end != block && leads[block].is_some() {
                self.labels[block] = self.labels[end];
            } else {
                order.push(block);
            }
        }
        let (mut hot, cold): (Vec<_>, Vec<_>) = order
            .into_iter()
            .partition(|&block| block == 0 || !self.allocated.cold[block]);
        self.rotate_loops(&mut hot);
        [hot, cold].concat()
    }

    /// Moves the header of a loop that is left at its top behind the loop's end, so that a turn takes one jump, not two:
    ///
    /// ```text
    /// before:  header: ..; branch out, body    after:  jump header
    ///          body: ..; jump header                   body: ..
    ///          out:                                    header: ..; branch body, out
    ///                                                  out:
    /// ```
    fn rotate_loops(&self, order: &mut [usize]) {
        let blocks = self.allocated.ranges.len();
        let mut place = vec![usize::MAX; blocks];
        let locate = |order: &[usize], place: &mut [usize]| {
            for (n, &block) in order.iter().enumerate() {
                place[block] = n;
            }
        };
        locate(order, &mut place);
        // a block left out stands for the one it leads to
        let mut stands_for = vec![usize::MAX; blocks];
        let mut by_label = HashMap::new();
        for &block in order.iter() {
            by_label.insert(self.labels[block], block);
        }
        for (block, stands) in stands_for.iter_mut().enumerate() {
            if let Some(&at) = by_label.get(&self.labels[block]) {
                *stands = at;
            }
        }
        let ends_in = |block: usize| {
            let last = self.allocated.ranges[block].last();
            &self.allocated.insts[last.index()].0
        };
        let mut budget = MAX_ROTATED;
        for end in (0..order.len()).rev() {
            let latch = order[end];
            if !matches!(ends_in(latch), MInst::Jump) {
                continue;
            }
            let header = stands_for[self.allocated.succs[latch][0].index()];
            let Some(&start) = place.get(header) else {
                continue;
            };
            if start >= end
                || start == 0
                || end - start > budget
                || order.get(start) != Some(&header)
                || !matches!(ends_in(header), MInst::Branch { .. })
            {
                continue;
            }
            let [then, otherwise] =
                [0, 1].map(|n| stands_for[self.allocated.succs[header][n].index()]);
            let inside = |block: usize| place.get(block).is_some_and(|&at| start < at && at <= end);
            let next = order[start + 1];
            let leaves =
                |stays: usize, leaves: usize| stays == next && !inside(leaves) && leaves != header;
            if leaves(then, otherwise) || leaves(otherwise, then) {
                budget -= end - start;
                order[start..=end].rotate_left(1);
                locate(order, &mut place);
            }
        }
    }

    fn block(&mut self, block: usize, next: Option<usize>) {
        let range = self.allocated.ranges[block];
        self.masm
            .bind_named(self.labels[block], format!("block{block}"));
        self.zero_flag = None;
        self.next_edit = self
            .allocated
            .edits
            .partition_point(|(point, _)| *point < ProgPoint::before(range.first()));
        for inst in range.iter() {
            self.edits(inst, InstPosition::Before);
            self.inst(block, inst, next);
            self.zero_flag = self.zero_flag_behind(inst);
            self.edits(inst, InstPosition::After);
        }
    }

    fn edits(&mut self, inst: Inst, position: InstPosition) {
        let here = ProgPoint::new(inst, position);
        while let Some((point, Edit::Move { from, to })) = self.allocated.edits.get(self.next_edit)
            && *point == here
        {
            if self.done_edits.contains(&self.next_edit) {
                self.next_edit += 1;
                continue;
            }
            self.next_edit += 1;
            self.move_value(*from, *to);
        }
    }

    fn slot_of(&self, allocation: Allocation) -> FrameOffset {
        self.slot(
            allocation
                .as_stack()
                .expect("what is in no register is in a slot")
                .index(),
        )
    }

    fn move_value(&mut self, from: Allocation, to: Allocation) {
        if from == to {
            return;
        }
        if let (Some((register, _)), Some(to)) = (self.zero_flag, to.as_reg())
            && to.class() == RegClass::Int
            && gpr_of(to) == register
        {
            self.zero_flag = None;
        }
        match (from.as_reg(), to.as_reg()) {
            (Some(from), Some(to)) => self.move_register(from, to),
            (Some(from), None) => {
                let slot = self.slot_of(to);
                self.store_register(from, slot);
            }
            (None, Some(to)) => {
                let slot = self.slot_of(from);
                self.load_register(to, slot);
            }
            (None, None) => {
                let from = self.slot_of(from);
                let to = self.slot_of(to);
                self.masm.mov(Width::W64, SCRATCH, from);
                self.masm.store(Width::W64, to, SCRATCH);
            }
        }
    }

    fn move_register(&mut self, from: PReg, to: PReg) {
        if from == to {
            return;
        }
        match from.class() {
            RegClass::Int => self.masm.mov(Width::W64, gpr_of(to), gpr_of(from)),
            RegClass::Float | RegClass::Vector => self.masm.fmov(xmm_of(to), xmm_of(from)),
        }
    }

    fn store_register(&mut self, from: PReg, slot: FrameOffset) {
        match from.class() {
            RegClass::Int => self.masm.store(Width::W64, slot, gpr_of(from)),
            RegClass::Float | RegClass::Vector => {
                self.masm.fstore(Width::W64, slot, xmm_of(from));
            }
        }
    }

    fn load_register(&mut self, to: PReg, slot: FrameOffset) {
        match to.class() {
            RegClass::Int => self.masm.mov(Width::W64, gpr_of(to), slot),
            RegClass::Float | RegClass::Vector => self.masm.fload(Width::W64, xmm_of(to), slot),
        }
    }

    /// What an instruction leaves in the zero flag, as far as that is of use.
    fn zero_flag_behind(&self, inst: Inst) -> Option<(Gpr, Size)> {
        match self.allocated.insts[inst.index()].0 {
            MInst::Alu { op, size, dst, .. } if op != AluOp::Mul => Some((gpr(dst), size)),
            MInst::AluUnary {
                op: AluUnaryOp::Neg,
                size,
                dst,
                ..
            } => Some((gpr(dst), size)),
            // in place, else it is `lea`
            MInst::Add {
                size,
                dst,
                lhs,
                rhs,
            } if gpr(dst) == gpr(lhs) || gpr(dst) == gpr(rhs) => Some((gpr(dst), size)),
            MInst::AddImm { size, dst, lhs, .. } if gpr(dst) == gpr(lhs) => Some((gpr(dst), size)),
            _ => None,
        }
    }

    /// An integer right-hand operand that is no constant.
    fn reg_mem(rhs: Rhs) -> RegMem {
        match rhs {
            Rhs::Reg(reg) => gpr(reg).into(),
            Rhs::Mem(address) => mem(address).into(),
            Rhs::Imm(_) | Rhs::Pool(_) => panic!("constants have forms of their own"),
        }
    }

    fn test(&mut self, test: Test) -> Answer {
        match test {
            Test::Compare {
                size,
                lhs,
                rhs,
                condition,
            } => {
                let lhs = gpr(lhs);
                match rhs {
                    Rhs::Imm(0) => self.masm.test(width(size), lhs, lhs),
                    Rhs::Imm(imm) => self.masm.alu_imm(Alu::Cmp, width(size), lhs, imm),
                    other => self
                        .masm
                        .alu(Alu::Cmp, width(size), lhs, Self::reg_mem(other)),
                }
                Answer::If(condition_code(condition))
            }
            Test::And {
                size,
                lhs,
                rhs,
                condition,
            } => {
                match rhs {
                    Rhs::Reg(rhs)
                        if rhs == lhs
                            && self.zero_flag == Some((gpr(lhs), size))
                            && matches!(condition, Condition::Equal | Condition::NotEqual) => {}
                    Rhs::Imm(imm) => self.masm.test_imm(width(size), gpr(lhs), imm),
                    Rhs::Reg(rhs) => self.masm.test(width(size), gpr(lhs), gpr(rhs)),
                    Rhs::Mem(address) => self.masm.test(width(size), mem(address), gpr(lhs)),
                    Rhs::Pool(_) => panic!("an integer test with a float constant"),
                }
                Answer::If(condition_code(condition))
            }
            Test::Float {
                size,
                lhs,
                rhs,
                condition,
            } => {
                let rhs: XmmMem = match rhs {
                    Rhs::Reg(rhs) => xmm(rhs).into(),
                    Rhs::Mem(address) => mem(address).into(),
                    Rhs::Pool(bits) => {
                        self.masm.fmov_imm(width(size), FLOAT_SCRATCH, bits);
                        FLOAT_SCRATCH.into()
                    }
                    Rhs::Imm(_) => panic!("a float test with an integer constant"),
                };
                self.masm.ucomis(width(size), xmm(lhs), rhs);
                match condition {
                    FloatCondition::Equal => Answer::FloatEqual,
                    FloatCondition::NotEqual => Answer::FloatNotEqual,
                    FloatCondition::Greater => Answer::If(Cc::Above),
                    FloatCondition::GreaterEqual => Answer::If(Cc::AboveEqual),
                    FloatCondition::NotGreater => Answer::If(Cc::BelowEqual),
                    FloatCondition::NotGreaterEqual => Answer::If(Cc::Below),
                }
            }
        }
    }

    /// Jumps if the test held.
    fn jump_if(&mut self, answer: Answer, target: Label) {
        match answer {
            Answer::If(cc) => self.masm.jcc(cc, target),
            Answer::FloatNotEqual => {
                self.masm.jcc(Cc::Parity, target);
                self.masm.jcc(Cc::NotEqual, target);
            }
            Answer::FloatEqual => {
                let unordered = self.masm.label();
                self.masm.jcc(Cc::Parity, unordered);
                self.masm.jcc(Cc::Equal, target);
                self.masm.bind(unordered);
            }
        }
    }

    fn jump(&mut self, target: usize, next: Option<usize>) {
        let label = self.labels[target];
        if next.is_some_and(|next| self.labels[next] == label) {
            return;
        }
        if self.only_returns(target) {
            self.leave();
        } else {
            self.masm.jmp(label);
        }
    }

    /// Whether a block is nothing but a return, which is shorter than a jump there is long.
    fn only_returns(&self, block: usize) -> bool {
        let range = self.allocated.ranges[block];
        let first = range.first();
        range.len() == 1
            && matches!(self.allocated.insts[first.index()].0, MInst::Return { .. })
            && self.moves_at(first).is_empty()
    }

    /// The allocator's moves in front of an instruction and behind it.
    fn moves_at(&self, inst: Inst) -> &[(ProgPoint, Edit)] {
        let edits = &self.allocated.edits;
        let start = edits.partition_point(|(point, _)| *point < ProgPoint::before(inst));
        let end = edits.partition_point(|(point, _)| *point <= ProgPoint::after(inst));
        &edits[start..end]
    }

    /// Returns: results are in their registers.
    fn leave(&mut self) {
        const { assert!(EXIT_RETURNED == 0, "zero is the shortest constant") };
        self.masm.zero(EXIT);
        self.masm.leave();
        self.masm.ret();
    }

    fn inst(&mut self, block: usize, number: Inst, next: Option<usize>) {
        let allocated = self.allocated;
        let (inst, offset) = &allocated.insts[number.index()];
        let offset = *offset;
        match *inst {
            MInst::Params { .. } => {}
            // flags never live from one instruction to the next
            MInst::Const { dst, bits: 0 } => self.masm.zero(gpr(dst)),
            MInst::Const { dst, bits } => self.masm.mov_imm(gpr(dst), bits),
            MInst::FloatConst { size, dst, bits } => {
                self.masm.fmov_imm(width(size), xmm(dst), bits);
            }
            MInst::Move { dst, src } => self.move_value(at(src), at(dst)),
            MInst::Alu {
                op, size, dst, rhs, ..
            } => self.alu(op, width(size), gpr(dst), rhs),
            MInst::AluUnary { op, size, dst, .. } => match op {
                AluUnaryOp::Neg => self.masm.neg(width(size), gpr(dst)),
                AluUnaryOp::Not => self.masm.not(width(size), gpr(dst)),
            },
            MInst::Add {
                size,
                dst,
                lhs,
                rhs,
            } => {
                let (dst, lhs, rhs) = (gpr(dst), gpr(lhs), gpr(rhs));
                if dst == lhs {
                    self.masm.alu(Alu::Add, width(size), dst, rhs);
                } else if dst == rhs {
                    self.masm.alu(Alu::Add, width(size), dst, lhs);
                } else {
                    self.masm
                        .lea(width(size), dst, masm::Mem::indexed(lhs, rhs, 1, 0));
                }
            }
            MInst::AddImm {
                size,
                dst,
                lhs,
                imm,
            } => {
                let (dst, lhs) = (gpr(dst), gpr(lhs));
                if dst == lhs {
                    self.masm.alu_imm(Alu::Add, width(size), dst, imm);
                } else {
                    self.masm.lea(width(size), dst, masm::Mem::new(lhs, imm));
                }
            }
            MInst::Lea {
                size,
                dst,
                mem: address,
            } => self.masm.lea(width(size), gpr(dst), mem(address)),
            MInst::MulImm {
                size,
                dst,
                lhs,
                imm,
            } => self
                .masm
                .imul_imm(width(size), gpr(dst), Self::reg_mem(lhs), imm),
            MInst::ShiftImm {
                op,
                size,
                dst,
                amount,
                ..
            } => {
                self.masm
                    .shift_imm(shift(op), width(size), gpr(dst), amount);
            }
            MInst::Shift { op, size, dst, .. } => {
                self.masm.shift_cl(shift(op), width(size), gpr(dst));
            }
            MInst::Divide { .. } => self.divide(inst, offset),
            MInst::MulHigh { signed, rhs, .. } => self.masm.mul_high(signed, gpr(rhs)),
            MInst::Unary { op, dst, src } => self.unary(op, dst, src, offset),
            MInst::Load {
                op,
                dst,
                mem: address,
            } => match op {
                LoadOp::F32Load => self.masm.fload(Width::W32, xmm(dst), mem(address)),
                LoadOp::F64Load => self.masm.fload(Width::W64, xmm(dst), mem(address)),
                _ => self.masm.load_op(op, gpr(dst), mem(address)),
            },
            MInst::Store {
                op,
                mem: address,
                src,
            } => match op {
                StoreOp::F32Store => self.masm.fstore(Width::W32, mem(address), xmm(src)),
                StoreOp::F64Store => self.masm.fstore(Width::W64, mem(address), xmm(src)),
                _ => self.masm.store_op(op, mem(address), gpr(src)),
            },
            MInst::StoreImm {
                op,
                mem: address,
                imm,
            } => self.store_imm(op, mem(address), imm),
            MInst::Float {
                op, size, dst, rhs, ..
            } => {
                let (op, width, dst) = (float_op(op), width(size), xmm(dst));
                match rhs {
                    Rhs::Reg(rhs) => self.masm.float(op, width, dst, xmm(rhs)),
                    Rhs::Mem(address) => self.masm.float(op, width, dst, mem(address)),
                    Rhs::Pool(bits) => self.masm.float_constant(op, width, dst, bits),
                    Rhs::Imm(_) => panic!("a float operation with an integer constant"),
                }
            }
            MInst::FloatBinary { op, dst, rhs, .. } => self.float_binary(op, xmm(dst), xmm(rhs)),
            MInst::SetCondition { test, dst } => {
                let answer = self.test(test);
                let dst = gpr(dst);
                match answer {
                    Answer::If(cc) => self.masm.set_bool(cc, dst),
                    Answer::FloatEqual => {
                        self.masm.set_bool(Cc::NoParity, SCRATCH);
                        self.masm.set_bool(Cc::Equal, dst);
                        self.masm.alu(Alu::And, Width::W32, dst, SCRATCH);
                    }
                    Answer::FloatNotEqual => {
                        self.masm.set_bool(Cc::Parity, SCRATCH);
                        self.masm.set_bool(Cc::NotEqual, dst);
                        self.masm.alu(Alu::Or, Width::W32, dst, SCRATCH);
                    }
                }
            }
            MInst::Select { .. } => self.select(inst),
            MInst::BoundsCheck { index, end } => {
                let trap = self.masm.trap_site(TrapCode::MemoryOutOfBounds, offset);
                self.masm.bounds_check(gpr(index), end, trap);
            }
            MInst::BoundsCheckConst { end } => {
                let trap = self.masm.trap_site(TrapCode::MemoryOutOfBounds, offset);
                let length = masm::Mem::context(offsets::MEMORY_LEN);
                if let Ok(end) = i32::try_from(end) {
                    self.masm.alu_imm(Alu::Cmp, Width::W64, length, end);
                } else {
                    self.masm.mov_imm(SCRATCH, end);
                    self.masm.alu_to_mem(Alu::Cmp, Width::W64, length, SCRATCH);
                }
                self.masm.jcc(Cc::Below, trap);
            }
            MInst::MemorySize { dst } => {
                let dst = gpr(dst);
                let length = masm::Mem::context(offsets::MEMORY_LEN);
                self.masm.mov(Width::W64, dst, length);
                self.masm.shift_imm(Shift::Shr, Width::W64, dst, 16);
            }
            MInst::TableCheck { index, len, code } => {
                let trap = self.masm.trap_site(code, offset);
                // the length is below 2^32
                self.masm.alu(Alu::Cmp, Width::W32, gpr(index), mem(len));
                self.masm.jcc(Cc::AboveEqual, trap);
            }
            MInst::TableCheckConst { index, len, code } => {
                let trap = self.masm.trap_site(code, offset);
                let index = index.cast_signed();
                self.masm.alu_imm(Alu::Cmp, Width::W32, mem(len), index);
                self.masm.jcc(Cc::BelowEqual, trap);
            }
            MInst::FuncCheck { func, type_id } => self.masm.func_check(gpr(func), type_id, offset),
            MInst::Runtime {
                helper,
                ref numbers,
                dst,
                code,
                ..
            } => {
                self.masm.mov(Width::W64, HELPER_ARGS[0], CONTEXT);
                for (&number, &reg) in numbers.iter().zip(&HELPER_ARGS[1..]) {
                    self.masm.mov_imm(reg, u64::from(number));
                }
                self.masm.call_helper(helper);
                self.masm.note(offset);
                if let Some(code) = code {
                    let trap = self.masm.trap_site(code, offset);
                    self.masm.test(Width::W32, HELPER_RESULT, HELPER_RESULT);
                    self.masm.jcc(Cc::NotEqual, trap);
                } else if dst.is_some() {
                    // the C convention leaves the upper half open
                    self.masm.mov(Width::W32, HELPER_RESULT, HELPER_RESULT);
                }
            }
            MInst::MemoryGrow { .. } => {
                self.masm.mov(Width::W64, HELPER_ARGS[0], CONTEXT);
                self.masm.call_helper(offsets::HELPER_MEMORY_GROW);
                self.masm.note(offset);
                self.masm.mov(Width::W32, HELPER_RESULT, HELPER_RESULT);
            }
            MInst::TransferLoad { dst, word, class } => {
                let from = self.transfer(word);
                match class {
                    RegClass::Int => self.masm.mov(Width::W64, gpr(dst), from),
                    RegClass::Float | RegClass::Vector => {
                        self.masm.fload(Width::W64, xmm(dst), from);
                    }
                }
            }
            MInst::TransferStore { src, word, class } => {
                let to = self.transfer(word);
                match class {
                    RegClass::Int => self.masm.store(Width::W64, to, gpr(src)),
                    RegClass::Float | RegClass::Vector => {
                        self.masm.fstore(Width::W64, to, xmm(src));
                    }
                }
            }
            MInst::Checkpoint {
                site,
                ref live,
                ref addresses,
            } => self.checkpoint(site, live, addresses, offset),
            MInst::Call {
                target,
                site,
                ref live,
                ..
            } => self.call(number, target, site, live, offset),
            MInst::Jump => {
                let target = allocated.succs[block][0].index();
                self.jump(target, next);
            }
            MInst::Branch { test } => {
                let answer = self.test(test);
                let [then, otherwise] = [0, 1].map(|n| allocated.succs[block][n].index());
                if next.is_some_and(|next| self.labels[next] == self.labels[then]) {
                    self.jump_if(answer.negated(), self.labels[otherwise]);
                } else {
                    self.jump_if(answer, self.labels[then]);
                    self.jump(otherwise, next);
                }
            }
            MInst::Table {
                index,
                temp,
                ref targets,
            } => {
                let (index, temp) = (gpr(index), gpr(temp));
                let mut labels: Vec<Label> = targets
                    .iter()
                    .map(|&n| self.labels[allocated.succs[block][n as usize].index()])
                    .collect();
                let default = labels.pop().expect("a table has a default");
                let length = i32::try_from(labels.len()).expect("tables are bounded");
                self.masm.alu_imm(Alu::Cmp, Width::W32, index, length);
                self.masm.jcc(Cc::AboveEqual, default);
                self.masm.jump_table(index, temp, labels);
            }
            MInst::TailCall { target, .. } => {
                let target = self.load_target(target);
                self.masm.leave();
                match target {
                    Some(target) => self.masm.jmp_to(target),
                    None => self.masm.jump_to_reference(),
                }
            }
            MInst::Return { .. } => self.leave(),
            MInst::Trap { code } => {
                let trap = self.masm.trap_site(code, offset);
                self.masm.jmp(trap);
            }
        }
    }

    /// A word of the transfer area; its address is in the scratch register.
    fn transfer(&mut self, word: u32) -> masm::Mem {
        self.masm
            .mov(Width::W64, SCRATCH, masm::Mem::context(offsets::TRANSFER));
        let offset = i32::try_from(8 * word).expect("validation bounds parameters and results");
        masm::Mem::new(SCRATCH, offset)
    }

    fn alu(&mut self, op: AluOp, width: Width, dst: Gpr, rhs: Rhs) {
        let op = match op {
            AluOp::Add => Alu::Add,
            AluOp::Sub => Alu::Sub,
            AluOp::And => Alu::And,
            AluOp::Or => Alu::Or,
            AluOp::Xor => Alu::Xor,
            AluOp::Mul => {
                match rhs {
                    Rhs::Imm(imm) => self.masm.imul_imm(width, dst, dst, imm),
                    other => self.masm.imul(width, dst, Self::reg_mem(other)),
                }
                return;
            }
        };
        match rhs {
            Rhs::Imm(imm) => self.masm.alu_imm(op, width, dst, imm),
            other => self.masm.alu(op, width, dst, Self::reg_mem(other)),
        }
    }

    /// The dividend is in `rax`.
    fn divide(&mut self, inst: &MInst, offset: WasmOffset) {
        let MInst::Divide {
            signed,
            remainder,
            size,
            rhs,
            zero,
            overflow,
            ..
        } = *inst
        else {
            unreachable!("a division")
        };
        let (width, divisor) = (width(size), gpr(rhs));
        if zero {
            let trap = self.masm.trap_site(TrapCode::IntegerDivisionByZero, offset);
            self.masm.test(width, divisor, divisor);
            self.masm.jcc(Cc::Equal, trap);
        }
        if !signed {
            self.masm.zero(RDX);
            self.masm.div(width, divisor);
            return;
        }
        let done = self.masm.label();
        if overflow {
            // the machine faults on MIN / -1, where Wasm wants a trap or a remainder of zero
            let minus_one = self.masm.label();
            self.masm.alu_imm(Alu::Cmp, width, divisor, -1);
            self.masm.jcc(Cc::Equal, minus_one);
            let trap = (!remainder).then(|| self.masm.trap_site(TrapCode::IntegerOverflow, offset));
            self.masm.defer(move |masm| {
                masm.bind(minus_one);
                if let Some(trap) = trap {
                    masm.neg(width, RAX);
                    masm.jcc(Cc::Overflow, trap);
                } else {
                    masm.zero(RDX);
                }
                masm.jmp(done);
            });
        }
        self.masm.sign_extend_rax(width);
        self.masm.idiv(width, divisor);
        self.masm.bind(done);
    }

    fn unary(&mut self, op: UnaryOp, dst: Reg, src: Reg, offset: WasmOffset) {
        use UnaryOp::*;
        use Width::{W32, W64};
        let masm = &mut self.masm;
        match op {
            I32Clz => masm.clz(W32, gpr(dst), gpr(src)),
            I32Ctz => masm.ctz(W32, gpr(dst), gpr(src)),
            I32Popcnt => masm.popcount(W32, gpr(dst), gpr(src)),
            I64Clz => masm.clz(W64, gpr(dst), gpr(src)),
            I64Ctz => masm.ctz(W64, gpr(dst), gpr(src)),
            I64Popcnt => masm.popcount(W64, gpr(dst), gpr(src)),
            I32Eqz | I64Eqz => panic!("lowered as a test"),
            I32WrapI64 | I64ExtendI32U => masm.mov(W32, gpr(dst), gpr(src)),
            I64ExtendI32S | I64Extend32S => masm.movsx32(gpr(dst), gpr(src)),
            I32Extend8S => masm.movsx8(W32, gpr(dst), gpr(src)),
            I32Extend16S => masm.movsx16(W32, gpr(dst), gpr(src)),
            I64Extend8S => masm.movsx8(W64, gpr(dst), gpr(src)),
            I64Extend16S => masm.movsx16(W64, gpr(dst), gpr(src)),
            F32Abs | F64Abs => {
                masm.fmov(xmm(dst), xmm(src));
                masm.float_abs(if op == F32Abs { W32 } else { W64 }, xmm(dst));
            }
            F32Neg | F64Neg => {
                masm.fmov(xmm(dst), xmm(src));
                masm.float_neg(if op == F32Neg { W32 } else { W64 }, xmm(dst));
            }
            F32Ceil => masm.float_round(Rounding::Ceil, W32, xmm(dst), xmm(src)),
            F32Floor => masm.float_round(Rounding::Floor, W32, xmm(dst), xmm(src)),
            F32Trunc => masm.float_round(Rounding::Trunc, W32, xmm(dst), xmm(src)),
            F32Nearest => masm.float_round(Rounding::Nearest, W32, xmm(dst), xmm(src)),
            F64Ceil => masm.float_round(Rounding::Ceil, W64, xmm(dst), xmm(src)),
            F64Floor => masm.float_round(Rounding::Floor, W64, xmm(dst), xmm(src)),
            F64Trunc => masm.float_round(Rounding::Trunc, W64, xmm(dst), xmm(src)),
            F64Nearest => masm.float_round(Rounding::Nearest, W64, xmm(dst), xmm(src)),
            F32Sqrt => masm.float(masm::FloatOp::Sqrt, W32, xmm(dst), xmm(src)),
            F64Sqrt => masm.float(masm::FloatOp::Sqrt, W64, xmm(dst), xmm(src)),
            F32ConvertI32S => masm.int_to_float(W32, W32, xmm(dst), gpr(src)),
            F32ConvertI64S => masm.int_to_float(W32, W64, xmm(dst), gpr(src)),
            F64ConvertI32S => masm.int_to_float(W64, W32, xmm(dst), gpr(src)),
            F64ConvertI64S => masm.int_to_float(W64, W64, xmm(dst), gpr(src)),
            F32ConvertI32U => masm.unsigned_to_float(W32, W32, xmm(dst), gpr(src)),
            F32ConvertI64U => masm.unsigned_to_float(W32, W64, xmm(dst), gpr(src)),
            F64ConvertI32U => masm.unsigned_to_float(W64, W32, xmm(dst), gpr(src)),
            F64ConvertI64U => masm.unsigned_to_float(W64, W64, xmm(dst), gpr(src)),
            F32DemoteF64 => masm.float_to_float(W32, xmm(dst), xmm(src)),
            F64PromoteF32 => masm.float_to_float(W64, xmm(dst), xmm(src)),
            I32ReinterpretF32 => masm.xmm_to_gpr(W32, gpr(dst), xmm(src)),
            I64ReinterpretF64 => masm.xmm_to_gpr(W64, gpr(dst), xmm(src)),
            F32ReinterpretI32 => masm.gpr_to_xmm(W32, xmm(dst), gpr(src)),
            F64ReinterpretI64 => masm.gpr_to_xmm(W64, xmm(dst), gpr(src)),
            _ => {
                let truncation = Truncation::of(op).expect("what is left are truncations");
                masm.truncate(truncation, gpr(dst), xmm(src), offset);
            }
        }
    }

    fn store_imm(&mut self, op: StoreOp, to: masm::Mem, imm: i32) {
        let [low, second, ..] = imm.to_le_bytes();
        match op {
            StoreOp::I32Store8 | StoreOp::I64Store8 => self.masm.store8_imm(to, low),
            StoreOp::I32Store16 | StoreOp::I64Store16 => {
                self.masm.store16_imm(to, u16::from_le_bytes([low, second]));
            }
            StoreOp::I32Store | StoreOp::I64Store32 | StoreOp::F32Store => {
                self.masm.store_imm(Width::W32, to, imm);
            }
            StoreOp::I64Store | StoreOp::F64Store => self.masm.store_imm(Width::W64, to, imm),
        }
    }

    fn float_binary(&mut self, op: BinaryOp, dst: Xmm, rhs: Xmm) {
        match op {
            BinaryOp::F32Min => self.masm.float_min_max(false, Width::W32, dst, rhs),
            BinaryOp::F32Max => self.masm.float_min_max(true, Width::W32, dst, rhs),
            BinaryOp::F64Min => self.masm.float_min_max(false, Width::W64, dst, rhs),
            BinaryOp::F64Max => self.masm.float_min_max(true, Width::W64, dst, rhs),
            BinaryOp::F32Copysign => self.masm.float_copysign(Width::W32, dst, rhs),
            BinaryOp::F64Copysign => self.masm.float_copysign(Width::W64, dst, rhs),
            other => panic!("{other:?} is lowered otherwise"),
        }
    }

    /// `dst` holds the value for "false".
    fn select(&mut self, inst: &MInst) {
        let MInst::Select {
            test,
            dst,
            on_true,
            class,
            size,
            ..
        } = *inst
        else {
            unreachable!("a select")
        };
        let answer = self.test(test);
        if class != RegClass::Int {
            let keep = self.masm.label();
            self.jump_if(answer.negated(), keep);
            self.masm.fmov(xmm(dst), xmm(on_true));
            self.masm.bind(keep);
            return;
        }
        let (width, dst, on_true) = (width(size), gpr(dst), gpr(on_true));
        match answer {
            Answer::If(cc) => self.masm.cmov(cc, width, dst, on_true),
            Answer::FloatNotEqual => {
                self.masm.cmov(Cc::NotEqual, width, dst, on_true);
                self.masm.cmov(Cc::Parity, width, dst, on_true);
            }
            Answer::FloatEqual => {
                let unordered = self.masm.label();
                self.masm.jcc(Cc::Parity, unordered);
                self.masm.cmov(Cc::Equal, width, dst, on_true);
                self.masm.bind(unordered);
            }
        }
    }

    /// Where a callee's address is, once its arguments are in place; `None` if a reference in the environment register
    /// says.
    fn load_target(&mut self, target: Target) -> Option<masm::Mem> {
        match target {
            Target::Defined(func) => {
                self.masm
                    .mov(Width::W64, SCRATCH, masm::Mem::context(offsets::ENTRIES));
                let entry = i32::try_from(func.0)
                    .ok()
                    .and_then(|n| n.checked_mul(offsets::ENTRY_SIZE))
                    .and_then(|n| n.checked_add(offsets::ENTRY_CODE))
                    .expect("validation bounds the number of functions");
                self.masm.comment(format!("{func}"));
                Some(masm::Mem::new(SCRATCH, entry))
            }
            Target::Imported(entry) => {
                self.masm.mov(
                    Width::W64,
                    ENVIRONMENT,
                    masm::Mem::context(entry + offsets::IMPORT_ENVIRONMENT),
                );
                Some(masm::Mem::context(entry + offsets::IMPORT_CODE))
            }
            Target::Reference(func) => {
                debug_assert_eq!(gpr(func), ENVIRONMENT);
                None
            }
        }
    }

    fn call(&mut self, number: Inst, target: Target, site: u32, live: &[Reg], offset: WasmOffset) {
        match self.load_target(target) {
            Some(target) => self.masm.call(target),
            None => self.masm.call_reference(),
        }
        let places: Vec<Allocation> = live.iter().map(|&reg| at(reg)).collect();
        let image: Vec<FrameOffset> = places.iter().map(|&place| self.slot_of(place)).collect();
        let labels = SiteLabels::new(&mut self.masm);
        self.masm.note(offset);
        let returned = self.masm.offset();
        emit_exit_test(&mut self.masm, &labels);
        let description = self.take_site(site);
        let (loads, slots) = self.reloads(number, &places, &description.results);
        for &(word, register) in &loads {
            let slot = image[word as usize];
            match register {
                Register::Int(register) => self.masm.mov(Width::W64, register, slot),
                Register::Float(register) => self.masm.fload(Width::W64, register, slot),
            }
        }
        let landing = self.masm.here();
        self.suspensions.push(Suspension {
            site: description,
            number: site,
            labels,
            returned,
            image,
            loads,
            slots,
            landing,
        });
    }

    fn take_site(&mut self, site: u32) -> Site {
        self.sites[site as usize]
            .take()
            .expect("a site is emitted once")
    }

    /// The moves behind a call that load words of its image into registers and depend on no other move there. They are
    /// emitted first, so that a resumption can load the registers from the continuation and go on behind them. Beside them,
    /// which words are read from their slots all the same.
    fn reloads(
        &mut self,
        call: Inst,
        image: &[Allocation],
        results: &[ValType],
    ) -> (Vec<(u32, Register)>, Vec<bool>) {
        let mut places = Places::results();
        let results: Vec<Place> = results.iter().map(|&ty| places.next(ty)).collect();
        let last = ProgPoint::before(call.next());
        let behind = ProgPoint::after(call);
        self.done_edits.clear();
        let mut loads = Vec::new();
        let mut slots: Vec<bool> = image
            .iter()
            .map(|&slot| self.allocated.is_alive_behind(call, slot))
            .collect();
        // registers and slots that moves which stay behind read or write
        let mut touched: Vec<Allocation> = Vec::new();
        for (i, (point, edit)) in self.allocated.edits.iter().enumerate().skip(self.next_edit) {
            if *point < behind {
                continue;
            }
            if *point > last {
                break;
            }
            let Edit::Move { from, to } = *edit;
            if from == to {
                continue;
            }
            let register = to
                .as_reg()
                .filter(|_| from.is_stack())
                .and_then(|register| landing_register(register, &results));
            let word = image.iter().position(|&slot| slot == from);
            if let (Some(register), Some(word)) = (register, word)
                && !touched.contains(&from)
                && !touched.contains(&to)
            {
                loads.push((u32::try_from(word).expect("frames are bounded"), register));
                self.done_edits.push(i);
                touched.push(to);
            } else {
                touched.push(from);
                touched.push(to);
                if let Some(word) = word {
                    slots[word] = true;
                }
            }
        }
        (loads, slots)
    }

    fn checkpoint(&mut self, site: u32, live: &[Reg], addresses: &[Reg], offset: WasmOffset) {
        let cold = self.masm.label();
        self.masm.alu_imm(
            Alu::Cmp,
            Width::W32,
            masm::Mem::context(offsets::CHECKPOINT),
            0,
        );
        self.masm.jcc(Cc::NotEqual, cold);
        let back = self.masm.here();
        let mut saved: Vec<Saved> = Vec::new();
        let slots = live
            .iter()
            .map(|&reg| match at(reg).as_reg() {
                None => self.slot_of(at(reg)),
                Some(register) => {
                    // no two values that are alive at once share a register
                    let slot = self.slot(self.allocated.spill_slots + saved.len());
                    saved.push(Saved { register, slot });
                    slot
                }
            })
            .collect();
        self.checkpoints.push(ColdCheckpoint {
            addresses: addresses.iter().map(|&reg| at(reg)).collect(),
            number: site,
            cold,
            back,
            saved,
            offset,
            slots,
        });
    }

    fn cold_checkpoint(&mut self, checkpoint: ColdCheckpoint) {
        let labels = SiteLabels::new(&mut self.masm);
        let name = format!("checkpoint{}", checkpoint.number);
        self.masm.bind_named(checkpoint.cold, name);
        for saved in &checkpoint.saved {
            self.store_register(saved.register, saved.slot);
        }
        self.masm.mov(Width::W64, HELPER_ARGS[0], CONTEXT);
        self.masm.call_helper(offsets::HELPER_CHECKPOINT);
        let returned = self.masm.offset();
        self.masm.note(checkpoint.offset);
        self.masm.mov(Width::W32, EXIT, HELPER_RESULT);
        emit_exit_test(&mut self.masm, &labels);
        for saved in &checkpoint.saved {
            self.load_register(saved.register, saved.slot);
        }
        for &place in &checkpoint.addresses {
            let base = masm::Mem::context(offsets::MEMORY_BASE);
            if let Some(register) = place.as_reg() {
                self.masm.mov(Width::W64, gpr_of(register), base);
            } else {
                let slot = self.slot_of(place);
                self.masm.mov(Width::W64, SCRATCH, base);
                self.masm.store(Width::W64, slot, SCRATCH);
            }
        }
        self.masm.jmp(checkpoint.back);
        let landing = self.masm.label();
        let description = self.take_site(checkpoint.number);
        self.suspensions.push(Suspension {
            site: description,
            number: checkpoint.number,
            labels,
            returned,
            image: checkpoint.slots,
            loads: Vec::new(),
            slots: Vec::new(),
            landing,
        });
    }

    /// Suspend blocks, doors, trap sites; then the draft.
    fn finish(mut self) -> Result<CodeDraft, NotOptimized> {
        let osr = matches!(self.kind, CodeKind::Osr(_));
        let mut suspensions = std::mem::take(&mut self.suspensions);
        suspensions.sort_by_key(|suspension| suspension.number);
        let builder = RecipeBuilder::new(self.ir);
        let turns = Turns::of(self.ir, !suspensions.is_empty());
        // behind a tail call, the frame that was resumed may be another activation's
        let mut insts = self.allocated.insts.iter();
        let tail_calls = insts.any(|(inst, _)| matches!(inst, MInst::TailCall { .. }));
        let leave = self.masm.label();
        if !suspensions.is_empty() {
            emit_leave(&mut self.masm, leave);
        }
        let mut drafts = Vec::new();
        for suspension in suspensions {
            let (resume, resume_address) = if !osr {
                (
                    ResumeEntry::Here(suspension.labels.door),
                    suspension.labels.door,
                )
            } else if self.options.resumption == ResumptionPath::Direct {
                (
                    ResumeEntry::Here(suspension.labels.door),
                    suspension.labels.tier0_door,
                )
            } else {
                (ResumeEntry::Tier0, suspension.labels.tier0_door)
            };
            let again = turns.at(suspension.site.block);
            let values = suspension.site.values.iter();
            let changed: Vec<bool> = values
                .map(|value| {
                    value.is_none_or(|value| turns.may_change(suspension.site.block, value))
                })
                .chain(std::iter::repeat(true))
                .take(suspension.image.len())
                .collect();
            emit_suspend(
                &mut self.masm,
                &suspension.labels,
                &Suspend {
                    site: suspension.number,
                    image: &suspension.image,
                    resume,
                    resume_address: Some(resume_address),
                    counter: None,
                    count_resumes: osr && self.options.count_resumes,
                    again: match (tail_calls, again) {
                        (true, _) => Again::Changed,
                        (false, true) => Again::Some(&changed),
                        (false, false) => Again::Never,
                    },
                },
                leave,
            );
            emit_door(
                &mut self.masm,
                &suspension.labels,
                &Door {
                    site: suspension.number,
                    kind: DoorKind::Direct,
                    at: suspension.site.layout.offset,
                    frame_size: self.frame_size,
                    image: &suspension.image,
                    results: &suspension.site.results,
                    counter: None,
                    landing: (!suspension.loads.is_empty()).then_some(Landing {
                        loads: &suspension.loads,
                        slots: &suspension.slots,
                        label: suspension.landing,
                    }),
                },
            );
            let Site {
                layout,
                results,
                map,
                values,
                block: _,
            } = suspension.site;
            let recipes = builder.recipes(&map, &values);
            let references = (0u32..)
                .zip(&values)
                .filter_map(|(word, value)| {
                    let reference =
                        value.is_some_and(|value| self.ir.type_of(value) == Type::ExternRef);
                    reference.then_some(word)
                })
                .collect();
            drafts.push((
                suspension.labels,
                SiteDraft {
                    layout,
                    results,
                    image: suspension.image,
                    map: map
                        .into_iter()
                        .map(|source| match source {
                            Source::Live(word) => ImageSource::Word(word),
                            Source::Const(bits) => ImageSource::Const(bits),
                        })
                        .collect(),
                    references,
                    recipes,
                    return_offset: suspension.returned,
                    door: CodeOffset(0),
                    tier0_door: None,
                },
            ));
        }
        self.masm.emit_deferred();
        let sites = drafts
            .into_iter()
            .map(|(labels, site)| SiteDraft {
                door: self.masm.offset_of(labels.door),
                tier0_door: osr.then(|| self.masm.offset_of(labels.tier0_door)),
                ..site
            })
            .collect();
        let slots = (0..self.slots)
            .map(|n| {
                let name = if n < self.allocated.spill_slots {
                    format!("spill{n}")
                } else {
                    format!("save{}", n - self.allocated.spill_slots)
                };
                (self.slot(n), name)
            })
            .collect();
        let emitted = self.masm.finish().map_err(|_| NotOptimized::TooLarge)?;
        Ok(CodeDraft {
            func: self.ir.index,
            kind: self.kind,
            bytes: emitted.bytes,
            relocs: emitted.relocs,
            entry: CodeOffset(0),
            resume_entry: None,
            frame_size: self.frame_size,
            sites,
            patchpoints: Vec::new(),
            notes: emitted.notes,
            faults: emitted.faults,
            labels: emitted.labels,
            comments: emitted.comments,
            slots,
        })
    }
}

/// What can come again in an activation.
struct Turns<'a> {
    ir: &'a Function,
    /// See [`Cfg::cycles`].
    cycles: Vec<Option<u32>>,
    /// Where an instruction stands.
    blocks: Vec<Block>,
}

impl<'a> Turns<'a> {
    /// If nobody will ask, nothing is computed.
    fn of(ir: &'a Function, wanted: bool) -> Self {
        let mut blocks = Vec::new();
        if wanted {
            blocks = vec![ENTRY; ir.insts.len()];
            for (n, block) in (0u32..).zip(&ir.blocks) {
                for inst in &block.insts {
                    blocks[inst.index()] = Block(n);
                }
            }
        }
        Self {
            ir,
            cycles: if wanted {
                Cfg::compute(ir).cycles()
            } else {
                Vec::new()
            },
            blocks,
        }
    }

    /// Whether a block can be reached from itself.
    fn at(&self, block: Block) -> bool {
        self.cycles[block.index()].is_some()
    }

    /// Whether a value can be another one when a block comes again. What is made outside of all that leads back to the block
    /// cannot.
    fn may_change(&self, block: Block, value: Value) -> bool {
        let made = match self.ir.values[value.index()].def {
            ValueDef::Result(inst, _) => self.blocks[inst.index()],
            ValueDef::Param(block, _) => block,
        };
        self.cycles[made.index()] == self.cycles[block.index()]
    }
}

/// The register, if a resumption can load it from the continuation: it is none of the call's results.
fn landing_register(register: PReg, results: &[Place]) -> Option<Register> {
    match register.class() {
        RegClass::Int => {
            let register = gpr_of(register);
            let result = |place: &Place| matches!(place, Place::Int(n) if RESULTS[usize::from(*n)] == register);
            (register != SCRATCH && !results.iter().any(result)).then_some(Register::Int(register))
        }
        RegClass::Float | RegClass::Vector => {
            let register = xmm_of(register);
            let result = |place: &Place| matches!(place, Place::Float(n) if FLOAT_RESULT_REGISTERS[usize::from(*n)] == register);
            (register != FLOAT_SCRATCH && !results.iter().any(result))
                .then_some(Register::Float(register))
        }
    }
}
