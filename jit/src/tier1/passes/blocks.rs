//! Fewer blocks: jumps to a jump go on to where it goes, straight lines become one block.
//!
//! ```text
//! before:  branch v0, block1, block2    after:  branch v0, block3(v1), block2
//!          block1: jump block3(v1)
//!          block2: v2 = ..                      block2: v2 = ..
//!            jump block4                          (what block4 holds)
//!          block4: ..
//! ```
//!
//! The entry block of OSR code stays as it is: it holds no checkpoint.

#![forbid(unsafe_code)]

use super::{Changed, Replacements, dead_code::remove_unreachable};
use crate::ir::{
    cfg::Cfg,
    value::{Block, ENTRY, Entry, Function, InstData, Jump, Value, ValueDef},
};

/// Arguments that a threaded jump may have.
const MAX_ARGS: usize = 64;

/// Runs the pass.
pub fn run(func: &mut Function) -> Changed {
    let mut changed = thread_jumps(func);
    changed |= remove_unreachable(func);
    changed |= merge_lines(func);
    changed.into()
}

fn thread_jumps(func: &mut Function) -> bool {
    // A block that is nothing but a jump, whose parameters are used in that jump only.
    let mut outside = vec![false; func.values.len()];
    for (n, block) in func.blocks.iter().enumerate() {
        for &inst in &block.insts {
            let data = &func.insts[inst.index()].data;
            let own_jump = matches!(data, InstData::Jump(_)) && block.insts.len() == 1;
            data.for_each_operand(|value| {
                let own = own_jump
                    && matches!(func.values[value.index()].def, ValueDef::Param(of, _) if of == Block::new(n));
                outside[value.index()] |= !own;
            });
        }
    }
    let empty: Vec<Option<Jump>> = func
        .blocks
        .iter()
        .enumerate()
        .map(|(n, block)| {
            let [only] = block.insts[..] else { return None };
            let InstData::Jump(jump) = &func.insts[only.index()].data else {
                return None;
            };
            let threads = n != ENTRY.index()
                && jump.block != Block::new(n)
                && jump.args.len() <= MAX_ARGS
                && !block.params.iter().any(|param| outside[param.index()]);
            threads.then(|| jump.clone())
        })
        .collect();
    let mut changed = false;
    for n in 0..func.blocks.len() {
        if n == ENTRY.index() && matches!(func.entry, Entry::Osr(_)) {
            continue;
        }
        let Some(&last) = func.blocks[n].insts.last() else {
            continue;
        };
        let mut data = std::mem::replace(
            &mut func.insts[last.index()].data,
            InstData::Return { values: Vec::new() },
        );
        for jump in data.jumps_mut() {
            // A cycle of empty blocks is an endless loop: give up after a few steps.
            for _ in 0..8 {
                let Some(next) = &empty[jump.block.index()] else {
                    break;
                };
                let params = &func.blocks[jump.block.index()].params;
                let substitute = |&arg: &Value| {
                    params
                        .iter()
                        .position(|&param| param == arg)
                        .map_or(arg, |position| jump.args[position])
                };
                let args = next.args.iter().map(substitute).collect();
                *jump = Jump {
                    block: next.block,
                    args,
                };
                changed = true;
            }
        }
        func.insts[last.index()].data = data;
    }
    changed
}

fn merge_lines(func: &mut Function) -> bool {
    let cfg = Cfg::compute(func);
    let mut replacements = Replacements::new(func);
    let mut merged = false;
    let mut gone = vec![false; func.blocks.len()];
    for &block in cfg.reverse_postorder() {
        if gone[block.index()] || (block == ENTRY && matches!(func.entry, Entry::Osr(_))) {
            continue;
        }
        loop {
            let &last = func.blocks[block.index()].insts.last().expect("not empty");
            let InstData::Jump(jump) = &func.insts[last.index()].data else {
                break;
            };
            if cfg.predecessors(jump.block).len() != 1 || jump.block == block {
                break;
            }
            let jump = jump.clone();
            let next = std::mem::take(&mut func.blocks[jump.block.index()]);
            for (&param, &arg) in next.params.iter().zip(&jump.args) {
                replacements.replace(param, arg);
            }
            let insts = &mut func.blocks[block.index()].insts;
            insts.pop();
            insts.extend(next.insts);
            gone[jump.block.index()] = true;
            merged = true;
        }
    }
    if merged {
        replacements.apply(func);
        // What was merged is empty now, and nothing jumps there.
        remove_unreachable(func);
    }
    merged
}
