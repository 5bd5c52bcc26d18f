//! Runs IR directly, for tests: whole modules, entered at the top or moved to OSR code at any loop header.

#![forbid(unsafe_code)]

use super::{
    eval::{eval_binary, eval_unary},
    value::{
        BulkOp, Callee, ENTRY, Entry, FrameState, Function, InstData, Jump, LoadOp, StoreOp,
        TableOp, TrapCode, Type,
    },
};
use crate::{
    frame::layout::FrameLayout,
    options::CompileOptions,
    suspension::point::PointKind,
    tier1::{build::build, pipeline::optimize},
    wasm::{
        liveness::Liveness,
        module::{ElementMode, Extern, GlobalInit, Module},
        types::{FrameOffset, FuncIndex, ValType},
    },
};
use std::{collections::HashMap, rc::Rc};

/// How deep an operand stack the frames of tests can hold.
const MAX_STACK: u32 = 4096;

/// Why a run ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Trap(TrapCode),
    /// It took too long or went too deep.
    Exhausted,
}

/// How a run of one function ended.
enum Left {
    Returned(Vec<u64>),
    /// This function's results are its own.
    Tail(FuncIndex, Vec<u64>),
}

/// One way to run a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) optimized: bool,
    /// At every n-th loop header that is met, go on in OSR code.
    pub(crate) osr_every: Option<u32>,
}

/// A module's state while it runs.
pub(crate) struct Machine<'m> {
    module: &'m Module,
    way: Way,
    pub(crate) memory: Vec<u8>,
    pub(crate) globals: Vec<u64>,
    /// Data segments that are empty by now.
    dropped: Vec<bool>,
    tables: Vec<Vec<u64>>,
    /// What is left of element segments.
    segments: Vec<Vec<u64>>,
    /// Arguments of calls of imported functions.
    pub(crate) log: Vec<u64>,
    pub(crate) transitions: u32,
    /// Optimized code that was refused.
    pub(crate) refused: u32,
    headers: u32,
    epoch: u64,
    fuel: u64,
    depth: u32,
    code: HashMap<(FuncIndex, Option<u32>), Option<Rc<Function>>>,
    liveness: HashMap<FuncIndex, Rc<Liveness>>,
}

/// What an imported function returns, for tests.
pub(crate) fn host(args: &[u64], ty: ValType) -> u64 {
    let sum = args
        .iter()
        .fold(7u64, |sum, &arg| sum.rotate_left(5).wrapping_add(arg));
    match ty {
        ValType::I32 => sum & 0xffff_ffff,
        ValType::I64 | ValType::FuncRef | ValType::ExternRef => sum,
        ValType::F32 => u64::from((2.5f32).to_bits()),
        ValType::F64 => (-0.75f64).to_bits(),
    }
}

/// What a function is as a value, and back.
fn function(func: FuncIndex) -> u64 {
    u64::from(func.0) + 1
}

fn constant_of(module: &Module, init: GlobalInit, globals: &[u64]) -> u64 {
    module.constant_value(init, |index| globals[index.index()], function)
}

fn named(reference: u64) -> Option<FuncIndex> {
    Some(FuncIndex::new(position(reference.checked_sub(1)?)))
}

fn position(word: u64) -> usize {
    usize::try_from(word).expect("64 bits")
}

fn mask(ty: Type, bits: u64) -> u64 {
    match ty {
        Type::I32 | Type::F32 => bits & 0xffff_ffff,
        _ => bits,
    }
}

impl<'m> Machine<'m> {
    pub(crate) fn new(module: &'m Module, way: Way, fuel: u64) -> Self {
        let mut globals: Vec<u64> = Vec::new();
        for global in &module.globals {
            globals.push(match global.init {
                GlobalInit::Imported => 0,
                init => constant_of(module, init, &globals),
            });
        }
        let pages = module.memory.map_or(0, |memory| memory.min);
        let mut memory = vec![0; pages as usize * 65536];
        for segment in &module.data {
            let Some(offset) = segment.offset else {
                continue;
            };
            let at = position(constant_of(module, offset, &globals));
            let bytes = &module.bytes[segment.bytes.clone()];
            memory[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let constant = |init| constant_of(module, init, &globals);
        let mut tables: Vec<Vec<u64>> = module
            .tables
            .iter()
            .map(|table| vec![0; table.ty.min as usize])
            .collect();
        let mut segments = Vec::new();
        for segment in &module.elements {
            let mut words: Vec<u64> = segment.items.iter().map(|&item| constant(item)).collect();
            if let ElementMode::Active { table, offset } = segment.mode {
                let at = position(constant(offset));
                tables[table.index()][at..at + words.len()].copy_from_slice(&words);
            }
            if segment.mode != ElementMode::Passive {
                words.clear();
            }
            segments.push(words);
        }
        Self {
            module,
            way,
            memory,
            tables,
            segments,
            globals,
            dropped: module
                .data
                .iter()
                .map(|segment| segment.offset.is_some())
                .collect(),
            log: Vec::new(),
            transitions: 0,
            refused: 0,
            headers: 0,
            epoch: 0,
            fuel,
            depth: 0,
            code: HashMap::new(),
            liveness: HashMap::new(),
        }
    }

    /// Forgets calls that ended in a trap.
    pub(crate) fn reset_depth(&mut self) {
        self.depth = 0;
    }

    pub(crate) fn export(&self, name: &str) -> FuncIndex {
        let export = self.module.exports.iter().find(|export| export.0 == name);
        match export.expect("it is exported").1 {
            Extern::Func(func) => func,
            other => panic!("{other:?} is not a function"),
        }
    }

    fn code(&mut self, func: FuncIndex, entry: Entry, stack: &[ValType]) -> Option<Rc<Function>> {
        let at = match entry {
            Entry::Top => None,
            Entry::Osr(offset) => Some(offset.0),
        };
        if let Some(code) = self.code.get(&(func, at)) {
            return code.clone();
        }
        let module = self.module;
        let liveness = self.liveness.entry(func).or_insert_with(|| {
            Rc::new(Liveness::compute(module, func).expect("bodies are validated"))
        });
        let options = CompileOptions {
            checkers: true,
            ..CompileOptions::default()
        };
        let layout = FrameLayout::new(module.local_count(func), MAX_STACK);
        let code = build(module, func, entry, liveness, &layout, stack, &options);
        let code = code.ok().map(|mut code| {
            super::verify::verify_function(&code).expect("what is built is well-formed");
            if self.way.optimized {
                optimize(&mut code, &options);
            }
            Rc::new(code)
        });
        self.refused += u32::from(code.is_none());
        self.code.insert((func, at), code.clone());
        code
    }

    pub(crate) fn call(&mut self, func: FuncIndex, args: &[u64]) -> Result<Vec<u64>, Stop> {
        let mut left = self.call_once(func, args)?;
        loop {
            match left {
                Left::Returned(results) => return Ok(results),
                Left::Tail(func, args) => {
                    self.fuel = self.fuel.checked_sub(1).ok_or(Stop::Exhausted)?;
                    left = self.call_once(func, &args)?;
                }
            }
        }
    }

    fn call_once(&mut self, func: FuncIndex, args: &[u64]) -> Result<Left, Stop> {
        let ty = self.module.func_type(func).clone();
        if self.module.is_imported(func) {
            self.log.extend_from_slice(args);
            let results = ty.results.iter().map(|&ty| host(args, ty)).collect();
            return Ok(Left::Returned(results));
        }
        if self.depth > 60 {
            return Err(Stop::Exhausted);
        }
        self.depth += 1;
        let code = self.code(func, Entry::Top, &[]).ok_or(Stop::Exhausted)?;
        let results = self.run(&code, args, &HashMap::new());
        self.depth -= 1;
        results
    }

    fn run(
        &mut self,
        code: &Function,
        args: &[u64],
        homes: &HashMap<FrameOffset, u64>,
    ) -> Result<Left, Stop> {
        let mut values = vec![0xdead_beef_dead_beef; code.values.len()];
        for (&param, &arg) in code.blocks[0].params.iter().zip(args) {
            values[param.index()] = arg;
        }
        let mut block = ENTRY;
        loop {
            let mut next: Option<&Jump> = None;
            for &inst in &code.blocks[block.index()].insts {
                self.fuel = self.fuel.checked_sub(1).ok_or(Stop::Exhausted)?;
                let node = &code.insts[inst.index()];
                let get = |value: super::value::Value| values[value.index()];
                let trap = |code| Err(Stop::Trap(code));
                let result = match &node.data {
                    InstData::Const { bits, .. } => *bits,
                    InstData::Unary { op, arg } => match eval_unary(*op, get(*arg)) {
                        Some(bits) => bits,
                        None => return trap(unary_trap(op.types().0, get(*arg))),
                    },
                    InstData::Binary { op, args } => match eval_binary(*op, args.map(get)) {
                        Some(bits) => bits,
                        None if mask(op.types().0, get(args[1])) == 0 => {
                            return trap(TrapCode::IntegerDivisionByZero);
                        }
                        None => return trap(TrapCode::IntegerOverflow),
                    },
                    InstData::Select { cond, args, .. } => get(args[usize::from(get(*cond) == 0)]),
                    InstData::FrameLoad { ty, slot } => mask(
                        *ty,
                        homes.get(slot).copied().unwrap_or(0x0bad_0bad_0bad_0bad),
                    ),
                    InstData::MemoryBase => self.epoch,
                    InstData::BoundsCheck { index, end } => {
                        if get(*index) + end > self.memory.len() as u64 {
                            return trap(TrapCode::MemoryOutOfBounds);
                        }
                        0
                    }
                    InstData::Load {
                        op,
                        base,
                        index,
                        offset,
                    } => {
                        assert_eq!(get(*base), self.epoch, "an address of another epoch");
                        self.load(*op, get(*index) + u64::from(*offset))
                    }
                    InstData::Store {
                        op,
                        base,
                        index,
                        offset,
                        value,
                    } => {
                        assert_eq!(get(*base), self.epoch, "an address of another epoch");
                        self.store(*op, get(*index) + u64::from(*offset), get(*value));
                        0
                    }
                    InstData::MemorySize => (self.memory.len() / 65536) as u64,
                    InstData::MemoryGrow { pages } => {
                        self.epoch += 1;
                        self.grow(get(*pages))
                    }
                    InstData::Bulk { op, args } => {
                        if !self.bulk(*op, args.map(get)) {
                            return trap(TrapCode::MemoryOutOfBounds);
                        }
                        0
                    }
                    InstData::DataDrop { segment } => {
                        self.dropped[segment.index()] = true;
                        0
                    }
                    InstData::GlobalGet { global, .. } => self.globals[global.index()],
                    InstData::RefFunc { func } => function(*func),
                    InstData::TableCheck { table, index, code } => {
                        if get(*index) >= self.tables[table.index()].len() as u64 {
                            return trap(*code);
                        }
                        0
                    }
                    InstData::TableLoad { table, index, .. } => {
                        self.tables[table.index()][position(get(*index))]
                    }
                    InstData::TableStore {
                        table,
                        index,
                        value,
                    } => {
                        self.tables[table.index()][position(get(*index))] = get(*value);
                        0
                    }
                    InstData::TableSize { table } => self.tables[table.index()].len() as u64,
                    InstData::Table { op, args } => {
                        let args: Vec<u64> = args.iter().map(|&arg| get(arg)).collect();
                        match self.table_op(*op, &args) {
                            Some(result) => result,
                            None => return trap(TrapCode::TableOutOfBounds),
                        }
                    }
                    InstData::FuncCheck { func, ty } => {
                        let Some(func) = named(get(*func)) else {
                            return trap(TrapCode::UninitializedElement);
                        };
                        if **self.module.func_type(func) != *self.module.types[ty.index()] {
                            return trap(TrapCode::IndirectCallTypeMismatch);
                        }
                        0
                    }
                    InstData::GlobalSet { global, value } => {
                        self.globals[global.index()] = get(*value);
                        0
                    }
                    InstData::Call { callee, args, .. } => {
                        let callee = match *callee {
                            Callee::Defined(callee) | Callee::Imported(callee) => callee,
                            Callee::Reference(func) => named(get(func)).expect("it was checked"),
                        };
                        let args: Vec<u64> = args.iter().map(|&arg| get(arg)).collect();
                        let results = self.call(callee, &args)?;
                        self.epoch += 1;
                        for (&result, bits) in node.results.iter().zip(results) {
                            values[result.index()] = bits;
                        }
                        continue;
                    }
                    InstData::Checkpoint { state } => {
                        if let Some(code) = self.transition(code, state) {
                            let homes = self.homes(state, &values);
                            return self.run(&code, &[], &homes);
                        }
                        0
                    }
                    InstData::Jump(jump) => {
                        next = Some(jump);
                        break;
                    }
                    InstData::Branch {
                        cond,
                        then,
                        otherwise,
                    } => {
                        next = Some(if get(*cond) != 0 { then } else { otherwise });
                        break;
                    }
                    InstData::BranchTable { index, targets } => {
                        let index = usize::try_from(get(*index)).expect("32 bits");
                        next = Some(&targets[index.min(targets.len() - 1)]);
                        break;
                    }
                    InstData::Return { values } => {
                        let results = values.iter().map(|&value| get(value)).collect();
                        return Ok(Left::Returned(results));
                    }
                    InstData::TailCall { callee, args, .. } => {
                        let callee = match *callee {
                            Callee::Defined(callee) | Callee::Imported(callee) => callee,
                            Callee::Reference(func) => named(get(func)).expect("it was checked"),
                        };
                        let args = args.iter().map(|&arg| get(arg)).collect();
                        return Ok(Left::Tail(callee, args));
                    }
                    InstData::Trap { code } => return trap(*code),
                };
                if let [only] = node.results[..] {
                    values[only.index()] = result;
                }
            }
            let jump = next.expect("a block ends with a terminator");
            let args: Vec<u64> = jump.args.iter().map(|arg| values[arg.index()]).collect();
            for (&param, arg) in code.blocks[jump.block.index()].params.iter().zip(args) {
                values[param.index()] = arg;
            }
            block = jump.block;
        }
    }

    /// The OSR code to go on in at a checkpoint, if it is time.
    fn transition(&mut self, code: &Function, state: &FrameState) -> Option<Rc<Function>> {
        let every = self.way.osr_every?;
        if state.layout.kind != PointKind::LoopHeader {
            return None;
        }
        self.headers += 1;
        // OSR code meets the header it was entered at first: do not bounce for ever.
        if !self.headers.is_multiple_of(every) || self.depth > 50 || self.transitions > 300 {
            return None;
        }
        let entry = Entry::Osr(state.layout.offset);
        let code = self.code(code.index, entry, &state.layout.stack)?;
        self.transitions += 1;
        Some(code)
    }

    /// Tier-0 homes that hold a frame state.
    fn homes(&self, state: &FrameState, values: &[u64]) -> HashMap<FrameOffset, u64> {
        let layout = FrameLayout::new(self.module.local_count(state.layout.func), MAX_STACK);
        let locals = state
            .layout
            .locals
            .iter()
            .map(|&(local, _)| layout.local(local));
        let stack = (0..)
            .take(state.layout.stack.len())
            .map(|n| layout.stack(n));
        locals
            .chain(stack)
            .zip(state.values.iter().map(|value| values[value.index()]))
            .collect()
    }

    fn grow(&mut self, pages: u64) -> u64 {
        let old = (self.memory.len() / 65536) as u64;
        let max = self.module.memory.and_then(|memory| memory.max);
        if old + pages > u64::from(max.unwrap_or(65536)).min(64) {
            return 0xffff_ffff;
        }
        self.memory
            .resize(usize::try_from((old + pages) * 65536).expect("small"), 0);
        old
    }

    /// Whether it was done; if not, nothing was written.
    fn bulk(&mut self, op: BulkOp, args: [u64; 3]) -> bool {
        let module = self.module;
        let [to, from, len] = args.map(|arg| usize::try_from(arg).expect("32 bits"));
        let inside = |at: usize, of: usize| at + len <= of;
        if !inside(to, self.memory.len()) {
            return false;
        }
        match op {
            BulkOp::Copy if inside(from, self.memory.len()) => {
                self.memory.copy_within(from..from + len, to);
            }
            BulkOp::Fill => self.memory[to..to + len].fill(from.to_le_bytes()[0]),
            BulkOp::Init(data) => {
                let bytes = if self.dropped[data.index()] {
                    &[]
                } else {
                    &module.bytes[module.data[data.index()].bytes.clone()]
                };
                if !inside(from, bytes.len()) {
                    return false;
                }
                self.memory[to..to + len].copy_from_slice(&bytes[from..from + len]);
            }
            BulkOp::Copy => return false,
        }
        true
    }

    /// The result, if it has one; `None` if it traps.
    fn table_op(&mut self, op: TableOp, args: &[u64]) -> Option<u64> {
        let range = |start: u64, count: u64, len: usize| {
            let range = position(start)..position(start + count);
            (range.end <= len).then_some(range)
        };
        match op {
            TableOp::Grow(index) => {
                let table = &mut self.tables[index.index()];
                let old = table.len() as u64;
                let max = self.module.tables[index.index()].ty.max.unwrap_or(u32::MAX);
                if old + args[1] > u64::from(max.min(10_000)) {
                    return Some(0xffff_ffff);
                }
                table.resize(position(old + args[1]), args[0]);
                return Some(old);
            }
            TableOp::Fill(table) => {
                let table = &mut self.tables[table.index()];
                let range = range(args[0], args[2], table.len())?;
                table[range].fill(args[1]);
            }
            TableOp::Copy { .. } | TableOp::Init { .. } => {
                let (to, from) = match op {
                    TableOp::Copy { to, from } => (to, &self.tables[from.index()]),
                    TableOp::Init { table, segment } => (table, &self.segments[segment.index()]),
                    _ => unreachable!("matched above"),
                };
                let words = from[range(args[1], args[2], from.len())?].to_vec();
                let table = &mut self.tables[to.index()];
                let range = range(args[0], args[2], table.len())?;
                table[range].copy_from_slice(&words);
            }
            TableOp::DropSegment(segment) => self.segments[segment.index()].clear(),
        }
        Some(0)
    }

    fn load(&self, op: LoadOp, at: u64) -> u64 {
        let at = usize::try_from(at).expect("64 bits");
        let size = op.access_size() as usize;
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&self.memory[at..at + size]);
        let bits = u64::from_le_bytes(bytes);
        let unused = 64 - 8 * op.access_size();
        let signed = ((bits << unused).cast_signed() >> unused).cast_unsigned();
        match op {
            LoadOp::I32Load8S | LoadOp::I32Load16S => signed & 0xffff_ffff,
            LoadOp::I64Load8S | LoadOp::I64Load16S | LoadOp::I64Load32S => signed,
            _ => bits,
        }
    }

    fn store(&mut self, op: StoreOp, at: u64, bits: u64) {
        let at = usize::try_from(at).expect("64 bits");
        let size = op.access_size() as usize;
        self.memory[at..at + size].copy_from_slice(&bits.to_le_bytes()[..size]);
    }
}

fn unary_trap(ty: Type, bits: u64) -> TrapCode {
    let nan = if ty == Type::F32 {
        f32::from_bits(u32::try_from(bits).expect("32 bits")).is_nan()
    } else {
        f64::from_bits(bits).is_nan()
    };
    if nan {
        TrapCode::BadConversionToInteger
    } else {
        TrapCode::IntegerOverflow
    }
}
