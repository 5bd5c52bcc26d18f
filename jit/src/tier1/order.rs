//! The order in which blocks are laid out: reverse postorder, with each loop kept together.
//!
//! A depth-first search that first follows the edges that leave the innermost loop finishes the loop's exits before its
//! body, so they stand behind the whole body.

use crate::ir::value::{Block, ENTRY, Function, InstData};

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
    let blocks = ir.blocks.len();
    let succs: Vec<Vec<Block>> = (0..blocks)
        .map(|block| successors(ir, Block::new(block)))
        .collect();
    let reverse_postorder = search(&succs, |_, _| {});
    let loops = innermost_loops(&succs, &reverse_postorder);
    let layout = search(&succs, |block, succs| {
        // the last one followed is laid out next
        succs.sort_by_key(|succ| {
            let stays = loops.contains(block, *succ);
            (stays, loops.depth(*succ))
        });
    });
    BlockOrder {
        reverse_postorder,
        layout,
    }
}

fn successors(ir: &Function, block: Block) -> Vec<Block> {
    match &ir.terminator(block).data {
        InstData::Jump(jump) => vec![jump.block],
        InstData::Branch {
            then, otherwise, ..
        } => vec![then.block, otherwise.block],
        InstData::BranchTable { targets, .. } => {
            let mut all: Vec<Block> = targets.iter().map(|jump| jump.block).collect();
            all.sort_unstable();
            all.dedup();
            all
        }
        _ => Vec::new(),
    }
}

/// Reverse postorder of a depth-first search; `arrange` puts a block's successors in the order they are followed.
fn search(succs: &[Vec<Block>], mut arrange: impl FnMut(Block, &mut [Block])) -> Vec<Block> {
    let mut seen = vec![false; succs.len()];
    let mut order = Vec::new();
    seen[ENTRY.index()] = true;
    let mut first = succs[ENTRY.index()].clone();
    arrange(ENTRY, &mut first);
    let mut stack = vec![(ENTRY, first, 0)];
    while let Some((block, list, next)) = stack.last_mut() {
        if let Some(&succ) = list.get(*next) {
            *next += 1;
            if !std::mem::replace(&mut seen[succ.index()], true) {
                let mut list = succs[succ.index()].clone();
                arrange(succ, &mut list);
                stack.push((succ, list, 0));
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
    /// Innermost loop's header of each block (a header is in its own loop).
    header: Vec<Option<Block>>,
    /// Header of the loop around the loop with this header.
    parent: Vec<Option<Block>>,
    depth: Vec<u32>,
}

impl Loops {
    /// Whether `to` is in the innermost loop of `from`.
    fn contains(&self, from: Block, to: Block) -> bool {
        let Some(header) = self.header[from.index()] else {
            return true;
        };
        let depth = self.depth[header.index()];
        let mut at = self.header[to.index()];
        while let Some(this) = at {
            if this == header {
                return true;
            }
            if self.depth[this.index()] <= depth {
                return false;
            }
            at = self.parent[this.index()];
        }
        false
    }

    fn depth(&self, block: Block) -> u32 {
        self.depth[block.index()]
    }
}

/// Natural loops of a reducible graph, innermost first: a header is met after the headers inside its loop when blocks are
/// visited backwards.
fn innermost_loops(succs: &[Vec<Block>], order: &[Block]) -> Loops {
    let blocks = succs.len();
    let mut position = vec![usize::MAX; blocks];
    for (i, block) in order.iter().enumerate() {
        position[block.index()] = i;
    }
    let mut preds: Vec<Vec<Block>> = vec![Vec::new(); blocks];
    for &block in order {
        for succ in &succs[block.index()] {
            preds[succ.index()].push(block);
        }
    }
    let mut loops = Loops {
        header: vec![None; blocks],
        parent: vec![None; blocks],
        depth: vec![0; blocks],
    };
    let mut work: Vec<Block> = Vec::new();
    for &header in order.iter().rev() {
        work.extend(
            preds[header.index()]
                .iter()
                .filter(|pred| position[pred.index()] >= position[header.index()]),
        );
        if work.is_empty() {
            continue;
        }
        loops.header[header.index()] = Some(header);
        while let Some(block) = work.pop() {
            // the outermost loop found so far that this block is in
            let mut outermost = block;
            match loops.header[block.index()] {
                None => {
                    loops.header[block.index()] = Some(header);
                }
                Some(mut inner) => {
                    while let Some(around) = loops.parent[inner.index()] {
                        inner = around;
                    }
                    if inner == header {
                        continue;
                    }
                    loops.parent[inner.index()] = Some(header);
                    outermost = inner;
                }
            }
            work.extend(
                preds[outermost.index()]
                    .iter()
                    .filter(|pred| position[pred.index()] > position[header.index()]),
            );
        }
    }
    for &block in order {
        if let Some(header) = loops.header[block.index()] {
            loops.depth[block.index()] = if header == block {
                loops.parent[header.index()].map_or(1, |parent| loops.depth[parent.index()] + 1)
            } else {
                loops.depth[header.index()]
            };
        }
    }
    loops
}
