//! Numbers and memory: constants, comparisons, arithmetic, conversions, loads and stores.

use super::{
    compile::{Compiler, Condition, immediate, width},
    value_stack::Loc,
};
use crate::{
    arch::{
        masm::{Alu, Cc, FloatOp, Label, Masm, Mem, RegMem, Rounding, Shift, Width, XmmMem},
        regs::{Gpr, RAX, RCX, RDX, SCRATCH, Xmm},
        x86_64::sequences::{Division, FloatCc, Truncation},
    },
    ir::value::{LoadOp, StoreOp, TrapCode, UnaryOp},
    runtime::context::offsets,
    wasm::types::ValType,
};
use ValType::{F32, F64, I32, I64};
use Width::{W32, W64};
use wasmparser::{MemArg, Operator, OperatorsReader};

impl Compiler<'_> {
    /// Compiles an operator on numbers or memory; `false` if it is none.
    #[rustfmt::skip]
    pub(super) fn numeric(&mut self, operator: &Operator<'_>, reader: &OperatorsReader<'_>) -> bool {
        match *operator {
            Operator::I32Const { value } => self.push(I32, Loc::Const(u64::from(value.cast_unsigned()))),
            Operator::I64Const { value } => self.push(I64, Loc::Const(value.cast_unsigned())),
            Operator::F32Const { value } => self.push(F32, Loc::Const(u64::from(value.bits()))),
            Operator::F64Const { value } => self.push(F64, Loc::Const(value.bits())),

            Operator::I32Eqz => self.eqz(I32, reader),
            Operator::I64Eqz => self.eqz(I64, reader),
            Operator::I32Eq => self.compare(W32, Cc::Equal, reader),
            Operator::I32Ne => self.compare(W32, Cc::NotEqual, reader),
            Operator::I32LtS => self.compare(W32, Cc::Less, reader),
            Operator::I32LtU => self.compare(W32, Cc::Below, reader),
            Operator::I32GtS => self.compare(W32, Cc::Greater, reader),
            Operator::I32GtU => self.compare(W32, Cc::Above, reader),
            Operator::I32LeS => self.compare(W32, Cc::LessEqual, reader),
            Operator::I32LeU => self.compare(W32, Cc::BelowEqual, reader),
            Operator::I32GeS => self.compare(W32, Cc::GreaterEqual, reader),
            Operator::I32GeU => self.compare(W32, Cc::AboveEqual, reader),
            Operator::I64Eq => self.compare(W64, Cc::Equal, reader),
            Operator::I64Ne => self.compare(W64, Cc::NotEqual, reader),
            Operator::I64LtS => self.compare(W64, Cc::Less, reader),
            Operator::I64LtU => self.compare(W64, Cc::Below, reader),
            Operator::I64GtS => self.compare(W64, Cc::Greater, reader),
            Operator::I64GtU => self.compare(W64, Cc::Above, reader),
            Operator::I64LeS => self.compare(W64, Cc::LessEqual, reader),
            Operator::I64LeU => self.compare(W64, Cc::BelowEqual, reader),
            Operator::I64GeS => self.compare(W64, Cc::GreaterEqual, reader),
            Operator::I64GeU => self.compare(W64, Cc::AboveEqual, reader),
            Operator::F32Eq => self.float_compare(W32, FloatCc::Eq, reader),
            Operator::F32Ne => self.float_compare(W32, FloatCc::Ne, reader),
            Operator::F32Lt => self.float_compare(W32, FloatCc::Lt, reader),
            Operator::F32Gt => self.float_compare(W32, FloatCc::Gt, reader),
            Operator::F32Le => self.float_compare(W32, FloatCc::Le, reader),
            Operator::F32Ge => self.float_compare(W32, FloatCc::Ge, reader),
            Operator::F64Eq => self.float_compare(W64, FloatCc::Eq, reader),
            Operator::F64Ne => self.float_compare(W64, FloatCc::Ne, reader),
            Operator::F64Lt => self.float_compare(W64, FloatCc::Lt, reader),
            Operator::F64Gt => self.float_compare(W64, FloatCc::Gt, reader),
            Operator::F64Le => self.float_compare(W64, FloatCc::Le, reader),
            Operator::F64Ge => self.float_compare(W64, FloatCc::Ge, reader),

            Operator::I32Clz => self.int_unary(I32, I32, |masm, reg| masm.clz(W32, reg, reg)),
            Operator::I32Ctz => self.int_unary(I32, I32, |masm, reg| masm.ctz(W32, reg, reg)),
            Operator::I32Popcnt => self.int_unary(I32, I32, |masm, reg| masm.popcount(W32, reg, reg)),
            Operator::I64Clz => self.int_unary(I64, I64, |masm, reg| masm.clz(W64, reg, reg)),
            Operator::I64Ctz => self.int_unary(I64, I64, |masm, reg| masm.ctz(W64, reg, reg)),
            Operator::I64Popcnt => self.int_unary(I64, I64, |masm, reg| masm.popcount(W64, reg, reg)),
            Operator::I32WrapI64 => self.int_unary(I64, I32, |masm, reg| masm.mov(W32, reg, reg)),
            Operator::I64ExtendI32S => self.int_unary(I32, I64, |masm, reg| masm.movsx32(reg, reg)),
            // an i32's register is zero-extended
            Operator::I64ExtendI32U => self.int_unary(I32, I64, |_, _| {}),
            Operator::I32Extend8S => self.int_unary(I32, I32, |masm, reg| masm.movsx8(W32, reg, reg)),
            Operator::I32Extend16S => self.int_unary(I32, I32, |masm, reg| masm.movsx16(W32, reg, reg)),
            Operator::I64Extend8S => self.int_unary(I64, I64, |masm, reg| masm.movsx8(W64, reg, reg)),
            Operator::I64Extend16S => self.int_unary(I64, I64, |masm, reg| masm.movsx16(W64, reg, reg)),
            Operator::I64Extend32S => self.int_unary(I64, I64, |masm, reg| masm.movsx32(reg, reg)),

            Operator::I32Add => self.alu(I32, Alu::Add),
            Operator::I32Sub => self.alu(I32, Alu::Sub),
            Operator::I32And => self.alu(I32, Alu::And),
            Operator::I32Or => self.alu(I32, Alu::Or),
            Operator::I32Xor => self.alu(I32, Alu::Xor),
            Operator::I64Add => self.alu(I64, Alu::Add),
            Operator::I64Sub => self.alu(I64, Alu::Sub),
            Operator::I64And => self.alu(I64, Alu::And),
            Operator::I64Or => self.alu(I64, Alu::Or),
            Operator::I64Xor => self.alu(I64, Alu::Xor),
            Operator::I32Mul => self.multiply(I32),
            Operator::I64Mul => self.multiply(I64),
            Operator::I32DivS => self.divide(I32, Division::DivS),
            Operator::I32DivU => self.divide(I32, Division::DivU),
            Operator::I32RemS => self.divide(I32, Division::RemS),
            Operator::I32RemU => self.divide(I32, Division::RemU),
            Operator::I64DivS => self.divide(I64, Division::DivS),
            Operator::I64DivU => self.divide(I64, Division::DivU),
            Operator::I64RemS => self.divide(I64, Division::RemS),
            Operator::I64RemU => self.divide(I64, Division::RemU),
            Operator::I32Shl => self.shift(I32, Shift::Shl),
            Operator::I32ShrS => self.shift(I32, Shift::Sar),
            Operator::I32ShrU => self.shift(I32, Shift::Shr),
            Operator::I32Rotl => self.shift(I32, Shift::Rol),
            Operator::I32Rotr => self.shift(I32, Shift::Ror),
            Operator::I64Shl => self.shift(I64, Shift::Shl),
            Operator::I64ShrS => self.shift(I64, Shift::Sar),
            Operator::I64ShrU => self.shift(I64, Shift::Shr),
            Operator::I64Rotl => self.shift(I64, Shift::Rol),
            Operator::I64Rotr => self.shift(I64, Shift::Ror),

            Operator::F32Abs => self.float_unary(F32, |masm, reg| masm.float_abs(W32, reg)),
            Operator::F32Neg => self.float_unary(F32, |masm, reg| masm.float_neg(W32, reg)),
            Operator::F32Ceil => self.float_unary(F32, |masm, reg| masm.float_round(Rounding::Ceil, W32, reg, reg)),
            Operator::F32Floor => self.float_unary(F32, |masm, reg| masm.float_round(Rounding::Floor, W32, reg, reg)),
            Operator::F32Trunc => self.float_unary(F32, |masm, reg| masm.float_round(Rounding::Trunc, W32, reg, reg)),
            Operator::F32Nearest => self.float_unary(F32, |masm, reg| masm.float_round(Rounding::Nearest, W32, reg, reg)),
            Operator::F32Sqrt => self.float_unary(F32, |masm, reg| masm.float(FloatOp::Sqrt, W32, reg, reg)),
            Operator::F64Abs => self.float_unary(F64, |masm, reg| masm.float_abs(W64, reg)),
            Operator::F64Neg => self.float_unary(F64, |masm, reg| masm.float_neg(W64, reg)),
            Operator::F64Ceil => self.float_unary(F64, |masm, reg| masm.float_round(Rounding::Ceil, W64, reg, reg)),
            Operator::F64Floor => self.float_unary(F64, |masm, reg| masm.float_round(Rounding::Floor, W64, reg, reg)),
            Operator::F64Trunc => self.float_unary(F64, |masm, reg| masm.float_round(Rounding::Trunc, W64, reg, reg)),
            Operator::F64Nearest => self.float_unary(F64, |masm, reg| masm.float_round(Rounding::Nearest, W64, reg, reg)),
            Operator::F64Sqrt => self.float_unary(F64, |masm, reg| masm.float(FloatOp::Sqrt, W64, reg, reg)),

            Operator::F32Add => self.float_binary(F32, FloatOp::Add),
            Operator::F32Sub => self.float_binary(F32, FloatOp::Sub),
            Operator::F32Mul => self.float_binary(F32, FloatOp::Mul),
            Operator::F32Div => self.float_binary(F32, FloatOp::Div),
            Operator::F64Add => self.float_binary(F64, FloatOp::Add),
            Operator::F64Sub => self.float_binary(F64, FloatOp::Sub),
            Operator::F64Mul => self.float_binary(F64, FloatOp::Mul),
            Operator::F64Div => self.float_binary(F64, FloatOp::Div),
            Operator::F32Min => self.float_sequence(F32, |masm, dst, src| masm.float_min_max(false, W32, dst, src)),
            Operator::F32Max => self.float_sequence(F32, |masm, dst, src| masm.float_min_max(true, W32, dst, src)),
            Operator::F32Copysign => self.float_sequence(F32, |masm, dst, src| masm.float_copysign(W32, dst, src)),
            Operator::F64Min => self.float_sequence(F64, |masm, dst, src| masm.float_min_max(false, W64, dst, src)),
            Operator::F64Max => self.float_sequence(F64, |masm, dst, src| masm.float_min_max(true, W64, dst, src)),
            Operator::F64Copysign => self.float_sequence(F64, |masm, dst, src| masm.float_copysign(W64, dst, src)),

            Operator::F32ConvertI32S => self.signed_to_float(F32, W32),
            Operator::F32ConvertI64S => self.signed_to_float(F32, W64),
            Operator::F64ConvertI32S => self.signed_to_float(F64, W32),
            Operator::F64ConvertI64S => self.signed_to_float(F64, W64),
            Operator::F32ConvertI32U => self.unsigned_to_float(F32, W32),
            Operator::F32ConvertI64U => self.unsigned_to_float(F32, W64),
            Operator::F64ConvertI32U => self.unsigned_to_float(F64, W32),
            Operator::F64ConvertI64U => self.unsigned_to_float(F64, W64),
            Operator::F32DemoteF64 => self.float_to_float(F32),
            Operator::F64PromoteF32 => self.float_to_float(F64),
            Operator::I32ReinterpretF32 => self.float_bits_to_int(I32),
            Operator::I64ReinterpretF64 => self.float_bits_to_int(I64),
            Operator::F32ReinterpretI32 => self.int_bits_to_float(F32),
            Operator::F64ReinterpretI64 => self.int_bits_to_float(F64),

            Operator::I32TruncF32S => self.truncate(UnaryOp::I32TruncF32S),
            Operator::I32TruncF32U => self.truncate(UnaryOp::I32TruncF32U),
            Operator::I32TruncF64S => self.truncate(UnaryOp::I32TruncF64S),
            Operator::I32TruncF64U => self.truncate(UnaryOp::I32TruncF64U),
            Operator::I64TruncF32S => self.truncate(UnaryOp::I64TruncF32S),
            Operator::I64TruncF32U => self.truncate(UnaryOp::I64TruncF32U),
            Operator::I64TruncF64S => self.truncate(UnaryOp::I64TruncF64S),
            Operator::I64TruncF64U => self.truncate(UnaryOp::I64TruncF64U),
            Operator::I32TruncSatF32S => self.truncate(UnaryOp::I32TruncSatF32S),
            Operator::I32TruncSatF32U => self.truncate(UnaryOp::I32TruncSatF32U),
            Operator::I32TruncSatF64S => self.truncate(UnaryOp::I32TruncSatF64S),
            Operator::I32TruncSatF64U => self.truncate(UnaryOp::I32TruncSatF64U),
            Operator::I64TruncSatF32S => self.truncate(UnaryOp::I64TruncSatF32S),
            Operator::I64TruncSatF32U => self.truncate(UnaryOp::I64TruncSatF32U),
            Operator::I64TruncSatF64S => self.truncate(UnaryOp::I64TruncSatF64S),
            Operator::I64TruncSatF64U => self.truncate(UnaryOp::I64TruncSatF64U),

            Operator::I32Load { memarg } => self.load(LoadOp::I32Load, I32, 4, memarg),
            Operator::I64Load { memarg } => self.load(LoadOp::I64Load, I64, 8, memarg),
            Operator::F32Load { memarg } => self.load(LoadOp::F32Load, F32, 4, memarg),
            Operator::F64Load { memarg } => self.load(LoadOp::F64Load, F64, 8, memarg),
            Operator::I32Load8S { memarg } => self.load(LoadOp::I32Load8S, I32, 1, memarg),
            Operator::I32Load8U { memarg } => self.load(LoadOp::I32Load8U, I32, 1, memarg),
            Operator::I32Load16S { memarg } => self.load(LoadOp::I32Load16S, I32, 2, memarg),
            Operator::I32Load16U { memarg } => self.load(LoadOp::I32Load16U, I32, 2, memarg),
            Operator::I64Load8S { memarg } => self.load(LoadOp::I64Load8S, I64, 1, memarg),
            Operator::I64Load8U { memarg } => self.load(LoadOp::I64Load8U, I64, 1, memarg),
            Operator::I64Load16S { memarg } => self.load(LoadOp::I64Load16S, I64, 2, memarg),
            Operator::I64Load16U { memarg } => self.load(LoadOp::I64Load16U, I64, 2, memarg),
            Operator::I64Load32S { memarg } => self.load(LoadOp::I64Load32S, I64, 4, memarg),
            Operator::I64Load32U { memarg } => self.load(LoadOp::I64Load32U, I64, 4, memarg),
            Operator::I32Store { memarg } => self.store(StoreOp::I32Store, 4, memarg),
            Operator::I64Store { memarg } => self.store(StoreOp::I64Store, 8, memarg),
            Operator::F32Store { memarg } => self.store(StoreOp::F32Store, 4, memarg),
            Operator::F64Store { memarg } => self.store(StoreOp::F64Store, 8, memarg),
            Operator::I32Store8 { memarg } => self.store(StoreOp::I32Store8, 1, memarg),
            Operator::I32Store16 { memarg } => self.store(StoreOp::I32Store16, 2, memarg),
            Operator::I64Store8 { memarg } => self.store(StoreOp::I64Store8, 1, memarg),
            Operator::I64Store16 { memarg } => self.store(StoreOp::I64Store16, 2, memarg),
            Operator::I64Store32 { memarg } => self.store(StoreOp::I64Store32, 4, memarg),
            _ => return false,
        }
        true
    }

    // --- Comparisons ------------------------------------------------------------------------------------------------

    pub(super) fn eqz(&mut self, ty: ValType, reader: &OperatorsReader<'_>) {
        if let Some(condition) = self.pending.take() {
            // a comparison has just said what it thinks; the opposite
            self.push_condition(condition.negate(), reader);
            return;
        }
        let value = self.pop();
        match self.rm_of(&value) {
            RegMem::Reg(reg) => {
                self.masm.test(width(ty), reg, reg);
                self.free_gpr(reg);
            }
            mem @ RegMem::Mem(_) => self.masm.alu_imm(Alu::Cmp, width(ty), mem, 0),
        }
        self.push_condition(Condition::Flags(Cc::Equal), reader);
    }

    fn compare(&mut self, width: Width, cc: Cc, reader: &OperatorsReader<'_>) {
        let rhs = self.pop();
        let lhs = self.pop();
        let mut cc = cc;
        match (lhs.loc, rhs.loc) {
            (_, Loc::Const(bits)) if let Some(imm) = immediate(width, bits) => {
                let lhs = self.rm_of(&lhs);
                match lhs {
                    RegMem::Reg(reg) if imm == 0 => self.masm.test(width, reg, reg),
                    lhs => self.masm.alu_imm(Alu::Cmp, width, lhs, imm),
                }
                self.free_rm(lhs);
            }
            (Loc::Const(bits), _) if let Some(imm) = immediate(width, bits) => {
                cc = cc.swap_operands();
                let rhs = self.rm_of(&rhs);
                self.masm.alu_imm(Alu::Cmp, width, rhs, imm);
                self.free_rm(rhs);
            }
            _ => {
                let rhs = self.rm_of(&rhs);
                let lhs = self.gpr_of(&lhs);
                self.masm.alu(Alu::Cmp, width, lhs, rhs);
                self.free_gpr(lhs);
                self.free_rm(rhs);
            }
        }
        self.push_condition(Condition::Flags(cc), reader);
    }

    fn float_compare(&mut self, width: Width, cc: FloatCc, reader: &OperatorsReader<'_>) {
        let b = self.pop_xmm();
        let a = self.pop_xmm();
        let condition = Condition::Float {
            cc,
            wanted: true,
            width,
            a,
            b,
        };
        self.push_condition(condition, reader);
    }

    // --- Integers ---------------------------------------------------------------------------------------------------

    fn int_unary(&mut self, from: ValType, to: ValType, emit: impl FnOnce(&mut Masm, Gpr)) {
        let value = self.pop();
        debug_assert_eq!(value.ty, from);
        let reg = self.gpr_of(&value);
        emit(&mut self.masm, reg);
        self.push_gpr(to, reg);
    }

    fn alu(&mut self, ty: ValType, alu: Alu) {
        let mut rhs = self.pop();
        let mut lhs = self.pop();
        let swap = alu != Alu::Sub
            && (matches!(lhs.loc, Loc::Const(_))
                || (matches!(rhs.loc, Loc::Gpr(_)) && !matches!(lhs.loc, Loc::Gpr(_))));
        if swap {
            std::mem::swap(&mut lhs, &mut rhs);
        }
        let dst = self.gpr_of(&lhs);
        if let Loc::Const(bits) = rhs.loc
            && let Some(imm) = immediate(width(ty), bits)
        {
            self.masm.alu_imm(alu, width(ty), dst, imm);
        } else {
            let rhs = self.rm_of(&rhs);
            self.masm.alu(alu, width(ty), dst, rhs);
            self.free_rm(rhs);
        }
        self.push_gpr(ty, dst);
    }

    fn multiply(&mut self, ty: ValType) {
        let mut rhs = self.pop();
        let mut lhs = self.pop();
        if matches!(lhs.loc, Loc::Const(_))
            || (matches!(rhs.loc, Loc::Gpr(_)) && !matches!(lhs.loc, Loc::Gpr(_)))
        {
            std::mem::swap(&mut lhs, &mut rhs);
        }
        if let Loc::Const(bits) = rhs.loc
            && let Some(imm) = immediate(width(ty), bits)
        {
            let src = self.rm_of(&lhs);
            let dst = match src {
                RegMem::Reg(reg) => reg,
                RegMem::Mem(_) => self.alloc_gpr(),
            };
            self.masm.imul_imm(width(ty), dst, src, imm);
            self.push_gpr(ty, dst);
            return;
        }
        let dst = self.gpr_of(&lhs);
        let rhs = self.rm_of(&rhs);
        self.masm.imul(width(ty), dst, rhs);
        self.free_rm(rhs);
        self.push_gpr(ty, dst);
    }

    fn divide(&mut self, ty: ValType, division: Division) {
        let rhs = self.pop();
        let lhs = self.pop();
        // rcx and rdx are never an operand's
        self.load_gpr(RCX, &rhs);
        self.free(&rhs);
        if lhs.loc != Loc::Gpr(RAX) {
            self.alloc_rax();
            self.load_gpr(RAX, &lhs);
            self.free(&lhs);
        }
        self.masm.divide(division, width(ty), RCX, self.at);
        if division.result() == RDX {
            self.masm.mov(width(ty), RAX, RDX);
        }
        self.push_gpr(ty, RAX);
    }

    fn shift(&mut self, ty: ValType, shift: Shift) {
        let rhs = self.pop();
        let lhs = self.pop();
        let width = width(ty);
        if let Loc::Const(bits) = rhs.loc {
            let mask = if ty.is_64() { 63 } else { 31 };
            let by = u8::try_from(bits & mask).expect("masked");
            let dst = self.gpr_of(&lhs);
            self.masm.shift_imm(shift, width, dst, by);
            self.push_gpr(ty, dst);
            return;
        }
        self.load_gpr(RCX, &rhs);
        self.free(&rhs);
        let dst = self.gpr_of(&lhs);
        self.masm.shift_cl(shift, width, dst);
        self.push_gpr(ty, dst);
    }

    // --- Floats -----------------------------------------------------------------------------------------------------

    fn float_unary(&mut self, ty: ValType, emit: impl FnOnce(&mut Masm, Xmm)) {
        let reg = self.pop_xmm();
        emit(&mut self.masm, reg);
        self.push_xmm(ty, reg);
    }

    fn float_binary(&mut self, ty: ValType, op: FloatOp) {
        let rhs = self.pop();
        let lhs = self.pop();
        let dst = self.xmm_of(&lhs);
        if let Loc::Const(bits) = rhs.loc {
            self.masm.float_constant(op, width(ty), dst, bits);
        } else {
            let rhs: XmmMem = self.xm_of(&rhs);
            self.masm.float(op, width(ty), dst, rhs);
            self.free_xm(rhs);
        }
        self.push_xmm(ty, dst);
    }

    fn float_sequence(&mut self, ty: ValType, emit: impl FnOnce(&mut Masm, Xmm, Xmm)) {
        let src = self.pop_xmm();
        let dst = self.pop_xmm();
        emit(&mut self.masm, dst, src);
        self.free_xmm(src);
        self.push_xmm(ty, dst);
    }

    // --- Conversions ------------------------------------------------------------------------------------------------

    fn signed_to_float(&mut self, ty: ValType, int: Width) {
        let value = self.pop();
        let src = self.rm_of(&value);
        let dst = self.alloc_xmm();
        self.masm.int_to_float(width(ty), int, dst, src);
        self.free_rm(src);
        self.push_xmm(ty, dst);
    }

    fn unsigned_to_float(&mut self, ty: ValType, int: Width) {
        let src = self.pop_gpr();
        let dst = self.alloc_xmm();
        self.masm.unsigned_to_float(width(ty), int, dst, src);
        self.free_gpr(src);
        self.push_xmm(ty, dst);
    }

    fn float_to_float(&mut self, to: ValType) {
        let reg = self.pop_xmm();
        self.masm.float_to_float(width(to), reg, reg);
        self.push_xmm(to, reg);
    }

    fn float_bits_to_int(&mut self, to: ValType) {
        let value = self.pop();
        if let Loc::Const(_) = value.loc {
            self.push(to, value.loc);
            return;
        }
        let dst = self.alloc_gpr();
        self.load_gpr(dst, &value);
        self.free(&value);
        self.push_gpr(to, dst);
    }

    fn int_bits_to_float(&mut self, to: ValType) {
        let value = self.pop();
        if let Loc::Const(_) = value.loc {
            self.push(to, value.loc);
            return;
        }
        let dst = self.alloc_xmm();
        self.load_xmm(dst, &value);
        self.free(&value);
        self.push_xmm(to, dst);
    }

    fn truncate(&mut self, op: UnaryOp) {
        let truncation = Truncation::of(op).expect("it is one");
        let src = self.pop_xmm();
        let dst = self.alloc_gpr();
        self.masm.truncate(truncation, dst, src, self.at);
        self.free_xmm(src);
        self.push_gpr(if truncation.int == W64 { I64 } else { I32 }, dst);
    }

    // --- Memory -----------------------------------------------------------------------------------------------------

    /// Checks an access and says where it goes. Loses `rcx` and the scratch register, which the operand may use.
    fn address(&mut self, index: Gpr, size: u32, memarg: MemArg) -> Mem {
        let out_of_bounds: Label = self.masm.trap_site(TrapCode::MemoryOutOfBounds, self.at);
        let end = memarg.offset + u64::from(size);
        self.masm.bounds_check(index, end, out_of_bounds);
        self.masm.mov(W64, RCX, Mem::context(offsets::MEMORY_BASE));
        match i32::try_from(memarg.offset) {
            Ok(offset) => Mem::indexed(RCX, index, 1, offset),
            // the scratch register holds index + end
            Err(_) => Mem::indexed(RCX, SCRATCH, 1, -size.cast_signed()),
        }
    }

    fn load(&mut self, load: LoadOp, ty: ValType, size: u32, memarg: MemArg) {
        let index = self.pop_gpr();
        let mem = self.address(index, size, memarg);
        if ty.is_float() {
            let dst = self.alloc_xmm();
            self.masm.fload(width(ty), dst, mem);
            self.free_gpr(index);
            self.push_xmm(ty, dst);
        } else {
            self.masm.load_op(load, index, mem);
            self.push_gpr(ty, index);
        }
    }

    fn store(&mut self, store: StoreOp, size: u32, memarg: MemArg) {
        let value = self.pop();
        let index = self.pop();
        match value.loc {
            Loc::Xmm(reg) => {
                let index = self.gpr_of(&index);
                let mem = self.address(index, size, memarg);
                self.masm.fstore(width(value.ty), mem, reg);
                self.free_gpr(index);
                self.free_xmm(reg);
            }
            Loc::Const(bits) if size < 8 || immediate(W64, bits).is_some() => {
                let index = self.gpr_of(&index);
                let mem = self.address(index, size, memarg);
                let [b0, b1, b2, b3, ..] = bits.to_le_bytes();
                match size {
                    1 => self.masm.store8_imm(mem, b0),
                    2 => self.masm.store16_imm(mem, u16::from_le_bytes([b0, b1])),
                    4 => self
                        .masm
                        .store_imm(W32, mem, i32::from_le_bytes([b0, b1, b2, b3])),
                    _ => {
                        let imm = immediate(W64, bits).expect("tested above");
                        self.masm.store_imm(W64, mem, imm);
                    }
                }
                self.free_gpr(index);
            }
            // floats that are in memory move as bits
            Loc::Const(_) | Loc::Local(_) | Loc::Home | Loc::Gpr(_) => {
                let value = self.gpr_of(&value);
                let index = self.gpr_of(&index);
                let mem = self.address(index, size, memarg);
                self.masm.store_op(store, mem, value);
                self.free_gpr(value);
                self.free_gpr(index);
            }
        }
    }
}
