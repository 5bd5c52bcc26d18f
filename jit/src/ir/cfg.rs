//! The graph of blocks: edges, orders, dominators, natural loops.

#![forbid(unsafe_code)]

use super::value::{Block, ENTRY, Function};

/// Lists of blocks, one per block.
#[derive(Clone, Debug, Default)]
struct Edges {
    start: Vec<u32>,
    blocks: Vec<Block>,
}

impl Edges {
    fn of(&self, block: Block) -> &[Block] {
        let range = self.start[block.index()] as usize..self.start[block.index() + 1] as usize;
        &self.blocks[range]
    }
}

/// What is known of the graph of blocks.
#[derive(Clone, Debug)]
pub struct Cfg {
    successors: Edges,
    /// From reachable blocks only.
    predecessors: Edges,
    reverse_postorder: Vec<Block>,
    /// Place in the reverse postorder, if reachable.
    order: Vec<Option<u32>>,
    immediate_dominator: Vec<Option<Block>>,
    /// A walk over the dominator tree: when a block was entered and left.
    spans: Vec<(u32, u32)>,
    dominator_tree: Edges,
}

/// Blocks listed for loops, those of nested loops counted again.
const MAX_LISTED: usize = 1 << 22;

/// A natural loop with one entry.
#[derive(Clone, Debug)]
pub struct NaturalLoop {
    /// Where it is entered.
    pub header: Block,
    /// All its blocks, the header first.
    pub blocks: Vec<Block>,
    /// The smallest loop around it.
    pub parent: Option<usize>,
    /// How many loops are around it, itself included.
    pub depth: u32,
}

impl NaturalLoop {
    /// Whether an instruction in it renews addresses.
    pub fn renews_addresses(&self, func: &Function) -> bool {
        self.blocks.iter().any(|block| {
            let insts = &func.blocks[block.index()].insts;
            insts
                .iter()
                .any(|inst| func.insts[inst.index()].data.renews_addresses())
        })
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).expect("blocks and edges are counted in 32 bits")
}

impl Cfg {
    /// Computes the graph of a function.
    pub fn compute(func: &Function) -> Self {
        let blocks = func.blocks.len();
        let mut successors = Edges::default();
        for data in &func.blocks {
            successors.start.push(count(successors.blocks.len()));
            if let Some(last) = data.insts.last() {
                successors
                    .blocks
                    .extend(func.insts[last.index()].data.jumps().map(|jump| jump.block));
            }
        }
        successors.start.push(count(successors.blocks.len()));

        let mut visited = vec![false; blocks];
        let mut reverse_postorder = Vec::with_capacity(blocks);
        let mut preorder = vec![ENTRY];
        let mut parents = vec![0];
        // Block, its preorder number, edges followed.
        let mut stack = vec![(ENTRY, 0, 0)];
        visited[ENTRY.index()] = true;
        while let Some((block, at, next)) = stack.pop() {
            // Last edge first, so that the first successor follows its block in reverse postorder.
            let targets = successors.of(block);
            if let Some(&target) = targets.len().checked_sub(next + 1).map(|n| &targets[n]) {
                stack.push((block, at, next + 1));
                if !visited[target.index()] {
                    visited[target.index()] = true;
                    stack.push((target, preorder.len(), 0));
                    preorder.push(target);
                    parents.push(at);
                }
            } else {
                reverse_postorder.push(block);
            }
        }
        reverse_postorder.reverse();
        let mut order = vec![None; blocks];
        for (n, &block) in reverse_postorder.iter().enumerate() {
            order[block.index()] = Some(count(n));
        }
        let predecessors = invert(
            blocks,
            reverse_postorder
                .iter()
                .flat_map(|&block| successors.of(block).iter().map(move |&to| (block, to))),
        );
        let immediate_dominator = dominators(blocks, &preorder, &parents, &predecessors);
        let dominator_tree = invert(
            blocks,
            reverse_postorder
                .iter()
                .filter_map(|&block| Some((block, immediate_dominator[block.index()]?))),
        );
        let mut spans = vec![(0, 0); blocks];
        let mut clock = 1;
        let mut stack = vec![(ENTRY, 0)];
        while let Some((block, next)) = stack.pop() {
            if next == 0 {
                spans[block.index()].0 = clock;
                clock += 1;
            }
            if let Some(&child) = dominator_tree.of(block).get(next) {
                stack.push((block, next + 1));
                stack.push((child, 0));
            } else {
                spans[block.index()].1 = clock;
            }
        }
        Self {
            successors,
            predecessors,
            reverse_postorder,
            order,
            immediate_dominator,
            spans,
            dominator_tree,
        }
    }

    /// Where a block can go on, one per jump.
    pub fn successors(&self, block: Block) -> &[Block] {
        self.successors.of(block)
    }

    /// Reachable blocks that jump to a block, one per jump.
    pub fn predecessors(&self, block: Block) -> &[Block] {
        self.predecessors.of(block)
    }

    /// Reachable blocks, each before what it dominates.
    pub fn reverse_postorder(&self) -> &[Block] {
        &self.reverse_postorder
    }

    /// Whether a block can be reached.
    pub fn is_reachable(&self, block: Block) -> bool {
        self.order[block.index()].is_some()
    }

    /// Place of a reachable block in the reverse postorder.
    pub fn order(&self, block: Block) -> Option<u32> {
        self.order[block.index()]
    }

    /// The closest other block that all paths to a block lead through.
    pub fn immediate_dominator(&self, block: Block) -> Option<Block> {
        self.immediate_dominator[block.index()]
    }

    /// Blocks whose immediate dominator this is.
    pub fn dominated(&self, block: Block) -> &[Block] {
        self.dominator_tree.of(block)
    }

    /// Whether all paths to `b` lead through `a`; both must be reachable.
    pub fn dominates(&self, a: Block, b: Block) -> bool {
        let (a, b) = (self.spans[a.index()], self.spans[b.index()]);
        a.0 != 0 && b.0 != 0 && a.0 <= b.0 && b.1 <= a.1
    }

    /// By block: a number that those blocks share from each of which the others can be reached, and it itself again. `None`
    /// if a block is left for ever.
    pub fn cycles(&self) -> Vec<Option<u32>> {
        // Kosaraju's algorithm: against the edges, in reverse postorder
        let mut cycles = vec![None; self.order.len()];
        let mut seen = vec![false; self.order.len()];
        let mut members = Vec::new();
        for (number, &first) in self.reverse_postorder.iter().enumerate() {
            let mut work = vec![first];
            members.clear();
            while let Some(block) = work.pop() {
                if !std::mem::replace(&mut seen[block.index()], true) {
                    members.push(block);
                    work.extend_from_slice(self.predecessors(block));
                }
            }
            if members.len() > 1 || self.predecessors(first).contains(&first) {
                for member in &members {
                    cycles[member.index()] = Some(count(number));
                }
            }
        }
        cycles
    }

    /// Natural loops, inner ones before those around them; outer ones are left out where listing them costs too much.
    pub fn loops(&self) -> Vec<NaturalLoop> {
        let mut loops: Vec<NaturalLoop> = Vec::new();
        let mut listed = 0;
        // The outermost loop found so far that a block belongs to.
        let mut outermost: Vec<Option<usize>> = vec![None; self.order.len()];
        let mut mark = vec![usize::MAX; self.order.len()];
        for &header in self.reverse_postorder.iter().rev() {
            let latches: Vec<Block> = self
                .predecessors(header)
                .iter()
                .copied()
                .filter(|&from| self.dominates(header, from))
                .collect();
            if latches.is_empty() {
                continue;
            }
            let n = loops.len();
            let mut blocks = vec![header];
            mark[header.index()] = n;
            let mut work = latches;
            while let Some(block) = work.pop() {
                if mark[block.index()] == n {
                    continue;
                }
                mark[block.index()] = n;
                blocks.push(block);
                work.extend_from_slice(self.predecessors(block));
            }
            listed += blocks.len();
            loops.push(NaturalLoop {
                header,
                blocks,
                parent: None,
                depth: 1,
            });
            if listed > MAX_LISTED {
                break;
            }
            for at in 0..loops[n].blocks.len() {
                let outermost = &mut outermost[loops[n].blocks[at].index()];
                if let Some(inner) = outermost.replace(n) {
                    loops[inner].parent = Some(n);
                }
            }
        }
        for n in (0..loops.len()).rev() {
            loops[n].depth = loops[n].parent.map_or(1, |parent| loops[parent].depth + 1);
        }
        loops
    }
}

fn invert(blocks: usize, edges: impl Iterator<Item = (Block, Block)> + Clone) -> Edges {
    let mut start = vec![0; blocks + 1];
    for (_, to) in edges.clone() {
        start[to.index() + 1] += 1;
    }
    for n in 0..blocks {
        start[n + 1] += start[n];
    }
    let mut next = start.clone();
    let mut list = vec![ENTRY; start[blocks] as usize];
    for (from, to) in edges {
        list[next[to.index()] as usize] = from;
        next[to.index()] += 1;
    }
    Edges {
        start,
        blocks: list,
    }
}

/// Immediate dominators by Lengauer and Tarjan's algorithm, with path compression: hostile graphs stay cheap.
/// `preorder` numbers a depth-first tree whose parents are `parents` (as numbers).
fn dominators(
    blocks: usize,
    preorder: &[Block],
    parents: &[usize],
    predecessors: &Edges,
) -> Vec<Option<Block>> {
    let n = preorder.len();
    let mut number = vec![usize::MAX; blocks];
    for (at, block) in preorder.iter().enumerate() {
        number[block.index()] = at;
    }
    let mut forest = Forest {
        ancestor: vec![None; n],
        label: (0..n).collect(),
        semi: (0..n).collect(),
        path: Vec::new(),
    };
    let mut buckets: Vec<Vec<usize>> = vec![Vec::new(); n];
    let mut found = vec![0; n];
    for at in (1..n).rev() {
        for from in predecessors.of(preorder[at]) {
            let best = forest.eval(number[from.index()]);
            forest.semi[at] = forest.semi[at].min(forest.semi[best]);
        }
        buckets[forest.semi[at]].push(at);
        let parent = parents[at];
        forest.ancestor[at] = Some(parent);
        for other in std::mem::take(&mut buckets[parent]) {
            let best = forest.eval(other);
            found[other] = if forest.semi[best] < forest.semi[other] {
                best
            } else {
                parent
            };
        }
    }
    let mut immediate = vec![None; blocks];
    for at in 1..n {
        if found[at] != forest.semi[at] {
            found[at] = found[found[at]];
        }
        immediate[preorder[at].index()] = Some(preorder[found[at]]);
    }
    immediate
}

struct Forest {
    ancestor: Vec<Option<usize>>,
    label: Vec<usize>,
    semi: Vec<usize>,
    path: Vec<usize>,
}

impl Forest {
    /// The node of least semidominator on the path to the root of its tree, the root excluded.
    fn eval(&mut self, node: usize) -> usize {
        let Some(mut above) = self.ancestor[node] else {
            return node;
        };
        self.path.push(node);
        while self.ancestor[above].is_some() {
            self.path.push(above);
            above = self.ancestor[above].expect("just seen");
        }
        let root = above;
        // From the root down: each node learns the best of those above it.
        let mut best: Option<usize> = None;
        while let Some(at) = self.path.pop() {
            if let Some(best) = best
                && self.semi[self.label[best]] < self.semi[self.label[at]]
            {
                self.label[at] = self.label[best];
            }
            self.ancestor[at] = Some(root);
            best = Some(at);
        }
        self.label[node]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ir::value::{Entry, InstData, Jump, Type},
        wasm::types::{FuncIndex, FuncType, WasmOffset},
    };

    /// A function of empty blocks with these edges.
    fn graph(edges: &[&[u32]]) -> Function {
        let mut func = Function::new(FuncIndex(0), FuncType::default(), Entry::Top);
        let offset = WasmOffset(0);
        for _ in 1..edges.len() {
            func.add_block();
        }
        for (n, targets) in edges.iter().enumerate() {
            let jump = |&to: &u32| Jump {
                block: Block(to),
                args: Vec::new(),
            };
            let data = if targets.is_empty() {
                InstData::Return { values: Vec::new() }
            } else {
                let zero = InstData::Const {
                    ty: Type::I32,
                    bits: 0,
                };
                let zero = func.add_inst(zero, &[Type::I32], offset);
                func.blocks[n].insts.push(zero);
                InstData::BranchTable {
                    index: func.insts[zero.index()].results[0],
                    targets: targets.iter().map(jump).collect(),
                }
            };
            let inst = func.add_inst(data, &[], offset);
            func.blocks[n].insts.push(inst);
        }
        func
    }

    #[test]
    fn dominators_match_their_definition() {
        // A small generator of graphs; the definition is checked by removing each block in turn.
        let mut state = 1u64;
        let mut random = |bound: u32| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            u32::try_from(state >> 33).expect("31 bits") % bound
        };
        for _ in 0..500 {
            let size = 2 + random(9);
            let edges: Vec<Vec<u32>> = (0..size)
                .map(|_| (0..random(3)).map(|_| 1 + random(size - 1)).collect())
                .collect();
            let edges: Vec<&[u32]> = edges.iter().map(Vec::as_slice).collect();
            let cfg = Cfg::compute(&graph(&edges));
            let reach = |without: Option<u32>| {
                let mut seen = vec![false; edges.len()];
                let mut work = vec![0];
                while let Some(block) = work.pop() {
                    if Some(block) != without && !std::mem::replace(&mut seen[block as usize], true)
                    {
                        work.extend_from_slice(edges[block as usize]);
                    }
                }
                seen
            };
            let all = reach(None);
            for a in 0..size {
                let without = reach(Some(a));
                for b in 0..size {
                    if all[a as usize] && all[b as usize] {
                        let dominates = a == b || !without[b as usize];
                        assert_eq!(cfg.dominates(Block(a), Block(b)), dominates, "{edges:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn nested_loops_know_their_parents() {
        let func = graph(&[&[1], &[2], &[3], &[2, 4], &[1, 5], &[]]);
        let loops = Cfg::compute(&func).loops();
        let found: Vec<_> = loops
            .iter()
            .map(|l| (l.header.0, l.blocks.len(), l.parent, l.depth))
            .collect();
        assert_eq!(found, [(2, 2, Some(1), 2), (1, 4, None, 1)]);
    }
}
