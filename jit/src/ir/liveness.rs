//! Which SSA values live across which instructions.

#![forbid(unsafe_code)]

use super::{
    cfg::Cfg,
    value::{Block, Function, Inst, Type, Value, ValueDef},
};
use std::collections::{BTreeSet, HashSet};

/// Values live at the ends of blocks.
#[derive(Clone, Debug)]
pub struct LiveOut {
    sets: Vec<Vec<Value>>,
}

impl LiveOut {
    /// Computes the values live at the end of every reachable block: those used in a block behind it, arguments of its
    /// own jumps apart. `None` if there are more than `limit` in all.
    pub fn compute(func: &Function, cfg: &Cfg, limit: usize) -> Option<Self> {
        Self::compute_for(func, cfg, limit, |_| true)
    }

    fn compute_for(
        func: &Function,
        cfg: &Cfg,
        limit: usize,
        wanted: impl Fn(Value) -> bool,
    ) -> Option<Self> {
        // Blocks that use a value defined elsewhere.
        let mut uses: Vec<Vec<Block>> = vec![Vec::new(); func.values.len()];
        let mut block_of = vec![None; func.insts.len()];
        for &block in cfg.reverse_postorder() {
            for &inst in &func.blocks[block.index()].insts {
                block_of[inst.index()] = Some(block);
            }
        }
        let home = |value: Value| match func.values[value.index()].def {
            ValueDef::Result(inst, _) => block_of[inst.index()],
            ValueDef::Param(block, _) => Some(block),
        };
        for &block in cfg.reverse_postorder() {
            for &inst in &func.blocks[block.index()].insts {
                func.insts[inst.index()].data.for_each_operand(|value| {
                    if wanted(value)
                        && home(value) != Some(block)
                        && uses[value.index()].last() != Some(&block)
                    {
                        uses[value.index()].push(block);
                    }
                });
            }
        }
        let mut sets: Vec<Vec<Value>> = vec![Vec::new(); func.blocks.len()];
        let mut total = 0;
        let mut work = Vec::new();
        for (n, uses) in uses.into_iter().enumerate() {
            let value = Value::new(n);
            let Some(home) = home(value) else { continue };
            // Blocks at whose start the value is live.
            work.extend(uses);
            while let Some(block) = work.pop() {
                for &from in cfg.predecessors(block) {
                    if sets[from.index()].last() == Some(&value) {
                        continue;
                    }
                    sets[from.index()].push(value);
                    total += 1;
                    if total > limit {
                        return None;
                    }
                    if from != home {
                        work.push(from);
                    }
                }
            }
        }
        Some(Self { sets })
    }

    /// Values live at the end of a block, rising.
    pub fn at_end(&self, block: Block) -> &[Value] {
        &self.sets[block.index()]
    }

    /// Visits the instructions of a block from last to first with the values live behind each: results included if they
    /// are used, operands only if they are used later.
    pub fn walk_back(
        &self,
        func: &Function,
        block: Block,
        mut visit: impl FnMut(usize, Inst, &BTreeSet<Value>),
    ) {
        let mut live: BTreeSet<Value> = self.at_end(block).iter().copied().collect();
        for (place, &inst) in func.blocks[block.index()].insts.iter().enumerate().rev() {
            visit(place, inst, &live);
            let node = &func.insts[inst.index()];
            for result in &node.results {
                live.remove(result);
            }
            node.data.for_each_operand(|value| {
                live.insert(value);
            });
        }
    }
}

/// Places (block, index of the instruction) where a value of a type lives across an instruction that renews addresses.
pub fn live_across_epochs(
    func: &Function,
    cfg: &Cfg,
    ty: Type,
) -> impl Iterator<Item = (Block, usize)> {
    let mut found = Vec::new();
    let wanted = |value| func.type_of(value) == ty;
    let live = LiveOut::compute_for(func, cfg, usize::MAX, wanted).expect("there is no limit");
    for &block in cfg.reverse_postorder() {
        let mut live: HashSet<Value> = live.at_end(block).iter().copied().collect();
        for (place, &inst) in func.blocks[block.index()].insts.iter().enumerate().rev() {
            let node = &func.insts[inst.index()];
            for result in &node.results {
                live.remove(result);
            }
            if node.data.renews_addresses() && !live.is_empty() {
                found.push((block, place));
            }
            node.data.for_each_operand(|value| {
                if wanted(value) {
                    live.insert(value);
                }
            });
        }
    }
    found.into_iter()
}
