//! Live locals at every suspension point and label: what the canonical layout is made of.
//!
//! ```text
//! (loop $l                 header: {0, 1}
//!   (call $f)              behind the call: {0, 1}
//!   (br_if $l (local.get 0))
//!   (local.set 1 ...))
//! ```
//!
//! Backward dataflow over the structured body, without SSA. A forward scan keeps only what matters (reads, writes,
//! control, calls) of reachable code. Backward passes over that list then carry one bitset; a label's set is known when
//! its branches are met, except for loop headers, whose sets come from the pass before. One pass makes outermost
//! headers exact, and each further pass one more level of nesting.
//!
//! **Invariant (layouts are tier-independent).** The result depends on the function alone. Where exactness would cost
//! too much, *all* locals count as live everywhere, which is always correct; that too depends on the function alone.

#![forbid(unsafe_code)]

use super::{
    module::Module,
    types::{FuncIndex, LocalIndex, WasmOffset},
};
use crate::{error::CompileError, suspension::point::PointKind};
use std::ops::Range;
use wasmparser::Operator;

/// Words of bitset operations and events that one function may cost.
const MAX_WORK: u64 = 1 << 28;
/// Words of bitsets kept at a time (loop headers, and labels of the blocks around one place).
const MAX_SET_WORDS: usize = 1 << 22;
/// Entries of the lists that are kept.
const MAX_ENTRIES: usize = 1 << 24;

/// Live locals of one function at its suspension points and labels.
#[derive(Clone, Debug)]
pub struct Liveness {
    locals: u32,
    /// Whether exactness was too expensive.
    all_live: bool,
    first_operator: WasmOffset,
    entry: Range<usize>,
    /// By offset: calls and loop headers.
    points: Vec<(WasmOffset, Range<usize>)>,
    point_entries: Vec<LocalIndex>,
    /// By offset: blocks and ifs that are branched to or have two arms; `None` if there were too many.
    labels: Option<Vec<(WasmOffset, Range<usize>)>>,
    label_entries: Vec<LocalIndex>,
    /// By offset of the `loop`: behind its end.
    behind_loops: Vec<(WasmOffset, Range<usize>)>,
}

/// An iterator over locals in rising order.
#[derive(Clone, Debug)]
pub enum LiveLocals<'a> {
    /// These.
    Listed(std::slice::Iter<'a, LocalIndex>),
    /// All in a range.
    All(Range<u32>),
}

impl Iterator for LiveLocals<'_> {
    type Item = LocalIndex;

    fn next(&mut self) -> Option<LocalIndex> {
        match self {
            Self::Listed(list) => list.next().copied(),
            Self::All(range) => range.next().map(LocalIndex),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Listed(list) => list.size_hint(),
            Self::All(range) => range.size_hint(),
        }
    }
}

impl ExactSizeIterator for LiveLocals<'_> {}

impl Liveness {
    /// Computes the live locals of a function defined here.
    ///
    /// # Errors
    /// `Invalid` if the body cannot be read, which validation excludes.
    pub fn compute(module: &Module, func: FuncIndex) -> Result<Self, CompileError> {
        let locals = module.local_count(func);
        let mut scan = Scan::default();
        scan.body(module, func)
            .map_err(|error| CompileError::Invalid {
                offset: WasmOffset(u32::try_from(error.offset()).unwrap_or(u32::MAX)),
                message: error.message().to_owned(),
            })?;
        let mut liveness = Self {
            locals,
            all_live: false,
            first_operator: scan.first_operator.expect("a body has operators"),
            entry: 0..0,
            points: Vec::new(),
            point_entries: Vec::new(),
            labels: Some(Vec::new()),
            label_entries: Vec::new(),
            behind_loops: Vec::new(),
        };
        if Solver::new(&scan).solve(&mut liveness).is_none() {
            liveness = Self {
                all_live: true,
                entry: 0..0,
                points: Vec::new(),
                point_entries: Vec::new(),
                labels: None,
                label_entries: Vec::new(),
                behind_loops: Vec::new(),
                ..liveness
            };
        }
        liveness.points.reverse();
        liveness.behind_loops.reverse();
        if let Some(labels) = &mut liveness.labels {
            labels.sort_unstable_by_key(|&(offset, _)| offset);
        }
        Ok(liveness)
    }

    /// Whether all locals count as live because the function is too large for exact sets.
    pub fn is_conservative(&self) -> bool {
        self.all_live
    }

    /// Offset of the body's first operator, which names the entry.
    pub fn first_operator(&self) -> WasmOffset {
        self.first_operator
    }

    /// Live locals at a suspension point, in rising order: behind a call, at a loop header, at the entry (where locals
    /// that are read before they are written are zero). Nothing is live in unreachable code.
    pub fn live_at(&self, kind: PointKind, offset: WasmOffset) -> LiveLocals<'_> {
        if self.all_live {
            return LiveLocals::All(0..self.locals);
        }
        let range = match kind {
            PointKind::Entry => self.entry.clone(),
            PointKind::Call | PointKind::LoopHeader => find(&self.points, offset),
        };
        LiveLocals::Listed(self.point_entries[range].iter())
    }

    /// Live locals at the target of a label, given the offset of its `block`, `loop` or `if`: a loop's header, else
    /// behind the end. `None` if there are too many to keep; empty for blocks that no reachable branch aims at.
    pub fn live_at_label(&self, offset: WasmOffset) -> Option<LiveLocals<'_>> {
        if self.all_live {
            return Some(LiveLocals::All(0..self.locals));
        }
        let labels = self.labels.as_ref()?;
        let range = find(labels, offset);
        if range.is_empty() {
            // Loop headers are points.
            return Some(self.live_at(PointKind::LoopHeader, offset));
        }
        Some(LiveLocals::Listed(self.label_entries[range].iter()))
    }

    /// Live locals behind the end of a loop, given the offset of its `loop`. `None` as for labels.
    pub fn live_behind_loop(&self, offset: WasmOffset) -> Option<LiveLocals<'_>> {
        if self.all_live {
            return Some(LiveLocals::All(0..self.locals));
        }
        self.labels.as_ref()?;
        let range = find(&self.behind_loops, offset);
        Some(LiveLocals::Listed(self.label_entries[range].iter()))
    }

    /// Entries of all canonical layouts together, stack entries apart: what describing every point costs.
    pub fn total_entries(&self) -> u64 {
        self.points
            .iter()
            .map(|(_, range)| range.len() as u64)
            .sum()
    }
}

fn find(list: &[(WasmOffset, Range<usize>)], offset: WasmOffset) -> Range<usize> {
    list.binary_search_by_key(&offset, |&(offset, _)| offset)
        .map_or(0..0, |found| list[found].1.clone())
}

/// What matters of an operator. Locals are renumbered: only those that are read count.
#[derive(Clone, Copy, Debug)]
enum Event {
    Get(u32),
    Set(u32),
    Call(WasmOffset),
    Block(WasmOffset),
    Loop(WasmOffset),
    If(WasmOffset),
    Else,
    /// Ends a `block` that is branched to, or not.
    EndBlock {
        targeted: bool,
    },
    EndLoop(u32),
    EndIf,
    /// Ends an `if` that has an `else`.
    EndIfElse,
    Br(u32),
    BrIf(u32),
    /// A range of `Scan::tables`: depths, each once.
    BrTable(u32, u32),
    /// Control does not go on from here.
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameKind {
    Block,
    Loop(u32),
    If,
    IfElse,
}

#[derive(Debug)]
struct ScanFrame {
    kind: FrameKind,
    targeted: bool,
    reachable_else: bool,
}

/// The forward scan: the body's reachable part as events.
#[derive(Debug, Default)]
struct Scan {
    events: Vec<Event>,
    tables: Vec<u32>,
    /// Locals that are read, by their new number.
    read: Vec<LocalIndex>,
    loops: u32,
    max_loop_depth: u32,
    max_depth: usize,
    first_operator: Option<WasmOffset>,
}

impl Scan {
    fn body(
        &mut self,
        module: &Module,
        func: FuncIndex,
    ) -> Result<(), wasmparser::BinaryReaderError> {
        let mut reader = module.body(func).get_operators_reader()?;
        let position = |reader: &wasmparser::OperatorsReader<'_>| {
            WasmOffset(u32::try_from(reader.original_position()).expect("modules are below 4 GiB"))
        };
        self.first_operator = Some(position(&reader));
        let mut frames = Vec::<ScanFrame>::new();
        let mut loop_depth = 0;
        let mut reachable = true;
        // Nesting of blocks inside unreachable code.
        let mut skipped = 0u32;
        while !reader.eof() {
            let offset = position(&reader);
            let operator = reader.read()?;
            if !reachable {
                match operator {
                    Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                        skipped += 1;
                        continue;
                    }
                    Operator::End if skipped > 0 => {
                        skipped -= 1;
                        continue;
                    }
                    Operator::Else if skipped > 0 => continue,
                    Operator::End | Operator::Else => {}
                    _ => continue,
                }
            }
            match operator {
                Operator::LocalGet { local_index } => self.events.push(Event::Get(local_index)),
                Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                    self.events.push(Event::Set(local_index));
                }
                Operator::Call { .. } | Operator::CallIndirect { .. } => {
                    self.events.push(Event::Call(offset));
                }
                Operator::Block { .. } => {
                    self.events.push(Event::Block(offset));
                    frames.push(ScanFrame {
                        kind: FrameKind::Block,
                        targeted: false,
                        reachable_else: false,
                    });
                }
                Operator::Loop { .. } => {
                    self.events.push(Event::Loop(offset));
                    frames.push(ScanFrame {
                        kind: FrameKind::Loop(self.loops),
                        targeted: false,
                        reachable_else: false,
                    });
                    self.loops += 1;
                    loop_depth += 1;
                    self.max_loop_depth = self.max_loop_depth.max(loop_depth);
                }
                Operator::If { .. } => {
                    self.events.push(Event::If(offset));
                    frames.push(ScanFrame {
                        kind: FrameKind::If,
                        targeted: false,
                        reachable_else: true,
                    });
                }
                Operator::Else => {
                    let frame = frames.last_mut().expect("bodies are validated");
                    frame.kind = FrameKind::IfElse;
                    frame.reachable_else = false;
                    frame.targeted |= reachable;
                    self.events.push(Event::Else);
                    reachable = true;
                }
                Operator::End => {
                    let Some(frame) = frames.pop() else { break };
                    self.events.push(match frame.kind {
                        FrameKind::Block => Event::EndBlock {
                            targeted: frame.targeted,
                        },
                        FrameKind::Loop(n) => {
                            loop_depth -= 1;
                            Event::EndLoop(n)
                        }
                        FrameKind::If => Event::EndIf,
                        FrameKind::IfElse => Event::EndIfElse,
                    });
                    let targeted = frame.targeted && !matches!(frame.kind, FrameKind::Loop(_));
                    reachable |= targeted || frame.reachable_else;
                    if !reachable {
                        self.events.push(Event::Stop);
                    }
                }
                Operator::Br { relative_depth } => {
                    self.events.push(Event::Br(relative_depth));
                    target(&mut frames, relative_depth);
                    reachable = false;
                }
                Operator::BrIf { relative_depth } => {
                    self.events.push(Event::BrIf(relative_depth));
                    target(&mut frames, relative_depth);
                }
                Operator::BrTable { targets } => {
                    let start = self.tables.len();
                    for depth in targets.targets() {
                        self.tables.push(depth?);
                    }
                    self.tables.push(targets.default());
                    self.tables[start..].sort_unstable();
                    let mut kept = start;
                    for n in start..self.tables.len() {
                        if kept == start || self.tables[kept - 1] != self.tables[n] {
                            self.tables[kept] = self.tables[n];
                            kept += 1;
                        }
                    }
                    self.tables.truncate(kept);
                    for n in start..kept {
                        target(&mut frames, self.tables[n]);
                    }
                    let bound =
                        |n: usize| u32::try_from(n).expect("a body has fewer than 2^32 bytes");
                    self.events.push(Event::BrTable(bound(start), bound(kept)));
                    reachable = false;
                }
                Operator::Return
                | Operator::ReturnCall { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::Unreachable => {
                    self.events.push(Event::Stop);
                    reachable = false;
                }
                _ => {}
            }
            self.max_depth = self.max_depth.max(frames.len());
        }
        self.renumber();
        Ok(())
    }

    /// A local that is never read is never live: number the others and drop writes to it.
    fn renumber(&mut self) {
        let mut numbers = Vec::<Option<u32>>::new();
        for event in &self.events {
            if let Event::Get(local) = *event {
                let local = local as usize;
                if numbers.len() <= local {
                    numbers.resize(local + 1, None);
                }
                numbers[local] = Some(0);
            }
        }
        for (number, local) in numbers.iter_mut().zip(0..) {
            if let Some(number) = number {
                *number = u32::try_from(self.read.len()).expect("there are at most 50,000 locals");
                self.read.push(LocalIndex(local));
            }
        }
        self.events.retain_mut(|event| match event {
            Event::Get(local) | Event::Set(local) => {
                match numbers.get(*local as usize).copied().flatten() {
                    Some(number) => {
                        *local = number;
                        true
                    }
                    None => false,
                }
            }
            _ => true,
        });
    }
}

fn target(frames: &mut [ScanFrame], depth: u32) {
    // A branch to the body's own label is a return.
    if let Some(n) = frames.len().checked_sub(1 + depth as usize) {
        frames[n].targeted = true;
    }
}

/// A label that is open while the events are walked backward.
#[derive(Clone, Copy, Debug)]
enum Label {
    /// Its set is at this position of the stack of sets.
    Set(usize),
    /// A loop's header.
    Header(u32),
    /// No branch aims here.
    Unused,
}

/// The backward passes.
#[derive(Debug)]
struct Solver<'a> {
    scan: &'a Scan,
    words: usize,
    current: Vec<u64>,
    /// Sets of loop headers, as far as known.
    headers: Vec<u64>,
    labels: Vec<Label>,
    /// Sets of open labels, and for an `else` arm the set at its start.
    sets: Vec<u64>,
    last_record: Range<usize>,
    /// Live behind the ends of open loops, in the pass that records.
    behind: Vec<Range<usize>>,
    work: u64,
}

impl<'a> Solver<'a> {
    fn new(scan: &'a Scan) -> Self {
        let words = scan.read.len().div_ceil(64);
        Self {
            scan,
            words,
            current: vec![0; words],
            headers: Vec::new(),
            labels: Vec::new(),
            sets: Vec::new(),
            last_record: 0..0,
            behind: Vec::new(),
            work: 0,
        }
    }

    /// Fills `liveness`, or gives up.
    fn solve(mut self, liveness: &mut Liveness) -> Option<()> {
        let header_words = (self.scan.loops as usize).checked_mul(self.words)?;
        if header_words > MAX_SET_WORDS {
            return None;
        }
        self.headers = vec![0; header_words];
        for _ in 0..self.scan.max_loop_depth {
            if !self.pass(None)? {
                break;
            }
        }
        self.pass(Some(liveness))?;
        liveness.entry = self.record(&mut liveness.point_entries)?;
        Some(())
    }

    /// One walk from the end to the top; whether a header's set grew.
    fn pass(&mut self, mut liveness: Option<&mut Liveness>) -> Option<bool> {
        let mut changed = false;
        self.current.fill(0);
        self.labels.clear();
        self.sets.clear();
        for &event in self.scan.events.iter().rev() {
            self.work += 1;
            match event {
                Event::Get(local) => {
                    self.current[local as usize / 64] |= 1 << (local % 64);
                    continue;
                }
                Event::Set(local) => {
                    self.current[local as usize / 64] &= !(1 << (local % 64));
                    continue;
                }
                Event::Call(offset) => {
                    if let Some(liveness) = &mut liveness {
                        let range = self.record(&mut liveness.point_entries)?;
                        liveness.points.push((offset, range));
                    }
                }
                Event::EndBlock { targeted: false } => self.labels.push(Label::Unused),
                Event::EndBlock { targeted: true } | Event::EndIf | Event::EndIfElse => {
                    self.labels.push(Label::Set(self.sets.len()));
                    self.push_set()?;
                }
                Event::EndLoop(n) => {
                    self.labels.push(Label::Header(n));
                    if let Some(liveness) = &mut liveness {
                        let range = self.record_label(liveness, &self.current);
                        self.behind.push(range);
                    }
                }
                Event::Else => {
                    // Keep the start of the else arm; the then arm falls to the end.
                    let Some(&Label::Set(at)) = self.labels.last() else {
                        unreachable!("an else belongs to an if");
                    };
                    self.push_set()?;
                    self.current
                        .copy_from_slice(&self.sets[at..at + self.words]);
                }
                Event::Block(offset) => {
                    if let Some(Label::Set(at)) = self.labels.pop() {
                        if let Some(liveness) = &mut liveness {
                            self.label(liveness, offset, at);
                        }
                        self.sets.truncate(at);
                    }
                }
                Event::If(offset) => {
                    let Some(Label::Set(at)) = self.labels.pop() else {
                        unreachable!("an if has a label");
                    };
                    if let Some(liveness) = &mut liveness {
                        self.label(liveness, offset, at);
                    }
                    // The topmost set is the else arm's start, or without an else arm the label's.
                    let other = self.sets.len() - self.words;
                    for (word, &other) in self.current.iter_mut().zip(&self.sets[other..]) {
                        *word |= other;
                    }
                    self.sets.truncate(at);
                }
                Event::Loop(offset) => {
                    let Some(Label::Header(n)) = self.labels.pop() else {
                        unreachable!("a loop has a header");
                    };
                    let header = n as usize * self.words;
                    let header = &mut self.headers[header..header + self.words];
                    if *header != *self.current {
                        changed = true;
                        header.copy_from_slice(&self.current);
                    }
                    if let Some(liveness) = &mut liveness {
                        let range = self.record(&mut liveness.point_entries)?;
                        liveness.points.push((offset, range));
                        let behind = self.behind.pop().expect("the loop's end was met");
                        liveness.behind_loops.push((offset, behind));
                    }
                }
                Event::Br(depth) => {
                    self.current.fill(0);
                    self.branch(depth);
                }
                Event::BrIf(depth) => self.branch(depth),
                Event::BrTable(start, end) => {
                    self.current.fill(0);
                    for n in start..end {
                        self.branch(self.scan.tables[n as usize]);
                    }
                    self.work += u64::from(end - start) * self.words as u64;
                }
                Event::Stop => self.current.fill(0),
            }
            self.work += self.words as u64;
            if self.work > MAX_WORK {
                return None;
            }
        }
        Some(changed)
    }

    fn push_set(&mut self) -> Option<()> {
        if self.sets.len() + self.words > MAX_SET_WORDS {
            return None;
        }
        self.sets.extend_from_slice(&self.current);
        Some(())
    }

    /// What is live at a branch's target is live here.
    fn branch(&mut self, depth: u32) {
        let Some(n) = self.labels.len().checked_sub(1 + depth as usize) else {
            return;
        };
        let target = match self.labels[n] {
            Label::Set(at) => &self.sets[at..at + self.words],
            Label::Header(n) => {
                let at = n as usize * self.words;
                &self.headers[at..at + self.words]
            }
            Label::Unused => unreachable!("a branch aims there"),
        };
        for (word, &target) in self.current.iter_mut().zip(target) {
            *word |= target;
        }
    }

    /// Lists the current set; neighbours that are equal share a list.
    fn record(&mut self, entries: &mut Vec<LocalIndex>) -> Option<Range<usize>> {
        let start = entries.len();
        self.list(&self.current, entries);
        self.work += (entries.len() - start) as u64;
        if entries[start..] == entries[self.last_record.clone()] {
            entries.truncate(start);
        } else {
            self.last_record = start..entries.len();
        }
        (entries.len() <= MAX_ENTRIES).then(|| self.last_record.clone())
    }

    fn label(&self, liveness: &mut Liveness, offset: WasmOffset, at: usize) {
        let range = self.record_label(liveness, &self.sets[at..at + self.words]);
        if let Some(labels) = &mut liveness.labels {
            labels.push((offset, range));
        }
    }

    /// Lists a label's set, until there are too many.
    fn record_label(&self, liveness: &mut Liveness, set: &[u64]) -> Range<usize> {
        if liveness.labels.is_none() {
            return 0..0;
        }
        let start = liveness.label_entries.len();
        self.list(set, &mut liveness.label_entries);
        if liveness.label_entries.len() > MAX_ENTRIES {
            liveness.labels = None;
            liveness.label_entries = Vec::new();
            return 0..0;
        }
        start..liveness.label_entries.len()
    }

    fn list(&self, set: &[u64], entries: &mut Vec<LocalIndex>) {
        for (n, &word) in set.iter().enumerate() {
            let mut word = word;
            while word != 0 {
                entries.push(self.scan.read[n * 64 + word.trailing_zeros() as usize]);
                word &= word - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The points of function 0 as text, in order: kind and live locals; then the labels.
    fn points(wat: &str) -> String {
        let module = Module::new(&wat::parse_str(wat).expect("well-formed")).expect("valid");
        let func = FuncIndex(module.imported_functions);
        let live = Liveness::compute(&module, func).expect("valid");
        assert!(!live.is_conservative());
        let list = |live: LiveLocals<'_>| {
            let list: Vec<String> = live.map(|local| local.0.to_string()).collect();
            list.join(" ")
        };
        let mut out = vec![format!(
            "entry[{}]",
            list(live.live_at(PointKind::Entry, live.first_operator()))
        )];
        let operators = module.body(func).get_operators_reader().expect("valid");
        for item in operators.into_iter_with_offsets() {
            let (operator, offset) = item.expect("valid");
            let offset = WasmOffset(u32::try_from(offset).expect("small"));
            let label = || list(live.live_at_label(offset).expect("few labels"));
            match operator {
                Operator::Call { .. } => {
                    out.push(format!(
                        "call[{}]",
                        list(live.live_at(PointKind::Call, offset))
                    ));
                }
                Operator::Loop { .. } => {
                    let header = list(live.live_at(PointKind::LoopHeader, offset));
                    assert_eq!(header, label());
                    out.push(format!("loop[{header}]"));
                }
                Operator::Block { .. } => out.push(format!("block[{}]", label())),
                Operator::If { .. } => out.push(format!("if[{}]", label())),
                _ => {}
            }
        }
        out.join(" ")
    }

    #[test]
    fn a_local_lives_from_its_write_to_its_last_read() {
        assert_eq!(
            points(
                r#"(module (import "" "f" (func $f))
                (func (param i32 i32) (local i32)
                    (call $f)
                    (local.set 0 (i32.const 1))
                    (call $f)
                    (drop (i32.add (local.get 0) (local.get 1)))
                    (call $f)
                    (drop (local.get 2))))"#
            ),
            "entry[1 2] call[1 2] call[0 1 2] call[2]"
        );
    }

    #[test]
    fn a_loop_keeps_what_its_next_iteration_reads() {
        assert_eq!(
            points(
                r#"(module (import "" "f" (func $f))
                (func (param i32 i32) (result i32) (local i32)
                    (loop $l
                        (local.set 2 (local.get 1))
                        (call $f)
                        (local.set 0 (i32.sub (local.get 0) (local.get 2)))
                        (br_if $l (local.get 0)))
                    (local.get 0)))"#
            ),
            "entry[0 1] loop[0 1] call[0 1 2]"
        );
    }

    #[test]
    fn nested_loops_keep_what_outer_iterations_read() {
        // Local 0 is read at the top of the outermost loop only.
        assert_eq!(
            points(
                r#"(module (import "" "f" (func $f))
                (func (param i32 i32)
                    (loop $a
                        (drop (local.get 0))
                        (loop $b
                            (block $out
                                (loop $c
                                    (call $f)
                                    (br_if $out (local.get 1))
                                    (br $c)))
                            (br_if $b (local.get 1)))
                        (br $a))))"#
            ),
            "entry[0 1] loop[0 1] loop[0 1] block[0 1] loop[0 1] call[0 1]"
        );
    }

    #[test]
    fn the_arms_of_an_if_are_apart() {
        assert_eq!(
            points(
                r#"(module (import "" "f" (func $f))
                (func (param i32 i32 i32 i32)
                    (if (local.get 0)
                        (then (call $f) (drop (local.get 1)))
                        (else (call $f) (drop (local.get 2))))
                    (if (local.get 0) (then (call $f) (local.set 3 (i32.const 0))))
                    (drop (local.get 3))))"#
            ),
            "entry[0 1 2 3] if[0 3] call[0 1 3] call[0 2 3] if[3] call[]"
        );
    }

    #[test]
    fn unreachable_code_contributes_nothing() {
        assert_eq!(
            points(
                r#"(module (import "" "f" (func $f))
                (func (param i32 i32 i32)
                    (block $b
                        (block
                            (br_if $b (local.get 0))
                            (br $b)
                            (if (local.get 1) (then (loop (call $f))) (else (drop (local.get 1)))))
                        (drop (local.get 1)) (call $f))
                    (drop (local.get 2))
                    (return)
                    (drop (local.get 1))))"#
            ),
            "entry[0 2] block[2] block[] if[] loop[] call[] call[]"
        );
    }

    #[test]
    fn every_target_of_a_branch_table_counts() {
        assert_eq!(
            points(
                r#"(module (import "" "f" (func $f))
                (func (param i32 i32 i32)
                    (block $a
                        (block $b
                            (br_table $a $b $b $a (local.get 0)))
                        (call $f) (drop (local.get 1)))
                    (drop (local.get 2))))"#
            ),
            "entry[0 1 2] block[2] block[1 2] call[1 2]"
        );
    }

    fn conservative(module: &Module) -> bool {
        Liveness::compute(module, FuncIndex(0))
            .expect("valid")
            .is_conservative()
    }

    #[test]
    fn hostile_sizes_stay_cheap() {
        // 50,000 locals, all read in one of 3,000 loops: exact.
        let mut body = String::new();
        for n in 0..3000 {
            body.push_str(&format!("(loop (br_if 0 (local.get {})))", n * 16));
        }
        let locals = "i32 ".repeat(49_999);
        let wat = format!("(module (func (local {locals}) {body}))");
        let module = Module::new(&wat::parse_str(&wat).expect("well-formed")).expect("valid");
        let live = Liveness::compute(&module, FuncIndex(0)).expect("valid");
        assert_eq!(
            live.live_at(PointKind::Entry, live.first_operator()).len(),
            3000
        );

        // All of them live across 20,000 calls: neighbours share their lists.
        let reads = (0..49_999)
            .map(|n| format!("(drop (local.get {n}))"))
            .collect::<String>();
        let calls = "(call 0)".repeat(2000);
        let wat = format!("(module (func (local {locals}) {calls} {reads}))");
        let module = Module::new(&wat::parse_str(&wat).expect("well-formed")).expect("valid");
        assert!(!conservative(&module));

        // Deep nesting times many locals is refused exactness, not memory.
        let depth = 20_000;
        let (open, close) = ("loop ".repeat(depth), "br 0 end ".repeat(depth));
        let reads = (0..49_999)
            .map(|n| format!("local.get {n} drop "))
            .collect::<String>();
        let wat = format!("(module (func (local {locals}) {open} {reads} {close}))");
        let module = Module::new(&wat::parse_str(&wat).expect("well-formed")).expect("valid");
        assert!(conservative(&module));
        let live = Liveness::compute(&module, FuncIndex(0)).expect("valid");
        assert_eq!(live.live_at(PointKind::Call, WasmOffset(0)).len(), 49_999);
    }
}
