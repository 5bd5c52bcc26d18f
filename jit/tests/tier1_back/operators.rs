//! Every operator, at its edges, in every shape that lowering tells apart.

use super::{
    build::Builder,
    eval,
    machine::{Host, Machine, Outcome},
};
use midair_jit::{
    ir::value::{LoadOp, StoreOp, TrapCode, Type, Value},
    wasm::types::ValType,
};

pub(crate) fn wasm_type(ty: Type) -> ValType {
    match ty {
        Type::I32 => ValType::I32,
        Type::I64 | Type::Ptr => ValType::I64,
        Type::F32 => ValType::F32,
        Type::F64 => ValType::F64,
        Type::FuncRef => ValType::FuncRef,
        Type::ExternRef => ValType::ExternRef,
    }
}

fn load_of(ty: Type) -> LoadOp {
    match ty {
        Type::I32 => LoadOp::I32Load,
        Type::I64 | Type::FuncRef | Type::ExternRef | Type::Ptr => LoadOp::I64Load,
        Type::F32 => LoadOp::F32Load,
        Type::F64 => LoadOp::F64Load,
    }
}

/// Where an operand comes from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Shape {
    Param,
    Const(u64),
    /// From memory at that address, just before.
    Memory(u32),
}

struct Operand {
    ty: Type,
    shape: Shape,
}

/// A function whose operands come as they are said to, whose body is `make`, and which returns that.
fn function(operands: &[Operand], make: impl FnOnce(&mut Builder, &[Value]) -> Value) -> Builder {
    let params: Vec<ValType> = operands.iter().map(|o| wasm_type(o.ty)).collect();
    let (mut b, params) = Builder::new(&params, &[ValType::I32]);
    let base = b.base();
    let values: Vec<Value> = operands
        .iter()
        .zip(params)
        .map(|(operand, param)| match operand.shape {
            Shape::Param => param,
            Shape::Const(bits) => b.constant(operand.ty, bits),
            Shape::Memory(at) => {
                let index = b.i32(at.cast_signed());
                b.load(load_of(operand.ty), base, index, 0, operand.ty)
            }
        })
        .collect();
    let result = make(&mut b, &values);
    b.ir.ty.results = [wasm_type(b.ir.type_of(result))].into();
    b.ret(&[result]);
    b
}

#[track_caller]
fn expect(outcome: Outcome, ty: Type, expected: Result<u64, TrapCode>, what: &dyn Fn() -> String) {
    match (outcome, expected) {
        (Outcome::Returned { ints, floats }, Ok(expected)) => {
            let got = if ty.is_float() { floats[0] } else { ints[0] };
            assert!(
                eval::same(ty, got, expected),
                "{}: {got:#x} instead of {expected:#x}",
                what()
            );
        }
        (Outcome::Trapped(code, _), Err(expected)) => {
            assert_eq!(code, expected as u32, "{}", what());
        }
        (outcome, expected) => panic!("{}: {outcome:?} instead of {expected:?}", what()),
    }
}

/// Argument registers for these operands.
fn registers(types: &[Type], bits: &[u64]) -> (Vec<u64>, Vec<u64>) {
    let mut ints = Vec::new();
    let mut floats = Vec::new();
    for (ty, &bits) in types.iter().zip(bits) {
        if ty.is_float() {
            floats.push(bits);
        } else {
            ints.push(bits);
        }
    }
    (ints, floats)
}

#[test]
fn operators_with_one_operand_do_what_wasm_says() {
    let mut machine = Machine::new();
    for op in eval::unary_ops() {
        let (from, to) = eval::unary_types(op);
        for memory in [false, true] {
            let shape = if memory {
                Shape::Memory(64)
            } else {
                Shape::Param
            };
            let draft =
                function(&[Operand { ty: from, shape }], |b, v| b.unary(op, v[0], to)).compile();
            let code = machine.publish(&draft);
            for a in eval::edges(from) {
                machine.memory[64..72].copy_from_slice(&a.to_le_bytes());
                let (ints, floats) = registers(&[from], &[a]);
                let outcome = machine.run(code, &ints, &floats, &mut Host::default());
                expect(outcome, to, eval::unary(op, a), &|| {
                    format!("{op:?} {a:#x} {memory}")
                });
            }
        }
    }
}

#[test]
fn operators_with_two_operands_do_what_wasm_says() {
    let mut machine = Machine::new();
    for op in eval::binary_ops() {
        let (from, to) = eval::binary_types(op);
        let types = [from, from];
        let edges = eval::edges(from);
        for [a, b] in [
            [Shape::Param, Shape::Param],
            [Shape::Param, Shape::Memory(64)],
            [Shape::Memory(64), Shape::Param],
            [Shape::Memory(64), Shape::Memory(72)],
        ] {
            let operands = [a, b].map(|shape| Operand { ty: from, shape });
            let draft = function(&operands, |b, v| b.binary(op, v[0], v[1], to)).compile();
            let code = machine.publish(&draft);
            for &x in &edges {
                for &y in &edges {
                    if let Shape::Memory(_) = a {
                        machine.memory[64..72].copy_from_slice(&x.to_le_bytes());
                        machine.memory[72..80].copy_from_slice(&y.to_le_bytes());
                    } else {
                        machine.memory[64..72].copy_from_slice(&y.to_le_bytes());
                    }
                    let (ints, floats) = registers(&types, &[x, y]);
                    let outcome = machine.run(code, &ints, &floats, &mut Host::default());
                    expect(outcome, to, eval::binary(op, x, y), &|| {
                        format!("{op:?} {x:#x} {y:#x}, {a:?} {b:?}")
                    });
                }
            }
        }
    }
}

#[test]
fn operators_with_a_constant_operand_do_what_wasm_says() {
    let mut machine = Machine::new();
    for op in eval::binary_ops() {
        let (from, to) = eval::binary_types(op);
        let edges = eval::edges(from);
        for &constant in &edges {
            for second in [false, true] {
                let mut operands =
                    [Shape::Const(constant), Shape::Param].map(|shape| Operand { ty: from, shape });
                if second {
                    operands.reverse();
                }
                let draft = function(&operands, |b, v| b.binary(op, v[0], v[1], to)).compile();
                let code = machine.publish(&draft);
                for &other in &edges {
                    let (x, y) = if second {
                        (other, constant)
                    } else {
                        (constant, other)
                    };
                    let (ints, floats) = registers(&[from, from], &[x, y]);
                    let outcome = machine.run(code, &ints, &floats, &mut Host::default());
                    expect(outcome, to, eval::binary(op, x, y), &|| {
                        format!("{op:?} {x:#x} {y:#x}, constant {second}")
                    });
                }
            }
        }
    }
}

#[test]
fn an_operand_may_be_used_twice() {
    let mut machine = Machine::new();
    for op in eval::binary_ops() {
        let (from, to) = eval::binary_types(op);
        let shape = Shape::Param;
        for keep in [false, true] {
            let draft = function(&[Operand { ty: from, shape }], |b, v| {
                let result = b.binary(op, v[0], v[0], to);
                if keep {
                    b.global_set(0, v[0]);
                }
                result
            })
            .compile();
            let code = machine.publish(&draft);
            for a in eval::edges(from) {
                let (ints, floats) = registers(&[from], &[a]);
                let outcome = machine.run(code, &ints, &floats, &mut Host::default());
                expect(outcome, to, eval::binary(op, a, a), &|| {
                    format!("{op:?} {a:#x} twice")
                });
            }
        }
    }
}

#[test]
fn conditions_are_fused_into_branches_selects_and_eqz() {
    use midair_jit::ir::value::UnaryOp;
    let mut machine = Machine::new();
    for op in eval::binary_ops() {
        let (from, to) = eval::binary_types(op);
        let name = format!("{op:?}");
        if to != Type::I32 || name.contains("Div") || name.contains("Rem") {
            continue;
        }
        let edges = eval::edges(from);
        for negations in 0..3 {
            for way in 0..4 {
                let operands = [from, from].map(|ty| Operand {
                    ty,
                    shape: Shape::Param,
                });
                let draft = function(&operands, |b, v| {
                    let mut cond = b.binary(op, v[0], v[1], to);
                    for _ in 0..negations {
                        cond = b.unary(UnaryOp::I32Eqz, cond, Type::I32);
                    }
                    let (yes, no) = (b.i32(10), b.i32(20));
                    match way {
                        0 => b.select(cond, yes, no),
                        1 => {
                            let (x, y) = (b.constant(Type::F64, 1), b.constant(Type::F64, 2));
                            let float = b.select(cond, x, y);
                            let bits = b.unary(UnaryOp::I64ReinterpretF64, float, Type::I64);
                            let bits = b.unary(UnaryOp::I32WrapI64, bits, Type::I32);
                            let ten = b.i32(10);
                            b.binary(
                                midair_jit::ir::value::BinaryOp::I32Mul,
                                bits,
                                ten,
                                Type::I32,
                            )
                        }
                        2 => {
                            let (then, _) = b.block(&[]);
                            let (done, result) = b.block(&[Type::I32]);
                            b.branch(cond, (then, &[]), (done, &[no]));
                            b.at(then);
                            b.jump(done, &[yes]);
                            b.at(done);
                            result[0]
                        }
                        _ => {
                            let (done, result) = b.block(&[Type::I32]);
                            b.branch(cond, (done, &[yes]), (done, &[no]));
                            b.at(done);
                            result[0]
                        }
                    }
                })
                .compile();
                let code = machine.publish(&draft);
                for &x in &edges {
                    for &y in &edges {
                        let holds = (eval::binary(op, x, y) != Ok(0)) == (negations % 2 == 0);
                        let (ints, floats) = registers(&[from, from], &[x, y]);
                        let outcome = machine.run(code, &ints, &floats, &mut Host::default());
                        let expected = Ok(if holds { 10 } else { 20 });
                        expect(outcome, Type::I32, expected, &|| {
                            format!("{op:?} {x:#x} {y:#x}, {negations} negations, way {way}")
                        });
                    }
                }
            }
        }
    }
}

const STORES: [(StoreOp, Type, usize); 9] = [
    (StoreOp::I32Store, Type::I32, 4),
    (StoreOp::I64Store, Type::I64, 8),
    (StoreOp::F32Store, Type::F32, 4),
    (StoreOp::F64Store, Type::F64, 8),
    (StoreOp::I32Store8, Type::I32, 1),
    (StoreOp::I32Store16, Type::I32, 2),
    (StoreOp::I64Store8, Type::I64, 1),
    (StoreOp::I64Store16, Type::I64, 2),
    (StoreOp::I64Store32, Type::I64, 4),
];

#[test]
fn stores_write_their_bytes_and_no_more() {
    let mut machine = Machine::new();
    for (op, ty, size) in STORES {
        for constant_index in [false, true] {
            for bits in eval::edges(ty) {
                for constant_value in [false, true] {
                    let shape = if constant_value {
                        Shape::Const(bits)
                    } else {
                        Shape::Param
                    };
                    let index = if constant_index {
                        Shape::Const(100)
                    } else {
                        Shape::Param
                    };
                    let operands = [
                        Operand {
                            ty: Type::I32,
                            shape: index,
                        },
                        Operand { ty, shape },
                    ];
                    let draft = function(&operands, |b, v| {
                        b.check(v[0], 8 + size as u64);
                        let base = b.base();
                        b.store(op, base, v[0], 8, v[1]);
                        b.i32(1)
                    })
                    .compile();
                    let code = machine.publish(&draft);
                    machine.memory.fill(0xaa);
                    let (ints, floats) = registers(&[Type::I32, ty], &[100, bits]);
                    let outcome = machine.run(code, &ints, &floats, &mut Host::default());
                    assert_eq!(outcome.int(), 1);
                    assert_eq!(
                        machine.memory[108..108 + size],
                        bits.to_le_bytes()[..size],
                        "{op:?}"
                    );
                    assert_eq!(machine.memory[107], 0xaa);
                    assert_eq!(machine.memory[108 + size], 0xaa, "{op:?}");
                }
            }
        }
    }
}

#[test]
fn loads_extend_as_they_say() {
    let mut machine = Machine::new();
    machine.memory[16..24].copy_from_slice(&0xf1f2_f3f4_f5f6_f7f8_u64.to_le_bytes());
    let cases = [
        (LoadOp::I32Load, Type::I32, 0xf5f6_f7f8),
        (LoadOp::I64Load, Type::I64, 0xf1f2_f3f4_f5f6_f7f8),
        (LoadOp::F32Load, Type::F32, 0xf5f6_f7f8),
        (LoadOp::F64Load, Type::F64, 0xf1f2_f3f4_f5f6_f7f8),
        (LoadOp::I32Load8S, Type::I32, 0xffff_fff8),
        (LoadOp::I32Load8U, Type::I32, 0xf8),
        (LoadOp::I32Load16S, Type::I32, 0xffff_f7f8),
        (LoadOp::I32Load16U, Type::I32, 0xf7f8),
        (LoadOp::I64Load8S, Type::I64, 0xffff_ffff_ffff_fff8),
        (LoadOp::I64Load8U, Type::I64, 0xf8),
        (LoadOp::I64Load16S, Type::I64, 0xffff_ffff_ffff_f7f8),
        (LoadOp::I64Load16U, Type::I64, 0xf7f8),
        (LoadOp::I64Load32S, Type::I64, 0xffff_ffff_f5f6_f7f8),
        (LoadOp::I64Load32U, Type::I64, 0xf5f6_f7f8),
    ];
    for (op, ty, expected) in cases {
        for shape in [Shape::Param, Shape::Const(12)] {
            let draft = function(
                &[Operand {
                    ty: Type::I32,
                    shape,
                }],
                |b, v| {
                    let base = b.base();
                    b.load(op, base, v[0], 4, ty)
                },
            )
            .compile();
            let code = machine.publish(&draft);
            let outcome = machine.run(code, &[12], &[], &mut Host::default());
            expect(outcome, ty, Ok(expected), &|| format!("{op:?}"));
        }
    }
}

#[test]
fn a_bounds_check_traps_exactly_beyond_the_end() {
    let mut machine = Machine::new();
    for (offset, index, fits) in [
        (0_u32, 65532_u32, true),
        (0, 65533, false),
        (65532, 0, true),
        (65533, 0, false),
        (1, 65531, true),
        (1, 65532, false),
        (0, u32::MAX, false),
        (u32::MAX, 0, false),
        (u32::MAX, u32::MAX, false),
        (0x7fff_ffff, 5, false),
        (0x8000_0000, 0x8000_0000, false),
    ] {
        for shape in [Shape::Param, Shape::Const(u64::from(index))] {
            let mut at = 0;
            let draft = function(
                &[Operand {
                    ty: Type::I32,
                    shape,
                }],
                |b, v| {
                    b.check(v[0], u64::from(offset) + 4);
                    at = b.last_offset();
                    let base = b.base();
                    b.load(LoadOp::I32Load, base, v[0], offset, Type::I32)
                },
            )
            .compile();
            let code = machine.publish(&draft);
            let outcome = machine.run(code, &[u64::from(index)], &[], &mut Host::default());
            let expected = if fits {
                Outcome::Returned {
                    ints: [0; 2],
                    floats: [0; 2],
                }
            } else {
                Outcome::Trapped(TrapCode::MemoryOutOfBounds as u32, at)
            };
            match (outcome, expected) {
                (Outcome::Returned { ints, .. }, Outcome::Returned { .. }) => {
                    assert_eq!(ints[0], 0);
                }
                (outcome, expected) => assert_eq!(outcome, expected, "{offset:#x} {index:#x}"),
            }
        }
    }
}
