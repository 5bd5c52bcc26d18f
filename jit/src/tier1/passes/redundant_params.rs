//! Removes block parameters that always have the same value.
//!
//! ```text
//! before:  jump block1(v0)              after:  jump block1
//!          block1(v1: i32):                     block1:
//!            branch c, block1(v1), ..             branch c, block1, ..
//!            use v1                               use v0
//! ```

#![forbid(unsafe_code)]

use super::{Changed, Replacements};
use crate::ir::{
    cfg::Cfg,
    value::{Block, ENTRY, Function, Inst, Value, ValueDef},
};

/// Walks over the graph, there and back; what is not found by then stays.
const ROUNDS: usize = 32;

/// Runs the pass.
pub fn run(func: &mut Function) -> Changed {
    let cfg = Cfg::compute(func);
    // Jumps to each block: the terminator and which of its jumps.
    let mut jumps: Vec<Vec<(Inst, usize)>> = vec![Vec::new(); func.blocks.len()];
    for &block in cfg.reverse_postorder() {
        let &last = func.blocks[block.index()].insts.last().expect("not empty");
        for (n, jump) in func.insts[last.index()].data.jumps().enumerate() {
            if !func.blocks[jump.block.index()].params.is_empty() {
                jumps[jump.block.index()].push((last, n));
            }
        }
    }
    let mut order: Vec<Block> = cfg
        .reverse_postorder()
        .iter()
        .copied()
        .filter(|block| *block != ENTRY && !func.blocks[block.index()].params.is_empty())
        .collect();
    let mut replacements = Replacements::new(func);
    let mut removed: Vec<Vec<bool>> = func
        .blocks
        .iter()
        .map(|block| vec![false; block.params.len()])
        .collect();
    for _ in 0..ROUNDS {
        let mut found = false;
        for &block in &order {
            let params = func.blocks[block.index()].params.len();
            // The one value that is not the parameter itself; two of them make it not redundant.
            let mut only: Vec<Option<Value>> = vec![None; params];
            let mut redundant: Vec<bool> =
                removed[block.index()].iter().map(|&gone| !gone).collect();
            for &(inst, n) in &jumps[block.index()] {
                let jump = func.insts[inst.index()].data.jump(n);
                for (at, &arg) in jump.expect("it was there").args.iter().enumerate() {
                    if !redundant[at] {
                        continue;
                    }
                    let arg = replacements.resolve(arg);
                    if arg == func.blocks[block.index()].params[at] {
                        continue;
                    }
                    match only[at] {
                        None => only[at] = Some(arg),
                        Some(other) => redundant[at] = other == arg,
                    }
                }
            }
            for at in 0..params {
                if redundant[at]
                    && let Some(value) = only[at]
                {
                    replacements.replace(func.blocks[block.index()].params[at], value);
                    removed[block.index()][at] = true;
                    found = true;
                }
            }
        }
        if !found {
            break;
        }
        order.reverse();
    }
    let changed = replacements.apply(func);
    if changed {
        remove_params(func, &removed);
    }
    changed.into()
}

/// Removes the parameters that are marked, and their arguments.
pub(super) fn remove_params(func: &mut Function, removed: &[Vec<bool>]) {
    fn keep<T: Copy>(list: &mut Vec<T>, removed: &[bool]) {
        let mut at = 0;
        list.retain(|_| {
            at += 1;
            !removed[at - 1]
        });
    }
    for n in 0..func.blocks.len() {
        if removed[n].contains(&true) {
            keep(&mut func.blocks[n].params, &removed[n]);
            for at in 0..func.blocks[n].params.len() {
                let param = func.blocks[n].params[at];
                let position = u32::try_from(at).expect("parameters fit 32 bits");
                func.values[param.index()].def = ValueDef::Param(Block::new(n), position);
            }
        }
        if let Some(&last) = func.blocks[n].insts.last() {
            for jump in func.insts[last.index()].data.jumps_mut() {
                keep(&mut jump.args, &removed[jump.block.index()]);
            }
        }
    }
}
