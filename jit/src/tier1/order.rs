//! The order in which blocks are laid out: reverse postorder, with each loop kept together.
//!
//! A depth-first search that first follows the edges that leave the innermost loop finishes the loop's exits before its
//! body, so they stand behind the whole body.

use crate::ir::{
    cfg::{Cfg, NaturalLoop},
    value::{Block, ENTRY, Function},
};

/// Block orders; both leave out what cannot be reached.
#[derive(Debug)]
pub(crate) struct BlockOrder {
    /// Definitions before uses.
    pub(crate) reverse_postorder: Vec<Block>,
    /// The same, loops kept together.
    pub(crate) layout: Vec<Block>,
}

/// Computes both orders.
pub(crate) fn block_order(ir: &Function) -> BlockOrder {
    let cfg = Cfg::compute(ir);
    let loops = Loops::new(cfg.loops(), ir.blocks.len());
    let arranged = |block: Block| {
        let mut succs = cfg.successors(block).to_vec();
        succs.sort_unstable();
        succs.dedup();
        // the last one followed is laid out next
        succs.sort_by_key(|&succ| {
            (
                loops.contains(block, succ),
                !ir.blocks[succ.index()].cold,
                loops.depth(succ),
            )
        });
        succs
    };
    BlockOrder {
        reverse_postorder: cfg.reverse_postorder().to_vec(),
        layout: search(ir.blocks.len(), arranged),
    }
}

/// Reverse postorder of a depth-first search that follows a block's successors in this order.
fn search(blocks: usize, arranged: impl Fn(Block) -> Vec<Block>) -> Vec<Block> {
    let mut seen = vec![false; blocks];
    let mut order = Vec::new();
    seen[ENTRY.index()] = true;
    let mut stack = vec![(ENTRY, arranged(ENTRY), 0)];
    while let Some((block, list, next)) = stack.last_mut() {
        if let Some(&succ) = list.get(*next) {
            *next += 1;
            if !std::mem::replace(&mut seen[succ.index()], true) {
                stack.push((succ, arranged(succ), 0));
            }
        } else {
            order.push(*block);
            stack.pop();
        }
    }
    order.reverse();
    order
}

/// Which loop each block is in.
struct Loops {
    loops: Vec<NaturalLoop>,
    /// The smallest loop around each block.
    innermost: Vec<Option<usize>>,
}

impl Loops {
    /// `loops`: inner ones before those around them.
    fn new(loops: Vec<NaturalLoop>, blocks: usize) -> Self {
        let mut innermost = vec![None; blocks];
        for (n, natural) in loops.iter().enumerate() {
            for block in &natural.blocks {
                innermost[block.index()].get_or_insert(n);
            }
        }
        Self { loops, innermost }
    }

    /// Whether `to` is in the innermost loop of `from`.
    fn contains(&self, from: Block, to: Block) -> bool {
        let Some(wanted) = self.innermost[from.index()] else {
            return true;
        };
        let mut at = self.innermost[to.index()];
        while let Some(this) = at {
            if this == wanted {
                return true;
            }
            if self.loops[this].depth <= self.loops[wanted].depth {
                return false;
            }
            at = self.loops[this].parent;
        }
        false
    }

    fn depth(&self, block: Block) -> u32 {
        self.innermost[block.index()].map_or(0, |n| self.loops[n].depth)
    }
}
