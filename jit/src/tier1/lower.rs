//! IR to machine instructions: bottom-up selection, block by block.
//!
//! ```text
//! v3 = i32.load base+v1+8         (used once)      cmp   eax, [base+v1+8]
//! v4 = i32.lt_s v2, v3            (used once)  =>  jl    block2
//! branch v4, block2, block3
//! ```
//!
//! Blocks are visited users first, and each block from its end, so a value is *demanded* before its definition is met:
//! what nobody demanded (because a user swallowed it, or because it is dead) is not emitted. Constants are made anew
//! where they are needed, so they never live across anything.

use super::{
    guard::Guards,
    minst::{
        AluOp, AluUnaryOp, Base, Condition, Descriptor, FloatCondition, FloatOp, MInst, Mem, Reg,
        Rhs, ShiftOp, Site, Size, Source, Target, Test,
    },
    order::block_order,
    regalloc::{HELPER_ARGS, MBlock, MFunction, RAX, RCX, RDX, RSI},
};
use crate::{
    frame::abi::{Place, param_places, result_places},
    ir::value::{
        BinaryOp, Block, BulkOp, Callee, ENTRY, Entry, FrameState, Function, Inst, InstData, Jump,
        LoadOp, StoreOp, TableOp, TrapCode, Type, UnaryOp, Value, ValueDef,
    },
    runtime::context::{GlobalSlot, TableSlot, VmLayout, offsets},
    wasm::types::{FuncType, TableIndex, ValType, WasmOffset},
};
use regalloc2::{PReg, RegClass, VReg};
use std::collections::HashMap;

/// Integer argument registers, in order: `rdi rsi rdx rcx r8 r9`.
const INT_ARGS: [PReg; 6] = [
    PReg::new(7, RegClass::Int),
    RSI,
    RDX,
    RCX,
    PReg::new(8, RegClass::Int),
    PReg::new(9, RegClass::Int),
];
/// Integer result registers, in order.
const INT_RESULTS: [PReg; 2] = [RAX, RCX];

/// So many sums are looked through for an address; the passes have folded longer chains.
const MAX_FOLDED: usize = 4;

/// Machine code over virtual registers, and its suspension points.
#[derive(Debug)]
pub(crate) struct Lowered {
    pub(crate) function: MFunction,
    pub(crate) sites: Vec<Site>,
}

/// Lowers a function.
pub(crate) fn lower(ir: &Function, layout: &VmLayout, memory_guard: bool) -> Lowered {
    let order = block_order(ir);
    let mut lower = Lower::new(ir, layout, &order.reverse_postorder);
    if memory_guard {
        lower.guards = Guards::find(ir, &order.reverse_postorder);
    }
    lower.number_blocks(&order.layout);
    for &block in order.reverse_postorder.iter().rev() {
        lower.lower_block(block);
    }
    lower.number_sites();
    Lowered {
        function: MFunction {
            blocks: lower.blocks,
            vregs: lower.vregs,
            addresses: ir
                .values
                .iter()
                .map(|value| value.ty == Type::Ptr)
                .collect(),
        },
        sites: lower.sites,
    }
}

/// The register class of a type.
fn class_of(ty: Type) -> RegClass {
    if ty.is_float() {
        RegClass::Float
    } else {
        RegClass::Int
    }
}

fn class_of_wasm(ty: ValType) -> RegClass {
    class_of(ty.into())
}

fn place_register(place: Place, int: &[PReg]) -> Option<PReg> {
    match place {
        Place::Int(n) => Some(int[usize::from(n)]),
        Place::Float(n) => Some(PReg::new(usize::from(n), RegClass::Float)),
        Place::Transfer(_) => None,
    }
}

/// The distinct jumps of a terminator, in order.
fn distinct_jumps(data: &InstData) -> Vec<&Jump> {
    match data {
        InstData::Jump(jump) => vec![jump],
        InstData::Branch {
            then, otherwise, ..
        } => {
            if then == otherwise {
                vec![then]
            } else {
                vec![then, otherwise]
            }
        }
        InstData::BranchTable { targets, .. } => {
            let mut seen = std::collections::HashSet::new();
            targets.iter().filter(|jump| seen.insert(*jump)).collect()
        }
        _ => Vec::new(),
    }
}

struct Lower<'a> {
    ir: &'a Function,
    layout: &'a VmLayout,
    blocks: Vec<MBlock>,
    vregs: usize,
    sites: Vec<Site>,
    /// How often each value is used, by anything.
    uses: Vec<u32>,
    /// Whether a register with the value is needed.
    demanded: Vec<bool>,
    /// The last site that each value was found to live across.
    kept: Vec<Option<u32>>,
    /// Block and epoch of each instruction.
    place: Vec<(Block, u32)>,
    /// Machine block of each IR block.
    numbers: Vec<usize>,
    /// Machine blocks of the split edges of each IR block, in the order of its distinct jumps.
    edges: Vec<Vec<Option<usize>>>,
    preds: Vec<u32>,
    /// Instructions of the IR instruction being lowered, in order.
    seq: Vec<MInst>,
    /// Where that instruction stands.
    here: (Block, u32),
    /// The same instruction.
    inst: Inst,
    guards: Guards,
    /// By instruction: a load that its user has swallowed.
    swallowed: Vec<bool>,
}

impl<'a> Lower<'a> {
    fn new(ir: &'a Function, layout: &'a VmLayout, reachable: &[Block]) -> Self {
        let mut uses = vec![0_u32; ir.values.len()];
        let mut place = vec![(ENTRY, 0); ir.insts.len()];
        let mut preds = vec![0_u32; ir.blocks.len()];
        for &block in reachable {
            let mut epoch = 0;
            for &inst in &ir.blocks[block.index()].insts {
                let data = &ir.insts[inst.index()].data;
                place[inst.index()] = (block, epoch);
                data.for_each_operand(|value| {
                    uses[value.index()] = uses[value.index()].saturating_add(1);
                });
                epoch += u32::from(changes_loads(data));
            }
            for jump in distinct_jumps(&ir.terminator(block).data) {
                preds[jump.block.index()] += 1;
            }
        }
        Self {
            ir,
            layout,
            blocks: Vec::new(),
            vregs: ir.values.len(),
            sites: Vec::new(),
            uses,
            demanded: vec![false; ir.values.len()],
            kept: vec![None; ir.values.len()],
            place,
            numbers: vec![usize::MAX; ir.blocks.len()],
            edges: vec![Vec::new(); ir.blocks.len()],
            preds,
            seq: Vec::new(),
            here: (ENTRY, 0),
            inst: Inst::new(0),
            guards: Guards::none(),
            swallowed: vec![false; ir.insts.len()],
        }
    }

    /// Numbers machine blocks in layout order; a split edge stands behind its source.
    fn number_blocks(&mut self, layout: &[Block]) {
        for &block in layout {
            let data = &self.ir.blocks[block.index()];
            self.numbers[block.index()] = self.blocks.len();
            self.blocks.push(MBlock {
                cold: data.cold,
                params: if block == ENTRY {
                    Vec::new()
                } else {
                    data.params.iter().map(|&value| self.vreg(value)).collect()
                },
                ..MBlock::default()
            });
            let jumps = distinct_jumps(&self.ir.terminator(block).data);
            let several = jumps.len() > 1;
            for jump in jumps {
                let split =
                    several && (self.preds[jump.block.index()] > 1 || !jump.args.is_empty());
                self.edges[block.index()].push(split.then_some(self.blocks.len()));
                if split {
                    self.blocks.push(MBlock {
                        cold: data.cold || self.ir.blocks[jump.block.index()].cold,
                        ..MBlock::default()
                    });
                }
            }
        }
    }

    /// Sites were met from the last to the first: numbers them in order.
    fn number_sites(&mut self) {
        let last = u32::try_from(self.sites.len()).expect("sites fit 32 bits");
        self.sites.reverse();
        let insts = self.blocks.iter_mut().flat_map(|block| &mut block.insts);
        for (inst, _) in insts {
            if let MInst::Call { site, .. } | MInst::Checkpoint { site, .. } = inst {
                *site = last - 1 - *site;
            }
        }
    }

    fn vreg(&self, value: Value) -> VReg {
        VReg::new(value.index(), class_of(self.ir.type_of(value)))
    }

    fn temp(&mut self, class: RegClass) -> Reg {
        self.vregs += 1;
        Reg::Virtual(VReg::new(self.vregs - 1, class))
    }

    /// The instruction that makes a value.
    fn def(&self, value: Value) -> Option<(Inst, &'a InstData)> {
        match self.ir.values[value.index()].def {
            ValueDef::Result(inst, _) => Some((inst, &self.ir.insts[inst.index()].data)),
            ValueDef::Param(..) => None,
        }
    }

    /// Sees through an extension that costs nothing.
    fn resolve(&self, value: Value) -> Value {
        match self.def(value) {
            Some((
                _,
                &InstData::Unary {
                    op: UnaryOp::I64ExtendI32U,
                    arg,
                },
            )) => arg,
            _ => value,
        }
    }

    fn constant(&self, value: Value) -> Option<u64> {
        match self.def(self.resolve(value)) {
            Some((
                _,
                &InstData::Const {
                    ty: Type::I32 | Type::F32,
                    bits,
                },
            )) => Some(bits & 0xffff_ffff),
            Some((_, &InstData::Const { bits, .. })) => Some(bits),
            _ => None,
        }
    }

    /// A constant as an immediate of an instruction of this size.
    fn immediate(&self, size: Size, value: Value) -> Option<i32> {
        let bits = self.constant(value)?;
        match size {
            Size::S32 => u32::try_from(bits).ok().map(u32::cast_signed),
            Size::S64 => i32::try_from(bits.cast_signed()).ok(),
        }
    }

    /// The value's definition, if it stands in this block and has no other user.
    fn only_here(&self, value: Value) -> Option<(Inst, &'a InstData)> {
        let (inst, data) = self.def(value)?;
        (self.uses[value.index()] == 1 && self.place[inst.index()].0 == self.here.0)
            .then_some((inst, data))
    }

    /// A register with the value.
    fn reg(&mut self, value: Value) -> Reg {
        let value = self.resolve(value);
        if let Some(bits) = self.constant(value) {
            return self.constant_reg(self.ir.type_of(value), bits);
        }
        self.demanded[value.index()] = true;
        Reg::Virtual(self.vreg(value))
    }

    fn constant_reg(&mut self, ty: Type, bits: u64) -> Reg {
        let dst = self.temp(class_of(ty));
        self.seq.push(match ty {
            Type::F32 => MInst::FloatConst {
                size: Size::S32,
                dst,
                bits,
            },
            Type::F64 => MInst::FloatConst {
                size: Size::S64,
                dst,
                bits,
            },
            Type::I32 | Type::I64 | Type::FuncRef | Type::ExternRef | Type::Ptr => {
                MInst::Const { dst, bits }
            }
        });
        dst
    }

    /// The same in a register of its own, for instructions that read one value under two conflicting constraints.
    fn copy(&mut self, value: Value) -> Reg {
        let class = class_of(self.ir.type_of(value));
        let src = self.reg(value);
        let dst = self.temp(class);
        self.seq.push(MInst::Move { dst, src });
        dst
    }

    /// An address, if the value is a load that can move down to here.
    fn load_to_fuse(&mut self, op: LoadOp, value: Value) -> Option<Mem> {
        let (inst, data) = self.only_here(value)?;
        if self.place[inst.index()].1 != self.here.1
            || !self.guards.may_move(inst.index(), self.inst.index())
        {
            return None;
        }
        match *data {
            InstData::Load {
                op: found,
                base,
                index,
                offset,
            } if found == op => {
                self.swallowed[inst.index()] = true;
                let mem = self.mem(base, index, offset);
                Some(self.guarded(inst, mem))
            }
            InstData::GlobalGet { ty, global } if load_of(ty) == op => {
                match self.layout.globals[global.index()] {
                    GlobalSlot::Own(offset) => Some(Mem::context(offset)),
                    GlobalSlot::Imported(_) => None,
                }
            }
            _ => None,
        }
    }

    /// A right-hand operand of an integer instruction.
    fn rhs(&mut self, size: Size, value: Value) -> Rhs {
        if let Some(imm) = self.immediate(size, value) {
            return Rhs::Imm(imm);
        }
        let op = match size {
            Size::S32 => LoadOp::I32Load,
            Size::S64 => LoadOp::I64Load,
        };
        match self.load_to_fuse(op, value) {
            Some(mem) => Rhs::Mem(mem),
            None => Rhs::Reg(self.reg(value)),
        }
    }

    /// A right-hand operand of a float instruction.
    fn float_rhs(&mut self, size: Size, value: Value) -> Rhs {
        if let Some(bits) = self.constant(value) {
            return Rhs::Pool(bits);
        }
        let op = match size {
            Size::S32 => LoadOp::F32Load,
            Size::S64 => LoadOp::F64Load,
        };
        match self.load_to_fuse(op, value) {
            Some(mem) => Rhs::Mem(mem),
            None => Rhs::Reg(self.reg(value)),
        }
    }

    /// The address of an access, which traps if it was chosen for that.
    fn guarded(&self, access: Inst, mem: Mem) -> Mem {
        Mem {
            traps: self
                .guards
                .is_chosen(access.index())
                .then(|| self.ir.insts[access.index()].offset),
            ..mem
        }
    }

    /// The address `base + index + offset`; an i64 index may be a sum or a shift that the machine computes on the way.
    fn mem(&mut self, base: Value, index: Value, offset: u32) -> Mem {
        let mut index = index;
        let mut offset = i64::from(offset);
        let mut scale = 0;
        for _ in 0..MAX_FOLDED {
            let Some((_, &InstData::Binary { op, args })) = self.def(index) else {
                break;
            };
            let [lhs, rhs] = self.constant_last(args);
            if scale == 0
                && op == BinaryOp::I64Add
                && let Some(sum) = self
                    .constant(rhs)
                    .and_then(|bits| offset.checked_add(bits.cast_signed()))
                && i32::try_from(sum).is_ok()
            {
                offset = sum;
                index = lhs;
            } else if scale == 0
                && op == BinaryOp::I64Shl
                && let Some(by @ 1..=3) = self.constant(args[1])
                && let Ok(by) = u8::try_from(by)
            {
                scale = by;
                index = args[0];
                break;
            } else {
                break;
            }
        }
        let base = self.reg(base);
        if let Some(bits) = self.constant(index) {
            let sum = bits
                .cast_signed()
                .wrapping_shl(u32::from(scale))
                .wrapping_add(offset);
            if let Ok(offset) = i32::try_from(sum) {
                return Mem {
                    base: Base::Reg(base),
                    index: None,
                    offset,
                    traps: None,
                };
            }
            let index = self.constant_reg(Type::I64, sum.cast_unsigned());
            return Mem {
                base: Base::Reg(base),
                index: Some((index, 0)),
                offset: 0,
                traps: None,
            };
        }
        let index = self.reg(index);
        if let Ok(offset) = i32::try_from(offset) {
            return Mem {
                base: Base::Reg(base),
                index: Some((index, scale)),
                offset,
                traps: None,
            };
        }
        // an offset of 2 GiB or more; nothing was folded into it
        let offset = self.constant_reg(Type::I64, offset.cast_unsigned());
        let sum = self.temp(RegClass::Int);
        self.seq.push(MInst::Lea {
            size: Size::S64,
            dst: sum,
            mem: Mem {
                base: Base::Reg(offset),
                index: Some((index, scale)),
                offset: 0,
                traps: None,
            },
        });
        Mem {
            base: Base::Reg(base),
            index: Some((sum, 0)),
            offset: 0,
            traps: None,
        }
    }

    /// The question whether a condition holds (or does not), left in the flags.
    fn test(&mut self, mut cond: Value, mut holds: bool) -> Test {
        let mut zero = Size::S32;
        while let Some((
            _,
            &InstData::Unary {
                op: op @ (UnaryOp::I32Eqz | UnaryOp::I64Eqz),
                arg,
            },
        )) = self.only_here(cond)
        {
            holds = !holds;
            cond = arg;
            if op == UnaryOp::I64Eqz {
                zero = Size::S64;
                break;
            }
        }
        if zero == Size::S32
            && let Some((_, &InstData::Binary { op, args })) = self.only_here(cond)
            && let Some(test) = self.comparison(op, args, holds)
        {
            return test;
        }
        let condition = if holds {
            Condition::NotEqual
        } else {
            Condition::Equal
        };
        self.compare_with_zero(zero, cond, condition)
    }

    /// A value compared with zero.
    fn compare_with_zero(&mut self, size: Size, value: Value, condition: Condition) -> Test {
        let and = match size {
            Size::S32 => BinaryOp::I32And,
            Size::S64 => BinaryOp::I64And,
        };
        if matches!(condition, Condition::Equal | Condition::NotEqual)
            && let Some((_, &InstData::Binary { op, args })) = self.only_here(value)
            && op == and
        {
            let [lhs, rhs] = self.constant_last(args);
            let rhs = match self.immediate(size, rhs) {
                Some(imm) => Rhs::Imm(imm),
                None => Rhs::Reg(self.reg(rhs)),
            };
            let lhs = self.reg(lhs);
            return Test::And {
                size,
                lhs,
                rhs,
                condition,
            };
        }
        let lhs = self.reg(value);
        Test::And {
            size,
            lhs,
            rhs: Rhs::Reg(lhs),
            condition,
        }
    }

    /// Puts a constant, or else a load that can be swallowed, behind.
    fn constant_last(&self, [a, b]: [Value; 2]) -> [Value; 2] {
        if self.constant(a).is_some() && self.constant(b).is_none() {
            [b, a]
        } else {
            [a, b]
        }
    }

    /// A comparison, if the operator is one.
    fn comparison(&mut self, op: BinaryOp, args: [Value; 2], holds: bool) -> Option<Test> {
        if let Some((size, condition)) = integer_condition(op) {
            let swapped = self.constant_last(args);
            let condition = if swapped == args {
                condition
            } else {
                condition.swapped()
            };
            let condition = if holds {
                condition
            } else {
                condition.negated()
            };
            if self.constant(swapped[1]) == Some(0)
                && matches!(condition, Condition::Equal | Condition::NotEqual)
            {
                return Some(self.compare_with_zero(size, swapped[0], condition));
            }
            let lhs = self.reg(swapped[0]);
            let rhs = self.rhs(size, swapped[1]);
            return Some(Test::Compare {
                size,
                lhs,
                rhs,
                condition,
            });
        }
        let (size, condition, swap) = float_condition(op)?;
        let [lhs, rhs] = if swap { [args[1], args[0]] } else { args };
        let lhs = self.reg(lhs);
        let rhs = self.float_rhs(size, rhs);
        Some(Test::Float {
            size,
            lhs,
            rhs,
            condition: if holds {
                condition
            } else {
                condition.negated()
            },
        })
    }

    /// Moves what was lowered for one IR instruction in front of what was lowered before it.
    fn flush(&mut self, into: &mut Vec<(MInst, WasmOffset)>, offset: WasmOffset) {
        into.extend(self.seq.drain(..).rev().map(|inst| (inst, offset)));
    }

    fn lower_block(&mut self, block: Block) {
        let insts = &self.ir.blocks[block.index()].insts;
        let number = self.numbers[block.index()];
        let mut reversed = Vec::new();
        for &inst in insts.iter().rev() {
            let node = &self.ir.insts[inst.index()];
            self.here = self.place[inst.index()];
            self.inst = inst;
            if node.data.is_terminator() {
                self.lower_terminator(block, number, &node.data, node.offset);
            } else {
                self.lower_inst(&node.data, &node.results);
            }
            self.flush(&mut reversed, node.offset);
        }
        if block == ENTRY && self.ir.entry == Entry::Top {
            self.lower_params();
            let offset = insts
                .first()
                .map_or(WasmOffset(0), |inst| self.ir.insts[inst.index()].offset);
            self.flush(&mut reversed, offset);
        }
        reversed.reverse();
        self.blocks[number].insts = reversed;
    }

    fn lower_params(&mut self) {
        let ir = self.ir;
        let places = param_places(&ir.ty);
        let mut defs = Vec::new();
        let mut loads = Vec::new();
        for (&value, &place) in ir.blocks[ENTRY.index()].params.iter().zip(&places) {
            if !self.demanded[value.index()] {
                continue;
            }
            let dst = Reg::Virtual(self.vreg(value));
            match place {
                Place::Transfer(word) => loads.push(MInst::TransferLoad {
                    dst,
                    word,
                    class: class_of(ir.type_of(value)),
                }),
                Place::Int(_) | Place::Float(_) => {
                    defs.extend(place_register(place, &INT_ARGS).map(|at| (dst, at)));
                }
            }
        }
        self.seq.push(MInst::Params { defs });
        self.seq.append(&mut loads);
    }

    /// The registers of a jump's arguments; constants are made here.
    fn jump_args(&mut self, jump: &Jump) -> Vec<VReg> {
        jump.args
            .iter()
            .map(|&value| match self.reg(value) {
                Reg::Virtual(vreg) => vreg,
                Reg::At(_) => unreachable!("nothing is allocated yet"),
            })
            .collect()
    }

    fn lower_terminator(
        &mut self,
        block: Block,
        number: usize,
        data: &'a InstData,
        offset: WasmOffset,
    ) {
        let jumps = distinct_jumps(data);
        let edges = std::mem::take(&mut self.edges[block.index()]);
        let mut succs = Vec::new();
        let mut args = Vec::new();
        for (jump, &edge) in jumps.iter().zip(&edges) {
            let target = regalloc2::Block::new(self.numbers[jump.block.index()]);
            if let Some(edge) = edge {
                let edge_args = self.jump_args(jump);
                self.seq.push(MInst::Jump);
                self.blocks[edge].insts = self.seq.drain(..).map(|inst| (inst, offset)).collect();
                self.blocks[edge].succs = vec![target];
                self.blocks[edge].args = vec![edge_args];
                succs.push(regalloc2::Block::new(edge));
                args.push(Vec::new());
            } else {
                let jump_args = self.jump_args(jump);
                succs.push(target);
                args.push(jump_args);
            }
        }
        match data {
            _ if jumps.len() == 1 => self.seq.push(MInst::Jump),
            &InstData::Branch { cond, .. } => {
                let test = self.test(cond, true);
                self.seq.push(MInst::Branch { test });
            }
            InstData::BranchTable { index, targets } => {
                let positions: HashMap<&Jump, u32> = jumps.iter().copied().zip(0..).collect();
                let index = self.reg(*index);
                let temp = self.temp(RegClass::Int);
                self.seq.push(MInst::Table {
                    index,
                    temp,
                    targets: targets.iter().map(|jump| positions[jump]).collect(),
                });
            }
            InstData::Return { values } => {
                let places = result_places(&self.ir.ty);
                let mut uses = Vec::new();
                for (&value, &place) in values.iter().zip(&places) {
                    let class = class_of(self.ir.type_of(value));
                    let src = self.reg(value);
                    match place {
                        Place::Transfer(word) => {
                            self.seq.push(MInst::TransferStore { src, word, class });
                        }
                        Place::Int(_) | Place::Float(_) => {
                            uses.extend(place_register(place, &INT_RESULTS).map(|at| (src, at)));
                        }
                    }
                }
                self.seq.push(MInst::Return { uses });
            }
            InstData::TailCall { callee, ty, args } => {
                let uses = self.arguments(ty, args, None);
                let target = self.target(*callee, None);
                self.seq.push(MInst::TailCall { target, uses });
            }
            &InstData::Trap { code } => self.seq.push(MInst::Trap { code }),
            _ => unreachable!("not a terminator"),
        }
        self.blocks[number].succs = succs;
        self.blocks[number].args = args;
    }

    fn lower_inst(&mut self, data: &'a InstData, results: &[Value]) {
        let wanted = results.iter().any(|value| self.demanded[value.index()]);
        let (inst, chosen) = (self.inst, self.guards.is_chosen(self.inst.index()));
        if !wanted && data.is_removable() && (!chosen || self.swallowed[inst.index()]) {
            return;
        }
        let dst = results.first().map(|&value| Reg::Virtual(self.vreg(value)));
        let value_dst = || dst.expect("the instruction has a result");
        match *data {
            InstData::Const { .. } => {}
            InstData::Unary { op, arg } => self.lower_unary(op, arg, value_dst()),
            InstData::Binary { op, args } => self.lower_binary(op, args, value_dst()),
            InstData::Select { ty, cond, args } => {
                let on_true = self.reg(args[0]);
                let on_false = self.reg(args[1]);
                let test = self.test(cond, true);
                self.seq.push(MInst::Select {
                    test,
                    dst: value_dst(),
                    on_true,
                    on_false,
                    class: class_of(ty),
                    size: size_of_type(ty),
                });
            }
            InstData::FrameLoad { ty, slot } => self.seq.push(MInst::Load {
                op: load_of(ty),
                dst: value_dst(),
                mem: Mem {
                    base: Base::Frame,
                    index: None,
                    offset: slot.0,
                    traps: None,
                },
            }),
            InstData::MemoryBase => self.seq.push(MInst::Load {
                op: LoadOp::I64Load,
                dst: value_dst(),
                mem: Mem::context(offsets::MEMORY_BASE),
            }),
            InstData::BoundsCheck { .. } if chosen => {}
            InstData::BoundsCheck { index, end } => {
                if let Some(index) = self.constant(index) {
                    self.seq.push(MInst::BoundsCheckConst {
                        end: index.saturating_add(end),
                    });
                } else {
                    let index = self.reg(index);
                    self.seq.push(MInst::BoundsCheck { index, end });
                }
            }
            InstData::Load {
                op,
                base,
                index,
                offset,
            } => {
                let mem = self.mem(base, index, offset);
                let mem = self.guarded(inst, mem);
                self.seq.push(MInst::Load {
                    op,
                    dst: value_dst(),
                    mem,
                });
            }
            InstData::Store {
                op,
                base,
                index,
                offset,
                value,
            } => {
                let mem = self.mem(base, index, offset);
                let mem = self.guarded(inst, mem);
                self.lower_store(op, mem, value);
            }
            InstData::MemorySize => self.seq.push(MInst::MemorySize { dst: value_dst() }),
            InstData::MemoryGrow { pages } => {
                let pages = self.reg(pages);
                self.seq.push(MInst::MemoryGrow {
                    dst: value_dst(),
                    pages,
                });
            }
            InstData::Bulk { op, args } => {
                let numbers = match op {
                    BulkOp::Copy | BulkOp::Fill => Vec::new(),
                    BulkOp::Init(segment) => vec![segment.0],
                };
                let code = Some(TrapCode::MemoryOutOfBounds);
                self.call_runtime(op.helper(), numbers, &args, None, code);
            }
            InstData::DataDrop { segment } => {
                let numbers = vec![segment.0];
                self.call_runtime(offsets::HELPER_DATA_DROP, numbers, &[], None, None);
            }
            InstData::GlobalGet { ty, global } => {
                let mem = self.global(self.layout.globals[global.index()]);
                self.seq.push(MInst::Load {
                    op: load_of(ty),
                    dst: value_dst(),
                    mem,
                });
            }
            InstData::RefFunc { func } => {
                let offset = self.layout.func_refs[func.index()];
                self.seq.push(MInst::Lea {
                    size: Size::S64,
                    dst: value_dst(),
                    mem: Mem::context(offset.expect("validated: it is declared")),
                });
            }
            InstData::GlobalSet { global, value } => {
                let mem = self.global(self.layout.globals[global.index()]);
                let op = match self.ir.type_of(value) {
                    Type::I32 => StoreOp::I32Store,
                    Type::I64 | Type::FuncRef | Type::ExternRef | Type::Ptr => StoreOp::I64Store,
                    Type::F32 => StoreOp::F32Store,
                    Type::F64 => StoreOp::F64Store,
                };
                self.lower_store(op, mem, value);
            }
            InstData::TableCheck { table, index, code } => {
                let len = self.table(table).field(offsets::TABLE_LEN);
                if let Some(index) = self.constant(index) {
                    let index = u32::try_from(index).expect("an i32");
                    self.seq.push(MInst::TableCheckConst { index, len, code });
                } else {
                    let index = self.reg(index);
                    self.seq.push(MInst::TableCheck { index, len, code });
                }
            }
            InstData::TableLoad { table, index, .. } => {
                let mem = self.element(table, index);
                self.seq.push(MInst::Load {
                    op: LoadOp::I64Load,
                    dst: value_dst(),
                    mem,
                });
            }
            InstData::TableStore {
                table,
                index,
                value,
            } => {
                let mem = self.element(table, index);
                self.lower_store(StoreOp::I64Store, mem, value);
            }
            InstData::TableSize { table } => {
                let mem = self.table(table).field(offsets::TABLE_LEN);
                self.seq.push(MInst::Load {
                    op: LoadOp::I32Load,
                    dst: value_dst(),
                    mem,
                });
            }
            InstData::Table { op, ref args } => self.lower_table_op(op, args, results),
            InstData::FuncCheck { func, ty } => {
                let func = self.reg(func);
                let type_id = self.layout.type_ids[ty.index()];
                self.seq.push(MInst::FuncCheck { func, type_id });
            }
            InstData::Call {
                callee,
                ref ty,
                ref args,
                ref state,
            } => {
                let (site, live) = self.site(state, ty.results.clone());
                let uses = self.arguments(ty, args, Some(site));
                let mut defs = Vec::new();
                let mut loads = Vec::new();
                for (&value, place) in results.iter().zip(result_places(ty)) {
                    let dst = Reg::Virtual(self.vreg(value));
                    match place {
                        Place::Transfer(word) if self.demanded[value.index()] => {
                            loads.push(MInst::TransferLoad {
                                dst,
                                word,
                                class: class_of(self.ir.type_of(value)),
                            });
                        }
                        Place::Transfer(_) => {}
                        Place::Int(_) | Place::Float(_) => {
                            defs.extend(place_register(place, &INT_RESULTS).map(|at| (dst, at)));
                        }
                    }
                }
                let target = self.target(callee, Some(site));
                self.seq.push(MInst::Call {
                    target,
                    site,
                    uses,
                    defs,
                    live,
                });
                self.seq.append(&mut loads);
            }
            InstData::Checkpoint { ref state } => {
                let (site, live) = self.site(state, Box::default());
                self.seq.push(MInst::Checkpoint {
                    site,
                    live,
                    addresses: Vec::new(),
                });
            }
            InstData::Jump(_)
            | InstData::Branch { .. }
            | InstData::BranchTable { .. }
            | InstData::Return { .. }
            | InstData::TailCall { .. }
            | InstData::Trap { .. } => unreachable!("a terminator inside a block"),
        }
    }

    fn target(&mut self, callee: Callee, site: Option<u32>) -> Target {
        match callee {
            Callee::Defined(func) => Target::Defined(func),
            Callee::Imported(func) => Target::Imported(self.layout.import(func.0)),
            Callee::Reference(func) => Target::Reference(self.call_operand(func, site)),
        }
    }

    /// Stores arguments that travel through the transfer area and gives the registers of the others; what lives across the
    /// call needs a register of its own.
    fn arguments(&mut self, ty: &FuncType, args: &[Value], site: Option<u32>) -> Vec<(Reg, PReg)> {
        let places = param_places(ty);
        for ((&value, &place), &wasm) in args.iter().zip(&places).zip(ty.params.iter()) {
            if let Place::Transfer(word) = place {
                let src = self.reg(value);
                self.seq.push(MInst::TransferStore {
                    src,
                    word,
                    class: class_of_wasm(wasm),
                });
            }
        }
        let mut uses = Vec::new();
        for (&value, place) in args.iter().zip(places) {
            if let Some(at) = place_register(place, &INT_ARGS) {
                uses.push((self.call_operand(value, site), at));
            }
        }
        uses
    }

    /// An operand of a call in a register that the call may have.
    fn call_operand(&mut self, value: Value, site: Option<u32>) -> Reg {
        let resolved = self.resolve(value);
        let lives_on = site.is_some() && self.kept[resolved.index()] == site;
        if lives_on && self.constant(value).is_none() {
            self.copy(value)
        } else {
            self.reg(value)
        }
    }

    /// The descriptor of a table.
    fn table(&mut self, table: TableIndex) -> Descriptor {
        match self.layout.tables[table.index()] {
            TableSlot::Own(offset) => Descriptor::Context(offset),
            TableSlot::Imported(offset) => {
                let pointer = self.temp(RegClass::Int);
                self.seq.push(MInst::Load {
                    op: LoadOp::I64Load,
                    dst: pointer,
                    mem: Mem::context(offset),
                });
                Descriptor::At(pointer)
            }
        }
    }

    /// An element of a table.
    fn element(&mut self, table: TableIndex, index: Value) -> Mem {
        let mem = self.table(table).field(offsets::TABLE_ELEMENTS);
        let elements = self.temp(RegClass::Int);
        self.seq.push(MInst::Load {
            op: LoadOp::I64Load,
            dst: elements,
            mem,
        });
        let constant = self
            .constant(index)
            .and_then(|index| i32::try_from(8 * index).ok());
        match constant {
            Some(offset) => Mem {
                offset,
                ..Mem::at(elements)
            },
            None => Mem {
                index: Some((self.reg(index), 3)),
                ..Mem::at(elements)
            },
        }
    }

    fn lower_table_op(&mut self, op: TableOp, args: &[Value], results: &[Value]) {
        let out_of_bounds = Some(TrapCode::TableOutOfBounds);
        let (helper, numbers, code) = match op {
            TableOp::Grow(table) => (offsets::HELPER_TABLE_GROW, vec![table.0], None),
            TableOp::Fill(table) => (offsets::HELPER_TABLE_FILL, vec![table.0], out_of_bounds),
            TableOp::Copy { to, from } => (
                offsets::HELPER_TABLE_COPY,
                vec![to.0, from.0],
                out_of_bounds,
            ),
            TableOp::Init { table, segment } => (
                offsets::HELPER_TABLE_INIT,
                vec![table.0, segment.0],
                out_of_bounds,
            ),
            TableOp::DropSegment(segment) => (offsets::HELPER_ELEM_DROP, vec![segment.0], None),
        };
        let dst = results.first().map(|&value| Reg::Virtual(self.vreg(value)));
        self.call_runtime(helper, numbers, args, dst, code);
    }

    fn call_runtime(
        &mut self,
        helper: i32,
        numbers: Vec<u32>,
        args: &[Value],
        dst: Option<Reg>,
        code: Option<TrapCode>,
    ) {
        let first = 1 + numbers.len();
        let uses = args
            .iter()
            .zip(&HELPER_ARGS[first..])
            .map(|(&arg, &at)| (self.reg(arg), at))
            .collect();
        self.seq.push(MInst::Runtime {
            helper,
            numbers,
            uses,
            dst,
            code,
        });
    }

    /// Records a suspension point; gives its number and the registers its frame state keeps alive.
    fn site(&mut self, state: &FrameState, results: Box<[ValType]>) -> (u32, Vec<Reg>) {
        let mut live: Vec<Reg> = Vec::new();
        let mut values: Vec<Option<Value>> = Vec::new();
        let mut positions: HashMap<Value, u32> = HashMap::new();
        let number = u32::try_from(self.sites.len()).expect("sites fit 32 bits");
        let map = state
            .values
            .iter()
            .map(|&value| {
                if let Some(bits) = self.constant(value) {
                    return Source::Const(bits);
                }
                let value = self.resolve(value);
                let position = *positions.entry(value).or_insert_with(|| {
                    self.demanded[value.index()] = true;
                    self.kept[value.index()] = Some(number);
                    live.push(Reg::Virtual(VReg::new(
                        value.index(),
                        class_of(self.ir.type_of(value)),
                    )));
                    values.push(Some(value));
                    u32::try_from(live.len() - 1).expect("frame states fit 32 bits")
                });
                Source::Live(position)
            })
            .collect();
        self.sites.push(Site {
            layout: state.layout.clone(),
            results,
            map,
            values,
            block: self.here.0,
        });
        (number, live)
    }

    fn global(&mut self, slot: GlobalSlot) -> Mem {
        match slot {
            GlobalSlot::Own(offset) => Mem::context(offset),
            GlobalSlot::Imported(offset) => {
                let pointer = self.temp(RegClass::Int);
                self.seq.push(MInst::Load {
                    op: LoadOp::I64Load,
                    dst: pointer,
                    mem: Mem::context(offset),
                });
                Mem::at(pointer)
            }
        }
    }

    fn lower_store(&mut self, op: StoreOp, mem: Mem, value: Value) {
        let size = match op {
            StoreOp::I64Store | StoreOp::F64Store => Size::S64,
            _ => Size::S32,
        };
        if let Some(bits) = self.constant(value) {
            let op = match op {
                StoreOp::F32Store => StoreOp::I32Store,
                StoreOp::F64Store => StoreOp::I64Store,
                other => other,
            };
            let imm = match size {
                Size::S32 => u32::try_from(bits & 0xffff_ffff).ok().map(u32::cast_signed),
                Size::S64 => i32::try_from(bits.cast_signed()).ok(),
            };
            if let Some(imm) = imm {
                self.seq.push(MInst::StoreImm { op, mem, imm });
            } else {
                let src = self.constant_reg(Type::I64, bits);
                self.seq.push(MInst::Store { op, mem, src });
            }
            return;
        }
        let src = self.reg(value);
        self.seq.push(MInst::Store { op, mem, src });
    }

    fn lower_unary(&mut self, op: UnaryOp, arg: Value, dst: Reg) {
        match op {
            UnaryOp::I32Eqz | UnaryOp::I64Eqz => {
                let size = if op == UnaryOp::I64Eqz {
                    Size::S64
                } else {
                    Size::S32
                };
                let test = if size == Size::S32 {
                    self.test(arg, false)
                } else {
                    self.compare_with_zero(size, arg, Condition::Equal)
                };
                self.seq.push(MInst::SetCondition { test, dst });
            }
            UnaryOp::I64ExtendI32U => {
                // every use sees through it
                unreachable!("a free extension is never demanded");
            }
            UnaryOp::I64ExtendI32S => {
                if let Some(mem) = self.load_to_fuse(LoadOp::I32Load, arg) {
                    self.seq.push(MInst::Load {
                        op: LoadOp::I64Load32S,
                        dst,
                        mem,
                    });
                } else {
                    let src = self.reg(arg);
                    self.seq.push(MInst::Unary { op, dst, src });
                }
            }
            UnaryOp::I32WrapI64 => {
                if let Some(mem) = self.load_to_fuse(LoadOp::I64Load, arg) {
                    self.seq.push(MInst::Load {
                        op: LoadOp::I32Load,
                        dst,
                        mem,
                    });
                } else {
                    let src = self.reg(arg);
                    self.seq.push(MInst::Unary { op, dst, src });
                }
            }
            _ => {
                let src = self.reg(arg);
                self.seq.push(MInst::Unary { op, dst, src });
            }
        }
    }

    fn lower_binary(&mut self, op: BinaryOp, args: [Value; 2], dst: Reg) {
        use BinaryOp::*;
        match op {
            I32Add => self.lower_add(Size::S32, args, dst),
            I64Add => self.lower_add(Size::S64, args, dst),
            I32Sub => self.lower_sub(Size::S32, args, dst),
            I64Sub => self.lower_sub(Size::S64, args, dst),
            I32Mul => self.lower_mul(Size::S32, args, dst),
            I64Mul => self.lower_mul(Size::S64, args, dst),
            I64MulHighS | I64MulHighU => {
                let lhs = self.reg(args[0]);
                let rhs = self.reg(args[1]);
                let signed = op == I64MulHighS;
                self.seq.push(MInst::MulHigh {
                    signed,
                    dst,
                    lhs,
                    rhs,
                });
            }
            I32And => self.lower_alu(AluOp::And, Size::S32, args, dst),
            I64And => self.lower_alu(AluOp::And, Size::S64, args, dst),
            I32Or => self.lower_alu(AluOp::Or, Size::S32, args, dst),
            I64Or => self.lower_alu(AluOp::Or, Size::S64, args, dst),
            I32Xor => self.lower_xor(Size::S32, args, dst),
            I64Xor => self.lower_xor(Size::S64, args, dst),
            I32Shl => self.lower_shift(ShiftOp::Shl, Size::S32, args, dst),
            I32ShrS => self.lower_shift(ShiftOp::ShrS, Size::S32, args, dst),
            I32ShrU => self.lower_shift(ShiftOp::ShrU, Size::S32, args, dst),
            I32Rotl => self.lower_shift(ShiftOp::Rotl, Size::S32, args, dst),
            I32Rotr => self.lower_shift(ShiftOp::Rotr, Size::S32, args, dst),
            I64Shl => self.lower_shift(ShiftOp::Shl, Size::S64, args, dst),
            I64ShrS => self.lower_shift(ShiftOp::ShrS, Size::S64, args, dst),
            I64ShrU => self.lower_shift(ShiftOp::ShrU, Size::S64, args, dst),
            I64Rotl => self.lower_shift(ShiftOp::Rotl, Size::S64, args, dst),
            I64Rotr => self.lower_shift(ShiftOp::Rotr, Size::S64, args, dst),
            I32DivS => self.lower_divide(true, false, Size::S32, args, dst),
            I32DivU => self.lower_divide(false, false, Size::S32, args, dst),
            I32RemS => self.lower_divide(true, true, Size::S32, args, dst),
            I32RemU => self.lower_divide(false, true, Size::S32, args, dst),
            I64DivS => self.lower_divide(true, false, Size::S64, args, dst),
            I64DivU => self.lower_divide(false, false, Size::S64, args, dst),
            I64RemS => self.lower_divide(true, true, Size::S64, args, dst),
            I64RemU => self.lower_divide(false, true, Size::S64, args, dst),
            F32Add => self.lower_float(FloatOp::Add, Size::S32, args, dst),
            F32Sub => self.lower_float(FloatOp::Sub, Size::S32, args, dst),
            F32Mul => self.lower_float(FloatOp::Mul, Size::S32, args, dst),
            F32Div => self.lower_float(FloatOp::Div, Size::S32, args, dst),
            F64Add => self.lower_float(FloatOp::Add, Size::S64, args, dst),
            F64Sub => self.lower_float(FloatOp::Sub, Size::S64, args, dst),
            F64Mul => self.lower_float(FloatOp::Mul, Size::S64, args, dst),
            F64Div => self.lower_float(FloatOp::Div, Size::S64, args, dst),
            F32Min | F32Max | F32Copysign | F64Min | F64Max | F64Copysign => {
                let lhs = self.reg(args[0]);
                let rhs = self.distinct_rhs(args);
                self.seq.push(MInst::FloatBinary { op, dst, lhs, rhs });
            }
            _ => {
                let test = self
                    .comparison(op, args, true)
                    .expect("what is left are comparisons");
                self.seq.push(MInst::SetCondition { test, dst });
            }
        }
    }

    /// The second operand, in a register that is not the first operand's.
    fn distinct_rhs(&mut self, [lhs, rhs]: [Value; 2]) -> Reg {
        if self.constant(rhs).is_none() && self.resolve(lhs) == self.resolve(rhs) {
            self.copy(rhs)
        } else {
            self.reg(rhs)
        }
    }

    fn lower_add(&mut self, size: Size, args: [Value; 2], dst: Reg) {
        let [lhs, rhs] = self.constant_last(args);
        if let Some(imm) = self.immediate(size, rhs) {
            let lhs = self.reg(lhs);
            self.seq.push(MInst::AddImm {
                size,
                dst,
                lhs,
                imm,
            });
            return;
        }
        // base + index << 1..3, one of them made for this only
        for [base, index] in [[lhs, rhs], [rhs, lhs]] {
            if let Some((_, &InstData::Binary { op, args })) = self.only_here(index)
                && op
                    == match size {
                        Size::S32 => BinaryOp::I32Shl,
                        Size::S64 => BinaryOp::I64Shl,
                    }
                && let Some(scale @ 1..=3) = self.constant(args[1])
                && let Ok(scale) = u8::try_from(scale)
            {
                let base = self.reg(base);
                let index = self.reg(args[0]);
                self.seq.push(MInst::Lea {
                    size,
                    dst,
                    mem: Mem {
                        base: Base::Reg(base),
                        index: Some((index, scale)),
                        offset: 0,
                        traps: None,
                    },
                });
                return;
            }
        }
        for [lhs, rhs] in [[lhs, rhs], [rhs, lhs]] {
            let load = match size {
                Size::S32 => LoadOp::I32Load,
                Size::S64 => LoadOp::I64Load,
            };
            if let Some(mem) = self.load_to_fuse(load, rhs) {
                let lhs = self.reg(lhs);
                self.seq.push(MInst::Alu {
                    op: AluOp::Add,
                    size,
                    dst,
                    lhs,
                    rhs: Rhs::Mem(mem),
                });
                return;
            }
        }
        let lhs = self.reg(lhs);
        let rhs = self.reg(rhs);
        self.seq.push(MInst::Add {
            size,
            dst,
            lhs,
            rhs,
        });
    }

    fn lower_sub(&mut self, size: Size, args: [Value; 2], dst: Reg) {
        if let Some(imm) = self.immediate(size, args[1])
            && let Some(imm) = imm.checked_neg()
        {
            let lhs = self.reg(args[0]);
            self.seq.push(MInst::AddImm {
                size,
                dst,
                lhs,
                imm,
            });
        } else if self.constant(args[0]) == Some(0) {
            let src = self.reg(args[1]);
            self.seq.push(MInst::AluUnary {
                op: AluUnaryOp::Neg,
                size,
                dst,
                src,
            });
        } else {
            let lhs = self.reg(args[0]);
            let rhs = self.rhs(size, args[1]);
            self.seq.push(MInst::Alu {
                op: AluOp::Sub,
                size,
                dst,
                lhs,
                rhs,
            });
        }
    }

    fn lower_mul(&mut self, size: Size, args: [Value; 2], dst: Reg) {
        let args = self.constant_last(args);
        let Some(imm) = self.immediate(size, args[1]) else {
            self.lower_alu(AluOp::Mul, size, args, dst);
            return;
        };
        let scale = match imm {
            3 => 1,
            5 => 2,
            9 => 3,
            _ => 0,
        };
        if scale != 0 {
            let src = self.reg(args[0]);
            self.seq.push(MInst::Lea {
                size,
                dst,
                mem: Mem {
                    base: Base::Reg(src),
                    index: Some((src, scale)),
                    offset: 0,
                    traps: None,
                },
            });
        } else if imm > 0 && imm.count_ones() == 1 {
            let src = self.reg(args[0]);
            self.seq.push(MInst::ShiftImm {
                op: ShiftOp::Shl,
                size,
                dst,
                src,
                amount: u8::try_from(imm.trailing_zeros()).expect("fewer than 32"),
            });
        } else {
            let lhs = Rhs::Reg(self.reg(args[0]));
            self.seq.push(MInst::MulImm {
                size,
                dst,
                lhs,
                imm,
            });
        }
    }

    fn lower_xor(&mut self, size: Size, args: [Value; 2], dst: Reg) {
        let args = self.constant_last(args);
        if self.immediate(size, args[1]) == Some(-1) {
            let src = self.reg(args[0]);
            self.seq.push(MInst::AluUnary {
                op: AluUnaryOp::Not,
                size,
                dst,
                src,
            });
        } else {
            self.lower_alu(AluOp::Xor, size, args, dst);
        }
    }

    fn lower_alu(&mut self, op: AluOp, size: Size, args: [Value; 2], dst: Reg) {
        let [mut lhs, mut rhs] = self.constant_last(args);
        // all of them commute: swallow the load, whichever side it is on
        if self.constant(rhs).is_none()
            && matches!(self.only_here(lhs), Some((_, InstData::Load { .. })))
            && !matches!(self.only_here(rhs), Some((_, InstData::Load { .. })))
        {
            std::mem::swap(&mut lhs, &mut rhs);
        }
        let lhs = self.reg(lhs);
        let rhs = self.rhs(size, rhs);
        self.seq.push(MInst::Alu {
            op,
            size,
            dst,
            lhs,
            rhs,
        });
    }

    fn lower_shift(&mut self, op: ShiftOp, size: Size, args: [Value; 2], dst: Reg) {
        if let Some(amount) = self.constant(args[1]) {
            let mask = match size {
                Size::S32 => 31,
                Size::S64 => 63,
            };
            let src = self.reg(args[0]);
            self.seq.push(MInst::ShiftImm {
                op,
                size,
                dst,
                src,
                amount: u8::try_from(amount & mask).expect("masked"),
            });
        } else {
            let src = self.reg(args[0]);
            let amount = self.distinct_rhs(args);
            self.seq.push(MInst::Shift {
                op,
                size,
                dst,
                src,
                amount,
            });
        }
    }

    fn lower_divide(
        &mut self,
        signed: bool,
        remainder: bool,
        size: Size,
        args: [Value; 2],
        dst: Reg,
    ) {
        let divisor = self.constant(args[1]).map(|bits| match (size, signed) {
            (Size::S32, true) => i128::from(u32::try_from(bits).expect("an i32").cast_signed()),
            (Size::S64, true) => i128::from(bits.cast_signed()),
            (_, false) => i128::from(bits),
        });
        if let Some(divisor) = divisor
            && !signed
            && divisor.count_ones() == 1
        {
            let src = self.reg(args[0]);
            let shift = u8::try_from(divisor.trailing_zeros()).expect("fewer than 64");
            let inst = if !remainder {
                MInst::ShiftImm {
                    op: ShiftOp::ShrU,
                    size,
                    dst,
                    src,
                    amount: shift,
                }
            } else if shift <= 31 {
                // at most 31 ones: positive as a sign-extended immediate
                MInst::Alu {
                    op: AluOp::And,
                    size,
                    dst,
                    lhs: src,
                    rhs: Rhs::Imm(i32::try_from(divisor - 1).expect("at most 31 bits")),
                }
            } else {
                let mask = self.constant_reg(
                    Type::I64,
                    u64::try_from(divisor - 1).expect("at most 63 bits"),
                );
                MInst::Alu {
                    op: AluOp::And,
                    size,
                    dst,
                    lhs: src,
                    rhs: Rhs::Reg(mask),
                }
            };
            self.seq.push(inst);
            return;
        }
        let lhs = self.reg(args[0]);
        let rhs = self.distinct_rhs(args);
        self.seq.push(MInst::Divide {
            signed,
            remainder,
            size,
            dst,
            lhs,
            rhs,
            zero: divisor.is_none_or(|divisor| divisor == 0),
            overflow: signed && divisor.is_none_or(|divisor| divisor == -1),
        });
    }

    fn lower_float(&mut self, op: FloatOp, size: Size, args: [Value; 2], dst: Reg) {
        let lhs = self.reg(args[0]);
        let rhs = self.float_rhs(size, args[1]);
        self.seq.push(MInst::Float {
            op,
            size,
            dst,
            lhs,
            rhs,
        });
    }
}

fn size_of_type(ty: Type) -> Size {
    match ty {
        Type::I32 | Type::F32 => Size::S32,
        Type::I64 | Type::F64 | Type::FuncRef | Type::ExternRef | Type::Ptr => Size::S64,
    }
}

fn load_of(ty: Type) -> LoadOp {
    match ty {
        Type::I32 => LoadOp::I32Load,
        Type::I64 | Type::FuncRef | Type::ExternRef | Type::Ptr => LoadOp::I64Load,
        Type::F32 => LoadOp::F32Load,
        Type::F64 => LoadOp::F64Load,
    }
}

/// Whether loads behind the instruction may see something else than loads before it.
fn changes_loads(data: &InstData) -> bool {
    data.begins_epoch() || data.writes_memory() || matches!(data, InstData::GlobalSet { .. })
}

#[rustfmt::skip]
fn integer_condition(op: BinaryOp) -> Option<(Size, Condition)> {
    use BinaryOp::*;
    Some(match op {
        I32Eq => (Size::S32, Condition::Equal),
        I32Ne => (Size::S32, Condition::NotEqual),
        I32LtS => (Size::S32, Condition::LessSigned),
        I32LtU => (Size::S32, Condition::LessUnsigned),
        I32GtS => (Size::S32, Condition::GreaterSigned),
        I32GtU => (Size::S32, Condition::GreaterUnsigned),
        I32LeS => (Size::S32, Condition::LessEqualSigned),
        I32LeU => (Size::S32, Condition::LessEqualUnsigned),
        I32GeS => (Size::S32, Condition::GreaterEqualSigned),
        I32GeU => (Size::S32, Condition::GreaterEqualUnsigned),
        I64Eq => (Size::S64, Condition::Equal),
        I64Ne => (Size::S64, Condition::NotEqual),
        I64LtS => (Size::S64, Condition::LessSigned),
        I64LtU => (Size::S64, Condition::LessUnsigned),
        I64GtS => (Size::S64, Condition::GreaterSigned),
        I64GtU => (Size::S64, Condition::GreaterUnsigned),
        I64LeS => (Size::S64, Condition::LessEqualSigned),
        I64LeU => (Size::S64, Condition::LessEqualUnsigned),
        I64GeS => (Size::S64, Condition::GreaterEqualSigned),
        I64GeU => (Size::S64, Condition::GreaterEqualUnsigned),
        _ => return None,
    })
}

/// Condition of a float comparison, and whether its operands are exchanged.
#[rustfmt::skip]
fn float_condition(op: BinaryOp) -> Option<(Size, FloatCondition, bool)> {
    use BinaryOp::*;
    Some(match op {
        F32Eq => (Size::S32, FloatCondition::Equal, false),
        F32Ne => (Size::S32, FloatCondition::NotEqual, false),
        F32Lt => (Size::S32, FloatCondition::Greater, true),
        F32Gt => (Size::S32, FloatCondition::Greater, false),
        F32Le => (Size::S32, FloatCondition::GreaterEqual, true),
        F32Ge => (Size::S32, FloatCondition::GreaterEqual, false),
        F64Eq => (Size::S64, FloatCondition::Equal, false),
        F64Ne => (Size::S64, FloatCondition::NotEqual, false),
        F64Lt => (Size::S64, FloatCondition::Greater, true),
        F64Gt => (Size::S64, FloatCondition::Greater, false),
        F64Le => (Size::S64, FloatCondition::GreaterEqual, true),
        F64Ge => (Size::S64, FloatCondition::GreaterEqual, false),
        _ => return None,
    })
}
