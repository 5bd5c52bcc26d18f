//! Tables: elements, indirect calls; and what the runtime does with ranges of tables and of memory.

use super::{compile::Compiler, value_stack::Loc};
use crate::{
    arch::{
        masm::{Alu, Cc, Mem, Width},
        regs::{self, Gpr, RAX, SCRATCH},
    },
    ir::value::{BulkOp, TrapCode},
    runtime::context::{TableSlot, offsets},
    wasm::types::{FuncType, TableIndex, TypeIndex, ValType},
};

impl Compiler<'_> {
    /// Where a table's descriptor is. Loses the scratch register if the table is imported.
    fn table(&mut self, table: TableIndex, field: i32) -> Mem {
        match self.layout.tables[table.index()] {
            TableSlot::Own(offset) => Mem::context(offset + field),
            TableSlot::Imported(offset) => {
                self.masm.mov(Width::W64, SCRATCH, Mem::context(offset));
                Mem::new(SCRATCH, field)
            }
        }
    }

    /// Traps unless the index is within the table; gives the element's address, for which the scratch register is lost.
    fn element(&mut self, table: TableIndex, index: Gpr, code: TrapCode) -> Mem {
        let trap = self.masm.trap_site(code, self.at);
        let len = self.table(table, offsets::TABLE_LEN);
        self.masm.alu(Alu::Cmp, Width::W32, index, len);
        self.masm.jcc(Cc::AboveEqual, trap);
        let elements = self.table(table, offsets::TABLE_ELEMENTS);
        self.masm.mov(Width::W64, SCRATCH, elements);
        Mem::indexed(SCRATCH, index, 8, 0)
    }

    pub(super) fn visit_call_indirect(&mut self, ty: TypeIndex, table: TableIndex) {
        let module = self.module;
        self.load_element_to_call(ty, table);
        let ty: &FuncType = &module.types[ty.index()];
        self.arguments(ty);
        self.free_gpr(regs::ENVIRONMENT);
        self.masm.comment(format!("call_indirect {}", self.at));
        self.masm.call_reference();
        self.returned(ty);
    }

    /// As `visit_return_call`.
    pub(super) fn visit_return_call_indirect(&mut self, ty: TypeIndex, table: TableIndex) {
        let module = self.module;
        self.load_element_to_call(ty, table);
        let ty: &FuncType = &module.types[ty.index()];
        self.last_arguments(ty);
        self.free_gpr(regs::ENVIRONMENT);
        self.masm
            .comment(format!("return_call_indirect {}", self.at));
        self.masm.leave();
        self.masm.jump_to_reference();
        self.set_unreachable();
    }

    /// Pops an index; the function there, which must be of that type, is in the environment register then.
    fn load_element_to_call(&mut self, ty: TypeIndex, table: TableIndex) {
        let type_id = self.layout.type_ids[ty.index()];
        let index = self.pop_gpr();
        let element = self.element(table, index, TrapCode::UndefinedElement);
        self.masm.mov(Width::W64, index, element);
        self.masm.func_check(index, type_id, self.at);
        // it waits in the environment register, which is no argument
        if index != regs::ENVIRONMENT {
            if !self.stack.take_this(Loc::Gpr(regs::ENVIRONMENT)) {
                let holder = self
                    .stack
                    .find(|loc| loc == Loc::Gpr(regs::ENVIRONMENT))
                    .expect("no popped operand holds it");
                self.spill(holder);
                let taken = self.stack.take_this(Loc::Gpr(regs::ENVIRONMENT));
                debug_assert!(taken, "it was just freed");
            }
            self.masm.mov(Width::W64, regs::ENVIRONMENT, index);
            self.free_gpr(index);
        }
    }

    pub(super) fn visit_table_get(&mut self, table: TableIndex) {
        let ty = self.module.tables[table.index()].ty.element;
        let index = self.pop_gpr();
        let element = self.element(table, index, TrapCode::TableOutOfBounds);
        self.masm.mov(Width::W64, index, element);
        self.push_gpr(ty, index);
    }

    pub(super) fn visit_table_set(&mut self, table: TableIndex) {
        let value = self.pop_gpr();
        let index = self.pop_gpr();
        let element = self.element(table, index, TrapCode::TableOutOfBounds);
        self.masm.store(Width::W64, element, value);
        self.free_gpr(index);
        self.free_gpr(value);
    }

    pub(super) fn visit_table_size(&mut self, table: TableIndex) {
        let reg = self.alloc_gpr();
        let len = self.table(table, offsets::TABLE_LEN);
        self.masm.mov(Width::W32, reg, len);
        self.push_gpr(ValType::I32, reg);
    }

    pub(super) fn visit_table_grow(&mut self, table: u32) {
        self.runtime(offsets::HELPER_TABLE_GROW, &[table], 2);
        // the C convention leaves the upper half open
        self.masm.mov(Width::W32, RAX, regs::HELPER_RESULT);
        let taken = self.stack.take_this(Loc::Gpr(RAX));
        debug_assert!(taken, "no register is taken behind a helper call");
        self.push_gpr(ValType::I32, RAX);
    }

    pub(super) fn visit_table_fill(&mut self, table: u32) {
        self.runtime(offsets::HELPER_TABLE_FILL, &[table], 3);
        self.trap_unless_done(TrapCode::TableOutOfBounds);
    }

    pub(super) fn visit_table_copy(&mut self, to: u32, from: u32) {
        self.runtime(offsets::HELPER_TABLE_COPY, &[to, from], 3);
        self.trap_unless_done(TrapCode::TableOutOfBounds);
    }

    pub(super) fn visit_table_init(&mut self, table: u32, segment: u32) {
        self.runtime(offsets::HELPER_TABLE_INIT, &[table, segment], 3);
        self.trap_unless_done(TrapCode::TableOutOfBounds);
    }

    pub(super) fn visit_bulk(&mut self, op: BulkOp) {
        let segment = match op {
            BulkOp::Copy | BulkOp::Fill => None,
            BulkOp::Init(segment) => Some(segment.0),
        };
        self.runtime(op.helper(), segment.as_slice(), 3);
        self.trap_unless_done(TrapCode::MemoryOutOfBounds);
    }

    pub(super) fn visit_data_drop(&mut self, segment: u32) {
        self.runtime(offsets::HELPER_DATA_DROP, &[segment], 0);
    }

    pub(super) fn visit_elem_drop(&mut self, segment: u32) {
        self.runtime(offsets::HELPER_ELEM_DROP, &[segment], 0);
    }

    fn trap_unless_done(&mut self, code: TrapCode) {
        let trap = self.masm.trap_site(code, self.at);
        let result = regs::HELPER_RESULT;
        self.masm.test(Width::W32, result, result);
        self.masm.jcc(Cc::NotEqual, trap);
    }

    /// Calls a helper with the context, numbers, and operands from the stack.
    fn runtime(&mut self, helper: i32, numbers: &[u32], operands: usize) {
        // all go home first: no operand's register is an argument's of another
        self.flush();
        let mut args: Vec<_> = (0..operands).map(|_| self.pop()).collect();
        args.reverse();
        let registers = &regs::HELPER_ARGS[1..];
        for (&number, &reg) in numbers.iter().zip(registers) {
            self.masm.mov_imm(reg, u64::from(number));
        }
        for (arg, &reg) in args.iter().zip(&registers[numbers.len()..]) {
            self.load_gpr(reg, arg);
            self.free(arg);
        }
        self.masm
            .mov(Width::W64, regs::HELPER_ARGS[0], regs::CONTEXT);
        self.masm.call_helper(helper);
        self.masm.note(self.at);
    }
}
