//! What every operator means, in Rust; the machine code is compared with it.

use midair_jit::ir::value::{BinaryOp, TrapCode, Type, UnaryOp};

fn i32_of(bits: u64) -> i32 {
    u32_of(bits).cast_signed()
}

fn u32_of(bits: u64) -> u32 {
    u32::try_from(bits & 0xffff_ffff).unwrap()
}

fn i64_of(bits: u64) -> i64 {
    bits.cast_signed()
}

fn f32_of(bits: u64) -> f32 {
    f32::from_bits(u32_of(bits))
}

fn f64_of(bits: u64) -> f64 {
    f64::from_bits(bits)
}

fn of_i32(value: i32) -> u64 {
    u64::from(value.cast_unsigned())
}

fn of_f32(value: f32) -> u64 {
    u64::from(value.to_bits())
}

/// Operand and result type.
#[rustfmt::skip]
pub(crate) fn unary_types(op: UnaryOp) -> (Type, Type) {
    use Type::{F32, F64, I32, I64};
    use UnaryOp::*;
    match op {
        I32Clz | I32Ctz | I32Popcnt | I32Eqz | I32Extend8S | I32Extend16S => (I32, I32),
        I64Clz | I64Ctz | I64Popcnt | I64Extend8S | I64Extend16S | I64Extend32S => (I64, I64),
        I64Eqz | I32WrapI64 => (I64, I32),
        I64ExtendI32S | I64ExtendI32U => (I32, I64),
        F32Abs | F32Neg | F32Ceil | F32Floor | F32Trunc | F32Nearest | F32Sqrt => (F32, F32),
        F64Abs | F64Neg | F64Ceil | F64Floor | F64Trunc | F64Nearest | F64Sqrt => (F64, F64),
        F32ConvertI32S | F32ConvertI32U | F32ReinterpretI32 => (I32, F32),
        F32ConvertI64S | F32ConvertI64U => (I64, F32),
        F32DemoteF64 => (F64, F32),
        F64ConvertI32S | F64ConvertI32U => (I32, F64),
        F64ConvertI64S | F64ConvertI64U | F64ReinterpretI64 => (I64, F64),
        F64PromoteF32 => (F32, F64),
        I32ReinterpretF32 => (F32, I32),
        I64ReinterpretF64 => (F64, I64),
        I32TruncF32S | I32TruncF32U | I32TruncSatF32S | I32TruncSatF32U => (F32, I32),
        I32TruncF64S | I32TruncF64U | I32TruncSatF64S | I32TruncSatF64U => (F64, I32),
        I64TruncF32S | I64TruncF32U | I64TruncSatF32S | I64TruncSatF32U => (F32, I64),
        I64TruncF64S | I64TruncF64U | I64TruncSatF64S | I64TruncSatF64U => (F64, I64),
    }
}

/// Operand and result type.
#[rustfmt::skip]
pub(crate) fn binary_types(op: BinaryOp) -> (Type, Type) {
    let name = format!("{op:?}");
    let operand = match &name[..3] {
        "I32" => Type::I32,
        "I64" => Type::I64,
        "F32" => Type::F32,
        _ => Type::F64,
    };
    let comparison = ["Eq", "Ne", "Lt", "Gt", "Le", "Ge"].iter().any(|c| name[3..].starts_with(c));
    (operand, if comparison { Type::I32 } else { operand })
}

/// Every operator with one operand.
#[rustfmt::skip]
pub(crate) fn unary_ops() -> Vec<UnaryOp> {
    use UnaryOp::*;
    vec![
        I32Clz, I32Ctz, I32Popcnt, I32Eqz, I64Clz, I64Ctz, I64Popcnt, I64Eqz,
        I32WrapI64, I64ExtendI32S, I64ExtendI32U,
        I32Extend8S, I32Extend16S, I64Extend8S, I64Extend16S, I64Extend32S,
        F32Abs, F32Neg, F32Ceil, F32Floor, F32Trunc, F32Nearest, F32Sqrt,
        F64Abs, F64Neg, F64Ceil, F64Floor, F64Trunc, F64Nearest, F64Sqrt,
        F32ConvertI32S, F32ConvertI32U, F32ConvertI64S, F32ConvertI64U, F32DemoteF64,
        F64ConvertI32S, F64ConvertI32U, F64ConvertI64S, F64ConvertI64U, F64PromoteF32,
        I32ReinterpretF32, I64ReinterpretF64, F32ReinterpretI32, F64ReinterpretI64,
        I32TruncF32S, I32TruncF32U, I32TruncF64S, I32TruncF64U,
        I64TruncF32S, I64TruncF32U, I64TruncF64S, I64TruncF64U,
        I32TruncSatF32S, I32TruncSatF32U, I32TruncSatF64S, I32TruncSatF64U,
        I64TruncSatF32S, I64TruncSatF32U, I64TruncSatF64S, I64TruncSatF64U,
    ]
}

/// Every operator with two operands.
#[rustfmt::skip]
pub(crate) fn binary_ops() -> Vec<BinaryOp> {
    use BinaryOp::*;
    vec![
        I32Add, I32Sub, I32Mul, I32And, I32Or, I32Xor, I32Shl, I32ShrS, I32ShrU, I32Rotl, I32Rotr,
        I64Add, I64Sub, I64Mul, I64And, I64Or, I64Xor, I64Shl, I64ShrS, I64ShrU, I64Rotl, I64Rotr,
        I32DivS, I32DivU, I32RemS, I32RemU, I64DivS, I64DivU, I64RemS, I64RemU,
        I32Eq, I32Ne, I32LtS, I32LtU, I32GtS, I32GtU, I32LeS, I32LeU, I32GeS, I32GeU,
        I64Eq, I64Ne, I64LtS, I64LtU, I64GtS, I64GtU, I64LeS, I64LeU, I64GeS, I64GeU,
        F32Add, F32Sub, F32Mul, F32Div, F32Min, F32Max, F32Copysign,
        F64Add, F64Sub, F64Mul, F64Div, F64Min, F64Max, F64Copysign,
        F32Eq, F32Ne, F32Lt, F32Gt, F32Le, F32Ge, F64Eq, F64Ne, F64Lt, F64Gt, F64Le, F64Ge,
        I64MulHighS, I64MulHighU,
    ]
}

/// The low half.
fn wide(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).expect("masked")
}

fn truncate(value: f64, low: f64, high: f64) -> Result<f64, TrapCode> {
    if value.is_nan() {
        Err(TrapCode::BadConversionToInteger)
    } else if value.trunc() < low || value.trunc() >= high {
        Err(TrapCode::IntegerOverflow)
    } else {
        Ok(value.trunc())
    }
}

const P31: f64 = 2_147_483_648.0;
const P32: f64 = 4_294_967_296.0;
const P63: f64 = 9_223_372_036_854_775_808.0;
const P64: f64 = 18_446_744_073_709_551_616.0;

/// The result of an operator with one operand.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "these conversions are what is meant"
)]
pub(crate) fn unary(op: UnaryOp, a: u64) -> Result<u64, TrapCode> {
    use UnaryOp::*;
    Ok(match op {
        I32Clz => u64::from(u32_of(a).leading_zeros()),
        I32Ctz => u64::from(u32_of(a).trailing_zeros()),
        I32Popcnt => u64::from(u32_of(a).count_ones()),
        I32Eqz => u64::from(u32_of(a) == 0),
        I64Clz => u64::from(a.leading_zeros()),
        I64Ctz => u64::from(a.trailing_zeros()),
        I64Popcnt => u64::from(a.count_ones()),
        I64Eqz => u64::from(a == 0),
        I32WrapI64 | I64ExtendI32U | I32ReinterpretF32 | F32ReinterpretI32 => a & 0xffff_ffff,
        I64ExtendI32S | I64Extend32S => i64::from(a as i32).cast_unsigned(),
        I32Extend8S => of_i32(i32::from(a as i8)),
        I32Extend16S => of_i32(i32::from(a as i16)),
        I64Extend8S => i64::from(a as i8).cast_unsigned(),
        I64Extend16S => i64::from(a as i16).cast_unsigned(),
        F32Abs => a & 0x7fff_ffff,
        F32Neg => (a ^ 0x8000_0000) & 0xffff_ffff,
        F32Ceil => of_f32(f32_of(a).ceil()),
        F32Floor => of_f32(f32_of(a).floor()),
        F32Trunc => of_f32(f32_of(a).trunc()),
        F32Nearest => of_f32(f32_of(a).round_ties_even()),
        F32Sqrt => of_f32(f32_of(a).sqrt()),
        F64Abs => a & (u64::MAX >> 1),
        F64Neg => a ^ (1 << 63),
        F64Ceil => f64_of(a).ceil().to_bits(),
        F64Floor => f64_of(a).floor().to_bits(),
        F64Trunc => f64_of(a).trunc().to_bits(),
        F64Nearest => f64_of(a).round_ties_even().to_bits(),
        F64Sqrt => f64_of(a).sqrt().to_bits(),
        F32ConvertI32S => of_f32(i32_of(a) as f32),
        F32ConvertI32U => of_f32(u32_of(a) as f32),
        F32ConvertI64S => of_f32(i64_of(a) as f32),
        F32ConvertI64U => of_f32(a as f32),
        F32DemoteF64 => of_f32(f64_of(a) as f32),
        F64ConvertI32S => f64::from(i32_of(a)).to_bits(),
        F64ConvertI32U => f64::from(u32_of(a)).to_bits(),
        F64ConvertI64S => (i64_of(a) as f64).to_bits(),
        F64ConvertI64U => (a as f64).to_bits(),
        F64PromoteF32 => f64::from(f32_of(a)).to_bits(),
        I64ReinterpretF64 | F64ReinterpretI64 => a,
        I32TruncF32S => of_i32(truncate(f64::from(f32_of(a)), -P31, P31)? as i32),
        I32TruncF32U => u64::from(truncate(f64::from(f32_of(a)), 0.0, P32)? as u32),
        I32TruncF64S => of_i32(truncate(f64_of(a), -P31, P31)? as i32),
        I32TruncF64U => u64::from(truncate(f64_of(a), 0.0, P32)? as u32),
        I64TruncF32S => (truncate(f64::from(f32_of(a)), -P63, P63)? as i64).cast_unsigned(),
        I64TruncF32U => truncate(f64::from(f32_of(a)), 0.0, P64)? as u64,
        I64TruncF64S => (truncate(f64_of(a), -P63, P63)? as i64).cast_unsigned(),
        I64TruncF64U => truncate(f64_of(a), 0.0, P64)? as u64,
        I32TruncSatF32S => of_i32(f32_of(a) as i32),
        I32TruncSatF32U => u64::from(f32_of(a) as u32),
        I32TruncSatF64S => of_i32(f64_of(a) as i32),
        I32TruncSatF64U => u64::from(f64_of(a) as u32),
        I64TruncSatF32S => (f32_of(a) as i64).cast_unsigned(),
        I64TruncSatF32U => f32_of(a) as u64,
        I64TruncSatF64S => (f64_of(a) as i64).cast_unsigned(),
        I64TruncSatF64U => f64_of(a) as u64,
    })
}

macro_rules! min_max {
    ($name:ident, $float:ty) => {
        fn $name(max: bool, a: $float, b: $float) -> $float {
            if a.is_nan() || b.is_nan() {
                return <$float>::NAN;
            }
            if a == b {
                // zeros of either sign
                return if (a.is_sign_negative()) == max { b } else { a };
            }
            if (a > b) == max { a } else { b }
        }
    };
}
min_max!(min_max_f32, f32);
min_max!(min_max_f64, f64);

/// The result of an operator with two operands.
pub(crate) fn binary(op: BinaryOp, a: u64, b: u64) -> Result<u64, TrapCode> {
    use BinaryOp::*;
    let zero = TrapCode::IntegerDivisionByZero;
    let overflow = TrapCode::IntegerOverflow;
    let (ia, ib, ua, ub) = (i32_of(a), i32_of(b), u32_of(a), u32_of(b));
    let (la, lb) = (i64_of(a), i64_of(b));
    let (fa, fb, da, db) = (f32_of(a), f32_of(b), f64_of(a), f64_of(b));
    let amount = u32_of(b & 63);
    Ok(match op {
        I32Add => u64::from(ua.wrapping_add(ub)),
        I32Sub => u64::from(ua.wrapping_sub(ub)),
        I32Mul => u64::from(ua.wrapping_mul(ub)),
        I32And => u64::from(ua & ub),
        I32Or => u64::from(ua | ub),
        I32Xor => u64::from(ua ^ ub),
        I32Shl => u64::from(ua.wrapping_shl(ub)),
        I32ShrS => of_i32(ia.wrapping_shr(ub)),
        I32ShrU => u64::from(ua.wrapping_shr(ub)),
        I32Rotl => u64::from(ua.rotate_left(ub & 31)),
        I32Rotr => u64::from(ua.rotate_right(ub & 31)),
        I64Add => a.wrapping_add(b),
        I64Sub => a.wrapping_sub(b),
        I64Mul => a.wrapping_mul(b),
        I64MulHighS => wide((i128::from(la) * i128::from(lb)).cast_unsigned() >> 64),
        I64MulHighU => wide((u128::from(a) * u128::from(b)) >> 64),
        I64And => a & b,
        I64Or => a | b,
        I64Xor => a ^ b,
        I64Shl => a << amount,
        I64ShrS => (la >> amount).cast_unsigned(),
        I64ShrU => a >> amount,
        I64Rotl => a.rotate_left(amount),
        I64Rotr => a.rotate_right(amount),
        I32DivS if ib == 0 => return Err(zero),
        I32DivS => of_i32(ia.checked_div(ib).ok_or(overflow)?),
        I32DivU => u64::from(ua.checked_div(ub).ok_or(zero)?),
        I32RemS if ib == 0 => return Err(zero),
        I32RemS => of_i32(ia.wrapping_rem(ib)),
        I32RemU => u64::from(ua.checked_rem(ub).ok_or(zero)?),
        I64DivS if lb == 0 => return Err(zero),
        I64DivS => la.checked_div(lb).ok_or(overflow)?.cast_unsigned(),
        I64DivU => a.checked_div(b).ok_or(zero)?,
        I64RemS if lb == 0 => return Err(zero),
        I64RemS => la.wrapping_rem(lb).cast_unsigned(),
        I64RemU => a.checked_rem(b).ok_or(zero)?,
        I32Eq => u64::from(ua == ub),
        I32Ne => u64::from(ua != ub),
        I32LtS => u64::from(ia < ib),
        I32LtU => u64::from(ua < ub),
        I32GtS => u64::from(ia > ib),
        I32GtU => u64::from(ua > ub),
        I32LeS => u64::from(ia <= ib),
        I32LeU => u64::from(ua <= ub),
        I32GeS => u64::from(ia >= ib),
        I32GeU => u64::from(ua >= ub),
        I64Eq => u64::from(a == b),
        I64Ne => u64::from(a != b),
        I64LtS => u64::from(la < lb),
        I64LtU => u64::from(a < b),
        I64GtS => u64::from(la > lb),
        I64GtU => u64::from(a > b),
        I64LeS => u64::from(la <= lb),
        I64LeU => u64::from(a <= b),
        I64GeS => u64::from(la >= lb),
        I64GeU => u64::from(a >= b),
        F32Add => of_f32(fa + fb),
        F32Sub => of_f32(fa - fb),
        F32Mul => of_f32(fa * fb),
        F32Div => of_f32(fa / fb),
        F32Min => of_f32(min_max_f32(false, fa, fb)),
        F32Max => of_f32(min_max_f32(true, fa, fb)),
        F32Copysign => of_f32(fa.copysign(fb)),
        F64Add => (da + db).to_bits(),
        F64Sub => (da - db).to_bits(),
        F64Mul => (da * db).to_bits(),
        F64Div => (da / db).to_bits(),
        F64Min => min_max_f64(false, da, db).to_bits(),
        F64Max => min_max_f64(true, da, db).to_bits(),
        F64Copysign => da.copysign(db).to_bits(),
        F32Eq => u64::from(fa == fb),
        F32Ne => u64::from(fa != fb),
        F32Lt => u64::from(fa < fb),
        F32Gt => u64::from(fa > fb),
        F32Le => u64::from(fa <= fb),
        F32Ge => u64::from(fa >= fb),
        F64Eq => u64::from(da == db),
        F64Ne => u64::from(da != db),
        F64Lt => u64::from(da < db),
        F64Gt => u64::from(da > db),
        F64Le => u64::from(da <= db),
        F64Ge => u64::from(da >= db),
    })
}

/// Values worth trying.
pub(crate) fn edges(ty: Type) -> Vec<u64> {
    match ty {
        Type::I32 => [
            0_u32,
            1,
            2,
            3,
            5,
            7,
            10,
            31,
            32,
            33,
            63,
            64,
            127,
            128,
            255,
            0x7fff,
            0x8000,
            0xffff,
            1000,
            0x7fff_ffff,
            0x8000_0000,
            0x8000_0001,
            0xffff_fffe,
            0xffff_ffff,
            0x1234_5678,
        ]
        .map(u64::from)
        .to_vec(),
        Type::I64 | Type::FuncRef | Type::ExternRef | Type::Ptr => vec![
            0,
            1,
            2,
            3,
            5,
            7,
            10,
            31,
            32,
            63,
            64,
            65,
            0x80,
            0x8000,
            0x7fff_ffff,
            0x8000_0000,
            0xffff_ffff,
            0x1_0000_0000,
            0x7fff_ffff_ffff_ffff,
            0x8000_0000_0000_0000,
            0x8000_0000_0000_0001,
            0xffff_ffff_8000_0000,
            u64::MAX - 1,
            u64::MAX,
            0x0123_4567_89ab_cdef,
        ],
        Type::F32 => [
            0.0_f32,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            2.5,
            -2.5,
            3.99,
            -0.99,
            1e10,
            -1e10,
            1e30,
            2_147_483_520.0,
            2_147_483_648.0,
            -2_147_483_648.0,
            4_294_967_040.0,
            4_294_967_296.0,
            9_223_372_036_854_775_808.0,
            -9_223_372_036_854_775_808.0,
            18_446_744_073_709_551_616.0,
            8_388_609.0,
            f32::INFINITY,
            f32::NEG_INFINITY,
            f32::NAN,
            f32::MIN_POSITIVE,
            1e-40,
        ]
        .map(of_f32)
        .to_vec(),
        Type::F64 => [
            0.0_f64,
            -0.0,
            1.0,
            -1.0,
            0.5,
            -0.5,
            1.5,
            2.5,
            -2.5,
            3.99,
            -0.99,
            1e10,
            -1e10,
            1e300,
            2_147_483_647.0,
            2_147_483_647.5,
            2_147_483_648.0,
            -2_147_483_648.0,
            -2_147_483_648.9,
            -2_147_483_649.0,
            4_294_967_295.5,
            4_294_967_296.0,
            9_223_372_036_854_774_784.0,
            9_223_372_036_854_775_808.0,
            -9_223_372_036_854_775_808.0,
            18_446_744_073_709_549_568.0,
            18_446_744_073_709_551_616.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            4_503_599_627_370_497.5,
            f64::MIN_POSITIVE,
            5e-324,
        ]
        .map(f64::to_bits)
        .to_vec(),
    }
}

/// Whether two results are the same, any NaN being as good as another.
pub(crate) fn same(ty: Type, a: u64, b: u64) -> bool {
    match ty {
        Type::I32 => a == b,
        Type::I64 | Type::FuncRef | Type::ExternRef | Type::Ptr => a == b,
        Type::F32 => u32_of(a) == u32_of(b) || (f32_of(a).is_nan() && f32_of(b).is_nan()),
        Type::F64 => a == b || (f64_of(a).is_nan() && f64_of(b).is_nan()),
    }
}

/// Whether it is NaN.
pub(crate) fn is_nan(ty: Type, bits: u64) -> bool {
    match ty {
        Type::F32 => f32_of(bits).is_nan(),
        Type::F64 => f64_of(bits).is_nan(),
        _ => false,
    }
}
