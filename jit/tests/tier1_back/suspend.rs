//! Calls, and calls that return late.

use super::{
    build::{Builder, func_type},
    counting_loop, eval,
    machine::{Host, Machine, Outcome, Reply, osr_stub, parked},
};
use midair_jit::{
    code::draft::CodeDraft,
    frame::abi::EXIT_TRAPPED,
    ir::value::{BinaryOp, Callee, LoadOp, Type, UnaryOp, Value},
    suspension::{
        point::{ImageSource, Recipe},
        resume::UNTESTED_FRAME,
    },
    wasm::types::{FuncIndex, ValType},
};

const IMPORT: Callee = Callee::Imported(FuncIndex(0));

fn returned(ints: [u64; 2], floats: [u64; 2]) -> Reply {
    Reply {
        ints,
        floats,
        ..Reply::default()
    }
}

fn suspended() -> Reply {
    Reply {
        exit: 1,
        ..Reply::default()
    }
}

/// Resumes the only continuation with these results.
fn resume(machine: &mut Machine, results: [u64; 4], host: &mut Host) -> Outcome {
    let chain = machine.chain();
    assert_eq!(chain.len(), 1);
    *machine.results() = results;
    machine.resume(chain[0], host)
}

/// `f(x, y) = import(x + 1) * y + x`, everything alive across.
fn call_once() -> Builder {
    let ty = func_type(&[ValType::I32], &[ValType::I32]);
    let (mut b, p) = Builder::new(&[ValType::I32, ValType::I32], &[ValType::I32]);
    let one = b.i32(1);
    let arg = b.binary(BinaryOp::I32Add, p[0], one, Type::I32);
    let seven = b.i32(7);
    let result = b.call(IMPORT, &ty, &[arg], &[p[0], seven, p[1]])[0];
    let product = b.binary(BinaryOp::I32Mul, result, p[1], Type::I32);
    let sum = b.binary(BinaryOp::I32Add, product, p[0], Type::I32);
    b.ret(&[sum]);
    b
}

#[test]
fn a_call_passes_arguments_and_keeps_what_lives_across() {
    let draft = call_once().compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    machine.set_replies(&[returned([100, 0], [0; 2])]);
    let outcome = machine.run(code, &[5, 3], &[], &mut Host::default());
    assert_eq!(outcome.int(), 305);
    assert_eq!(machine.replies()[0].int_args[0], 6);
}

#[test]
fn a_suspended_call_goes_on_behind_it() {
    let draft = call_once().compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    let mut host = Host::default();
    for round in 0..3 {
        machine.set_replies(&[suspended()]);
        assert_eq!(
            machine.run(code, &[5, 3], &[], &mut host),
            Outcome::Suspended
        );
        let continuation = machine.chain()[0];
        let site = &draft.sites[0];
        let (number, image) = parked(continuation, site.image.len());
        assert_eq!(number, 0);
        let canonical: Vec<u64> = site
            .map
            .iter()
            .map(|source| match *source {
                ImageSource::Word(word) => image[word as usize],
                ImageSource::Const(bits) => bits,
            })
            .collect();
        assert_eq!(canonical, [5, 7, 3]);
        let outcome = resume(&mut machine, [100, 0, 0, 0], &mut host);
        assert_eq!(outcome.int(), 305, "round {round}");
    }
    // the block of the first round was used again
    assert_eq!(host.allocated, 1);
}

#[test]
fn a_trapped_call_is_left_at_once() {
    let draft = call_once().compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    machine.set_replies(&[Reply {
        exit: u64::from(EXIT_TRAPPED),
        ..Reply::default()
    }]);
    let mut host = Host {
        trap: Some((1, 2)),
        ..Host::default()
    };
    let outcome = machine.run(code, &[5, 3], &[], &mut host);
    assert_eq!(outcome, Outcome::Trapped(1, 2));
}

#[test]
fn a_value_that_only_wasm_sees_is_saved_all_the_same() {
    let ty = func_type(&[ValType::I32], &[]);
    let (mut b, p) = Builder::new(&[ValType::I32, ValType::I64], &[]);
    // both arguments of the call and dead afterwards, but for the frame state
    b.call(IMPORT, &ty, &[p[0]], &[p[0], p[1]]);
    b.ret(&[]);
    let draft = b.compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    machine.set_replies(&[suspended()]);
    let mut host = Host::default();
    assert_eq!(
        machine.run(code, &[5, u64::MAX], &[], &mut host),
        Outcome::Suspended
    );
    let (_, image) = parked(machine.chain()[0], 2);
    assert_eq!(image, [5, u64::MAX]);
    assert_eq!(machine.replies()[0].int_args[0], 5);
    assert!(matches!(
        resume(&mut machine, [0; 4], &mut host),
        Outcome::Returned { .. }
    ));
}

#[test]
fn many_arguments_and_results_travel_through_the_transfer_area() {
    let params: Vec<ValType> = (0..40)
        .map(|i| [ValType::I32, ValType::F64, ValType::I64, ValType::F32][i % 4])
        .collect();
    let (mut b, p) = Builder::new(&params, &params);
    let ty = func_type(&params, &params);
    let mut reversed = p.clone();
    reversed.reverse();
    // rotate by four, so that types fit
    let args: Vec<Value> = p.iter().cycle().skip(4).take(40).copied().collect();
    let results = b.call(Callee::Defined(FuncIndex(1)), &ty, &args, &p);
    let mixed: Vec<Value> = results
        .iter()
        .zip(&p)
        .map(|(&a, &b_)| {
            let ty = b.ir.type_of(a);
            let op = match ty {
                Type::I32 => BinaryOp::I32Add,
                Type::I64 | Type::Ptr => BinaryOp::I64Add,
                Type::FuncRef | Type::ExternRef => panic!("no reference is made here"),
                Type::F32 => BinaryOp::F32Add,
                Type::F64 => BinaryOp::F64Add,
            };
            b.binary(op, a, b_, ty)
        })
        .collect();
    b.ret(&mixed);
    let draft = b.compile();

    // the callee gives its parameters back, rotated by four again
    let (mut b, p) = Builder::new(&params, &params);
    let rotated: Vec<Value> = p.iter().cycle().skip(4).take(40).copied().collect();
    b.ret(&rotated);
    let callee = b.compile();

    let mut machine = Machine::new();
    let callee = machine.publish(&callee);
    machine.define(1, callee);
    let code = machine.publish(&draft);
    let number = |i: usize| -> u64 {
        match i % 4 {
            0 | 2 => i as u64,
            1 => (i as f64).to_bits(),
            _ => u64::from((i as f32).to_bits()),
        }
    };
    let sum = |i: usize, j: usize| -> u64 {
        match i % 4 {
            0 | 2 => (i + j) as u64,
            1 => ((i + j) as f64).to_bits(),
            _ => u64::from(((i + j) as f32).to_bits()),
        }
    };
    let mut ints = Vec::new();
    let mut floats = Vec::new();
    let mut transfer = Vec::new();
    for i in 0..40 {
        let (list, room) = if i % 2 == 0 {
            (&mut ints, 6)
        } else {
            (&mut floats, 8)
        };
        if list.len() < room {
            list.push(number(i));
        } else {
            transfer.push(number(i));
        }
    }
    machine.transfer()[..transfer.len()].copy_from_slice(&transfer);
    let outcome = machine.run(code, &ints, &floats, &mut Host::default());
    let Outcome::Returned { ints, floats } = outcome else {
        panic!("{outcome:?}")
    };
    let mut got_ints = ints.to_vec();
    let mut got_floats = floats.to_vec();
    let mut transfer = machine.transfer().to_vec();
    for i in 0..40 {
        let list = if i % 2 == 0 {
            &mut got_ints
        } else {
            &mut got_floats
        };
        let got = if list.is_empty() {
            transfer.remove(0)
        } else {
            list.remove(0)
        };
        let got = if i % 4 == 3 { got & 0xffff_ffff } else { got };
        assert_eq!(got, sum(i, (i + 8) % 40), "result {i}");
    }
}

#[test]
fn results_in_the_transfer_area_survive_the_door() {
    let results = [ValType::I64; 5];
    let ty = func_type(&[], &results);
    let (mut b, p) = Builder::new(&[ValType::I64], &[ValType::I64]);
    let mut sum = p[0];
    for result in b.call(IMPORT, &ty, &[], &[p[0]]) {
        sum = b.binary(BinaryOp::I64Add, sum, result, Type::I64);
    }
    b.ret(&[sum]);
    let draft = b.compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    machine.set_replies(&[suspended()]);
    let mut host = Host::default();
    assert_eq!(machine.run(code, &[1], &[], &mut host), Outcome::Suspended);
    machine.transfer()[..3].copy_from_slice(&[1000, 10000, 100_000]);
    assert_eq!(
        resume(&mut machine, [10, 100, 0, 0], &mut host).int(),
        111_111
    );
}

#[test]
fn a_checkpoint_suspends_and_goes_on() {
    let draft = counting_loop().compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    let mut host = Host {
        checkpoint_answers: vec![0, 1, 0, 1],
        ..Host::default()
    };
    machine.set_checkpoint();
    assert_eq!(machine.run(code, &[10], &[], &mut host), Outcome::Suspended);
    let (_, image) = parked(machine.chain()[0], 3);
    let site = &draft.sites[0];
    let canonical: Vec<u64> = site
        .map
        .iter()
        .map(|source| match *source {
            ImageSource::Word(word) => image[word as usize],
            ImageSource::Const(bits) => bits,
        })
        .collect();
    assert_eq!(canonical, [10, 1, 0]);
    let continuation = machine.chain()[0];
    assert_eq!(machine.resume(continuation, &mut host), Outcome::Suspended);
    let continuation = machine.chain()[0];
    assert_eq!(machine.resume(continuation, &mut host).int(), 45);
    assert_eq!(host.checkpoints, 4);
}

#[test]
fn a_checkpoint_may_end_an_endless_loop() {
    let (mut b, _) = Builder::new(&[], &[]);
    let (head, _) = b.block(&[]);
    b.jump(head, &[]);
    b.at(head);
    b.checkpoint(&[]);
    b.jump(head, &[]);
    let draft = b.compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    machine.set_checkpoint();
    let mut host = Host {
        trap: Some((7, 0)),
        checkpoint_answers: vec![0, 0, EXIT_TRAPPED],
        ..Host::default()
    };
    assert_eq!(
        machine.run(code, &[], &[], &mut host),
        Outcome::Trapped(7, 0)
    );
}

/// OSR code: locals `[n, i, s]` in tier-0 homes, an import called each round, something hoisted.
fn osr_loop() -> Builder {
    let ty = func_type(&[ValType::I32], &[ValType::I32]);
    let mut b = Builder::osr(&[ValType::I32]);
    let n = b.frame_load(Type::I32, -16);
    let i = b.frame_load(Type::I32, -24);
    let s = b.frame_load(Type::I32, -32);
    let three = b.i32(3);
    let hoisted = b.binary(BinaryOp::I32Mul, n, three, Type::I32);
    let (head, h) = b.block(&[Type::I32, Type::I32]);
    let (done, _) = b.block(&[]);
    b.jump(head, &[i, s]);
    b.at(head);
    b.checkpoint(&[n, h[0], h[1]]);
    let result = b.call(IMPORT, &ty, &[h[0]], &[n, h[0], h[1]])[0];
    let sum = b.binary(BinaryOp::I32Add, h[1], result, Type::I32);
    let sum = b.binary(BinaryOp::I32Add, sum, hoisted, Type::I32);
    let one = b.i32(1);
    let next = b.binary(BinaryOp::I32Add, h[0], one, Type::I32);
    let more = b.binary(BinaryOp::I32LtU, next, n, Type::I32);
    b.branch(more, (head, &[next, sum]), (done, &[]));
    b.at(done);
    b.ret(&[sum]);
    b
}

fn publish_osr(machine: &mut Machine, draft: &CodeDraft) -> usize {
    let osr = machine.publish(draft);
    assert!(draft.frame_size > 64);
    let stub = osr_stub(64, 3, osr + draft.entry.0 as usize);
    machine.map(&stub)
}

#[test]
fn osr_code_takes_over_a_tier0_frame_and_is_resumed_without_it() {
    let draft = osr_loop().compile();
    let mut machine = Machine::new();
    let code = publish_osr(&mut machine, &draft);
    let reply = |n| returned([n, 0], [0; 2]);
    machine.set_replies(&[reply(1), suspended(), reply(3), suspended(), reply(5)]);
    let mut host = Host::default();
    // n = 7, i = 2, s = 1000
    let outcome = machine.run(code, &[7, 2, 1000], &[], &mut host);
    assert_eq!(outcome, Outcome::Suspended);
    assert_eq!(
        resume(&mut machine, [2, 0, 0, 0], &mut host),
        Outcome::Suspended
    );
    let outcome = resume(&mut machine, [4, 0, 0, 0], &mut host);
    assert_eq!(outcome.int(), 1000 + 15 + 5 * 21);
    // this machine keeps no continuation: the second suspension takes another block than the first
    assert_eq!(host.allocated, 2);
    let args: Vec<u64> = machine.replies().iter().map(|r| r.int_args[0]).collect();
    assert_eq!(args, [2, 3, 4, 5, 6]);
}

#[test]
fn osr_code_is_entered_through_its_tier0_door() {
    let draft = osr_loop().compile();
    let mut machine = Machine::new();
    let osr = machine.publish(&draft);
    let stub = osr_stub(64, 3, osr);
    let code = machine.map(&stub);
    machine.set_replies(&[suspended(), returned([1, 0], [0; 2])]);
    let mut host = Host::default();
    assert_eq!(
        machine.run(code, &[2, 0, 0], &[], &mut host),
        Outcome::Suspended
    );
    let continuation = machine.chain()[0];
    let door = draft.sites[1].tier0_door.expect("OSR code has one");
    // a fake tier-0 resume entry: makes a frame, leaves rdi alone
    let stub = osr_stub(64, 0, osr + door.0 as usize);
    let entry = machine.map(&stub);
    *machine.results() = [10, 0, 0, 0];
    let outcome = machine.run(entry, &[continuation as u64], &[], &mut host);
    assert_eq!(outcome.int(), 10 + 1 + 2 * 6);
}

#[test]
fn a_hoisted_value_has_a_recipe() {
    let draft = osr_loop().compile();
    let call = draft
        .sites
        .iter()
        .find(|site| !site.results.is_empty())
        .expect("the call's site");
    assert_eq!(call.image.len(), 4);
    let expected = Recipe::Binary(
        BinaryOp::I32Mul,
        Box::new([Recipe::Canonical(0), Recipe::Const(3)]),
    );
    assert!(call.recipes.contains(&Some(expected)), "{:?}", call.recipes);
    assert!(call.recipes.iter().all(Option::is_some));
}

#[test]
fn frames_that_do_not_fit_trap() {
    let draft = call_once().compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    let mut host = Host::default();
    machine.set_stack_limit(usize::MAX);
    let outcome = machine.run(code, &[5, 3], &[], &mut host);
    assert!(matches!(outcome, Outcome::Trapped(6, _)), "{outcome:?}");
    machine.set_stack_limit(0);
    machine.set_replies(&[suspended()]);
    assert_eq!(
        machine.run(code, &[5, 3], &[], &mut host),
        Outcome::Suspended
    );
    // who resumes has tested the limit: a small frame takes what helpers have below it
    assert!(draft.frame_size <= UNTESTED_FRAME);
    machine.set_stack_limit(usize::MAX);
    let outcome = resume(&mut machine, [0; 4], &mut host);
    assert!(matches!(outcome, Outcome::Returned { .. }), "{outcome:?}");
}

#[test]
fn a_chain_of_two_frames_is_linked_leaf_first() {
    let inner = call_once().compile();
    let ty = func_type(&[ValType::I32, ValType::I32], &[ValType::I32]);
    let (mut b, p) = Builder::new(&[ValType::I32], &[ValType::I32]);
    let result = b.call(Callee::Defined(FuncIndex(2)), &ty, &[p[0], p[0]], &[p[0]])[0];
    let sum = b.binary(BinaryOp::I32Add, result, p[0], Type::I32);
    b.ret(&[sum]);
    let outer = b.compile();
    let mut machine = Machine::new();
    let inner = machine.publish(&inner);
    machine.define(2, inner);
    let code = machine.publish(&outer);
    machine.set_replies(&[suspended()]);
    let mut host = Host::default();
    assert_eq!(machine.run(code, &[5], &[], &mut host), Outcome::Suspended);
    let chain = machine.chain();
    assert_eq!(chain.len(), 2);
    *machine.results() = [100, 0, 0, 0];
    let result = machine.resume(chain[0], &mut host).int();
    assert_eq!(result, 505);
    *machine.results() = [result, 0, 0, 0];
    assert_eq!(machine.resume(chain[1], &mut host).int(), 510);
}

/// A loop that sums the bytes of memory below its parameter, the memory's address taken in front of it, with so many other
/// values alive.
fn summing_loop(others: i32) -> Builder {
    let (mut b, p) = Builder::new(&[ValType::I32], &[ValType::I32]);
    let others: Vec<Value> = (1..=others)
        .map(|n| {
            let n = b.i32(n);
            b.binary(BinaryOp::I32Mul, p[0], n, Type::I32)
        })
        .collect();
    let zero = b.i32(0);
    let base = b.base();
    let (head, h) = b.block(&[Type::I32, Type::I32]);
    let (done, _) = b.block(&[]);
    b.jump(head, &[zero, zero]);
    b.at(head);
    b.checkpoint(&[p[0], h[0], h[1]]);
    let byte = b.load(LoadOp::I32Load8U, base, h[0], 0, Type::I32);
    let sum = b.binary(BinaryOp::I32Add, h[1], byte, Type::I32);
    let one = b.i32(1);
    let next = b.binary(BinaryOp::I32Add, h[0], one, Type::I32);
    let more = b.binary(BinaryOp::I32LtU, next, p[0], Type::I32);
    b.branch(more, (head, &[next, sum]), (done, &[]));
    b.at(done);
    let mut sum = sum;
    for other in others {
        sum = b.binary(BinaryOp::I32Xor, sum, other, Type::I32);
    }
    b.ret(&[sum]);
    b
}

#[test]
fn memory_may_move_while_a_loop_waits_at_its_checkpoint() {
    for others in [0, 8, 20] {
        let draft = summing_loop(others).compile();
        let mut machine = Machine::new();
        let code = machine.publish(&draft);
        let mut host = Host {
            checkpoint_answers: vec![0, 1, 0, 1],
            ..Host::default()
        };
        machine.set_checkpoint();
        machine.memory.fill(1);
        assert_eq!(machine.run(code, &[10], &[], &mut host), Outcome::Suspended);
        let memory = machine.memory.as_ptr() as u64;
        for value in [10, 100] {
            let continuation = machine.chain()[0];
            let words = draft.sites[0].image.len();
            let (_, image) = parked(continuation, words);
            assert!(
                !image.contains(&memory),
                "an address in an image: {image:x?}"
            );
            let mut moved = vec![value; 65536];
            std::mem::swap(&mut machine.memory, &mut moved);
            moved.fill(0xee);
            let outcome = machine.resume(continuation, &mut host);
            if value == 10 {
                assert_eq!(outcome, Outcome::Suspended);
                continue;
            }
            let others = (1..=others).fold(0, |all, n| all ^ (10 * n));
            // a turn, two turns, seven
            let sum = (1 + 2 * 10 + 7 * 100) ^ others;
            assert_eq!(outcome.int(), u64::try_from(sum).expect("positive"));
        }
    }
}

#[test]
fn memory_can_grow_while_values_live_on() {
    let (mut b, p) = Builder::new(&[ValType::I32, ValType::F64], &[ValType::I32, ValType::F64]);
    let old = b.push(
        midair_jit::ir::value::InstData::MemoryGrow { pages: p[0] },
        &[Type::I32],
    )[0];
    let size = b.push(midair_jit::ir::value::InstData::MemorySize, &[Type::I32])[0];
    let sum = b.binary(BinaryOp::I32Add, old, size, Type::I32);
    let sum = b.binary(BinaryOp::I32Add, sum, p[0], Type::I32);
    b.ret(&[sum, p[1]]);
    let draft = b.compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    let mut host = Host::default();
    let outcome = machine.run(code, &[30], &[1.5_f64.to_bits()], &mut host);
    assert_eq!(outcome.int(), 7 + 1 + 30);
    assert_eq!(outcome.float(), 1.5_f64.to_bits());
    assert_eq!(host.grow_by, Some(30));
}

#[test]
fn a_branch_table_takes_the_last_target_beyond_its_end() {
    let (mut b, p) = Builder::new(&[ValType::I32], &[ValType::I32]);
    let (done, result) = b.block(&[Type::I32]);
    let (other, _) = b.block(&[]);
    let targets: Vec<_> = [10, 20, 10, 30]
        .into_iter()
        .map(|n| midair_jit::ir::value::Jump {
            block: done,
            args: vec![b.i32(n)],
        })
        .chain([midair_jit::ir::value::Jump {
            block: other,
            args: Vec::new(),
        }])
        .collect();
    b.push(
        midair_jit::ir::value::InstData::BranchTable {
            index: p[0],
            targets,
        },
        &[],
    );
    b.at(done);
    b.ret(&[result[0]]);
    b.at(other);
    let last = b.i32(99);
    b.ret(&[last]);
    let draft = b.compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    for (index, expected) in [
        (0, 10),
        (1, 20),
        (2, 10),
        (3, 30),
        (4, 99),
        (5, 99),
        (u64::from(u32::MAX), 99),
    ] {
        let outcome = machine.run(code, &[index], &[], &mut Host::default());
        assert_eq!(outcome.int(), expected, "{index}");
    }
}

/// A small random number generator.
pub(crate) struct Random(pub u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % n
    }
}

/// Random straight-line code with calls that suspend at random, against the same computed in Rust.
fn random_program(seed: u64, size: usize) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let types = [Type::I32, Type::I64, Type::F32, Type::F64];
    let params: Vec<ValType> = (0..16)
        .map(|i| [ValType::I32, ValType::I64, ValType::F32, ValType::F64][i % 4])
        .take(12)
        .collect();
    let mut arguments: Vec<u64> = Vec::new();
    let results: Vec<ValType> = (0..24)
        .map(|i| [ValType::I32, ValType::I64, ValType::F32, ValType::F64][i % 4])
        .collect();
    let (mut b, values) = Builder::new(&params, &results);
    // each value with what it must be
    let mut pool: Vec<(Value, Type, u64)> = Vec::new();
    for (&value, &ty) in values.iter().zip(&params) {
        let edges = eval::edges(ty.into());
        let bits = edges[random.below(edges.len())];
        arguments.push(bits);
        pool.push((value, ty.into(), bits));
    }
    for ty in types {
        let edges = eval::edges(ty);
        let bits = edges[random.below(edges.len())];
        pool.push((b.constant(ty, bits), ty, bits));
    }
    let unary = eval::unary_ops();
    let binary = eval::binary_ops();
    let mut replies = Vec::new();
    let mut resumptions = Vec::new();
    let pick = |random: &mut Random, pool: &[(Value, Type, u64)], ty: Type| {
        let of_type: Vec<_> = pool.iter().filter(|entry| entry.1 == ty).collect();
        // late ones more often
        let n = of_type.len();
        let i = random.below(n).max(random.below(n));
        *of_type[i]
    };
    for _ in 0..size {
        match random.below(20) {
            0..6 => {
                let op = unary[random.below(unary.len())];
                let (from, to) = eval::unary_types(op);
                let a = pick(&mut random, &pool, from);
                let Ok(bits) = eval::unary(op, a.2) else {
                    continue;
                };
                if eval::is_nan(to, bits) {
                    // its bits are not determined
                    continue;
                }
                pool.push((b.unary(op, a.0, to), to, bits));
            }
            6..16 => {
                let op = binary[random.below(binary.len())];
                let (from, to) = eval::binary_types(op);
                let x = pick(&mut random, &pool, from);
                let y = pick(&mut random, &pool, from);
                let Ok(bits) = eval::binary(op, x.2, y.2) else {
                    continue;
                };
                if eval::is_nan(to, bits) {
                    continue;
                }
                pool.push((b.binary(op, x.0, y.0, to), to, bits));
            }
            16..19 => {
                let ty = types[random.below(4)];
                let cond = pick(&mut random, &pool, Type::I32);
                let x = pick(&mut random, &pool, ty);
                let y = pick(&mut random, &pool, ty);
                let bits = if cond.2 & 0xffff_ffff == 0 { y.2 } else { x.2 };
                pool.push((b.select(cond.0, x.0, y.0), ty, bits));
            }
            _ => {
                let ty = func_type(
                    &[ValType::I64, ValType::F64, ValType::I32],
                    &[ValType::I32, ValType::F64, ValType::I64],
                );
                let args = [Type::I64, Type::F64, Type::I32].map(|ty| pick(&mut random, &pool, ty));
                let live: Vec<Value> = (0..random.below(12))
                    .map(|_| pool[random.below(pool.len())].0)
                    .collect();
                let given = b.call(IMPORT, &ty, &args.map(|a| a.0), &live);
                let ints = [random.next() & 0xffff_ffff, random.next()];
                let float = (1.0 / (1 + random.below(1000)) as f64).to_bits();
                if random.below(2) == 0 {
                    replies.push(returned(ints, [float, 0]));
                } else {
                    replies.push(suspended());
                    resumptions.push([ints[0], ints[1], float, 0]);
                }
                pool.push((given[0], Type::I32, ints[0]));
                pool.push((given[1], Type::F64, float));
                pool.push((given[2], Type::I64, ints[1]));
            }
        }
    }
    let chosen: Vec<(Value, Type, u64)> = results
        .iter()
        .map(|&ty| pick(&mut random, &pool, ty.into()))
        .collect();
    b.ret(&chosen.iter().map(|c| c.0).collect::<Vec<_>>());
    let draft = b.compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    machine.set_replies(&replies);
    let (mut ints, mut floats) = (Vec::new(), Vec::new());
    for (ty, bits) in params.iter().zip(arguments) {
        if ty.is_float() {
            floats.push(bits);
        } else {
            ints.push(bits);
        }
    }
    let mut host = Host::default();
    let mut outcome = machine.run(code, &ints, &floats, &mut host);
    for results in resumptions {
        assert_eq!(outcome, Outcome::Suspended, "seed {seed}");
        outcome = resume(&mut machine, results, &mut host);
    }
    let Outcome::Returned { ints, floats } = outcome else {
        panic!("seed {seed}: {outcome:?}")
    };
    let (mut ints, mut floats) = (ints.to_vec(), floats.to_vec());
    let mut transfer = machine.transfer().to_vec();
    for (n, &(_, ty, expected)) in chosen.iter().enumerate() {
        let list = if ty.is_float() {
            &mut floats
        } else {
            &mut ints
        };
        let mut got = if list.is_empty() {
            transfer.remove(0)
        } else {
            list.remove(0)
        };
        if ty == Type::F32 {
            got &= 0xffff_ffff;
        }
        assert!(
            eval::same(ty, got, expected),
            "seed {seed}, result {n}: {got:#x} instead of {expected:#x}"
        );
    }
}

#[test]
fn random_straight_line_code_computes_what_rust_does() {
    for seed in 0..400_u64 {
        random_program(seed, 20 + usize::try_from(seed / 2).unwrap());
    }
}

#[test]
fn a_value_under_a_free_extension_is_one_word_of_the_image() {
    let ty = func_type(&[], &[]);
    let (mut b, p) = Builder::new(&[ValType::I32], &[ValType::I64]);
    let wide = b.unary(UnaryOp::I64ExtendI32U, p[0], Type::I64);
    b.call(IMPORT, &ty, &[], &[p[0], wide]);
    b.ret(&[wide]);
    let draft = b.compile();
    assert_eq!(draft.sites[0].image.len(), 1);
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    machine.set_replies(&[suspended()]);
    let mut host = Host::default();
    assert_eq!(
        machine.run(code, &[0xffff_ffff], &[], &mut host),
        Outcome::Suspended
    );
    assert_eq!(resume(&mut machine, [0; 4], &mut host).int(), 0xffff_ffff);
}
