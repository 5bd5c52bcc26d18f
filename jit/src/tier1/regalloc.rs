//! Our side of regalloc2: operands, clobbers, edges, and the values that live across each site.
//!
//! The allocator is told of a value that lives across a call by a late use that may lie anywhere. With every register
//! clobbered, the answer is a spill slot: the copy list of the suspension.

use super::minst::{MInst, Mem, Reg};
use crate::{
    error::NotOptimized, ir::value::LoadOp, options::CompileOptions, runtime::context::offsets,
    wasm::types::WasmOffset,
};
use regalloc2::{
    Algorithm, Allocation, Block, Edit, Function, Inst, InstRange, MachineEnv, Operand,
    OperandKind, Output, PReg, PRegSet, ProgPoint, RegClass, RegallocOptions, SpillSlot, VReg,
    checker::Checker,
};
use std::collections::HashMap;

/// `rax`: first integer result, quotients.
pub(crate) const RAX: PReg = PReg::new(0, RegClass::Int);
/// `rcx`: shift amounts.
pub(crate) const RCX: PReg = PReg::new(1, RegClass::Int);
/// `rdx`: second integer result, remainders.
pub(crate) const RDX: PReg = PReg::new(2, RegClass::Int);
/// `rsi`: second argument of helpers.
pub(crate) const RSI: PReg = PReg::new(6, RegClass::Int);
/// `r10`: the environment of an imported function.
pub(crate) const ENVIRONMENT: PReg = PReg::new(10, RegClass::Int);
/// `rax`: the result of helpers.
pub(crate) const HELPER_RESULT: PReg = PReg::new(0, RegClass::Int);
/// Arguments of helpers.
pub(crate) const HELPER_ARGS: [PReg; 6] = [
    PReg::new(7, RegClass::Int),
    RSI,
    RDX,
    RCX,
    PReg::new(8, RegClass::Int),
    PReg::new(9, RegClass::Int),
];
/// Integer registers that are never allocated: stack, frame, scratch, context.
const RESERVED: [usize; 4] = [4, 5, 11, 15];
/// The integer scratch register, `r11`.
const INT_SCRATCH: PReg = PReg::new(11, RegClass::Int);
/// The float scratch register, `xmm15`.
const FLOAT_SCRATCH: PReg = PReg::new(15, RegClass::Float);

/// Bound on the operands of all sites together: frame states of huge functions at many calls.
const MAX_LIVE_OPERANDS: usize = 4_000_000;

/// Bound on the sum, over all blocks with very many parameters, of the square of their number. The allocator takes time in
/// proportion to it where the values a loop carries do not fit into registers: about a second at this bound.
const MAX_CARRIED: usize = 10_000_000;

/// So many parameters of a block are not very many.
const USUAL_PARAMS: usize = 100;

/// Every register the allocator may hand out.
pub(crate) fn allocatable() -> PRegSet {
    let mut all = PRegSet::empty();
    for n in (0..16).filter(|n| !RESERVED.contains(n)) {
        all.add(PReg::new(n, RegClass::Int));
    }
    for n in 0..15 {
        all.add(PReg::new(n, RegClass::Float));
    }
    all
}

/// A block of machine instructions.
#[derive(Clone, Debug, Default)]
pub(crate) struct MBlock {
    /// Its instructions, the terminator last.
    pub(crate) insts: Vec<(MInst, WasmOffset)>,
    /// Its parameters.
    pub(crate) params: Vec<VReg>,
    /// Where its terminator goes, and with which arguments.
    pub(crate) succs: Vec<Block>,
    pub(crate) args: Vec<Vec<VReg>>,
    /// Rarely run: laid out of line.
    pub(crate) cold: bool,
}

/// A function of machine instructions.
#[derive(Debug, Default)]
pub(crate) struct MFunction {
    pub(crate) blocks: Vec<MBlock>,
    pub(crate) vregs: usize,
    /// By virtual register: whether it holds the memory's address. Those that lowering made up, at the end, do not.
    pub(crate) addresses: Vec<bool>,
}

/// What the allocator reads.
struct Input {
    insts: Vec<(MInst, WasmOffset)>,
    operands: Vec<Operand>,
    operand_starts: Vec<usize>,
    ranges: Vec<InstRange>,
    succs: Vec<Vec<Block>>,
    preds: Vec<Vec<Block>>,
    params: Vec<Vec<VReg>>,
    args: Vec<Vec<Vec<VReg>>>,
    vregs: usize,
}

impl Function for Input {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.ranges.len()
    }

    fn entry_block(&self) -> Block {
        Block::new(0)
    }

    fn block_insns(&self, block: Block) -> InstRange {
        self.ranges[block.index()]
    }

    fn block_succs(&self, block: Block) -> &[Block] {
        &self.succs[block.index()]
    }

    fn block_preds(&self, block: Block) -> &[Block] {
        &self.preds[block.index()]
    }

    fn block_params(&self, block: Block) -> &[VReg] {
        &self.params[block.index()]
    }

    fn is_ret(&self, inst: Inst) -> bool {
        matches!(
            self.insts[inst.index()].0,
            MInst::Return { .. } | MInst::TailCall { .. } | MInst::Trap { .. }
        )
    }

    fn is_branch(&self, inst: Inst) -> bool {
        matches!(
            self.insts[inst.index()].0,
            MInst::Jump | MInst::Branch { .. } | MInst::Table { .. }
        )
    }

    fn branch_blockparams(&self, block: Block, _: Inst, successor: usize) -> &[VReg] {
        &self.args[block.index()][successor]
    }

    fn inst_operands(&self, inst: Inst) -> &[Operand] {
        let i = inst.index();
        &self.operands[self.operand_starts[i]..self.operand_starts[i + 1]]
    }

    fn inst_clobbers(&self, inst: Inst) -> PRegSet {
        self.insts[inst.index()].0.clobbers()
    }

    fn num_vregs(&self) -> usize {
        self.vregs
    }

    fn spillslot_size(&self, _: RegClass) -> usize {
        1
    }
}

/// A function with its registers allocated.
#[derive(Debug)]
pub(crate) struct Allocated {
    /// Instructions of all blocks.
    pub(crate) insts: Vec<(MInst, WasmOffset)>,
    /// Which of them belong to each block.
    pub(crate) ranges: Vec<InstRange>,
    pub(crate) succs: Vec<Vec<Block>>,
    pub(crate) cold: Vec<bool>,
    /// Moves between instructions, by rising position.
    pub(crate) edits: Vec<(ProgPoint, Edit)>,
    /// Spill slots in use.
    pub(crate) spill_slots: usize,
    /// By number of a call: the places that are alive behind it and behind all moves there.
    alive_behind: HashMap<usize, Vec<u64>>,
}

impl Allocated {
    /// Whether what a slot holds is read behind a call and the moves there, before it is written.
    pub(crate) fn is_alive_behind(&self, call: Inst, slot: Allocation) -> bool {
        let n = place_number(slot);
        let alive = self.alive_behind.get(&call.index());
        alive.is_none_or(|set| set[n / 64] >> (n % 64) & 1 != 0)
    }

    /// For dumps: blocks in order, instructions with the moves before them.
    pub(crate) fn text(&self) -> String {
        use std::fmt::Write as _;
        let mut text = String::new();
        let mut edits = self.edits.iter().peekable();
        for (block, range) in self.ranges.iter().enumerate() {
            let cold = if self.cold[block] { " (cold)" } else { "" };
            let _ = writeln!(text, "block{block}{cold}:");
            for inst in range.iter() {
                while let Some((_, edit)) = edits.next_if(|(point, _)| {
                    point.inst().index() < inst.index() || *point == ProgPoint::before(inst)
                }) {
                    let Edit::Move { from, to } = edit;
                    let _ = writeln!(text, "    {to} = {from}");
                }
                let (data, offset) = &self.insts[inst.index()];
                let _ = writeln!(text, "  {data:?} {offset}");
            }
        }
        text
    }
}

/// The virtual registers an instruction reads (`defs` false) or writes.
fn each_virtual(inst: &mut MInst, kind: OperandKind, mut each: impl FnMut(VReg)) {
    inst.visit_operands(&mut |reg, _, this, _| {
        if this == kind
            && let Reg::Virtual(vreg) = *reg
        {
            each(vreg);
        }
    });
}

/// Adds to every site the values that live across it but are not in its frame state.
///
/// # Errors
/// If there are absurdly many.
pub(crate) fn add_live_across(
    function: &mut MFunction,
    mut found: impl FnMut(u32, VReg),
) -> Result<(), NotOptimized> {
    let has_sites = function
        .blocks
        .iter()
        .flat_map(|block| &block.insts)
        .any(|(inst, _)| matches!(inst, MInst::Call { .. } | MInst::Checkpoint { .. }));
    if !has_sites {
        return Ok(());
    }
    let live_out = compute_live_out(function)?;
    let is_address = std::mem::take(&mut function.addresses);
    let mut live = SparseSet::new(function.vregs);
    let mut budget = MAX_LIVE_OPERANDS;
    for (block, out) in function.blocks.iter_mut().zip(&live_out) {
        live.clear();
        out.iter().for_each(|&vreg| live.insert(vreg));
        for arg in block.args.iter().flatten() {
            live.insert(*arg);
        }
        for (inst, _) in block.insts.iter_mut().rev() {
            each_virtual(inst, OperandKind::Def, |vreg| live.remove(vreg));
            let at_checkpoint = matches!(inst, MInst::Checkpoint { .. });
            if let MInst::Call {
                site, live: list, ..
            }
            | MInst::Checkpoint {
                site, live: list, ..
            } = inst
            {
                let known: Vec<VReg> = list
                    .iter()
                    .filter_map(|reg| match *reg {
                        Reg::Virtual(vreg) => Some(vreg),
                        Reg::At(_) => None,
                    })
                    .collect();
                known.iter().for_each(|&vreg| live.remove(vreg));
                let mut made_anew = Vec::new();
                for &vreg in live.members() {
                    if at_checkpoint && is_address.get(vreg.vreg()) == Some(&true) {
                        made_anew.push(Reg::Virtual(vreg));
                    } else {
                        list.push(Reg::Virtual(vreg));
                        found(*site, vreg);
                    }
                }
                budget = budget
                    .checked_sub(list.len())
                    .ok_or(NotOptimized::TooLarge)?;
                if let MInst::Checkpoint { addresses, .. } = inst {
                    *addresses = made_anew;
                }
            }
            each_virtual(inst, OperandKind::Use, |vreg| live.insert(vreg));
        }
    }
    Ok(())
}

/// The virtual registers alive at the end of each block, without arguments of its jumps.
fn compute_live_out(function: &mut MFunction) -> Result<Vec<Vec<VReg>>, NotOptimized> {
    let blocks = function.blocks.len();
    let mut def_block = vec![u32::MAX; function.vregs];
    let mut uses: Vec<(VReg, u32)> = Vec::new();
    let mut preds: Vec<Vec<u32>> = vec![Vec::new(); blocks];
    for (block, number) in function.blocks.iter_mut().zip(0..) {
        for &param in &block.params {
            def_block[param.vreg()] = number;
        }
        for (inst, _) in &mut block.insts {
            each_virtual(inst, OperandKind::Use, |vreg| uses.push((vreg, number)));
            each_virtual(inst, OperandKind::Def, |vreg| {
                def_block[vreg.vreg()] = number;
            });
        }
        uses.extend(block.args.iter().flatten().map(|&arg| (arg, number)));
        for succ in &block.succs {
            preds[succ.index()].push(number);
        }
    }
    uses.sort_unstable();
    uses.dedup();
    let mut live_out: Vec<Vec<VReg>> = vec![Vec::new(); blocks];
    // which register was last found to be alive into, and out of, a block
    let mut seen_in = vec![usize::MAX; blocks];
    let mut seen_out = vec![usize::MAX; blocks];
    let mut budget = MAX_LIVE_OPERANDS;
    let mut work = Vec::new();
    for (vreg, block) in uses {
        let id = vreg.vreg();
        if def_block[id] == block {
            continue;
        }
        work.push(block);
        while let Some(block) = work.pop() {
            let block = block as usize;
            if seen_in[block] == id {
                continue;
            }
            seen_in[block] = id;
            for &pred in &preds[block] {
                if seen_out[pred as usize] != id {
                    seen_out[pred as usize] = id;
                    live_out[pred as usize].push(vreg);
                    budget = budget.checked_sub(1).ok_or(NotOptimized::TooLarge)?;
                    if def_block[id] != pred {
                        work.push(pred);
                    }
                }
            }
        }
    }
    Ok(live_out)
}

/// A set of virtual registers: constant time to change, listed without order.
struct SparseSet {
    members: Vec<VReg>,
    position: Vec<u32>,
}

impl SparseSet {
    fn new(size: usize) -> Self {
        Self {
            members: Vec::new(),
            position: vec![u32::MAX; size],
        }
    }

    fn members(&self) -> &[VReg] {
        &self.members
    }

    fn insert(&mut self, vreg: VReg) {
        let position = &mut self.position[vreg.vreg()];
        if *position == u32::MAX {
            *position = u32::try_from(self.members.len()).expect("virtual registers fit 32 bits");
            self.members.push(vreg);
        }
    }

    fn remove(&mut self, vreg: VReg) {
        let position = std::mem::replace(&mut self.position[vreg.vreg()], u32::MAX);
        if position != u32::MAX {
            self.members.swap_remove(position as usize);
            if let Some(moved) = self.members.get(position as usize) {
                self.position[moved.vreg()] = position;
            }
        }
    }

    fn clear(&mut self) {
        for vreg in self.members.drain(..) {
            self.position[vreg.vreg()] = u32::MAX;
        }
    }
}

/// Numbers for the allocator: block parameters come last. For each block that a register lives into, it looks through the
/// parameters with smaller numbers, which takes quadratic time if there are many loops.
fn parameters_last(function: &MFunction) -> Vec<u32> {
    let mut is_parameter = vec![false; function.vregs];
    let parameters = function.blocks.iter().flat_map(|block| &block.params);
    parameters.for_each(|vreg| is_parameter[vreg.vreg()] = true);
    let mut numbers = vec![0; function.vregs];
    let mut next = 0;
    for last in [false, true] {
        for (number, &is_parameter) in numbers.iter_mut().zip(&is_parameter) {
            if is_parameter == last {
                *number = next;
                next += 1;
            }
        }
    }
    numbers
}

/// Allocates registers.
///
/// # Errors
/// If the allocator gives up.
///
/// # Panics
/// If its checker finds fault with its answer.
pub(crate) fn allocate(
    function: MFunction,
    options: &CompileOptions,
) -> Result<Allocated, NotOptimized> {
    let params = function.blocks.iter().map(|block| block.params.len());
    let carried = params
        .filter(|&n| n > USUAL_PARAMS)
        .fold(0_usize, |sum, n| sum.saturating_add(n.saturating_mul(n)));
    if carried > MAX_CARRIED {
        return Err(NotOptimized::TooLarge);
    }
    let mut input = Input {
        insts: Vec::new(),
        operands: Vec::new(),
        operand_starts: vec![0],
        ranges: Vec::new(),
        succs: Vec::new(),
        preds: vec![Vec::new(); function.blocks.len()],
        params: Vec::new(),
        args: Vec::new(),
        vregs: function.vregs,
    };
    let mut cold = Vec::new();
    let numbers = parameters_last(&function);
    let renumbered = |vreg: VReg| VReg::new(numbers[vreg.vreg()] as usize, vreg.class());
    for (number, block) in function.blocks.into_iter().enumerate() {
        let start = input.insts.len();
        for (mut inst, offset) in block.insts {
            inst.visit_operands(&mut |reg, constraint, kind, pos| {
                if let Reg::Virtual(vreg) = *reg {
                    input
                        .operands
                        .push(Operand::new(renumbered(vreg), constraint, kind, pos));
                }
            });
            input.operand_starts.push(input.operands.len());
            input.insts.push((inst, offset));
        }
        let range = InstRange::new(Inst::new(start), Inst::new(input.insts.len()));
        input.ranges.push(range);
        for succ in &block.succs {
            input.preds[succ.index()].push(Block::new(number));
        }
        input.succs.push(block.succs);
        let all = |vregs: Vec<VReg>| vregs.into_iter().map(renumbered).collect();
        input.params.push(all(block.params));
        input.args.push(block.args.into_iter().map(all).collect());
        cold.push(block.cold);
    }
    let env = machine_env();
    let settings = RegallocOptions {
        verbose_log: false,
        validate_ssa: options.checkers,
        algorithm: Algorithm::Ion,
    };
    let output = match regalloc2::run(&input, &env, &settings) {
        Ok(output) => output,
        Err(
            error @ (regalloc2::RegAllocError::TooManyLiveRegs
            | regalloc2::RegAllocError::TooManyOperands),
        ) => {
            let _ = error;
            return Err(NotOptimized::RegisterAllocation);
        }
        Err(error) => panic!("the allocator refuses malformed machine code: {error:?}"),
    };
    if options.checkers {
        let mut checker = Checker::new(&input, &env);
        checker.prepare(&output);
        if let Err(errors) = checker.run() {
            panic!("the allocator's checker found: {errors:?}");
        }
    }
    let Output {
        num_spillslots,
        edits,
        allocs,
        inst_alloc_offsets,
        ..
    } = output;
    for (inst, &start) in input.insts.iter_mut().zip(&inst_alloc_offsets) {
        let mut next = start as usize;
        inst.0.visit_operands(&mut |reg, _, _, _| {
            *reg = Reg::At(allocs[next]);
            next += 1;
        });
    }
    let mut allocated = Allocated {
        insts: input.insts,
        ranges: input.ranges,
        succs: input.succs,
        cold,
        edits,
        spill_slots: num_spillslots,
        alive_behind: HashMap::new(),
    };
    hoist_reloads(&mut allocated);
    add_second_places(&mut allocated)?;
    Ok(allocated)
}

/// So many instructions behind a call are looked at for reloads.
const HOISTED_OVER: usize = 16;

/// Moves reloads that come a little behind a call up to it, where a resumption can load the registers from the continuation
/// at once.
///
/// ```text
/// before                          after
///   call ...                        call ...
///                                   rdx = slot3
///   rcx = rcx + 1                   rcx = rcx + 1
///   rdx = slot3
///   cmp rcx, rdx                    cmp rcx, rdx
/// ```
fn hoist_reloads(allocated: &mut Allocated) {
    let mut hoisted = false;
    for block in 0..allocated.ranges.len() {
        let range = allocated.ranges[block];
        for call in range.iter() {
            if matches!(allocated.insts[call.index()].0, MInst::Call { .. }) {
                hoisted |= hoist_to(allocated, call, range.last());
            }
        }
    }
    if hoisted {
        // those that were there before stay in front
        allocated.edits.sort_by_key(|&(point, _)| point);
    }
}

/// Moves what can be moved up to behind this call, from before or at `last`.
fn hoist_to(allocated: &mut Allocated, call: Inst, last: Inst) -> bool {
    let up = ProgPoint::before(call.next());
    // the scratch registers are lost between instructions
    let mut touched = vec![Allocation::reg(INT_SCRATCH), Allocation::reg(FLOAT_SCRATCH)];
    let mut hoisted = false;
    let mut edit = allocated.edits.partition_point(|(at, _)| *at <= up);
    // what is done there is done before what is moved there
    let there = allocated.edits[..edit].iter().rev();
    for (_, Edit::Move { from, to }) in there.take_while(|(at, _)| at.inst() >= call) {
        touched.extend([*from, *to]);
    }
    let end = last.index().min(call.index() + HOISTED_OVER);
    for number in call.index() + 1..=end {
        let inst = &mut allocated.insts[number].0;
        if matches!(inst, MInst::Call { .. } | MInst::Checkpoint { .. }) {
            break;
        }
        each_place(inst, OperandKind::Use, |place| touched.push(place));
        each_place(inst, OperandKind::Def, |place| touched.push(place));
        touched.extend(inst.clobbers().into_iter().map(Allocation::reg));
        let behind = ProgPoint::before(Inst::new(number + 1));
        if number == end {
            break;
        }
        while let Some((at, Edit::Move { from, to })) = allocated.edits.get_mut(edit)
            && *at <= behind
        {
            edit += 1;
            let (from, to) = (*from, *to);
            if from.is_stack() && to.is_reg() && !touched.contains(&from) && !touched.contains(&to)
            {
                *at = up;
                hoisted = true;
            }
            touched.extend([from, to]);
        }
    }
    hoisted
}

/// A value may be alive in two places at once, and the allocator names one of them at a site. The others are alive across
/// it just as well: this adds them.
fn add_second_places(allocated: &mut Allocated) -> Result<(), NotOptimized> {
    let blocks = allocated.ranges.len();
    let words = (32 + allocated.spill_slots).div_ceil(64);
    let has_sites = allocated
        .insts
        .iter()
        .any(|(inst, _)| matches!(inst, MInst::Call { .. } | MInst::Checkpoint { .. }));
    if !has_sites {
        return Ok(());
    }
    if blocks.saturating_mul(words) > MAX_LIVE_OPERANDS {
        return Err(NotOptimized::TooLarge);
    }
    let mut live_in = vec![vec![0_u64; words]; blocks];
    let mut changed = true;
    while changed {
        changed = false;
        for block in (0..blocks).rev() {
            let live = live_before_block(allocated, block, &live_in, |_, _, _| {}, |_, _, _| {});
            if live != live_in[block] {
                live_in[block] = live;
                changed = true;
            }
        }
    }
    let addresses = places_of_addresses(allocated, words);
    let mut budget = MAX_LIVE_OPERANDS;
    let mut alive_behind = HashMap::new();
    for block in 0..blocks {
        let mut failed = false;
        let at_inst = |number: Inst, inst: &mut MInst, live: &[u64]| {
            let none = Vec::new();
            let set = addresses.get(&number.index()).unwrap_or(&none);
            let is_address = |place| {
                let n = place_number(place);
                set.get(n / 64)
                    .is_some_and(|word| word >> (n % 64) & 1 != 0)
            };
            if let MInst::Checkpoint {
                addresses: list, ..
            } = inst
            {
                for place in places(live) {
                    if is_address(place) && !list.contains(&Reg::At(place)) {
                        list.push(Reg::At(place));
                    }
                }
            }
            if let MInst::Call { live: list, .. } | MInst::Checkpoint { live: list, .. } = inst {
                for place in places(live) {
                    if !is_address(place) && !list.contains(&Reg::At(place)) {
                        list.push(Reg::At(place));
                    }
                }
                match budget.checked_sub(list.len()) {
                    Some(rest) => budget = rest,
                    None => failed = true,
                }
            }
        };
        // beyond that much memory, all places count as alive
        let before_inst = |insts: &[(MInst, WasmOffset)], number: Inst, live: &[u64]| {
            let Some(before) = number.index().checked_sub(1) else {
                return;
            };
            if matches!(insts[before].0, MInst::Call { .. })
                && alive_behind.len().saturating_mul(words) < MAX_LIVE_OPERANDS
            {
                alive_behind.insert(before, live.to_vec());
            }
        };
        live_before_block(allocated, block, &live_in, at_inst, before_inst);
        if failed {
            return Err(NotOptimized::TooLarge);
        }
    }
    allocated.alive_behind = alive_behind;
    Ok(())
}

/// By number of a checkpoint across which the memory's address lives: the places that hold it there. (Dead places are lost
/// there and go on counting; nobody asks for them.)
fn places_of_addresses(allocated: &mut Allocated, words: usize) -> HashMap<usize, Vec<u64>> {
    let mut found = HashMap::new();
    let mut insts = allocated.insts.iter();
    let is_any = |(inst, _): &(MInst, WasmOffset)| matches!(inst, MInst::Checkpoint { addresses, .. } if !addresses.is_empty());
    if !insts.any(is_any) {
        return found;
    }
    let blocks = allocated.ranges.len();
    // what is not known yet holds everything: a place is one only if it is on all paths
    let mut holds: Vec<Vec<u64>> = vec![vec![u64::MAX; words]; blocks];
    holds[0].fill(0);
    let mut changed = true;
    while changed {
        changed = false;
        for block in 0..blocks {
            let mut held = holds[block].clone();
            let range = allocated.ranges[block];
            let start = ProgPoint::before(range.first());
            let mut edit = allocated.edits.partition_point(|(at, _)| *at < start);
            for number in range.iter() {
                for position in [ProgPoint::before(number), ProgPoint::after(number)] {
                    if position == ProgPoint::after(number) {
                        let inst = &mut allocated.insts[number.index()].0;
                        if matches!(inst, MInst::Checkpoint { .. }) {
                            found.insert(number.index(), held.clone());
                        }
                        hold_behind(inst, &mut held);
                    }
                    while let Some((at, Edit::Move { from, to })) = allocated.edits.get(edit)
                        && *at == position
                    {
                        edit += 1;
                        hold_if(&mut held, *to, *from);
                    }
                }
            }
            for succ in &allocated.succs[block] {
                for (into, word) in holds[succ.index()].iter_mut().zip(&held) {
                    changed |= *into & !word != 0;
                    *into &= word;
                }
            }
        }
    }
    found
}

/// What an instruction does to the places that hold the memory's address.
fn hold_behind(inst: &mut MInst, held: &mut [u64]) {
    if let MInst::Move {
        dst: Reg::At(dst),
        src: Reg::At(src),
    } = *inst
    {
        hold_if(held, dst, src);
        return;
    }
    let is_base = matches!(*inst, MInst::Load { op: LoadOp::I64Load, mem, .. }
        if mem == Mem::context(offsets::MEMORY_BASE));
    each_place(inst, OperandKind::Def, |place| {
        if is_base {
            insert(held, place);
        } else {
            remove(held, place);
        }
    });
    for lost in inst.clobbers() {
        remove(held, Allocation::reg(lost));
    }
}

/// `to` holds what `from` does.
fn hold_if(held: &mut [u64], to: Allocation, from: Allocation) {
    let n = place_number(from);
    if held[n / 64] >> (n % 64) & 1 != 0 {
        insert(held, to);
    } else {
        remove(held, to);
    }
}

/// Number of a place: general-purpose registers, vector registers, slots.
fn place_number(place: Allocation) -> usize {
    match (place.as_reg(), place.as_stack()) {
        (Some(reg), _) => 16 * usize::from(reg.class() != RegClass::Int) + reg.hw_enc(),
        (None, Some(slot)) => 32 + slot.index(),
        (None, None) => panic!("an operand has no place"),
    }
}

/// The places of a set.
fn places(set: &[u64]) -> Vec<Allocation> {
    (0..64 * set.len())
        .filter(|n| set[n / 64] >> (n % 64) & 1 != 0)
        .map(|n| match n {
            0..16 => Allocation::reg(PReg::new(n, RegClass::Int)),
            16..32 => Allocation::reg(PReg::new(n - 16, RegClass::Float)),
            _ => Allocation::stack(SpillSlot::new(n - 32)),
        })
        .collect()
}

/// Walks a block backwards with the set of places that are alive; gives the set at its start. `at_inst` sees each
/// instruction with what is alive behind it, its own results left out; `before_inst`, with what is alive before it, behind
/// the moves there.
fn live_before_block(
    allocated: &mut Allocated,
    block: usize,
    live_in: &[Vec<u64>],
    mut at_inst: impl FnMut(Inst, &mut MInst, &[u64]),
    mut before_inst: impl FnMut(&[(MInst, WasmOffset)], Inst, &[u64]),
) -> Vec<u64> {
    let mut live = vec![0_u64; live_in[block].len()];
    for succ in &allocated.succs[block] {
        for (word, more) in live.iter_mut().zip(&live_in[succ.index()]) {
            *word |= more;
        }
    }
    let range = allocated.ranges[block];
    let end = ProgPoint::before(Inst::new(range.last().index() + 1));
    let mut edit = allocated.edits.partition_point(|(at, _)| *at < end);
    for number in range.iter().rev() {
        let inst = number;
        for position in [ProgPoint::after(inst), ProgPoint::before(inst)] {
            while edit > 0 && allocated.edits[edit - 1].0 == position {
                edit -= 1;
                let Edit::Move { from, to } = allocated.edits[edit].1;
                remove(&mut live, to);
                insert(&mut live, from);
            }
            if position == ProgPoint::before(inst) {
                break;
            }
            let inst = &mut allocated.insts[inst.index()].0;
            each_place(inst, OperandKind::Def, |place| remove(&mut live, place));
            at_inst(number, inst, &live);
            each_place(inst, OperandKind::Use, |place| insert(&mut live, place));
            before_inst(&allocated.insts, number, &live);
        }
    }
    live
}

fn insert(set: &mut [u64], place: Allocation) {
    let n = place_number(place);
    set[n / 64] |= 1 << (n % 64);
}

fn remove(set: &mut [u64], place: Allocation) {
    let n = place_number(place);
    set[n / 64] &= !(1 << (n % 64));
}

fn each_place(inst: &mut MInst, kind: OperandKind, mut each: impl FnMut(Allocation)) {
    inst.visit_operands(&mut |reg, _, this, _| {
        if this == kind
            && let Reg::At(place) = *reg
        {
            each(place);
        }
    });
}

fn machine_env() -> MachineEnv {
    let mut preferred = [PRegSet::empty(); 3];
    for reg in allocatable() {
        preferred[reg.class() as usize].add(reg);
    }
    MachineEnv {
        preferred_regs_by_class: preferred,
        non_preferred_regs_by_class: [PRegSet::empty(); 3],
        scratch_by_class: [Some(INT_SCRATCH), Some(FLOAT_SCRATCH), None],
        fixed_stack_slots: Vec::new(),
    }
}
