//! Orders blocks for emission: loops in one piece, what is left rarely or never last; marks cold blocks.

#![forbid(unsafe_code)]

use super::{Changed, dead_code::renumber};
use crate::ir::{
    cfg::Cfg,
    value::{Block, ENTRY, Function, InstData},
};

/// Runs the pass.
pub fn run(func: &mut Function) -> Changed {
    let cfg = Cfg::compute(func);
    // A block is cold if it traps, or if all that follows is cold.
    for &block in cfg.reverse_postorder().iter().rev() {
        let terminator = &func.terminator(block).data;
        let cold = match terminator {
            InstData::Trap { .. } => true,
            InstData::Return { .. } | InstData::TailCall { .. } => false,
            _ => cfg
                .successors(block)
                .iter()
                .all(|to| func.blocks[to.index()].cold),
        };
        func.blocks[block.index()].cold = cold && block != ENTRY;
    }
    let mut depth = vec![0; func.blocks.len()];
    for natural in cfg.loops().iter().rev() {
        // Outer loops first, so the innermost has the last word.
        for block in &natural.blocks {
            depth[block.index()] = natural.depth;
        }
    }
    // Reverse postorder, in which the successors visited last come first: hot ones, and those deep in loops.
    let mut order = Vec::with_capacity(func.blocks.len());
    let mut visited = vec![false; func.blocks.len()];
    let sorted = |block: Block| {
        let mut targets = cfg.successors(block).to_vec();
        targets.reverse();
        targets.sort_by_key(|to| (!func.blocks[to.index()].cold, depth[to.index()]));
        targets.into_iter()
    };
    visited[ENTRY.index()] = true;
    let mut stack = vec![(ENTRY, sorted(ENTRY))];
    while let Some((block, targets)) = stack.last_mut() {
        if let Some(target) = targets.next() {
            if !std::mem::replace(&mut visited[target.index()], true) {
                stack.push((target, sorted(target)));
            }
        } else {
            order.push(*block);
            stack.pop();
        }
    }
    order.reverse();
    let changed = order.len() != func.blocks.len() || !order.is_sorted();
    if changed {
        renumber(func, &order);
    }
    changed.into()
}
