//! Puts a block on every edge from a block with several successors to one with several predecessors, or with parameters.
//!
//! ```text
//! before:  branch v0, block1(v1), block2    after:  branch v0, block3, block2
//!                                                   block3: jump block1(v1)
//! ```
//!
//! **Invariant (only jumps pass arguments).** Behind this pass branches and branch tables have none.

#![forbid(unsafe_code)]

use super::Changed;
use crate::ir::{
    cfg::Cfg,
    value::{Function, InstData, Jump},
};

/// Runs the pass.
pub fn run(func: &mut Function) -> Changed {
    let cfg = Cfg::compute(func);
    let mut changed = false;
    for n in 0..func.blocks.len() {
        let Some(&last) = func.blocks[n].insts.last() else {
            continue;
        };
        let offset = func.insts[last.index()].offset;
        if func.insts[last.index()].data.jumps().nth(1).is_none() {
            // One successor, or none.
            if let InstData::BranchTable { targets, .. } = &func.insts[last.index()].data {
                let jump = targets[0].clone();
                func.insts[last.index()].data = InstData::Jump(jump);
                changed = true;
            }
            continue;
        }
        let mut data = std::mem::replace(
            &mut func.insts[last.index()].data,
            InstData::Return { values: Vec::new() },
        );
        // Equal edges of a table share a block.
        let mut made: std::collections::HashMap<Jump, Jump> = std::collections::HashMap::new();
        for jump in data.jumps_mut() {
            if cfg.predecessors(jump.block).len() <= 1 && jump.args.is_empty() {
                continue;
            }
            let edge = made.entry(jump.clone()).or_insert_with(|| {
                let block = func.add_block();
                func.blocks[block.index()].cold = func.blocks[jump.block.index()].cold;
                let inst = func.add_inst(InstData::Jump(jump.clone()), &[], offset);
                func.blocks[block.index()].insts.push(inst);
                Jump {
                    block,
                    args: Vec::new(),
                }
            });
            *jump = edge.clone();
            changed = true;
        }
        func.insts[last.index()].data = data;
    }
    changed.into()
}
