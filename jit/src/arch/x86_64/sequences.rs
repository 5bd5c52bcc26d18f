//! Wasm operators that take more than one instruction; shared by all tiers, so that all of them compute the same bits.
//!
//! Each sequence may lose the two scratch registers and the flags, and besides them only what it says. Operands may be
//! the same register unless it says otherwise; none may be a scratch register.

use super::{
    masm::{Alu, Cc, FloatBits, FloatOp, Label, Masm, Mem, Rounding, Shift, Width},
    registers::{CONTEXT, ENVIRONMENT, FLOAT_SCRATCH, Gpr, RAX, RDX, SCRATCH, Xmm},
};
use crate::{
    ir::value::{TrapCode, UnaryOp},
    runtime::context::offsets,
    wasm::types::WasmOffset,
};

/// A float comparison; true means `a op b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the Wasm operator of that name")]
#[rustfmt::skip]
pub enum FloatCc { Eq, Ne, Lt, Gt, Le, Ge }

/// A division or remainder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the Wasm operator of that name")]
#[rustfmt::skip]
pub enum Division { DivS, DivU, RemS, RemU }

impl Division {
    /// Where the result is: `rax` for quotients, `rdx` for remainders.
    pub fn result(self) -> Gpr {
        match self {
            Self::DivS | Self::DivU => RAX,
            Self::RemS | Self::RemU => RDX,
        }
    }
}

/// A float converted to an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Truncation {
    /// Width of the float.
    pub float: Width,
    /// Width of the integer.
    pub int: Width,
    /// Whether the integer is signed.
    pub signed: bool,
    /// Whether it saturates; else it traps.
    pub saturating: bool,
}

impl Truncation {
    /// Of an operator that is one.
    #[rustfmt::skip]
    pub fn of(op: UnaryOp) -> Option<Self> {
        use Width::{W32, W64};
        let (float, int, signed, saturating) = match op {
            UnaryOp::I32TruncF32S => (W32, W32, true, false),
            UnaryOp::I32TruncF32U => (W32, W32, false, false),
            UnaryOp::I32TruncF64S => (W64, W32, true, false),
            UnaryOp::I32TruncF64U => (W64, W32, false, false),
            UnaryOp::I64TruncF32S => (W32, W64, true, false),
            UnaryOp::I64TruncF32U => (W32, W64, false, false),
            UnaryOp::I64TruncF64S => (W64, W64, true, false),
            UnaryOp::I64TruncF64U => (W64, W64, false, false),
            UnaryOp::I32TruncSatF32S => (W32, W32, true, true),
            UnaryOp::I32TruncSatF32U => (W32, W32, false, true),
            UnaryOp::I32TruncSatF64S => (W64, W32, true, true),
            UnaryOp::I32TruncSatF64U => (W64, W32, false, true),
            UnaryOp::I64TruncSatF32S => (W32, W64, true, true),
            UnaryOp::I64TruncSatF32U => (W32, W64, false, true),
            UnaryOp::I64TruncSatF64S => (W64, W64, true, true),
            UnaryOp::I64TruncSatF64U => (W64, W64, false, true),
            _ => return None,
        };
        Some(Self { float, int, signed, saturating })
    }
}

fn bits(width: Width) -> u8 {
    match width {
        Width::W32 => 32,
        Width::W64 => 64,
    }
}

impl Masm {
    // --- Bits -------------------------------------------------------------------------------------------------------

    /// `dst =` leading zeros of `src`.
    pub fn clz(&mut self, width: Width, dst: Gpr, src: Gpr) {
        if self.features.lzcnt {
            self.lzcnt(width, dst, src);
            return;
        }
        // without a set bit: (2 * bits - 1) ^ (bits - 1) = bits
        let last = i32::from(bits(width)) - 1;
        self.bsr(width, SCRATCH, src);
        self.mov_imm(dst, u64::from(2 * bits(width) - 1));
        self.cmov(Cc::NotEqual, width, dst, SCRATCH);
        self.alu_imm(Alu::Xor, width, dst, last);
    }

    /// `dst =` trailing zeros of `src`.
    pub fn ctz(&mut self, width: Width, dst: Gpr, src: Gpr) {
        if self.features.bmi1 {
            self.tzcnt(width, dst, src);
            return;
        }
        self.bsf(width, SCRATCH, src);
        self.mov_imm(dst, u64::from(bits(width)));
        self.cmov(Cc::NotEqual, width, dst, SCRATCH);
    }

    /// `dst =` number of set bits of `src`.
    pub fn popcount(&mut self, width: Width, dst: Gpr, src: Gpr) {
        const W: Width = Width::W64;
        if self.features.popcnt {
            self.popcnt(width, dst, src);
            return;
        }
        // sums of 2, 4, 8 neighbouring bits, then a multiplication that adds all bytes into the highest
        self.mov(width, dst, src);
        self.mov(W, SCRATCH, dst);
        self.shift_imm(Shift::Shr, W, SCRATCH, 1);
        self.and_constant(SCRATCH, 0x5555_5555_5555_5555);
        self.alu(Alu::Sub, W, dst, SCRATCH);
        self.mov(W, SCRATCH, dst);
        self.shift_imm(Shift::Shr, W, SCRATCH, 2);
        self.and_constant(SCRATCH, 0x3333_3333_3333_3333);
        self.and_constant(dst, 0x3333_3333_3333_3333);
        self.alu(Alu::Add, W, dst, SCRATCH);
        self.mov(W, SCRATCH, dst);
        self.shift_imm(Shift::Shr, W, SCRATCH, 4);
        self.alu(Alu::Add, W, dst, SCRATCH);
        self.and_constant(dst, 0x0f0f_0f0f_0f0f_0f0f);
        self.imul_constant(dst, 0x0101_0101_0101_0101);
        self.shift_imm(Shift::Shr, W, dst, 56);
    }

    // --- Division ---------------------------------------------------------------------------------------------------

    /// Divides `rax` by `divisor` (not `rax`, `rdx`); the result is in [`Division::result`], `rax` and `rdx` are lost.
    pub fn divide(&mut self, division: Division, width: Width, divisor: Gpr, at: WasmOffset) {
        debug_assert!(divisor != RAX && divisor != RDX, "the dividend is there");
        let zero = self.trap_site(TrapCode::IntegerDivisionByZero, at);
        self.test(width, divisor, divisor);
        self.jcc(Cc::Equal, zero);
        match division {
            Division::DivU | Division::RemU => {
                self.zero(RDX);
                self.div(width, divisor);
            }
            Division::DivS | Division::RemS => {
                // the machine faults on MIN / -1, where Wasm wants a trap or a remainder of zero
                let minus_one = self.label();
                let done = self.label();
                self.alu_imm(Alu::Cmp, width, divisor, -1);
                self.jcc(Cc::Equal, minus_one);
                self.sign_extend_rax(width);
                self.idiv(width, divisor);
                self.bind(done);
                let overflow = (division == Division::DivS)
                    .then(|| self.trap_site(TrapCode::IntegerOverflow, at));
                self.defer(move |masm| {
                    masm.bind(minus_one);
                    if let Some(overflow) = overflow {
                        masm.neg(width, RAX);
                        masm.jcc(Cc::Overflow, overflow);
                    } else {
                        masm.zero(RDX);
                    }
                    masm.jmp(done);
                });
            }
        }
    }

    // --- Memory -----------------------------------------------------------------------------------------------------

    /// Jumps to `out_of_bounds` unless `index + end <= memory length`; `index` is a zero-extended i32. Leaves
    /// `index + end` in the scratch register, unless `end` is at most one.
    pub fn bounds_check(&mut self, index: Gpr, end: u64, out_of_bounds: Label) {
        if end == 1 {
            let length = Mem::new(CONTEXT, offsets::MEMORY_LEN);
            self.alu(Alu::Cmp, Width::W64, index, length);
            self.jcc(Cc::AboveEqual, out_of_bounds);
            return;
        }
        if let Ok(end) = i32::try_from(end) {
            self.lea(Width::W64, SCRATCH, Mem::new(index, end));
        } else {
            self.mov_imm(SCRATCH, end);
            self.alu(Alu::Add, Width::W64, SCRATCH, index);
        }
        self.alu(
            Alu::Cmp,
            Width::W64,
            SCRATCH,
            Mem::new(CONTEXT, offsets::MEMORY_LEN),
        );
        self.jcc(Cc::Above, out_of_bounds);
    }

    // --- Functions as values ----------------------------------------------------------------------------------------

    /// Traps unless `func` is a function of the type with that id.
    pub fn func_check(&mut self, func: Gpr, type_id: u32, at: WasmOffset) {
        let null = self.trap_site(TrapCode::UninitializedElement, at);
        let mismatch = self.trap_site(TrapCode::IndirectCallTypeMismatch, at);
        self.test(Width::W64, func, func);
        self.jcc(Cc::Equal, null);
        let found = Mem::new(func, offsets::FUNC_TYPE);
        self.alu_imm(Alu::Cmp, Width::W32, found, type_id.cast_signed());
        self.jcc(Cc::NotEqual, mismatch);
    }

    /// Calls the function whose record the environment register points to: through the table of functions if it is this
    /// instance's own.
    pub fn call_reference(&mut self) {
        self.through_reference(|masm| masm.call(SCRATCH));
    }

    /// Jumps there: a tail call, the frame is gone already.
    pub fn jump_to_reference(&mut self) {
        self.through_reference(|masm| masm.jmp_to(SCRATCH));
    }

    /// Goes to the address in the scratch register.
    fn through_reference(&mut self, go: impl FnOnce(&mut Self)) {
        let field = |offset| Mem::new(ENVIRONMENT, offset);
        let foreign = self.label();
        let call = self.label();
        self.alu_to_mem(Alu::Cmp, Width::W64, field(offsets::FUNC_OWNER), CONTEXT);
        self.jcc(Cc::NotEqual, foreign);
        self.mov(Width::W64, SCRATCH, field(offsets::FUNC_LOCAL));
        self.mov(Width::W64, SCRATCH, Mem::new(SCRATCH, offsets::ENTRY_CODE));
        self.bind(call);
        go(self);
        self.defer(move |masm| {
            masm.bind(foreign);
            masm.mov(Width::W64, SCRATCH, field(offsets::FUNC_CODE));
            masm.mov(Width::W64, ENVIRONMENT, field(offsets::FUNC_ENVIRONMENT));
            masm.jmp(call);
        });
    }

    // --- Float signs ------------------------------------------------------------------------------------------------

    /// The float scratch register `=` the sign bit.
    fn sign_mask(&mut self, width: Width) {
        self.fones(FLOAT_SCRATCH);
        self.fshl(width, FLOAT_SCRATCH, bits(width) - 1);
    }

    /// `dst = |dst|`.
    pub fn float_abs(&mut self, width: Width, dst: Xmm) {
        self.fones(FLOAT_SCRATCH);
        self.fshr(width, FLOAT_SCRATCH, 1);
        self.float_bits(FloatBits::And, dst, FLOAT_SCRATCH);
    }

    /// `dst = -dst`.
    pub fn float_neg(&mut self, width: Width, dst: Xmm) {
        self.sign_mask(width);
        self.float_bits(FloatBits::Xor, dst, FLOAT_SCRATCH);
    }

    /// `dst = |dst|` with the sign of `sign`.
    pub fn float_copysign(&mut self, width: Width, dst: Xmm, sign: Xmm) {
        if dst != sign {
            self.float_abs(width, dst);
            self.sign_mask(width);
            self.float_bits(FloatBits::And, FLOAT_SCRATCH, sign);
            self.float_bits(FloatBits::Or, dst, FLOAT_SCRATCH);
        }
    }

    // --- Float comparisons ------------------------------------------------------------------------------------------

    /// `dst = a cc b`; NaN is unequal to everything and in no order.
    pub fn float_compare(&mut self, cc: FloatCc, width: Width, dst: Gpr, a: Xmm, b: Xmm) {
        match cc {
            FloatCc::Eq => {
                self.ucomis(width, a, b);
                self.set_bool(Cc::NoParity, SCRATCH);
                self.set_bool(Cc::Equal, dst);
                self.alu(Alu::And, Width::W32, dst, SCRATCH);
            }
            FloatCc::Ne => {
                self.ucomis(width, a, b);
                self.set_bool(Cc::Parity, SCRATCH);
                self.set_bool(Cc::NotEqual, dst);
                self.alu(Alu::Or, Width::W32, dst, SCRATCH);
            }
            order => {
                let cc = self.compare_order(order, width, a, b);
                self.set_bool(cc, dst);
            }
        }
    }

    /// Jumps to `target` if `(a cc b) == wanted`.
    pub fn float_branch(
        &mut self,
        cc: FloatCc,
        wanted: bool,
        width: Width,
        a: Xmm,
        b: Xmm,
        target: Label,
    ) {
        match (cc, wanted) {
            (FloatCc::Eq, true) | (FloatCc::Ne, false) => {
                let unordered = self.label();
                self.ucomis(width, a, b);
                self.jcc(Cc::Parity, unordered);
                self.jcc(Cc::Equal, target);
                self.bind(unordered);
            }
            (FloatCc::Eq, false) | (FloatCc::Ne, true) => {
                self.ucomis(width, a, b);
                self.jcc(Cc::Parity, target);
                self.jcc(Cc::NotEqual, target);
            }
            (order, wanted) => {
                // "not above" and "not above or equal" hold for NaN
                let cc = self.compare_order(order, width, a, b);
                self.jcc(if wanted { cc } else { cc.negate() }, target);
            }
        }
    }

    /// Compares such that the answer is a condition which is false for NaN.
    fn compare_order(&mut self, cc: FloatCc, width: Width, a: Xmm, b: Xmm) -> Cc {
        match cc {
            FloatCc::Lt | FloatCc::Le => self.ucomis(width, b, a),
            _ => self.ucomis(width, a, b),
        }
        match cc {
            FloatCc::Lt | FloatCc::Gt => Cc::Above,
            _ => Cc::AboveEqual,
        }
    }

    // --- Float arithmetic -------------------------------------------------------------------------------------------

    /// `dst = min(dst, src)`, or the maximum: NaN wins, and `-0 < +0`.
    pub fn float_min_max(&mut self, max: bool, width: Width, dst: Xmm, src: Xmm) {
        let (hardware, zeros) = if max {
            (FloatOp::Max, FloatBits::And)
        } else {
            (FloatOp::Min, FloatBits::Or)
        };
        let special = self.label();
        let done = self.label();
        self.ucomis(width, dst, src);
        self.jcc(Cc::Equal, special);
        self.float(hardware, width, dst, src);
        self.bind(done);
        self.defer(move |masm| {
            let unordered = masm.label();
            masm.bind(special);
            masm.jcc(Cc::Parity, unordered);
            masm.float_bits(zeros, dst, src);
            masm.jmp(done);
            masm.bind(unordered);
            masm.float(FloatOp::Add, width, dst, src);
            masm.jmp(done);
        });
    }

    /// `dst =` `src` rounded to an integer.
    pub fn float_round(&mut self, rounding: Rounding, width: Width, dst: Xmm, src: Xmm) {
        if self.features.sse41 {
            self.rounds(rounding, width, dst, src);
            return;
        }
        // Numbers of at least 2^52 (2^23) are integers, infinite or NaN. Below, adding and subtracting that number
        // rounds the magnitude to nearest; the other modes then step back by one. The sign comes back last: of zero too.
        let (integers, one) = match width {
            Width::W32 => (0x4b00_0000, 0x3f80_0000),
            Width::W64 => (0x4330_0000_0000_0000, 0x3ff0_0000_0000_0000),
        };
        let large = self.label();
        let done = self.label();
        self.fmov(dst, src);
        self.xmm_to_gpr(width, SCRATCH, src);
        self.float_abs(width, dst);
        self.fmov_imm(width, FLOAT_SCRATCH, integers);
        self.ucomis(width, FLOAT_SCRATCH, dst);
        self.jcc(Cc::BelowEqual, large);
        self.float(FloatOp::Add, width, dst, FLOAT_SCRATCH);
        self.float(FloatOp::Sub, width, dst, FLOAT_SCRATCH);
        if rounding != Rounding::Nearest {
            // dst is the rounded magnitude; give it the sign, compare with the source, step
            let exact = self.label();
            self.with_sign_of_scratch(width, dst);
            self.gpr_to_xmm(width, FLOAT_SCRATCH, SCRATCH);
            match rounding {
                Rounding::Floor => {
                    self.ucomis(width, dst, FLOAT_SCRATCH);
                    self.jcc(Cc::BelowEqual, exact);
                    self.fmov_imm(width, FLOAT_SCRATCH, one);
                    self.float(FloatOp::Sub, width, dst, FLOAT_SCRATCH);
                }
                Rounding::Ceil => {
                    self.ucomis(width, FLOAT_SCRATCH, dst);
                    self.jcc(Cc::BelowEqual, exact);
                    self.fmov_imm(width, FLOAT_SCRATCH, one);
                    self.float(FloatOp::Add, width, dst, FLOAT_SCRATCH);
                }
                Rounding::Trunc | Rounding::Nearest => {
                    let negative = self.label();
                    self.test(width, SCRATCH, SCRATCH);
                    self.jcc(Cc::Sign, negative);
                    self.ucomis(width, dst, FLOAT_SCRATCH);
                    self.jcc(Cc::BelowEqual, exact);
                    self.fmov_imm(width, FLOAT_SCRATCH, one);
                    self.float(FloatOp::Sub, width, dst, FLOAT_SCRATCH);
                    self.jmp(exact);
                    self.bind(negative);
                    self.ucomis(width, FLOAT_SCRATCH, dst);
                    self.jcc(Cc::BelowEqual, exact);
                    self.fmov_imm(width, FLOAT_SCRATCH, one);
                    self.float(FloatOp::Add, width, dst, FLOAT_SCRATCH);
                }
            }
            self.bind(exact);
            self.float_abs(width, dst);
        }
        self.with_sign_of_scratch(width, dst);
        self.bind(done);
        self.defer(move |masm| {
            masm.bind(large);
            masm.gpr_to_xmm(width, dst, SCRATCH);
            // a signalling NaN becomes quiet, nothing else changes
            masm.fzero(FLOAT_SCRATCH);
            masm.float(FloatOp::Add, width, dst, FLOAT_SCRATCH);
            masm.jmp(done);
        });
    }

    /// Adds the sign bit of the bits in the scratch register to a `dst` without one.
    fn with_sign_of_scratch(&mut self, width: Width, dst: Xmm) {
        self.float_abs(width, dst);
        self.gpr_to_xmm(width, FLOAT_SCRATCH, SCRATCH);
        self.fshr(width, FLOAT_SCRATCH, bits(width) - 1);
        self.fshl(width, FLOAT_SCRATCH, bits(width) - 1);
        self.float_bits(FloatBits::Or, dst, FLOAT_SCRATCH);
    }

    // --- Conversions ------------------------------------------------------------------------------------------------

    /// `dst = src`, an unsigned integer, as a float. A 32-bit `src` is zero-extended.
    pub fn unsigned_to_float(&mut self, float: Width, int: Width, dst: Xmm, src: Gpr) {
        if int == Width::W32 {
            self.int_to_float(float, Width::W64, dst, src);
            return;
        }
        let large = self.label();
        let done = self.label();
        self.test(Width::W64, src, src);
        self.jcc(Cc::Sign, large);
        self.int_to_float(float, Width::W64, dst, src);
        self.bind(done);
        self.defer(move |masm| {
            // halve, keeping the lost bit in the lowest one so that rounding sees it; convert; double
            let even = masm.label();
            masm.bind(large);
            masm.mov(Width::W64, SCRATCH, src);
            masm.shift_imm(Shift::Shr, Width::W64, SCRATCH, 1);
            masm.jcc(Cc::AboveEqual, even);
            masm.alu_imm(Alu::Or, Width::W64, SCRATCH, 1);
            masm.bind(even);
            masm.int_to_float(float, Width::W64, dst, SCRATCH);
            masm.float(FloatOp::Add, float, dst, dst);
            masm.jmp(done);
        });
    }

    /// `dst = src` as an integer, rounded towards zero; traps or saturates. `src` stays.
    pub fn truncate(&mut self, truncation: Truncation, dst: Gpr, src: Xmm, at: WasmOffset) {
        let Truncation {
            float, int, signed, ..
        } = truncation;
        let slow = self.label();
        let done = self.label();
        match (int, signed) {
            (Width::W32, true) => {
                self.float_to_int(float, Width::W64, dst, src);
                self.movsx32(SCRATCH, dst);
                self.alu(Alu::Cmp, Width::W64, SCRATCH, dst);
                self.jcc(Cc::NotEqual, slow);
                self.mov(Width::W32, dst, dst);
            }
            (Width::W32, false) => {
                self.float_to_int(float, Width::W64, dst, src);
                self.mov(Width::W32, SCRATCH, dst);
                self.alu(Alu::Cmp, Width::W64, SCRATCH, dst);
                self.jcc(Cc::NotEqual, slow);
            }
            (Width::W64, true) => {
                // only the smallest integer overflows when one is subtracted
                self.float_to_int(float, Width::W64, dst, src);
                self.alu_imm(Alu::Cmp, Width::W64, dst, 1);
                self.jcc(Cc::Overflow, slow);
            }
            (Width::W64, false) => {
                // the upper half of the range is converted 2^63 lower
                let upper = self.label();
                self.fmov_imm(float, FLOAT_SCRATCH, power_of_two_63(float));
                self.ucomis(float, src, FLOAT_SCRATCH);
                self.jcc(Cc::AboveEqual, upper);
                self.float_to_int(float, Width::W64, dst, src);
                self.test(Width::W64, dst, dst);
                self.jcc(Cc::Sign, slow);
                self.defer(move |masm| {
                    masm.bind(upper);
                    masm.fmov(FLOAT_SCRATCH, src);
                    masm.float_constant(FloatOp::Sub, float, FLOAT_SCRATCH, power_of_two_63(float));
                    masm.float_to_int(float, Width::W64, dst, FLOAT_SCRATCH);
                    masm.test(Width::W64, dst, dst);
                    masm.jcc(Cc::Sign, slow);
                    masm.mov_imm(SCRATCH, 1 << 63);
                    masm.alu(Alu::Xor, Width::W64, dst, SCRATCH);
                    masm.jmp(done);
                });
            }
        }
        self.bind(done);
        if truncation.saturating {
            self.defer(move |masm| masm.saturate(truncation, dst, src, slow, done));
        } else {
            let nan = self.trap_site(TrapCode::BadConversionToInteger, at);
            let overflow = self.trap_site(TrapCode::IntegerOverflow, at);
            self.defer(move |masm| {
                masm.bind(slow);
                masm.ucomis(float, src, src);
                masm.jcc(Cc::Parity, nan);
                if (int, signed) == (Width::W64, true) {
                    // -2^63 itself is in range; no float lies between it and the next lower integer
                    masm.fmov_imm(float, FLOAT_SCRATCH, minus_power_of_two_63(float));
                    masm.ucomis(float, src, FLOAT_SCRATCH);
                    masm.jcc(Cc::Equal, done);
                }
                masm.jmp(overflow);
            });
        }
    }

    /// Out-of-range conversions: NaN is 0, what is too small the smallest integer, what is too large the largest.
    fn saturate(&mut self, truncation: Truncation, dst: Gpr, src: Xmm, slow: Label, done: Label) {
        let (smallest, largest) = match (truncation.int, truncation.signed) {
            (Width::W32, true) => (1 << 31, (1 << 31) - 1),
            (Width::W32, false) => (0, u64::from(u32::MAX)),
            (Width::W64, true) => (1 << 63, (1 << 63) - 1),
            (Width::W64, false) => (0, u64::MAX),
        };
        self.bind(slow);
        self.fzero(FLOAT_SCRATCH);
        self.ucomis(truncation.float, src, FLOAT_SCRATCH);
        self.mov_imm(dst, 0);
        self.jcc(Cc::Parity, done);
        self.mov_imm(dst, largest);
        self.jcc(Cc::Above, done);
        self.mov_imm(dst, smallest);
        self.jmp(done);
    }
}

/// Bits of the float 2^63.
fn power_of_two_63(float: Width) -> u64 {
    match float {
        Width::W32 => 0x5f00_0000,
        Width::W64 => 0x43e0_0000_0000_0000,
    }
}

/// Bits of the float -2^63.
fn minus_power_of_two_63(float: Width) -> u64 {
    match float {
        Width::W32 => 0xdf00_0000,
        Width::W64 => 0xc3e0_0000_0000_0000,
    }
}
