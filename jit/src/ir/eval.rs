//! Operators on raw bits: what constant folding computes and what recipes compute when a site is entered.
//!
//! 32-bit values lie in the low half of a word, and results have a zero upper half. Results are those of Wasm; where
//! Wasm leaves a NaN open it is the one x86-64 gives: the first NaN operand made quiet, or the default NaN.

#![forbid(unsafe_code)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "Wasm operators are casts between raw bits"
)]

use super::value::{BinaryOp, UnaryOp};

/// The NaN that an invalid operation gives.
const DEFAULT_NAN32: u32 = 0xffc0_0000;
const DEFAULT_NAN64: u64 = 0xfff8_0000_0000_0000;

fn f32_of(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

fn f64_of(bits: u64) -> f64 {
    f64::from_bits(bits)
}

fn of_i32(value: i32) -> u64 {
    u64::from(value as u32)
}

/// Bits of a float, the first NaN among the operands made quiet, or the default NaN if none was.
fn of_f32(value: f32, operands: &[f32]) -> u64 {
    if !value.is_nan() {
        return value.to_bits().into();
    }
    operands
        .iter()
        .find(|operand| operand.is_nan())
        .map_or(DEFAULT_NAN32, |nan| nan.to_bits() | 0x0040_0000)
        .into()
}

fn of_f64(value: f64, operands: &[f64]) -> u64 {
    if !value.is_nan() {
        return value.to_bits();
    }
    operands
        .iter()
        .find(|operand| operand.is_nan())
        .map_or(DEFAULT_NAN64, |nan| nan.to_bits() | 0x0008_0000_0000_0000)
}

/// A float converted to an integer, if it fits: `low` and `high` are the bounds, both exclusive and exact.
fn truncate(value: f64, low: f64, high: f64) -> Option<f64> {
    (value > low && value < high).then(|| value.trunc())
}

const TWO31: f64 = 2_147_483_648.0;
const TWO32: f64 = 4_294_967_296.0;
const TWO63: f64 = 9_223_372_036_854_775_808.0;
const TWO64: f64 = 18_446_744_073_709_551_616.0;

/// The result of a unary operator; `None` if it traps.
pub fn eval_unary(op: UnaryOp, bits: u64) -> Option<u64> {
    use UnaryOp as U;
    let i32 = bits as u32;
    let single = f32_of(bits);
    let double = f64_of(bits);
    // Bounds below the smallest integer: the largest double that does not fit.
    let below_min64 = (-TWO63).next_down();
    Some(match op {
        U::I32Clz => i32.leading_zeros().into(),
        U::I32Ctz => i32.trailing_zeros().into(),
        U::I32Popcnt => i32.count_ones().into(),
        U::I32Eqz => (i32 == 0).into(),
        U::I64Clz => bits.leading_zeros().into(),
        U::I64Ctz => bits.trailing_zeros().into(),
        U::I64Popcnt => bits.count_ones().into(),
        U::I64Eqz => (bits == 0).into(),
        U::I32WrapI64 | U::I64ExtendI32U => i32.into(),
        U::I64ExtendI32S | U::I64Extend32S => i64::from(i32 as i32) as u64,
        U::I32Extend8S => of_i32((bits as i8).into()),
        U::I32Extend16S => of_i32((bits as i16).into()),
        U::I64Extend8S => i64::from(bits as i8) as u64,
        U::I64Extend16S => i64::from(bits as i16) as u64,
        U::F32Abs => (i32 & 0x7fff_ffff).into(),
        U::F32Neg => (i32 ^ 0x8000_0000).into(),
        U::F32Ceil => of_f32(single.ceil(), &[single]),
        U::F32Floor => of_f32(single.floor(), &[single]),
        U::F32Trunc => of_f32(single.trunc(), &[single]),
        U::F32Nearest => of_f32(single.round_ties_even(), &[single]),
        U::F32Sqrt => of_f32(single.sqrt(), &[single]),
        U::F64Abs => bits & !(1 << 63),
        U::F64Neg => bits ^ (1 << 63),
        U::F64Ceil => of_f64(double.ceil(), &[double]),
        U::F64Floor => of_f64(double.floor(), &[double]),
        U::F64Trunc => of_f64(double.trunc(), &[double]),
        U::F64Nearest => of_f64(double.round_ties_even(), &[double]),
        U::F64Sqrt => of_f64(double.sqrt(), &[double]),
        U::F32ConvertI32S => of_f32(i32 as i32 as f32, &[]),
        U::F32ConvertI32U => of_f32(i32 as f32, &[]),
        U::F32ConvertI64S => of_f32(bits as i64 as f32, &[]),
        U::F32ConvertI64U => of_f32(bits as f32, &[]),
        U::F32DemoteF64 => {
            if double.is_nan() {
                let sign = (bits >> 63) << 31;
                let payload = (bits >> 29) & 0x003f_ffff;
                sign | 0x7fc0_0000 | payload
            } else {
                of_f32(double as f32, &[])
            }
        }
        U::F64ConvertI32S => of_f64((i32 as i32).into(), &[]),
        U::F64ConvertI32U => of_f64(i32.into(), &[]),
        U::F64ConvertI64S => of_f64(bits as i64 as f64, &[]),
        U::F64ConvertI64U => of_f64(bits as f64, &[]),
        U::F64PromoteF32 => {
            if single.is_nan() {
                let sign = u64::from(i32 >> 31) << 63;
                let payload = u64::from(i32 & 0x003f_ffff) << 29;
                sign | 0x7ff8_0000_0000_0000 | payload
            } else {
                of_f64(single.into(), &[])
            }
        }
        U::I32ReinterpretF32 | U::F32ReinterpretI32 => i32.into(),
        U::I64ReinterpretF64 | U::F64ReinterpretI64 => bits,
        U::I32TruncF32S => of_i32(truncate(single.into(), -TWO31 - 1.0, TWO31)? as i32),
        U::I32TruncF32U => u64::from(truncate(single.into(), -1.0, TWO32)? as u32),
        U::I32TruncF64S => of_i32(truncate(double, -TWO31 - 1.0, TWO31)? as i32),
        U::I32TruncF64U => u64::from(truncate(double, -1.0, TWO32)? as u32),
        U::I64TruncF32S => truncate(single.into(), below_min64, TWO63)? as i64 as u64,
        U::I64TruncF32U => truncate(single.into(), -1.0, TWO64)? as u64,
        U::I64TruncF64S => truncate(double, below_min64, TWO63)? as i64 as u64,
        U::I64TruncF64U => truncate(double, -1.0, TWO64)? as u64,
        U::I32TruncSatF32S => of_i32(single as i32),
        U::I32TruncSatF32U => u64::from(single as u32),
        U::I32TruncSatF64S => of_i32(double as i32),
        U::I32TruncSatF64U => u64::from(double as u32),
        U::I64TruncSatF32S => single as i64 as u64,
        U::I64TruncSatF32U => single as u64,
        U::I64TruncSatF64S => double as i64 as u64,
        U::I64TruncSatF64U => double as u64,
    })
}

/// The result of a binary operator; `None` if it traps.
pub fn eval_binary(op: BinaryOp, args: [u64; 2]) -> Option<u64> {
    use BinaryOp as B;
    let [a, b] = args;
    let (a32, b32) = (a as u32, b as u32);
    let (s32, t32) = (a32 as i32, b32 as i32);
    let (s64, t64) = (a as i64, b as i64);
    let (f, g) = (f32_of(a), f32_of(b));
    let (d, e) = (f64_of(a), f64_of(b));
    Some(match op {
        B::I32Add => a32.wrapping_add(b32).into(),
        B::I32Sub => a32.wrapping_sub(b32).into(),
        B::I32Mul => a32.wrapping_mul(b32).into(),
        B::I32And => (a32 & b32).into(),
        B::I32Or => (a32 | b32).into(),
        B::I32Xor => (a32 ^ b32).into(),
        B::I32Shl => a32.wrapping_shl(b32).into(),
        B::I32ShrS => of_i32(s32.wrapping_shr(b32)),
        B::I32ShrU => a32.wrapping_shr(b32).into(),
        B::I32Rotl => a32.rotate_left(b32 & 31).into(),
        B::I32Rotr => a32.rotate_right(b32 & 31).into(),
        B::I64Add => a.wrapping_add(b),
        B::I64Sub => a.wrapping_sub(b),
        B::I64Mul => a.wrapping_mul(b),
        B::I64MulHighS => ((i128::from(s64) * i128::from(t64)) >> 64) as u64,
        B::I64MulHighU => ((u128::from(a) * u128::from(b)) >> 64) as u64,
        B::I64And => a & b,
        B::I64Or => a | b,
        B::I64Xor => a ^ b,
        B::I64Shl => a.wrapping_shl(b32),
        B::I64ShrS => s64.wrapping_shr(b32) as u64,
        B::I64ShrU => a.wrapping_shr(b32),
        B::I64Rotl => a.rotate_left(b32 & 63),
        B::I64Rotr => a.rotate_right(b32 & 63),
        B::I32DivS => of_i32(s32.checked_div(t32)?),
        B::I32DivU => a32.checked_div(b32)?.into(),
        B::I32RemS => {
            if t32 == 0 {
                return None;
            }
            of_i32(s32.wrapping_rem(t32))
        }
        B::I32RemU => a32.checked_rem(b32)?.into(),
        B::I64DivS => s64.checked_div(t64)? as u64,
        B::I64DivU => a.checked_div(b)?,
        B::I64RemS => {
            if t64 == 0 {
                return None;
            }
            s64.wrapping_rem(t64) as u64
        }
        B::I64RemU => a.checked_rem(b)?,
        B::I32Eq => (a32 == b32).into(),
        B::I32Ne => (a32 != b32).into(),
        B::I32LtS => (s32 < t32).into(),
        B::I32LtU => (a32 < b32).into(),
        B::I32GtS => (s32 > t32).into(),
        B::I32GtU => (a32 > b32).into(),
        B::I32LeS => (s32 <= t32).into(),
        B::I32LeU => (a32 <= b32).into(),
        B::I32GeS => (s32 >= t32).into(),
        B::I32GeU => (a32 >= b32).into(),
        B::I64Eq => (a == b).into(),
        B::I64Ne => (a != b).into(),
        B::I64LtS => (s64 < t64).into(),
        B::I64LtU => (a < b).into(),
        B::I64GtS => (s64 > t64).into(),
        B::I64GtU => (a > b).into(),
        B::I64LeS => (s64 <= t64).into(),
        B::I64LeU => (a <= b).into(),
        B::I64GeS => (s64 >= t64).into(),
        B::I64GeU => (a >= b).into(),
        B::F32Add => of_f32(f + g, &[f, g]),
        B::F32Sub => of_f32(f - g, &[f, g]),
        B::F32Mul => of_f32(f * g, &[f, g]),
        B::F32Div => of_f32(f / g, &[f, g]),
        B::F32Min => of_f32(min(f.into(), g.into()) as f32, &[f, g]),
        B::F32Max => of_f32(max(f.into(), g.into()) as f32, &[f, g]),
        B::F32Copysign => ((a32 & 0x7fff_ffff) | (b32 & 0x8000_0000)).into(),
        B::F64Add => of_f64(d + e, &[d, e]),
        B::F64Sub => of_f64(d - e, &[d, e]),
        B::F64Mul => of_f64(d * e, &[d, e]),
        B::F64Div => of_f64(d / e, &[d, e]),
        B::F64Min => of_f64(min(d, e), &[d, e]),
        B::F64Max => of_f64(max(d, e), &[d, e]),
        B::F64Copysign => (a & !(1 << 63)) | (b & (1 << 63)),
        B::F32Eq => (f == g).into(),
        B::F32Ne => (f != g).into(),
        B::F32Lt => (f < g).into(),
        B::F32Gt => (f > g).into(),
        B::F32Le => (f <= g).into(),
        B::F32Ge => (f >= g).into(),
        B::F64Eq => (d == e).into(),
        B::F64Ne => (d != e).into(),
        B::F64Lt => (d < e).into(),
        B::F64Gt => (d > e).into(),
        B::F64Le => (d <= e).into(),
        B::F64Ge => (d >= e).into(),
    })
}

/// Wasm's minimum: NaN if either is, and -0 below +0.
fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == b {
        if a.is_sign_negative() { a } else { b }
    } else if a < b {
        a
    } else {
        b
    }
}

fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if a == b {
        if a.is_sign_negative() { b } else { a }
    } else if a > b {
        a
    } else {
        b
    }
}
