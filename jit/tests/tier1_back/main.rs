//! The back half of the optimizing tier, on hand-built IR that really runs.

mod build;
mod eval;
mod graphs;
mod machine;
mod operators;
#[path = "../support/segments.rs"]
mod segments;
mod suspend;

use build::{Builder, listing};
use machine::{Host, Machine, Outcome};
use midair_jit::{
    ir::value::{BinaryOp, TrapCode, Type},
    wasm::types::ValType,
};

/// Compiles and runs once, on a fresh machine.
fn run(builder: Builder, ints: &[u64], floats: &[u64]) -> Outcome {
    let draft = builder.compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    machine.run(code, ints, floats, &mut Host::default())
}

#[test]
fn a_sum_is_returned() {
    let (mut b, p) = Builder::new(&[ValType::I32, ValType::I32], &[ValType::I32]);
    let sum = b.binary(BinaryOp::I32Add, p[0], p[1], Type::I32);
    b.ret(&[sum]);
    assert_eq!(run(b, &[3, 0xffff_ffff], &[]).int(), 2);
}

/// `for i in 0..n { s += i }`, a checkpoint in each round.
fn counting_loop() -> Builder {
    let (mut b, p) = Builder::new(&[ValType::I32], &[ValType::I32]);
    let zero = b.i32(0);
    let (head, h) = b.block(&[Type::I32, Type::I32]);
    let (done, _) = b.block(&[]);
    b.jump(head, &[zero, zero]);
    b.at(head);
    b.checkpoint(&[p[0], h[0], h[1]]);
    let sum = b.binary(BinaryOp::I32Add, h[1], h[0], Type::I32);
    let one = b.i32(1);
    let next = b.binary(BinaryOp::I32Add, h[0], one, Type::I32);
    let more = b.binary(BinaryOp::I32LtU, next, p[0], Type::I32);
    b.branch(more, (head, &[next, sum]), (done, &[]));
    b.at(done);
    b.ret(&[sum]);
    b
}

#[test]
fn a_counting_loop_keeps_everything_in_registers() {
    let draft = counting_loop().compile();
    let text = listing(&draft);
    let all = text.join("\n");
    let start = text.iter().position(|line| line == "block1:").expect(&all);
    let hot: Vec<&String> = text[start + 1..]
        .iter()
        .take_while(|line| !line.contains("leave"))
        .collect();
    assert!(!hot.iter().any(|line| line.contains("[rbp")), "{all}");
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    let outcome = machine.run(code, &[1000], &[], &mut Host::default());
    assert_eq!(outcome.int(), 499_500);
}

#[test]
fn globals_are_read_and_written() {
    let (mut b, p) = Builder::new(&[ValType::I64, ValType::F32], &[ValType::I64]);
    let old = b.global_get(1, Type::I64);
    b.global_set(1, p[0]);
    b.global_set(2, p[1]);
    let forty = b.i64(1 << 40);
    b.global_set(3, forty);
    let new = b.global_get(1, Type::I64);
    let sum = b.binary(BinaryOp::I64Mul, old, new, Type::I64);
    b.ret(&[sum]);
    let draft = b.compile();
    let mut machine = Machine::new();
    let code = machine.publish(&draft);
    *machine.global(1) = 6;
    let one = u64::from(1.0_f32.to_bits());
    let outcome = machine.run(code, &[7], &[one], &mut Host::default());
    assert_eq!(outcome.int(), 42);
    let globals = [1, 2, 3].map(|n| *machine.global(n));
    assert_eq!(globals, [7, one, 1 << 40]);
}

#[test]
fn unreachable_traps_where_it_stands() {
    let (mut b, _) = Builder::new(&[], &[]);
    b.trap(TrapCode::Unreachable);
    let at = b.last_offset();
    assert_eq!(run(b, &[], &[]), Outcome::Trapped(1, at));
}
