//! Bounds checks that the access behind them makes: in a guarded memory it faults exactly where the check would trap.
//!
//! ```text
//! bounds_check v0, 12                   mov eax, [base+v0+8]     ; a fault there is the trap
//! v1 = I32Load base, v0, 8        =>
//! ```
//!
//! The IR keeps its checks, so that no pass needs to know: what it proves about them, and the order of traps and effects,
//! stays as it is. Only here, where instructions are selected, a check goes whose access is the next thing that can be
//! noticed. Any other check is made as in a memory that is not guarded.

#![forbid(unsafe_code)]

use crate::ir::value::{Block, Function, InstData, Value};

/// Which checks go, and which accesses trap instead.
#[derive(Debug)]
pub(super) struct Guards {
    /// By instruction: a check that goes, or an access that traps.
    chosen: Vec<bool>,
    /// By instruction: how many before it in its block can trap or access memory.
    noticed: Vec<u32>,
}

impl Guards {
    /// None go.
    pub(super) fn none() -> Self {
        Self {
            chosen: Vec::new(),
            noticed: Vec::new(),
        }
    }

    /// Finds them in these blocks.
    pub(super) fn find(ir: &Function, blocks: &[Block]) -> Self {
        let mut chosen = vec![false; ir.insts.len()];
        let mut noticed = vec![0; ir.insts.len()];
        for &block in blocks {
            let insts = &ir.blocks[block.index()].insts;
            let mut before = 0;
            // the check that nothing noticeable stands behind
            let mut check = None;
            for &inst in insts {
                let data = &ir.insts[inst.index()].data;
                noticed[inst.index()] = before;
                if is_quiet(data) {
                    continue;
                }
                before += 1;
                if let Some((made, index, end)) = check.take()
                    && accesses(ir, data, index, end)
                {
                    chosen[inst.index()] = true;
                    chosen[made] = true;
                }
                if let InstData::BoundsCheck { index, end } = *data {
                    check = Some((inst.index(), index, end));
                }
            }
        }
        Self { chosen, noticed }
    }

    /// Whether the check goes, or the access traps.
    pub(super) fn is_chosen(&self, inst: usize) -> bool {
        self.chosen.get(inst).is_some_and(|&chosen| chosen)
    }

    /// Whether the load may move down to `user`, in the same block: what it notices, nothing between does.
    pub(super) fn may_move(&self, load: usize, user: usize) -> bool {
        !self.is_chosen(load) || self.noticed[load] + 1 == self.noticed[user]
    }
}

/// Whether it neither traps nor leaves nor reads or writes linear memory.
fn is_quiet(data: &InstData) -> bool {
    data.is_removable() && !matches!(data, InstData::Load { .. })
}

/// Whether an access reaches exactly to `index + end`, whose check stands before it.
fn accesses(ir: &Function, data: &InstData, index: Value, end: u64) -> bool {
    let (at, offset, size) = match *data {
        InstData::Load {
            op, index, offset, ..
        } => (index, offset, op.access_size()),
        InstData::Store {
            op, index, offset, ..
        } => (index, offset, op.access_size()),
        _ => return false,
    };
    let reaches = u64::from(offset) + u64::from(size);
    match (ir.constant(at), ir.constant(index)) {
        (Some(at), Some(index)) => at.checked_add(reaches) == index.checked_add(end),
        _ => at == index && reaches == end,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{text::parse, value::ENTRY};

    /// Which instructions of the entry block are chosen.
    fn chosen(text: &str) -> Vec<usize> {
        let ir = parse(text);
        let guards = Guards::find(&ir, &[ENTRY]);
        let insts = ir.blocks[ENTRY.index()].insts.iter().enumerate();
        insts
            .filter(|(_, inst)| guards.is_chosen(inst.index()))
            .map(|(n, _)| n)
            .collect()
    }

    #[test]
    fn a_check_goes_when_the_next_access_makes_it() {
        let text = "function 0 (i32) -> (i32) top block0(v0: i32): bounds_check v0, 12 v1 = memory_base \
                    v2 = I32Load v1, v0, 8 return v2";
        assert_eq!(chosen(text), [0, 2]);
    }

    #[test]
    fn a_check_stays_when_its_access_is_gone_or_is_another() {
        let gone = "function 0 (i32) -> (i32) top block0(v0: i32): bounds_check v0, 12 return v0";
        assert_eq!(chosen(gone), [0; 0]);
        let smaller = "function 0 (i32) -> (i32) top block0(v0: i32): bounds_check v0, 12 v1 = memory_base \
                       v2 = I32Load v1, v0, 4 return v2";
        assert_eq!(chosen(smaller), [0; 0]);
    }

    #[test]
    fn a_check_stays_when_something_that_traps_stands_between() {
        let text = "function 0 (i32, i32) -> (i32) top block0(v0: i32, v1: i32): bounds_check v0, 4 \
                    v2 = I32DivU v1, v0 v3 = memory_base v4 = I32Load v3, v0, 0 v5 = I32Add v2, v4 return v5";
        assert_eq!(chosen(text), [0; 0]);
    }
}
