//! Computes what is constant and replaces operators by simpler ones.
//!
//! ```text
//! before:  v2 = I32Mul v0, 8            after:  v2 = I32Shl v0, 3
//!          v3 = I32DivU v0, 10                  v3 = wrap((extend v0) * 0xcccccccd >> 35)
//!          v4 = I32LtS v0, v1                   v4 = I32LtS v0, v1
//!          v5 = I32Eqz v4                       v5 = I32GeS v0, v1
//!          branch v5, block1, block2            branch v5, block1, block2
//! ```
//!
//! Operations on floats are folded unless they give a NaN; no other law of floats is used.

#![forbid(unsafe_code)]

use super::{Changed, Replacements};
use crate::{
    ir::{
        cfg::Cfg,
        eval::{eval_binary, eval_unary},
        value::{BinaryOp, Function, Inst, InstData, Jump, Type, UnaryOp, Value},
    },
    wasm::types::WasmOffset,
};

/// Runs the pass.
pub fn run(func: &mut Function) -> Changed {
    let cfg = Cfg::compute(func);
    let mut pass = Simplify {
        replacements: Replacements::new(func),
        func,
        out: Vec::new(),
        offset: WasmOffset(0),
        changed: false,
    };
    for &block in cfg.reverse_postorder() {
        let insts = std::mem::take(&mut pass.func.blocks[block.index()].insts);
        pass.out = Vec::with_capacity(insts.len());
        for inst in insts {
            pass.inst(inst);
        }
        pass.func.blocks[block.index()].insts = std::mem::take(&mut pass.out);
    }
    let Simplify {
        func,
        replacements,
        changed,
        ..
    } = pass;
    (replacements.apply(func) | changed).into()
}

struct Simplify<'a> {
    func: &'a mut Function,
    replacements: Replacements,
    /// What the current block holds so far.
    out: Vec<Inst>,
    offset: WasmOffset,
    changed: bool,
}

/// What becomes of an instruction.
enum Outcome {
    Keep,
    /// Its result is this value.
    Value(Value),
    /// It is this one.
    Data(InstData),
}

/// An integer operator without its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Add,
    Sub,
    Mul,
    And,
    Or,
    Xor,
    Shl,
    ShrS,
    ShrU,
    Rotl,
    Rotr,
    DivS,
    DivU,
    RemS,
    RemU,
    Eq,
    Ne,
    LtS,
    LtU,
    GtS,
    GtU,
    LeS,
    LeU,
    GeS,
    GeU,
}

macro_rules! widths {
    ($($op:ident $narrow:ident $wide:ident,)*) => {
        fn split(op: BinaryOp) -> Option<(Op, Type)> {
            match op {
                $(BinaryOp::$narrow => Some((Op::$op, Type::I32)),
                BinaryOp::$wide => Some((Op::$op, Type::I64)),)*
                _ => None,
            }
        }

        fn join(op: Op, ty: Type) -> BinaryOp {
            match op {
                $(Op::$op => if ty == Type::I32 { BinaryOp::$narrow } else { BinaryOp::$wide },)*
            }
        }
    };
}
widths! {
    Add I32Add I64Add, Sub I32Sub I64Sub, Mul I32Mul I64Mul, And I32And I64And, Or I32Or I64Or,
    Xor I32Xor I64Xor, Shl I32Shl I64Shl, ShrS I32ShrS I64ShrS, ShrU I32ShrU I64ShrU,
    Rotl I32Rotl I64Rotl, Rotr I32Rotr I64Rotr, DivS I32DivS I64DivS, DivU I32DivU I64DivU,
    RemS I32RemS I64RemS, RemU I32RemU I64RemU, Eq I32Eq I64Eq, Ne I32Ne I64Ne,
    LtS I32LtS I64LtS, LtU I32LtU I64LtU, GtS I32GtS I64GtS, GtU I32GtU I64GtU,
    LeS I32LeS I64LeS, LeU I32LeU I64LeU, GeS I32GeS I64GeS, GeU I32GeU I64GeU,
}

fn is_comparison(op: BinaryOp) -> bool {
    op.swapped().is_some()
}

/// Whether folded bits may replace an operation: not if they are a NaN, whose payload is the machine's affair.
fn is_foldable(ty: Type, bits: u64) -> bool {
    match ty {
        Type::F32 => u32::try_from(bits).is_ok_and(|bits| !f32::from_bits(bits).is_nan()),
        Type::F64 => !f64::from_bits(bits).is_nan(),
        _ => true,
    }
}

impl Simplify<'_> {
    fn inst(&mut self, inst: Inst) {
        let replacements = &mut self.replacements;
        let node = &mut self.func.insts[inst.index()];
        node.data
            .for_each_operand_mut(|value| *value = replacements.resolve(*value));
        self.offset = node.offset;
        // A rewritten instruction may be simple once more; each step makes it simpler, the bound is for safety.
        for _ in 0..8 {
            match self.step(inst) {
                Outcome::Keep => break,
                Outcome::Data(data) => {
                    self.func.insts[inst.index()].data = data;
                    self.changed = true;
                }
                Outcome::Value(value) => {
                    let result = self.func.insts[inst.index()].results[0];
                    self.replacements.replace(result, value);
                    self.changed = true;
                    return;
                }
            }
        }
        self.out.push(inst);
    }

    fn emit(&mut self, data: InstData) -> Value {
        let results = self.func.result_types(&data);
        let inst = self.func.add_inst(data, &results, self.offset);
        self.out.push(inst);
        self.func.insts[inst.index()].results[0]
    }

    fn constant(&mut self, ty: Type, bits: u64) -> Value {
        let bits = if ty == Type::I32 {
            bits & u64::from(u32::MAX)
        } else {
            bits
        };
        self.emit(InstData::Const { ty, bits })
    }

    fn binary(&mut self, op: BinaryOp, args: [Value; 2]) -> Value {
        self.emit(InstData::Binary { op, args })
    }

    fn unary(&mut self, op: UnaryOp, arg: Value) -> Value {
        self.emit(InstData::Unary { op, arg })
    }

    fn with_constant(&mut self, op: Op, ty: Type, arg: Value, bits: u64) -> InstData {
        let bits = self.constant(ty, bits);
        InstData::Binary {
            op: join(op, ty),
            args: [arg, bits],
        }
    }

    /// Whether a value is 0 or 1.
    fn is_boolean(&self, value: Value) -> bool {
        match self.func.definition(value) {
            Some(InstData::Binary { op, .. }) => is_comparison(*op),
            Some(InstData::Unary { op, .. }) => matches!(op, UnaryOp::I32Eqz | UnaryOp::I64Eqz),
            Some(InstData::Const { bits, .. }) => *bits <= 1,
            _ => false,
        }
    }

    fn step(&mut self, inst: Inst) -> Outcome {
        let node = &self.func.insts[inst.index()];
        match node.data {
            InstData::Unary { op, arg } => self.step_unary(op, arg),
            InstData::Binary { op, args } => self.step_binary(op, args),
            InstData::Select { ty, cond, args } => {
                if args[0] == args[1] {
                    return Outcome::Value(args[0]);
                }
                if let Some(bits) = self.func.constant(cond) {
                    return Outcome::Value(args[usize::from(bits == 0)]);
                }
                match self.condition(cond) {
                    Some((cond, false)) => Outcome::Data(InstData::Select { ty, cond, args }),
                    Some((cond, true)) => Outcome::Data(InstData::Select {
                        ty,
                        cond,
                        args: [args[1], args[0]],
                    }),
                    None => Outcome::Keep,
                }
            }
            InstData::BoundsCheck { index, end } => match self.func.constant(index) {
                Some(bits) if bits != 0 => {
                    // More than an index can say is more than any memory holds.
                    let index = self.constant(Type::I32, 0);
                    let end = end.saturating_add(bits);
                    Outcome::Data(InstData::BoundsCheck { index, end })
                }
                _ => Outcome::Keep,
            },
            InstData::Load {
                op,
                base,
                index,
                offset,
            } => match self.fold_index(index, offset) {
                Some((index, offset)) => Outcome::Data(InstData::Load {
                    op,
                    base,
                    index,
                    offset,
                }),
                None => Outcome::Keep,
            },
            InstData::Store {
                op,
                base,
                index,
                offset,
                value,
            } => match self.fold_index(index, offset) {
                Some((index, offset)) => Outcome::Data(InstData::Store {
                    op,
                    base,
                    index,
                    offset,
                    value,
                }),
                None => Outcome::Keep,
            },
            InstData::Branch {
                cond,
                ref then,
                ref otherwise,
            } => {
                if then == otherwise {
                    return Outcome::Data(InstData::Jump(then.clone()));
                }
                if let Some(bits) = self.func.constant(cond) {
                    let taken = if bits != 0 { then } else { otherwise };
                    return Outcome::Data(InstData::Jump(taken.clone()));
                }
                let (then, otherwise): (Jump, Jump) = (then.clone(), otherwise.clone());
                match self.condition(cond) {
                    Some((cond, swap)) => {
                        let (then, otherwise) = if swap {
                            (otherwise, then)
                        } else {
                            (then, otherwise)
                        };
                        Outcome::Data(InstData::Branch {
                            cond,
                            then,
                            otherwise,
                        })
                    }
                    None => Outcome::Keep,
                }
            }
            InstData::BranchTable { index, ref targets } => {
                let last = targets.len() - 1;
                if targets.iter().all(|target| *target == targets[last]) {
                    return Outcome::Data(InstData::Jump(targets[last].clone()));
                }
                match self.func.constant(index) {
                    Some(bits) => {
                        let n = usize::try_from(bits).map_or(last, |bits| bits.min(last));
                        Outcome::Data(InstData::Jump(targets[n].clone()))
                    }
                    None => Outcome::Keep,
                }
            }
            _ => Outcome::Keep,
        }
    }

    /// A simpler value with the same truth, or (true) the opposite one.
    fn condition(&self, cond: Value) -> Option<(Value, bool)> {
        match *self.func.definition(cond)? {
            InstData::Unary {
                op: UnaryOp::I32Eqz,
                arg,
            } => Some((arg, true)),
            InstData::Binary {
                op: BinaryOp::I32Ne,
                args,
            } if self.func.constant(args[1]) == Some(0) => Some((args[0], false)),
            InstData::Binary {
                op: BinaryOp::I32Eq,
                args,
            } if self.func.constant(args[1]) == Some(0) => Some((args[0], true)),
            _ => None,
        }
    }

    /// A constant index becomes part of the offset.
    fn fold_index(&mut self, index: Value, offset: u32) -> Option<(Value, u32)> {
        let bits = self.func.constant(index).filter(|&bits| bits != 0)?;
        let sum = i32::try_from(bits.checked_add(offset.into())?).ok()?;
        let ty = self.func.type_of(index);
        Some((self.constant(ty, 0), sum.cast_unsigned()))
    }

    fn step_unary(&mut self, op: UnaryOp, arg: Value) -> Outcome {
        use UnaryOp as U;
        let ty = op.types().1;
        if let Some(bits) = self.func.constant(arg) {
            return match eval_unary(op, bits) {
                Some(bits) if is_foldable(ty, bits) => Outcome::Data(InstData::Const { ty, bits }),
                _ => Outcome::Keep,
            };
        }
        match (op, self.func.definition(arg)) {
            (U::I32Eqz, Some(&InstData::Binary { op, args })) => match op.inverse() {
                Some(op) => Outcome::Data(InstData::Binary { op, args }),
                None => Outcome::Keep,
            },
            (U::I32Eqz, Some(&InstData::Unary { op: inner, arg })) => match inner {
                U::I32Eqz if self.is_boolean(arg) => Outcome::Value(arg),
                U::I32Eqz => Outcome::Data(self.with_constant(Op::Ne, Type::I32, arg, 0)),
                U::I64Eqz => Outcome::Data(self.with_constant(Op::Ne, Type::I64, arg, 0)),
                _ => Outcome::Keep,
            },
            (
                U::I64Eqz,
                Some(&InstData::Unary {
                    op: U::I64ExtendI32S | U::I64ExtendI32U,
                    arg,
                }),
            ) => Outcome::Data(InstData::Unary { op: U::I32Eqz, arg }),
            (
                U::I32WrapI64,
                Some(&InstData::Unary {
                    op: U::I64ExtendI32S | U::I64ExtendI32U,
                    arg,
                }),
            )
            | (
                U::F32ReinterpretI32,
                Some(&InstData::Unary {
                    op: U::I32ReinterpretF32,
                    arg,
                }),
            )
            | (
                U::I32ReinterpretF32,
                Some(&InstData::Unary {
                    op: U::F32ReinterpretI32,
                    arg,
                }),
            )
            | (
                U::F64ReinterpretI64,
                Some(&InstData::Unary {
                    op: U::I64ReinterpretF64,
                    arg,
                }),
            )
            | (
                U::I64ReinterpretF64,
                Some(&InstData::Unary {
                    op: U::F64ReinterpretI64,
                    arg,
                }),
            )
            | (U::F32Neg, Some(&InstData::Unary { op: U::F32Neg, arg }))
            | (U::F64Neg, Some(&InstData::Unary { op: U::F64Neg, arg })) => Outcome::Value(arg),
            _ => Outcome::Keep,
        }
    }

    fn step_binary(&mut self, op: BinaryOp, args: [Value; 2]) -> Outcome {
        let ty = op.types().1;
        let constants = args.map(|arg| self.func.constant(arg));
        if let [Some(a), Some(b)] = constants {
            return match eval_binary(op, [a, b]) {
                Some(bits) if is_foldable(ty, bits) => Outcome::Data(InstData::Const { ty, bits }),
                _ => Outcome::Keep,
            };
        }
        if let [Some(_), None] = constants {
            let swapped = if op.is_commutative() {
                Some(op)
            } else {
                op.swapped()
            };
            if let Some(op) = swapped {
                return Outcome::Data(InstData::Binary {
                    op,
                    args: [args[1], args[0]],
                });
            }
        }
        let Some((op, ty)) = split(op) else {
            return Outcome::Keep;
        };
        if args[0] == args[1] {
            let bits = match op {
                Op::Sub | Op::Xor | Op::Ne | Op::LtS | Op::LtU | Op::GtS | Op::GtU => 0,
                Op::Eq | Op::LeS | Op::LeU | Op::GeS | Op::GeU => 1,
                Op::And | Op::Or => return Outcome::Value(args[0]),
                _ => return Outcome::Keep,
            };
            let ty = join(op, ty).types().1;
            return Outcome::Data(InstData::Const { ty, bits });
        }
        match constants[1] {
            Some(bits) => self.step_with_constant(op, ty, args[0], bits),
            None => Outcome::Keep,
        }
    }

    /// An integer operator whose second operand is a constant.
    fn step_with_constant(&mut self, op: Op, ty: Type, x: Value, bits: u64) -> Outcome {
        let (width, ones) = match ty {
            Type::I32 => (32, u64::from(u32::MAX)),
            _ => (64, u64::MAX),
        };
        let power = bits.is_power_of_two().then(|| bits.trailing_zeros());
        let zero = Outcome::Data(InstData::Const {
            ty: join(op, ty).types().1,
            bits: 0,
        });
        match op {
            Op::Add | Op::Sub | Op::Or | Op::Xor if bits == 0 => Outcome::Value(x),
            Op::Shl | Op::ShrS | Op::ShrU | Op::Rotl | Op::Rotr if bits.is_multiple_of(width) => {
                Outcome::Value(x)
            }
            Op::Sub => Outcome::Data(self.with_constant(Op::Add, ty, x, bits.wrapping_neg())),
            Op::Add | Op::And | Op::Or | Op::Xor
                if let Some(&InstData::Binary {
                    op: inner,
                    args: [y, inner_bits],
                }) = self.func.definition(x)
                    && inner == join(op, ty)
                    && let Some(inner_bits) = self.func.constant(inner_bits) =>
            {
                let both = eval_binary(inner, [inner_bits, bits]).expect("it does not trap");
                Outcome::Data(self.with_constant(op, ty, y, both))
            }
            Op::Mul if bits == 0 => zero,
            Op::Mul | Op::DivS | Op::DivU if bits == 1 => Outcome::Value(x),
            Op::Mul if let Some(power) = power => {
                Outcome::Data(self.with_constant(Op::Shl, ty, x, power.into()))
            }
            Op::And if bits == 0 => zero,
            Op::And if bits == ones => Outcome::Value(x),
            Op::And if bits == 1 && self.is_boolean(x) => Outcome::Value(x),
            Op::Or if bits == ones => Outcome::Data(InstData::Const { ty, bits: ones }),
            Op::DivU if let Some(power) = power => {
                Outcome::Data(self.with_constant(Op::ShrU, ty, x, power.into()))
            }
            Op::RemU if power.is_some() => {
                Outcome::Data(self.with_constant(Op::And, ty, x, bits - 1))
            }
            Op::RemS if bits == 1 || bits == ones => zero,
            Op::DivS | Op::RemS
                if let Some(power) = power
                    && u64::from(power) < width - 1 =>
            {
                self.divide_by_power(op, ty, x, power, width)
            }
            Op::DivS | Op::DivU | Op::RemS | Op::RemU if ty == Type::I32 && bits != 0 => {
                self.divide_by_constant(op, x, bits)
            }
            Op::DivS | Op::DivU | Op::RemS | Op::RemU if ty == Type::I64 && bits != 0 => {
                self.divide_wide_by_constant(op, x, bits)
            }
            Op::LtU if bits == 0 => zero,
            Op::GeU if bits == 0 => Outcome::Data(InstData::Const {
                ty: Type::I32,
                bits: 1,
            }),
            Op::Eq if bits == 0 => Outcome::Data(InstData::Unary {
                op: if ty == Type::I32 {
                    UnaryOp::I32Eqz
                } else {
                    UnaryOp::I64Eqz
                },
                arg: x,
            }),
            Op::Ne if bits == 0 && ty == Type::I32 && self.is_boolean(x) => Outcome::Value(x),
            _ => Outcome::Keep,
        }
    }

    /// Signed division by 2^power: negative numbers are rounded up by adding 2^power - 1 first.
    fn divide_by_power(&mut self, op: Op, ty: Type, x: Value, power: u32, width: u64) -> Outcome {
        let sign = self.with_constant(Op::ShrS, ty, x, width - 1);
        let sign = self.emit(sign);
        let bias = self.with_constant(Op::ShrU, ty, sign, width - u64::from(power));
        let bias = self.emit(bias);
        let sum = self.binary(join(Op::Add, ty), [x, bias]);
        if op == Op::DivS {
            return Outcome::Data(self.with_constant(Op::ShrS, ty, sum, power.into()));
        }
        let whole = self.with_constant(Op::And, ty, sum, u64::MAX << power);
        let whole = self.emit(whole);
        Outcome::Data(InstData::Binary {
            op: join(Op::Sub, ty),
            args: [x, whole],
        })
    }

    /// Division of i32s by a constant as a multiplication of i64s.
    ///
    /// With `m = floor(2^p / d) + 1` and `e = m * d - 2^p`, `floor(x * m / 2^p) = floor(x / d)` for all `0 <= x < 2^n`
    /// if `e * 2^n <= 2^p`.
    fn divide_by_constant(&mut self, op: Op, x: Value, bits: u64) -> Outcome {
        let signed = matches!(op, Op::DivS | Op::RemS);
        let divisor = u32::try_from(bits).expect("an i32");
        let size = if signed {
            u64::from(divisor.cast_signed().unsigned_abs())
        } else {
            bits
        };
        if size < 2 || size.is_power_of_two() {
            return Outcome::Keep;
        }
        let n = if signed { 31 } else { 32 };
        let magic = |p: u32| (1u64 << p) / size + 1;
        let p = (32..63).find(|&p| {
            let error = magic(p) * size - (1 << p);
            error <= 1 << (p - n)
        });
        let Some(p) = p else { return Outcome::Keep };
        let magic = magic(p);
        let quotient = if signed {
            if magic >= 1 << 32 {
                return Outcome::Keep;
            }
            let wide = self.unary(UnaryOp::I64ExtendI32S, x);
            let product = self.with_constant(Op::Mul, Type::I64, wide, magic);
            let product = self.emit(product);
            let high = self.with_constant(Op::ShrS, Type::I64, product, p.into());
            let high = self.emit(high);
            let high = self.unary(UnaryOp::I32WrapI64, high);
            let sign = self.with_constant(Op::ShrU, Type::I32, x, 31);
            let sign = self.emit(sign);
            let quotient = self.binary(BinaryOp::I32Add, [high, sign]);
            if divisor.cast_signed() < 0 {
                let zero = self.constant(Type::I32, 0);
                self.binary(BinaryOp::I32Sub, [zero, quotient])
            } else {
                quotient
            }
        } else {
            let wide = self.unary(UnaryOp::I64ExtendI32U, x);
            let low = magic & u64::from(u32::MAX);
            let product = self.with_constant(Op::Mul, Type::I64, wide, low);
            let product = self.emit(product);
            if magic < 1 << 32 {
                let high = self.with_constant(Op::ShrU, Type::I64, product, p.into());
                let high = self.emit(high);
                self.unary(UnaryOp::I32WrapI64, high)
            } else {
                // The multiplier has 33 bits: x * 2^32 is added behind the shift, without overflow.
                let high = self.with_constant(Op::ShrU, Type::I64, product, 32);
                let high = self.emit(high);
                let sum = self.binary(BinaryOp::I64Add, [high, wide]);
                let sum = self.with_constant(Op::ShrU, Type::I64, sum, u64::from(p) - 32);
                let sum = self.emit(sum);
                self.unary(UnaryOp::I32WrapI64, sum)
            }
        };
        self.quotient_or_remainder(op, Type::I32, x, bits, quotient)
    }

    /// The same for i64s, with the upper half of a product of 128 bits.
    fn divide_wide_by_constant(&mut self, op: Op, x: Value, bits: u64) -> Outcome {
        let signed = matches!(op, Op::DivS | Op::RemS);
        let divisor = if signed {
            bits.cast_signed().unsigned_abs()
        } else {
            bits
        };
        if divisor < 2 || divisor.is_power_of_two() {
            return Outcome::Keep;
        }
        let n = if signed { 63 } else { 64 };
        let magic = |p: u32| (1u128 << p) / u128::from(divisor) + 1;
        let p = (64..127).find(|&p| {
            let error = magic(p) * u128::from(divisor) - (1 << p);
            error <= 1 << (p - n)
        });
        let Some(p) = p else { return Outcome::Keep };
        let magic = magic(p);
        if magic >> 64 != 0 && (signed || p == 64) {
            return Outcome::Keep;
        }
        // a multiplier of 65 bits lacks its highest one, a signed one of 64 bits is negative: x is added behind
        let low = u64::try_from(magic & u128::from(u64::MAX)).expect("masked");
        let constant = self.constant(Type::I64, low);
        let shift = u64::from(p) - 64;
        let quotient = if signed {
            let mut high = self.binary(BinaryOp::I64MulHighS, [x, constant]);
            if low >= 1 << 63 {
                high = self.binary(BinaryOp::I64Add, [high, x]);
            }
            let high = self.with_constant(Op::ShrS, Type::I64, high, shift);
            let high = self.emit(high);
            let sign = self.with_constant(Op::ShrU, Type::I64, x, 63);
            let sign = self.emit(sign);
            let quotient = self.binary(BinaryOp::I64Add, [high, sign]);
            if bits.cast_signed() < 0 {
                let zero = self.constant(Type::I64, 0);
                self.binary(BinaryOp::I64Sub, [zero, quotient])
            } else {
                quotient
            }
        } else {
            let high = self.binary(BinaryOp::I64MulHighU, [x, constant]);
            if magic < 1 << 64 {
                let high = self.with_constant(Op::ShrU, Type::I64, high, shift);
                self.emit(high)
            } else {
                // (high + x) / 2 without overflow
                let rest = self.binary(BinaryOp::I64Sub, [x, high]);
                let half = self.with_constant(Op::ShrU, Type::I64, rest, 1);
                let half = self.emit(half);
                let sum = self.binary(BinaryOp::I64Add, [half, high]);
                let sum = self.with_constant(Op::ShrU, Type::I64, sum, shift - 1);
                self.emit(sum)
            }
        };
        self.quotient_or_remainder(op, Type::I64, x, bits, quotient)
    }

    fn quotient_or_remainder(
        &mut self,
        op: Op,
        ty: Type,
        x: Value,
        bits: u64,
        quotient: Value,
    ) -> Outcome {
        if matches!(op, Op::DivS | Op::DivU) {
            return Outcome::Value(quotient);
        }
        let whole = self.with_constant(Op::Mul, ty, quotient, bits);
        let whole = self.emit(whole);
        Outcome::Data(InstData::Binary {
            op: join(Op::Sub, ty),
            args: [x, whole],
        })
    }
}
