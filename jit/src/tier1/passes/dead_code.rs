//! Removes what nobody uses: instructions without effect, block parameters, blocks that cannot be reached.
//!
//! ```text
//! before:  v1 = I32Add v0, v0           after:  jump block1
//!          jump block1(v1)
//!          block1(v2: i32): return              block1: return
//! ```
//!
//! Instructions that can trap stay.

#![forbid(unsafe_code)]

use super::{Changed, is_removable, redundant_params::remove_params};
use crate::ir::{
    cfg::Cfg,
    value::{Block, ENTRY, Function, Inst, Value, ValueDef},
};

/// Runs the pass.
pub fn run(func: &mut Function) -> Changed {
    let mut changed = remove_unreachable(func);
    // Jumps to each block, to find the arguments of a parameter.
    let mut jumps: Vec<Vec<(Inst, usize)>> = vec![Vec::new(); func.blocks.len()];
    let mut used = vec![false; func.values.len()];
    let mut work: Vec<Value> = func.blocks[ENTRY.index()].params.clone();
    for block in &func.blocks {
        for &inst in &block.insts {
            let data = &func.insts[inst.index()].data;
            for (n, jump) in data.jumps().enumerate() {
                jumps[jump.block.index()].push((inst, n));
            }
            if data.is_terminator() {
                // Arguments are used where the parameter is.
                use crate::ir::value::InstData;
                match data {
                    InstData::Branch { cond, .. } => work.push(*cond),
                    InstData::BranchTable { index, .. } => work.push(*index),
                    InstData::Return { values } => work.extend_from_slice(values),
                    InstData::TailCall { .. } => data.for_each_operand(|value| work.push(value)),
                    _ => {}
                }
            } else if !is_removable(func, data) {
                data.for_each_operand(|value| work.push(value));
            }
        }
    }
    while let Some(value) = work.pop() {
        if std::mem::replace(&mut used[value.index()], true) {
            continue;
        }
        match func.values[value.index()].def {
            ValueDef::Result(inst, _) => {
                let data = &func.insts[inst.index()].data;
                if is_removable(func, data) {
                    data.for_each_operand(|value| work.push(value));
                }
            }
            ValueDef::Param(block, position) => {
                if block != ENTRY {
                    for &(inst, n) in &jumps[block.index()] {
                        let jump = func.insts[inst.index()].data.jump(n);
                        work.push(jump.expect("it was there").args[position as usize]);
                    }
                }
            }
        }
    }
    let removed: Vec<Vec<bool>> = func
        .blocks
        .iter()
        .map(|block| {
            block
                .params
                .iter()
                .map(|param| !used[param.index()])
                .collect()
        })
        .collect();
    if removed.iter().flatten().any(|&removed| removed) {
        remove_params(func, &removed);
        changed = true;
    }
    for n in 0..func.blocks.len() {
        let mut insts = std::mem::take(&mut func.blocks[n].insts);
        let before = insts.len();
        insts.retain(|inst| {
            let node = &func.insts[inst.index()];
            node.results.iter().any(|result| used[result.index()])
                || !is_removable(func, &node.data)
        });
        changed |= insts.len() != before;
        func.blocks[n].insts = insts;
    }
    changed.into()
}

/// Removes blocks that cannot be reached and closes the gaps; whether there were any.
pub fn remove_unreachable(func: &mut Function) -> bool {
    let cfg = Cfg::compute(func);
    if cfg.reverse_postorder().len() == func.blocks.len() {
        return false;
    }
    let order: Vec<Block> = (0..func.blocks.len())
        .map(Block::new)
        .filter(|&block| cfg.is_reachable(block))
        .collect();
    renumber(func, &order);
    true
}

/// Keeps these blocks, in this order, the entry first; no other may be reachable.
pub(super) fn renumber(func: &mut Function, order: &[Block]) {
    debug_assert_eq!(order.first(), Some(&ENTRY));
    let mut numbers = vec![None; func.blocks.len()];
    for (n, block) in order.iter().enumerate() {
        numbers[block.index()] = Some(Block::new(n));
    }
    let mut blocks = std::mem::take(&mut func.blocks);
    func.blocks = order
        .iter()
        .map(|block| std::mem::take(&mut blocks[block.index()]))
        .collect();
    for (n, block) in func.blocks.iter().enumerate() {
        for (&param, position) in block.params.iter().zip(0..) {
            func.values[param.index()].def = ValueDef::Param(Block::new(n), position);
        }
        if let Some(last) = block.insts.last() {
            for jump in func.insts[last.index()].data.jumps_mut() {
                jump.block = numbers[jump.block.index()].expect("targets are reachable");
            }
        }
    }
}
