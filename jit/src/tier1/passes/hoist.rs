//! Moves pure work whose operands do not change in a loop in front of the loop.
//!
//! ```text
//! before:  jump block1                  after:  v2 = I32Mul v0, v1
//!          block1:                              jump block1
//!            v2 = I32Mul v0, v1                 block1:
//!            ..                                   ..
//! ```
//!
//! What can trap stays. So does what reads globals: every loop header has a checkpoint, which begins an epoch. The memory's
//! address leaves a loop that neither calls nor grows memory. Constants stay too: they cost nothing where they are.

#![forbid(unsafe_code)]

use super::{Changed, is_pure};
use crate::ir::{
    cfg::Cfg,
    value::{Block, Function, InstData, Jump, ValueDef},
};

/// Runs the pass.
pub fn run(func: &mut Function) -> Changed {
    let mut changed = make_preheaders(func);
    let cfg = Cfg::compute(func);
    let mut block_of = vec![None; func.insts.len()];
    for &block in cfg.reverse_postorder() {
        for &inst in &func.blocks[block.index()].insts {
            block_of[inst.index()] = Some(block);
        }
    }
    let mut inside = vec![usize::MAX; func.blocks.len()];
    for (n, natural) in cfg.loops().iter().enumerate() {
        for block in &natural.blocks {
            inside[block.index()] = n;
        }
        let outside = cfg
            .predecessors(natural.header)
            .iter()
            .find(|from| inside[from.index()] != n);
        let Some(&preheader) = outside else { continue };
        let keeps_addresses = !natural.renews_addresses(func);
        let mut blocks = natural.blocks.clone();
        blocks.sort_unstable_by_key(|&block| cfg.order(block));
        for block in blocks {
            let insts = std::mem::take(&mut func.blocks[block.index()].insts);
            let (mut stay, mut leave) = (Vec::with_capacity(insts.len()), Vec::new());
            for inst in insts {
                let data = &func.insts[inst.index()].data;
                let mut invariant = match data {
                    InstData::Const { .. } => false,
                    InstData::MemoryBase => keeps_addresses,
                    _ => is_pure(func, data),
                };
                if invariant {
                    data.for_each_operand(|value| {
                        let (home, constant) = match func.values[value.index()].def {
                            ValueDef::Param(block, _) => (Some(block), false),
                            ValueDef::Result(inst, _) => (
                                block_of[inst.index()],
                                matches!(func.insts[inst.index()].data, InstData::Const { .. }),
                            ),
                        };
                        let changes = home.is_none_or(|home| inside[home.index()] == n);
                        invariant &= !changes || constant;
                    });
                }
                if invariant {
                    block_of[inst.index()] = Some(preheader);
                    leave.push(inst);
                } else {
                    stay.push(inst);
                }
            }
            func.blocks[block.index()].insts = stay;
            for inst in leave {
                changed = true;
                // Constants inside the loop do not reach the preheader: it gets its own.
                let mut data = func.insts[inst.index()].data.clone();
                let offset = func.insts[inst.index()].offset;
                data.for_each_operand_mut(|value| {
                    if let ValueDef::Result(def, _) = func.values[value.index()].def
                        && block_of[def.index()].is_none_or(|home| inside[home.index()] == n)
                        && let InstData::Const { ty, bits } = func.insts[def.index()].data
                    {
                        let copy = func.add_inst(InstData::Const { ty, bits }, &[ty], offset);
                        block_of.push(Some(preheader));
                        *value = func.insts[copy.index()].results[0];
                        insert_last(func, preheader, copy);
                    }
                });
                func.insts[inst.index()].data = data;
                insert_last(func, preheader, inst);
            }
        }
    }
    changed.into()
}

/// In front of a block's terminator.
fn insert_last(func: &mut Function, block: Block, inst: crate::ir::value::Inst) {
    let insts = &mut func.blocks[block.index()].insts;
    insts.insert(insts.len() - 1, inst);
}

/// Gives every loop one block in front of its header that jumps there and nowhere else.
fn make_preheaders(func: &mut Function) -> bool {
    let cfg = Cfg::compute(func);
    let mut changed = false;
    for natural in cfg.loops() {
        let header = natural.header;
        let (latches, outside): (Vec<Block>, Vec<Block>) = cfg
            .predecessors(header)
            .iter()
            .partition(|&&from| cfg.dominates(header, from));
        debug_assert!(!latches.is_empty());
        let osr_entry = matches!(func.entry, crate::ir::value::Entry::Osr(_))
            && outside.contains(&crate::ir::value::ENTRY);
        if let [only] = outside[..]
            && !osr_entry
            && matches!(func.terminator(only).data, InstData::Jump(_))
        {
            continue;
        }
        let preheader = func.add_block();
        let params = func.blocks[header.index()].params.clone();
        let args = params
            .iter()
            .map(|&param| func.add_param(preheader, func.type_of(param)))
            .collect();
        let jump = InstData::Jump(Jump {
            block: header,
            args,
        });
        let &first = func.blocks[header.index()]
            .insts
            .first()
            .expect("not empty");
        let offset = func.insts[first.index()].offset;
        let jump = func.add_inst(jump, &[], offset);
        func.blocks[preheader.index()].insts.push(jump);
        for from in outside {
            let &last = func.blocks[from.index()].insts.last().expect("not empty");
            for jump in func.insts[last.index()].data.jumps_mut() {
                if jump.block == header {
                    jump.block = preheader;
                }
            }
        }
        changed = true;
    }
    changed
}
