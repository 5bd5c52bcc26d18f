//! Global value numbering: what a dominating instruction has computed already is not computed again.
//!
//! ```text
//! before:  bounds_check v0, 8           after:  bounds_check v0, 8
//!          v1 = I32Load m, v0, 4                v1 = I32Load m, v0, 4
//!          bounds_check v0, 4
//!          v2 = I32Load m, v0, 4                use v1
//! ```
//!
//! A walk over the dominator tree with a scoped table. Reads are numbered by *epoch*: the memory's address by the last call
//! or growing memory; its length by that and the last checkpoint; loads by that and the last store; globals by that and
//! the last write to one; elements and lengths of tables by that and the last write to a table.
//! Where paths with different epochs meet, a new one begins.
//!
//! A bounds check holds for ever, since memories and tables never shrink; so does a check of a function's type.

#![forbid(unsafe_code)]

use super::{Changed, Replacements, is_pure};
use crate::ir::{
    cfg::Cfg,
    value::{Block, ENTRY, Function, InstData, LoadOp, StoreOp, Type, Value},
};
use std::collections::HashMap;

/// What is written may differ if one of these numbers does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Epochs {
    all: u32,
    addresses: u32,
    memory: u32,
    globals: u32,
    tables: u32,
}

/// What makes two instructions give the same value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Const(Type, u64),
    Unary(crate::ir::value::UnaryOp, Value),
    Binary(crate::ir::value::BinaryOp, [Value; 2]),
    Select(Value, [Value; 2]),
    MemoryBase(u32),
    MemorySize(u32),
    Load(LoadOp, Value, u32, u32),
    GlobalGet(u32, u32),
    /// Holds the largest end checked so far.
    BoundsCheck(Value),
    TableLoad(u32, Value, u32),
    TableSize(u32, u32),
    /// An index that is within a table.
    TableCheck(u32, Value),
    /// A function of that type.
    FuncCheck(Value, u32),
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Value(Value),
    End(u64),
    Checked,
}

/// Runs the pass.
pub fn run(func: &mut Function) -> Changed {
    let cfg = Cfg::compute(func);
    let starts = compute_epochs(func, &cfg);
    let mut replacements = Replacements::new(func);
    let mut table: HashMap<Key, Entry> = HashMap::new();
    // Entries to take back when a subtree is left.
    let mut log: Vec<(Key, Option<Entry>)> = Vec::new();
    let mut stack: Vec<(Block, usize, usize)> = vec![(ENTRY, 0, 0)];
    let mut changed = false;
    while let Some((block, next, mark)) = stack.pop() {
        let mut mark = mark;
        if next == 0 {
            mark = log.len();
            let mut scope = Scope {
                table: &mut table,
                log: &mut log,
            };
            let epochs = starts[block.index()];
            changed |= number_block(func, block, epochs, &mut scope, &mut replacements);
        }
        if let Some(&child) = cfg.dominated(block).get(next) {
            stack.push((block, next + 1, mark));
            stack.push((child, 0, 0));
        } else {
            while log.len() > mark {
                let (key, old) = log.pop().expect("just counted");
                match old {
                    Some(old) => table.insert(key, old),
                    None => table.remove(&key),
                };
            }
        }
    }
    (replacements.apply(func) | changed).into()
}

struct Scope<'a> {
    table: &'a mut HashMap<Key, Entry>,
    log: &'a mut Vec<(Key, Option<Entry>)>,
}

impl Scope<'_> {
    fn insert(&mut self, key: Key, entry: Entry) {
        let old = self.table.insert(key.clone(), entry);
        self.log.push((key, old));
    }
}

/// Numbers of epochs: each instruction that begins one has its own, and so has each block where they meet.
fn effect(data: &InstData, number: u32, epochs: &mut Epochs) {
    if data.begins_epoch() {
        *epochs = Epochs {
            all: number,
            addresses: if data.renews_addresses() {
                number
            } else {
                epochs.addresses
            },
            memory: number,
            globals: number,
            tables: number,
        };
    } else if data.writes_memory() {
        epochs.memory = number;
    } else if matches!(data, InstData::GlobalSet { .. }) {
        epochs.globals = number;
    } else if matches!(data, InstData::TableStore { .. } | InstData::Table { .. }) {
        epochs.tables = number;
    }
}

fn number_of(n: usize) -> u32 {
    u32::try_from(n).expect("instructions and blocks are counted in 32 bits")
}

/// The epochs at the start of each block.
fn compute_epochs(func: &Function, cfg: &Cfg) -> Vec<Epochs> {
    let mut starts = vec![Epochs::default(); func.blocks.len()];
    let mut ends: Vec<Option<Epochs>> = vec![None; func.blocks.len()];
    // headers of loops in which no address changes
    let mut keeps_addresses = vec![false; func.blocks.len()];
    for natural in cfg.loops() {
        keeps_addresses[natural.header.index()] = !natural.renews_addresses(func);
    }
    for &block in cfg.reverse_postorder() {
        let fresh = number_of(func.insts.len() + block.index());
        let mut start: Option<Epochs> = None;
        // what is known comes first
        let mut predecessors = cfg.predecessors(block).to_vec();
        predecessors.sort_by_key(|from| ends[from.index()].is_none());
        for from in &predecessors {
            // A back edge, whose end is not known, makes everything fresh.
            let back = cfg.dominates(block, *from) && keeps_addresses[block.index()];
            let end = ends[from.index()].unwrap_or(Epochs {
                all: fresh,
                addresses: match start {
                    Some(start) if back => start.addresses,
                    _ => fresh,
                },
                memory: fresh,
                globals: fresh,
                tables: fresh,
            });
            let meet = |a: u32, b: u32| if a == b { a } else { fresh };
            start = Some(start.map_or(end, |start| Epochs {
                all: meet(start.all, end.all),
                addresses: if back {
                    start.addresses
                } else {
                    meet(start.addresses, end.addresses)
                },
                memory: meet(start.memory, end.memory),
                globals: meet(start.globals, end.globals),
                tables: meet(start.tables, end.tables),
            }));
        }
        let fresh = Epochs {
            all: fresh,
            addresses: fresh,
            memory: fresh,
            globals: fresh,
            tables: fresh,
        };
        let start = start.unwrap_or(fresh);
        starts[block.index()] = start;
        let mut epochs = start;
        for &inst in &func.blocks[block.index()].insts {
            effect(
                &func.insts[inst.index()].data,
                number_of(inst.index()),
                &mut epochs,
            );
        }
        ends[block.index()] = Some(epochs);
    }
    starts
}

fn number_block(
    func: &mut Function,
    block: Block,
    mut epochs: Epochs,
    scope: &mut Scope<'_>,
    replacements: &mut Replacements,
) -> bool {
    let mut changed = false;
    let mut insts = std::mem::take(&mut func.blocks[block.index()].insts);
    insts.retain(|&inst| {
        func.insts[inst.index()]
            .data
            .for_each_operand_mut(|value| *value = replacements.resolve(*value));
        let node = &func.insts[inst.index()];
        effect(&node.data, number_of(inst.index()), &mut epochs);
        if let InstData::Store {
            op,
            index,
            offset,
            value,
            ..
        } = node.data
        {
            // What was just written needs no load.
            if let Some(op) = reloads(op) {
                let key = Key::Load(op, index, offset, epochs.memory);
                scope.insert(key, Entry::Value(value));
            }
            return true;
        }
        if let InstData::GlobalSet { global, value } = node.data {
            let key = Key::GlobalGet(global.0, epochs.globals);
            scope.insert(key, Entry::Value(value));
            return true;
        }
        if let InstData::TableStore {
            table,
            index,
            value,
        } = node.data
        {
            let key = Key::TableLoad(table.0, index, epochs.tables);
            scope.insert(key, Entry::Value(value));
            return true;
        }
        let Some(key) = key_of(func, &node.data, epochs) else {
            return true;
        };
        if let InstData::BoundsCheck { end, .. } = node.data {
            if let Some(&Entry::End(known)) = scope.table.get(&key)
                && known >= end
            {
                changed = true;
                return false;
            }
            scope.insert(key, Entry::End(end));
            return true;
        }
        if node.results.is_empty() {
            if scope.table.contains_key(&key) {
                changed = true;
                return false;
            }
            scope.insert(key, Entry::Checked);
            return true;
        }
        let result = node.results[0];
        if let Some(&Entry::Value(known)) = scope.table.get(&key) {
            replacements.replace(result, known);
            return false;
        }
        scope.insert(key, Entry::Value(result));
        true
    });
    func.blocks[block.index()].insts = insts;
    changed
}

fn key_of(func: &Function, data: &InstData, epochs: Epochs) -> Option<Key> {
    Some(match *data {
        InstData::Const { ty, bits } => Key::Const(ty, bits),
        InstData::Unary { op, arg } => Key::Unary(op, arg),
        // An instruction that traps has trapped where it was met first.
        InstData::Binary { op, args } => {
            let swap = op.is_commutative() && args[1] < args[0];
            let args = if swap { [args[1], args[0]] } else { args };
            Key::Binary(op, args)
        }
        InstData::Select { cond, args, .. } => {
            debug_assert!(is_pure(func, data));
            Key::Select(cond, args)
        }
        InstData::MemoryBase => Key::MemoryBase(epochs.addresses),
        InstData::MemorySize => Key::MemorySize(epochs.all),
        InstData::Load {
            op, index, offset, ..
        } => Key::Load(op, index, offset, epochs.memory),
        InstData::GlobalGet { global, .. } => Key::GlobalGet(global.0, epochs.globals),
        InstData::BoundsCheck { index, .. } => Key::BoundsCheck(index),
        InstData::TableLoad { table, index, .. } => Key::TableLoad(table.0, index, epochs.tables),
        InstData::TableSize { table } => Key::TableSize(table.0, epochs.tables),
        InstData::TableCheck { table, index, .. } => Key::TableCheck(table.0, index),
        InstData::FuncCheck { func, ty } => Key::FuncCheck(func, ty.0),
        _ => return None,
    })
}

/// The load that gives exactly what a store wrote.
fn reloads(op: StoreOp) -> Option<LoadOp> {
    match op {
        StoreOp::I32Store => Some(LoadOp::I32Load),
        StoreOp::I64Store => Some(LoadOp::I64Load),
        StoreOp::F32Store => Some(LoadOp::F32Load),
        StoreOp::F64Store => Some(LoadOp::F64Load),
        _ => None,
    }
}
