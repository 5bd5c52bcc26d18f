//! Structured control: blocks, branches, joins.
//!
//! All entries are sent home where a block begins, so below a block everything is in its home for the block's whole
//! life, and a branch has only the label's own values to move:
//!
//! ```text
//!   br_if L                         br_if L, values to move
//!     test cond; jne L                test cond; je skip
//!                                     values -> homes at L's height; jmp L
//!                                   skip:
//! ```

use super::compile::Compiler;
use crate::{
    arch::{
        masm::{Alu, Cc, Label, Masm, Mem, Width},
        regs::{self, FRAME, RCX, RDX, SCRATCH},
    },
    frame::abi::{EXIT_RETURNED, Place, Places},
    runtime::context::offsets,
    suspension::{point::PointKind, suspend::emit_checkpoint_test},
    tier0::value_stack::Loc,
    wasm::{
        module::BlockSignature,
        types::{FrameOffset, ValType},
    },
};
use std::collections::HashMap;
use wasmparser::{BinaryReaderError, BrTable, Operator};

/// More words than this are copied by a loop.
pub(super) const UNROLLED_WORDS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ControlKind {
    Function,
    Block,
    Loop,
    /// An `if` whose `else` has not come; where to go if the condition fails.
    If(Label),
    Else,
}

/// A block that is open.
#[derive(Debug)]
pub(super) struct Control<'a> {
    kind: ControlKind,
    /// Where branches go.
    label: Label,
    /// Whether any does.
    targeted: bool,
    /// Operand-stack height below its parameters.
    base: usize,
    signature: BlockSignature<'a>,
    /// Whether it is a loop, or in one.
    in_loop: bool,
}

impl<'a> Control<'a> {
    pub(super) fn is_in_loop(&self) -> bool {
        self.in_loop
    }

    /// The function's own block.
    pub(super) fn function(results: &'a [ValType], label: Label) -> Self {
        Self {
            kind: ControlKind::Function,
            label,
            targeted: false,
            base: 0,
            signature: BlockSignature {
                params: &[],
                results,
            },
            in_loop: false,
        }
    }

    /// What a branch to it carries.
    fn label_types(&self) -> &'a [ValType] {
        if self.kind == ControlKind::Loop {
            self.signature.params
        } else {
            self.signature.results
        }
    }
}

impl<'a> Compiler<'a> {
    // --- Blocks -----------------------------------------------------------------------------------------------------

    fn open(&mut self, kind: ControlKind, label: Label, signature: BlockSignature<'a>) {
        let in_loop =
            kind == ControlKind::Loop || self.control.last().is_some_and(Control::is_in_loop);
        self.control.push(Control {
            kind,
            label,
            targeted: false,
            base: self.stack.len() - signature.params.len(),
            signature,
            in_loop,
        });
    }

    pub(super) fn visit_block(&mut self, signature: BlockSignature<'a>) {
        self.flush();
        let label = self.masm.label();
        self.open(ControlKind::Block, label, signature);
    }

    pub(super) fn visit_loop(&mut self, signature: BlockSignature<'a>) {
        self.flush();
        let n = self.loops;
        self.loops += 1;
        let label = self.masm.label();
        self.masm.bind_named(label, format!("loop{n}"));
        self.emit_patchpoint();
        let site = self.add_site(PointKind::LoopHeader, &[]);
        let cold = self.checkpoint_cold();
        self.masm.comment("checkpoint");
        emit_checkpoint_test(&mut self.masm, &site, cold);
        self.masm.name(format!("loop{n}.body"));
        self.open(ControlKind::Loop, label, signature);
    }

    pub(super) fn visit_if(&mut self, signature: BlockSignature<'a>) {
        let condition = self.pop_condition();
        self.flush();
        let otherwise = self.masm.label();
        self.branch_on(condition, false, otherwise);
        let label = self.masm.label();
        self.open(ControlKind::If(otherwise), label, signature);
    }

    pub(super) fn visit_else(&mut self) {
        if self.reachable {
            self.flush();
        }
        let reachable = self.reachable;
        let control = self.control.last_mut().expect("bodies are validated");
        let ControlKind::If(otherwise) = control.kind else {
            unreachable!("an else belongs to an if");
        };
        control.kind = ControlKind::Else;
        let (label, base, params) = (control.label, control.base, control.signature.params);
        if reachable {
            control.targeted = true;
            self.masm.jmp(label);
        }
        self.masm.bind(otherwise);
        self.set_homes(base, params);
        self.reachable = true;
    }

    pub(super) fn visit_end(&mut self) {
        let control = self.control.pop().expect("bodies are validated");
        let Control {
            kind,
            label,
            targeted,
            base,
            signature,
            in_loop: _,
        } = control;
        match kind {
            ControlKind::Function => {
                if self.reachable {
                    self.emit_return();
                }
                if targeted {
                    self.masm.bind_named(label, "return");
                    self.set_homes(0, signature.results);
                    self.emit_return();
                }
                self.reachable = false;
            }
            ControlKind::Loop => {}
            ControlKind::Block | ControlKind::Else => {
                if targeted {
                    if self.reachable {
                        self.flush();
                    }
                    self.masm.bind(label);
                    self.set_homes(base, signature.results);
                    self.reachable = true;
                }
            }
            ControlKind::If(otherwise) => {
                if self.reachable {
                    self.flush();
                }
                if targeted {
                    self.masm.bind(label);
                }
                self.masm.bind(otherwise);
                self.set_homes(base, signature.results);
                self.reachable = true;
            }
        }
        if !self.reachable {
            self.set_unreachable();
        }
    }

    /// The operand stack is `base` entries, then these, all in their homes.
    fn set_homes(&mut self, base: usize, types: &[ValType]) {
        self.stack.truncate(base);
        for &ty in types {
            self.stack.push(ty, Loc::Home);
        }
    }

    /// What follows cannot be reached, up to the end of the innermost block.
    pub(super) fn set_unreachable(&mut self) {
        self.reachable = false;
        self.skipped = 0;
        debug_assert!(self.pending.is_none(), "a condition was not consumed");
        let base = self.control.last().map_or(0, |control| control.base);
        self.stack.truncate(base);
    }

    /// An operator that cannot be reached: only the nesting counts.
    pub(super) fn skip(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.skipped += 1;
            }
            Operator::Else if self.skipped == 0 => self.visit_else(),
            Operator::End => {
                if self.skipped == 0 {
                    self.visit_end();
                } else {
                    self.skipped -= 1;
                }
            }
            _ => {}
        }
    }

    // --- Branches ---------------------------------------------------------------------------------------------------

    fn target(&self, depth: u32) -> usize {
        self.control.len() - 1 - depth as usize
    }

    /// Whether a branch there is an inline return.
    fn returns_inline(&self, target: usize) -> bool {
        let control = &self.control[target];
        control.kind == ControlKind::Function && control.label_types().len() <= UNROLLED_WORDS
    }

    /// Whether a branch there has values to move.
    fn moves(&self, target: usize) -> bool {
        let control = &self.control[target];
        let arity = control.label_types().len();
        arity != 0
            && (self.stack.len() - arity != control.base || self.stack.flushed() < self.stack.len())
    }

    /// Prepares the top of the stack for branches: many values go home, so that a loop can copy them.
    fn prepare_branch(&mut self, arity: usize) {
        if arity > UNROLLED_WORDS {
            self.flush();
        }
    }

    /// Moves the label's values and jumps. The operand stack stays as it is. Loses flags and scratch registers.
    fn emit_branch(&mut self, target: usize) {
        if self.returns_inline(target) {
            self.emit_return();
            return;
        }
        let control = &mut self.control[target];
        control.targeted = true;
        let (label, base) = (control.label, control.base);
        let arity = control.label_types().len();
        let source = self.stack.len() - arity;
        if arity > UNROLLED_WORDS {
            if source != base {
                let (from, to) = (self.stack_home(source), self.stack_home(base));
                copy_homes(&mut self.masm, from, to, arity);
            }
        } else {
            // upwards: a value's target lies at or below its own home, so no home is lost before it is read
            for i in 0..arity {
                let value = self.peek(source + i);
                let slot = self.stack_home(base + i);
                self.store_value(slot, &value);
            }
        }
        self.masm.jmp(label);
    }

    pub(super) fn visit_br(&mut self, depth: u32) {
        let target = self.target(depth);
        self.prepare_branch(self.control[target].label_types().len());
        self.emit_branch(target);
        self.set_unreachable();
    }

    pub(super) fn visit_br_if(&mut self, depth: u32) {
        let condition = self.pop_condition();
        let target = self.target(depth);
        self.prepare_branch(self.control[target].label_types().len());
        if self.returns_inline(target) || self.moves(target) {
            let skip = self.masm.label();
            self.branch_on(condition, false, skip);
            self.emit_branch(target);
            self.masm.bind(skip);
        } else {
            self.control[target].targeted = true;
            let label = self.control[target].label;
            self.branch_on(condition, true, label);
        }
    }

    pub(super) fn visit_br_table(&mut self, table: &BrTable<'_>) -> Result<(), BinaryReaderError> {
        let index = self.pop();
        self.load_gpr(RCX, &index);
        self.free(&index);
        self.flush();
        // one stub per distinct depth that has something to move
        let mut labels: HashMap<u32, Label> = HashMap::new();
        let mut stubs: Vec<(Label, usize)> = Vec::new();
        let mut label_of = |compiler: &mut Self, depth: u32| {
            *labels.entry(depth).or_insert_with(|| {
                let target = compiler.target(depth);
                if compiler.returns_inline(target) || compiler.moves(target) {
                    let stub = compiler.masm.label();
                    stubs.push((stub, target));
                    stub
                } else {
                    compiler.control[target].targeted = true;
                    compiler.control[target].label
                }
            })
        };
        let default = label_of(self, table.default());
        let mut targets = Vec::with_capacity(table.len() as usize);
        for depth in table.targets() {
            targets.push(label_of(self, depth?));
        }
        if targets.is_empty() {
            self.masm.jmp(default);
        } else {
            self.masm
                .alu_imm(Alu::Cmp, Width::W32, RCX, table.len().cast_signed());
            self.masm.jcc(Cc::AboveEqual, default);
            self.masm.jump_table(RCX, RCX, targets);
        }
        for (stub, target) in stubs {
            self.masm.bind(stub);
            self.emit_branch(target);
        }
        self.set_unreachable();
        Ok(())
    }

    pub(super) fn visit_return(&mut self) {
        self.prepare_branch(self.control[0].label_types().len());
        self.emit_branch(0);
        self.set_unreachable();
    }

    // --- Return -----------------------------------------------------------------------------------------------------

    /// Returns the top of the operand stack, which stays as it is.
    fn emit_return(&mut self) {
        let module = self.module;
        let results = &module.func_type(self.func).results;
        let first = self.stack.len() - results.len();
        let mut places = Places::results();
        let mut ints = [None; regs::RESULTS.len()];
        let mut floats = [None; regs::FLOAT_RESULT_REGISTERS.len()];
        let mut transfer = Vec::new();
        for (i, &ty) in results.iter().enumerate() {
            match places.next(ty) {
                Place::Int(n) => ints[usize::from(n)] = Some(first + i),
                Place::Float(n) => floats[usize::from(n)] = Some(first + i),
                Place::Transfer(n) => transfer.push((n, first + i)),
            }
        }
        if !transfer.is_empty() {
            self.masm
                .mov(Width::W64, RCX, Mem::context(offsets::TRANSFER));
            for (word, index) in transfer {
                self.store_to_transfer(RCX, word, index);
            }
        }
        // no entry lives in rcx, and none but the first result still matters in rax
        if let Some(index) = ints[1] {
            let value = self.peek(index);
            self.load_gpr(regs::RESULTS[1], &value);
        }
        if let Some(index) = ints[0] {
            let value = self.peek(index);
            self.load_gpr(regs::RESULTS[0], &value);
        }
        // the second float by way of the scratch register: the first may live where it goes
        if let Some(index) = floats[1] {
            let value = self.peek(index);
            self.load_xmm(regs::FLOAT_SCRATCH, &value);
        }
        if let Some(index) = floats[0] {
            let value = self.peek(index);
            self.load_xmm(regs::FLOAT_RESULT_REGISTERS[0], &value);
        }
        if floats[1].is_some() {
            self.masm
                .fmov(regs::FLOAT_RESULT_REGISTERS[1], regs::FLOAT_SCRATCH);
        }
        const { assert!(EXIT_RETURNED == 0, "zero is the shortest constant") };
        self.masm.zero(regs::EXIT);
        self.masm.leave();
        self.masm.ret();
    }

    /// Stores an entry in a word of the transfer area.
    pub(super) fn store_to_transfer(&mut self, area: regs::Gpr, word: u32, index: usize) {
        let value = self.peek(index);
        self.store_operand_to(transfer_word(area, word), &value);
    }
}

/// A word of the transfer area.
pub(super) fn transfer_word(area: regs::Gpr, word: u32) -> Mem {
    Mem::new(area, 8 * word.cast_signed())
}

/// Copies words between homes, which lie downwards, by a loop. Loses `rdx`, the scratch register and the flags.
fn copy_homes(masm: &mut Masm, from: FrameOffset, to: FrameOffset, words: usize) {
    let words = i32::try_from(words).expect("the operand stack is bounded");
    masm.zero(RDX);
    let again = masm.here();
    masm.mov(Width::W64, SCRATCH, Mem::indexed(FRAME, RDX, 8, from.0));
    masm.store(Width::W64, Mem::indexed(FRAME, RDX, 8, to.0), SCRATCH);
    masm.alu_imm(Alu::Sub, Width::W64, RDX, 1);
    masm.alu_imm(Alu::Cmp, Width::W64, RDX, -words);
    masm.jcc(Cc::NotEqual, again);
}
