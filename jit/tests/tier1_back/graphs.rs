//! Random control flow: loops, branches out of them, calls, memory, checkpoints, suspended at random; against an interpreter
//! of the IR.

use super::{
    build::{Builder, func_type},
    eval,
    machine::{Host, Machine, Outcome, Reply, parked},
    suspend::Random,
};
use midair_jit::{
    ir::{
        value::{
            BinaryOp, Block, Callee, ENTRY, Function, InstData, Jump, LoadOp, StoreOp, Type,
            UnaryOp, Value,
        },
        verify::verify_function,
    },
    suspension::point::{ImageSource, Recipe, SiteDraft},
    wasm::types::{FuncIndex, ValType},
};

/// What happened at a suspension.
#[derive(Debug)]
struct Event {
    offset: u32,
    canonical: Vec<u64>,
    results: [u64; 4],
}

#[derive(Debug, Default)]
struct Run {
    results: Vec<u64>,
    memory: Vec<u8>,
    replies: Vec<Reply>,
    call_args: Vec<u64>,
    checkpoint_answers: Vec<u32>,
    events: Vec<Event>,
}

/// Runs IR in Rust; gives up after so many instructions.
fn interpret(ir: &Function, params: &[u64], random: &mut Random, mut fuel: usize) -> Option<Run> {
    let mut run = Run {
        memory: vec![0; 65536],
        ..Run::default()
    };
    let mut values = vec![0_u64; ir.values.len()];
    for (&param, &bits) in ir.blocks[ENTRY.index()].params.iter().zip(params) {
        values[param.index()] = bits;
    }
    let mut block = ENTRY;
    'block: loop {
        for &inst in &ir.blocks[block.index()].insts {
            fuel = fuel.checked_sub(1)?;
            let node = &ir.insts[inst.index()];
            let get = |value: Value| values[value.index()];
            let state = |values: &[Value]| values.iter().map(|&v| get(v)).collect::<Vec<u64>>();
            let result = match &node.data {
                InstData::Const { bits, .. } => Some(*bits),
                InstData::Unary { op, arg } => Some(eval::unary(*op, get(*arg)).ok()?),
                InstData::Binary { op, args } => {
                    Some(eval::binary(*op, get(args[0]), get(args[1])).ok()?)
                }
                InstData::Select { cond, args, .. } => Some(if get(*cond) == 0 {
                    get(args[1])
                } else {
                    get(args[0])
                }),
                InstData::MemoryBase => Some(0),
                InstData::BoundsCheck { index, end } => {
                    if get(*index) + end > 65536 {
                        return None;
                    }
                    None
                }
                InstData::Load { index, offset, .. } => {
                    let at = usize::try_from(get(*index)).unwrap() + *offset as usize;
                    let bytes = run.memory[at..at + 4].try_into().unwrap();
                    Some(u64::from(u32::from_le_bytes(bytes)))
                }
                InstData::Store {
                    index,
                    offset,
                    value,
                    ..
                } => {
                    let at = usize::try_from(get(*index)).unwrap() + *offset as usize;
                    let bytes = get(*value).to_le_bytes();
                    run.memory[at..at + 4].copy_from_slice(&bytes[..4]);
                    None
                }
                InstData::Call {
                    args, state: frame, ..
                } => {
                    let results = [random.next() & 0xffff_ffff, random.next(), 0, 0];
                    run.call_args.push(get(args[0]));
                    if random.below(3) == 0 {
                        run.replies.push(Reply {
                            exit: 1,
                            ..Reply::default()
                        });
                        run.events.push(Event {
                            offset: frame.layout.offset.0,
                            canonical: state(&frame.values),
                            results,
                        });
                    } else {
                        run.replies.push(Reply {
                            ints: [results[0], results[1]],
                            ..Reply::default()
                        });
                    }
                    values[node.results[0].index()] = results[0];
                    values[node.results[1].index()] = results[1];
                    continue;
                }
                InstData::Checkpoint { state: frame } => {
                    let answer = u32::from(random.below(4) == 0);
                    run.checkpoint_answers.push(answer);
                    if answer == 1 {
                        run.events.push(Event {
                            offset: frame.layout.offset.0,
                            canonical: state(&frame.values),
                            results: [0; 4],
                        });
                    }
                    None
                }
                InstData::Return { values } => {
                    run.results = values.iter().map(|&v| get(v)).collect();
                    return Some(run);
                }
                terminator => {
                    let jump: &Jump = match terminator {
                        InstData::Jump(jump) => jump,
                        InstData::Branch {
                            cond,
                            then,
                            otherwise,
                        } => {
                            if get(*cond) == 0 {
                                otherwise
                            } else {
                                then
                            }
                        }
                        InstData::BranchTable { index, targets } => {
                            let last = targets.len() - 1;
                            &targets[usize::try_from(get(*index)).unwrap().min(last)]
                        }
                        other => panic!("{other:?} is not generated"),
                    };
                    let args: Vec<u64> = jump.args.iter().map(|&v| get(v)).collect();
                    let params = &ir.blocks[jump.block.index()].params;
                    for (param, bits) in params.iter().zip(args) {
                        values[param.index()] = bits;
                    }
                    block = jump.block;
                    continue 'block;
                }
            };
            if let Some(bits) = result {
                values[node.results[0].index()] = bits;
            }
        }
    }
}

struct Generator {
    b: Builder,
    random: Random,
    types: Vec<Type>,
    vars: Vec<Value>,
    /// Blocks that can be left to, with all variables.
    exits: Vec<Block>,
    loops: u32,
    budget: usize,
}

impl Generator {
    fn pick(&mut self, ty: Type) -> Value {
        let of_type: Vec<usize> = (0..self.vars.len())
            .filter(|&i| self.types[i] == ty)
            .collect();
        self.vars[of_type[self.random.below(of_type.len())]]
    }

    fn set(&mut self, ty: Type, value: Value) {
        let of_type: Vec<usize> = (0..self.vars.len())
            .filter(|&i| self.types[i] == ty)
            .collect();
        let at = of_type[self.random.below(of_type.len())];
        self.vars[at] = value;
    }

    fn condition(&mut self) -> Value {
        let a = self.pick(Type::I32);
        let b = self.pick(Type::I32);
        match self.random.below(4) {
            0 => self.b.binary(BinaryOp::I32LtS, a, b, Type::I32),
            1 => self.b.binary(BinaryOp::I32And, a, b, Type::I32),
            2 => {
                let (x, y) = (self.pick(Type::F64), self.pick(Type::F64));
                self.b.binary(BinaryOp::F64Lt, x, y, Type::I32)
            }
            _ => a,
        }
    }

    fn live(&mut self) -> Vec<Value> {
        let vars = self.vars.clone();
        vars.into_iter()
            .filter(|_| self.random.below(2) == 0)
            .collect()
    }

    fn statement(&mut self, depth: u32) {
        use BinaryOp::*;
        self.budget = self.budget.saturating_sub(1);
        match self
            .random
            .below(if depth < 4 && self.budget > 0 { 20 } else { 12 })
        {
            0..3 => {
                let ops = [
                    I32Add, I32Sub, I32Mul, I32Xor, I32And, I32Shl, I32ShrU, I32Rotl, I32LtU, I32Eq,
                ];
                let op = ops[self.random.below(ops.len())];
                let (x, y) = (self.pick(Type::I32), self.pick(Type::I32));
                let value = self.b.binary(op, x, y, Type::I32);
                self.set(Type::I32, value);
            }
            3..5 => {
                let ops = [I64Add, I64Sub, I64Mul, I64Xor, I64Or, I64ShrS, I64Rotr];
                let op = ops[self.random.below(ops.len())];
                let (x, y) = (self.pick(Type::I64), self.pick(Type::I64));
                let value = self.b.binary(op, x, y, Type::I64);
                self.set(Type::I64, value);
            }
            5 => {
                let ops = [F64Min, F64Max, F64Copysign];
                let op = ops[self.random.below(ops.len())];
                let (x, y) = (self.pick(Type::F64), self.pick(Type::F64));
                let value = self.b.binary(op, x, y, Type::F64);
                self.set(Type::F64, value);
            }
            6 => {
                let x = self.pick(Type::I32);
                let value = self.b.unary(UnaryOp::F64ConvertI32S, x, Type::F64);
                self.set(Type::F64, value);
                let value = self.b.unary(UnaryOp::I64ExtendI32U, x, Type::I64);
                self.set(Type::I64, value);
            }
            7 => {
                let bits = self.random.next() & 0xff;
                let value = self.b.constant(Type::I32, bits);
                self.set(Type::I32, value);
                let x = self.pick(Type::I64);
                let value = self.b.unary(UnaryOp::I32WrapI64, x, Type::I32);
                self.set(Type::I32, value);
            }
            8 => {
                let cond = self.condition();
                let ty = [Type::I32, Type::I64, Type::F64][self.random.below(3)];
                let (x, y) = (self.pick(ty), self.pick(ty));
                let value = self.b.select(cond, x, y);
                self.set(ty, value);
            }
            9..11 => {
                let mask = self.b.i32(0xfff0);
                let index = self.pick(Type::I32);
                let index = self.b.binary(I32And, index, mask, Type::I32);
                self.b.check(index, 12);
                let base = self.b.base();
                if self.random.below(2) == 0 {
                    let value = self.b.load(LoadOp::I32Load, base, index, 8, Type::I32);
                    self.set(Type::I32, value);
                } else {
                    let value = self.pick(Type::I32);
                    self.b.store(StoreOp::I32Store, base, index, 8, value);
                }
            }
            11 | 12 => {
                let ty = func_type(&[ValType::I64], &[ValType::I32, ValType::I64]);
                let arg = self.pick(Type::I64);
                let live = self.live();
                let import = Callee::Imported(FuncIndex(1));
                let results = self.b.call(import, &ty, &[arg], &live);
                self.set(Type::I32, results[0]);
                self.set(Type::I64, results[1]);
            }
            13..16 => self.choice(depth),
            16..18 => self.counted_loop(depth),
            18 => {
                if let Some(&exit) = self.exits.last() {
                    let cond = self.condition();
                    let (on, _) = self.b.block(&[]);
                    let vars = self.vars.clone();
                    self.b.branch(cond, (exit, &vars), (on, &[]));
                    self.b.at(on);
                }
            }
            _ => self.table(depth),
        }
    }

    fn body(&mut self, depth: u32) {
        for _ in 0..1 + self.random.below(6) {
            self.statement(depth);
        }
    }

    fn choice(&mut self, depth: u32) {
        let cond = self.condition();
        let types = self.types.clone();
        let (then, _) = self.b.block(&[]);
        let (otherwise, _) = self.b.block(&[]);
        let (join, params) = self.b.block(&types);
        self.b.branch(cond, (then, &[]), (otherwise, &[]));
        let before = self.vars.clone();
        for block in [then, otherwise] {
            self.vars.clone_from(&before);
            self.b.at(block);
            if block == then || self.random.below(2) == 0 {
                self.body(depth + 1);
            }
            let vars = self.vars.clone();
            self.b.jump(join, &vars);
        }
        self.b.ir.blocks[otherwise.index()].cold = self.random.below(4) == 0;
        self.b.at(join);
        self.vars = params;
    }

    fn table(&mut self, depth: u32) {
        let index = self.pick(Type::I32);
        let three = self.b.i32(3);
        let index = self.b.binary(BinaryOp::I32And, index, three, Type::I32);
        let types = self.types.clone();
        let (join, params) = self.b.block(&types);
        let (case, _) = self.b.block(&[]);
        let vars = self.vars.clone();
        let mut rotated = vars.clone();
        // exchange two variables of one type
        if let Some(other) = (1..types.len()).find(|&i| types[i] == types[0]) {
            rotated.swap(0, other);
        }
        let jump = |block, args: &[Value]| Jump {
            block,
            args: args.to_vec(),
        };
        let targets = vec![
            jump(join, &vars),
            jump(case, &[]),
            jump(join, &rotated),
            jump(join, &vars),
        ];
        self.b.push(InstData::BranchTable { index, targets }, &[]);
        self.b.at(case);
        self.body(depth + 1);
        let vars = self.vars.clone();
        self.b.jump(join, &vars);
        self.b.at(join);
        self.vars = params;
    }

    fn counted_loop(&mut self, depth: u32) {
        self.loops += 1;
        let rounds = 1 + self.random.below(5);
        let rounds = self.b.constant(Type::I32, rounds as u64);
        let types = self.types.clone();
        let mut head_types = types.clone();
        head_types.push(Type::I32);
        let (head, mut params) = self.b.block(&head_types);
        let (exit, exit_params) = self.b.block(&types);
        let mut args = self.vars.clone();
        args.push(rounds);
        self.b.jump(head, &args);
        self.b.at(head);
        let counter = params.pop().unwrap();
        self.vars = params;
        let mut live = self.live();
        live.push(counter);
        self.b.checkpoint(&live);
        self.exits.push(exit);
        self.body(depth + 1);
        self.exits.pop();
        let one = self.b.i32(1);
        let counter = self.b.binary(BinaryOp::I32Sub, counter, one, Type::I32);
        let mut args = self.vars.clone();
        args.push(counter);
        let vars = self.vars.clone();
        self.b.branch(counter, (head, &args), (exit, &vars));
        self.b.at(exit);
        self.vars = exit_params;
    }
}

/// An image word computed from the canonical layout.
fn evaluate(recipe: &Recipe, canonical: &[u64]) -> u64 {
    match recipe {
        Recipe::Canonical(n) => canonical[*n as usize],
        Recipe::Const(bits) => *bits,
        Recipe::Unary(op, a) => eval::unary(*op, evaluate(a, canonical)).unwrap(),
        Recipe::Binary(op, args) => eval::binary(
            *op,
            evaluate(&args[0], canonical),
            evaluate(&args[1], canonical),
        )
        .unwrap(),
        Recipe::Select(args) => {
            let which = usize::from(evaluate(&args[0], canonical) == 0);
            evaluate(&args[1 + which], canonical)
        }
    }
}

fn compare_image(seed: u64, site: &SiteDraft, image: &[u64], event: &Event) {
    assert_eq!(site.layout.offset.0, event.offset, "seed {seed}");
    let canonical: Vec<u64> = site
        .map
        .iter()
        .map(|source| match *source {
            ImageSource::Word(word) => image[word as usize],
            ImageSource::Const(bits) => bits,
        })
        .collect();
    assert_eq!(canonical, event.canonical, "seed {seed}");
    for (recipe, word) in site.recipes.iter().zip(image) {
        if let Some(recipe) = recipe {
            assert_eq!(
                evaluate(recipe, &canonical),
                *word,
                "seed {seed}: {recipe:?}"
            );
        }
    }
}

fn random_graph(seed: u64, variables: usize) -> bool {
    let types: Vec<Type> = (0..variables)
        .map(|i| [Type::I32, Type::I64, Type::F64, Type::I32][i % 4])
        .collect();
    let wasm: Vec<ValType> = types
        .iter()
        .map(|ty| match ty {
            Type::I32 => ValType::I32,
            Type::F64 => ValType::F64,
            _ => ValType::I64,
        })
        .collect();
    let (b, params) = Builder::new(&wasm, &wasm);
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let arguments: Vec<u64> = types
        .iter()
        .map(|ty| match ty {
            Type::I32 => random.next() & 0xffff,
            Type::F64 => (random.below(100) as f64).to_bits(),
            _ => random.next(),
        })
        .collect();
    let mut generator = Generator {
        b,
        random,
        types,
        vars: params,
        exits: Vec::new(),
        loops: 0,
        budget: 60,
    };
    for _ in 0..12 {
        generator.statement(0);
    }
    let Generator {
        mut b,
        vars,
        mut random,
        types,
        ..
    } = generator;
    b.ret(&vars);
    verify_function(&b.ir).unwrap();
    let Some(run) = interpret(&b.ir, &arguments, &mut random, 20_000) else {
        return false;
    };
    let draft = b.compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    machine.set_replies(&run.replies);
    let (mut ints, mut floats, mut transfer) = (Vec::new(), Vec::new(), Vec::new());
    for (ty, bits) in types.iter().zip(arguments) {
        let (list, room) = if ty.is_float() {
            (&mut floats, 8)
        } else {
            (&mut ints, 6)
        };
        if list.len() < room {
            list.push(bits);
        } else {
            transfer.push(bits);
        }
    }
    machine.transfer()[..transfer.len()].copy_from_slice(&transfer);
    let mut host = Host {
        checkpoint_answers: run.checkpoint_answers,
        ..Host::default()
    };
    if !host.checkpoint_answers.is_empty() {
        machine.set_checkpoint();
    }
    let mut outcome = machine.run(code, &ints, &floats, &mut host);
    for event in &run.events {
        assert_eq!(outcome, Outcome::Suspended, "seed {seed}");
        let continuation = machine.chain()[0];
        let (site, _) = parked(continuation, 0);
        let site = &draft.sites[site];
        let (_, image) = parked(continuation, site.image.len());
        compare_image(seed, site, &image, event);
        *machine.results() = event.results;
        outcome = machine.resume(continuation, &mut host);
    }
    let Outcome::Returned { ints, floats } = outcome else {
        panic!("seed {seed}: {outcome:?}")
    };
    let (mut ints, mut floats) = (ints.to_vec(), floats.to_vec());
    let mut transfer = machine.transfer().to_vec();
    for (n, (ty, expected)) in types.iter().zip(run.results).enumerate() {
        let list = if ty.is_float() {
            &mut floats
        } else {
            &mut ints
        };
        let got = if list.is_empty() {
            transfer.remove(0)
        } else {
            list.remove(0)
        };
        assert!(
            eval::same(*ty, got, expected),
            "seed {seed}, result {n}: {got:#x} instead of {expected:#x}"
        );
    }
    assert!(machine.memory == run.memory, "seed {seed}: memory");
    let args: Vec<u64> = machine.replies().iter().map(|r| r.int_args[0]).collect();
    assert_eq!(args, run.call_args, "seed {seed}");
    true
}

#[test]
fn random_graphs_compute_what_the_interpreter_does() {
    let mut ran = 0;
    for seed in 0..600_u64 {
        let variables = [4, 6, 12, 40][usize::try_from(seed % 4).unwrap()];
        ran += u32::from(random_graph(seed, variables));
    }
    assert!(ran > 400, "{ran}");
}
