//! One pass, one operator, one visible sequence.

use super::{
    control::Control,
    value_stack::{Loc, ValueStack, WINDOW},
};
use crate::{
    arch::{
        masm::{Alu, Cc, CpuFeatures, Label, Masm, Mem, RegMem, Shift, Width, XmmMem},
        regs::{Gpr, RAX, SCRATCH, Xmm},
        x86_64::sequences::FloatCc,
    },
    code::draft::{CodeDraft, CodeKind, PatchpointDraft},
    error::CompileError,
    frame::layout::{COUNTER_OFFSET, FrameLayout},
    ir::value::{BulkOp, TrapCode},
    options::CompileOptions,
    runtime::context::{GlobalSlot, VmLayout, offsets},
    suspension::{
        point::{CanonicalLayout, ImageSource, PointKind, SiteDraft},
        resume::{Door, DoorKind, emit_door, emit_tier0_resume_entry},
        suspend::{Again, SiteLabels, Suspend, emit_checkpoint_cold, emit_leave, emit_suspend},
    },
    wasm::{
        liveness::Liveness,
        module::{Module, null_type},
        types::{
            CodeOffset, DataIndex, FrameOffset, FuncIndex, LocalIndex, TableIndex, TypeIndex,
            ValType, WasmOffset,
        },
    },
};
use wasmparser::{Operator, OperatorsReader};

/// Entries of all sites of one function together.
const MAX_SITE_ENTRIES: usize = 1 << 23;
/// Operand stacks higher than this are refused: the frame would never fit.
const MAX_STACK: usize = 1 << 24;
/// Bytes of machine code of one function.
const MAX_CODE: u32 = 1 << 30;
/// Slots named in listings, of locals and of the operand stack each.
const NAMED_SLOTS: u32 = 256;

/// Compiles a function for this machine.
///
/// # Errors
/// `Unsupported` for operators outside the feature set (module creation refuses them first), `Limit` for functions
/// beyond this compiler's limits.
pub fn compile(
    module: &Module,
    func: FuncIndex,
    layout: &VmLayout,
    options: &CompileOptions,
    liveness: &Liveness,
) -> Result<CodeDraft, CompileError> {
    compile_for(
        CpuFeatures::detect(),
        module,
        func,
        layout,
        options,
        liveness,
    )
}

/// Compiles a function for a machine with these features.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(
    features: CpuFeatures,
    module: &Module,
    func: FuncIndex,
    layout: &VmLayout,
    options: &CompileOptions,
    liveness: &Liveness,
) -> Result<CodeDraft, CompileError> {
    let mut masm = Masm::new(features);
    let local_types = module.locals(func);
    let locals = u32::try_from(local_types.len()).expect("locals are bounded by validation");
    let labels = FunctionLabels {
        resume: masm.label(),
        leave: masm.label(),
        results: masm.label(),
    };
    let compiler = Compiler {
        module,
        func,
        layout,
        options,
        liveness,
        masm,
        labels,
        stack: ValueStack::new(),
        // the operand stack's height is known at the end only; homes do not depend on it
        frame: FrameLayout::new(locals, u32::MAX - locals),
        local_types,
        control: Vec::new(),
        pending: None,
        reachable: true,
        skipped: 0,
        at: liveness.first_operator(),
        sites: Vec::new(),
        site_entries: 0,
        patchpoints: Vec::new(),
        hits: Vec::new(),
        loops: 0,
    };
    compiler.function()
}

/// Labels of which a function has one each.
#[derive(Clone, Copy, Debug)]
pub(super) struct FunctionLabels {
    /// Where continuations enter.
    pub(super) resume: Label,
    /// `leave; ret`.
    pub(super) leave: Label,
    /// Return with the results in the lowest stack homes.
    pub(super) results: Label,
}

/// A site whose cold code is not emitted yet.
#[derive(Debug)]
pub(super) struct PendingSite {
    pub(super) labels: SiteLabels,
    pub(super) layout: CanonicalLayout,
    pub(super) results: Box<[ValType]>,
    pub(super) image: Vec<FrameOffset>,
    /// Of a call; a checkpoint's is known when its cold code is emitted.
    pub(super) return_offset: CodeOffset,
    /// Of a checkpoint.
    pub(super) cold: Option<Label>,
    pub(super) in_loop: bool,
}

/// A condition whose consumer is the next operator.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    /// The flags are set.
    Flags(Cc),
    /// Two floats wait in their registers.
    Float {
        cc: FloatCc,
        wanted: bool,
        width: Width,
        a: Xmm,
        b: Xmm,
    },
}

impl Condition {
    pub(super) fn negate(self) -> Self {
        match self {
            Self::Flags(cc) => Self::Flags(cc.negate()),
            Self::Float {
                cc,
                wanted,
                width,
                a,
                b,
            } => Self::Float {
                cc,
                wanted: !wanted,
                width,
                a,
                b,
            },
        }
    }
}

/// A popped entry: its register belongs to whoever popped it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operand {
    pub(super) ty: ValType,
    pub(super) loc: Loc,
    home: FrameOffset,
}

pub(super) struct Compiler<'a> {
    pub(super) module: &'a Module,
    pub(super) func: FuncIndex,
    pub(super) layout: &'a VmLayout,
    pub(super) options: &'a CompileOptions,
    pub(super) liveness: &'a Liveness,
    pub(super) masm: Masm,
    pub(super) labels: FunctionLabels,
    pub(super) stack: ValueStack,
    pub(super) frame: FrameLayout,
    pub(super) local_types: Vec<ValType>,
    pub(super) control: Vec<Control<'a>>,
    /// Set by a comparison if the next operator consumes it.
    pub(super) pending: Option<Condition>,
    pub(super) reachable: bool,
    /// Nesting of blocks inside unreachable code.
    pub(super) skipped: u32,
    /// The operator being compiled.
    pub(super) at: WasmOffset,
    pub(super) sites: Vec<PendingSite>,
    site_entries: usize,
    pub(super) patchpoints: Vec<PatchpointDraft>,
    /// Per patchpoint: where the counter ran out, and where to go on.
    pub(super) hits: Vec<(Label, Label)>,
    pub(super) loops: u32,
}

/// Width of a type.
pub(super) fn width(ty: ValType) -> Width {
    if ty.is_64() { Width::W64 } else { Width::W32 }
}

fn invalid(error: &wasmparser::BinaryReaderError) -> CompileError {
    CompileError::Invalid {
        offset: WasmOffset(u32::try_from(error.offset()).unwrap_or(u32::MAX)),
        message: error.message().to_owned(),
    }
}

impl<'a> Compiler<'a> {
    fn function(mut self) -> Result<CodeDraft, CompileError> {
        let module = self.module;
        let entry = self.masm.here();
        self.masm.name("entry");
        let room = self.emit_entry()?;
        let results = &module.func_type(self.func).results;
        self.control
            .push(Control::function(results, self.labels.results));
        let mut reader = module
            .body(self.func)
            .get_operators_reader()
            .map_err(|error| invalid(&error))?;
        while !self.control.is_empty() {
            self.at = WasmOffset(
                u32::try_from(reader.original_position()).expect("modules are below 4 GiB"),
            );
            let operator = reader.read().map_err(|error| invalid(&error))?;
            if self.reachable {
                self.operator(&operator, &reader)?;
                self.check_limits()?;
            } else {
                self.skip(&operator);
            }
        }

        let max_stack = u32::try_from(self.stack.max()).expect("bounded above");
        self.frame = FrameLayout::new(self.frame.locals(), max_stack);
        let frame_size = self.frame.size();
        self.masm.fix_room(room, frame_size);
        emit_tier0_resume_entry(
            &mut self.masm,
            self.labels.resume,
            frame_size,
            self.options.resumption,
        );
        self.emit_patchpoint_hits();
        let sites = self.emit_sites(frame_size);
        emit_leave(&mut self.masm, self.labels.leave);
        self.masm.emit_deferred();
        let entry = self.masm.offset_of(entry);
        let resume_entry = Some(self.masm.offset_of(self.labels.resume));
        let slots = self.slot_names(max_stack);
        let emitted = self.masm.finish()?;
        Ok(CodeDraft {
            func: self.func,
            kind: CodeKind::Tier0,
            bytes: emitted.bytes,
            relocs: emitted.relocs,
            entry,
            resume_entry,
            frame_size,
            sites,
            patchpoints: self.patchpoints,
            notes: emitted.notes,
            faults: emitted.faults,
            labels: emitted.labels,
            comments: emitted.comments,
            slots,
        })
    }

    fn check_limits(&self) -> Result<(), CompileError> {
        let limit = |what: &str| {
            Err(CompileError::Limit {
                what: what.to_owned(),
            })
        };
        if self.stack.len() > MAX_STACK {
            return limit("operand stack of one function");
        }
        if self.masm.offset().0 > MAX_CODE {
            return limit("machine code of one function");
        }
        if self.site_entries > MAX_SITE_ENTRIES {
            return limit("values alive at the suspension points of one function");
        }
        Ok(())
    }

    fn slot_names(&self, max_stack: u32) -> Vec<(FrameOffset, String)> {
        let locals = (0..self.frame.locals().min(NAMED_SLOTS))
            .map(|n| (self.frame.local(LocalIndex(n)), format!("local{n}")));
        let stack =
            (0..max_stack.min(NAMED_SLOTS)).map(|n| (self.frame.stack(n), format!("stack{n}")));
        std::iter::once((COUNTER_OFFSET, "patchpoint_counter".to_owned()))
            .chain(locals)
            .chain(stack)
            .collect()
    }

    // --- Sites ------------------------------------------------------------------------------------------------------

    /// Adds a site with the present operand stack, which is flushed.
    pub(super) fn add_site(&mut self, kind: PointKind, results: &[ValType]) -> SiteLabels {
        debug_assert_eq!(self.stack.flushed(), self.stack.len(), "not flushed");
        let labels = SiteLabels::new(&mut self.masm);
        let checkpoint = kind != PointKind::Call;
        let cold = checkpoint.then(|| self.masm.label());
        // count before making: `check_limits` refuses the function before there are many such sites
        let locals: Box<[_]> = self
            .liveness
            .live_at(kind, self.at)
            .map(|local| (local, self.local_types[local.index()]))
            .collect();
        let stack: Box<[ValType]> = self.stack.types().collect();
        self.site_entries += locals.len() + stack.len();
        let image = locals
            .iter()
            .map(|&(local, _)| self.frame.local(local))
            .chain((0..stack.len()).map(|index| self.stack_home(index)))
            .collect();
        self.sites.push(PendingSite {
            labels,
            layout: CanonicalLayout {
                func: self.func,
                offset: self.at,
                kind,
                locals,
                stack,
            },
            results: results.into(),
            image,
            return_offset: CodeOffset(0),
            cold,
            in_loop: kind == PointKind::LoopHeader
                || self.control.last().is_some_and(Control::is_in_loop),
        });
        labels
    }

    /// Counts a patchpoint's description among the sites'.
    pub(super) fn count_site_entries(&mut self, entries: usize) {
        self.site_entries += entries;
    }

    fn emit_sites(&mut self, frame_size: u32) -> Vec<SiteDraft> {
        let masm = &mut self.masm;
        let mut drafts = Vec::with_capacity(self.sites.len());
        for (site, n) in std::mem::take(&mut self.sites).into_iter().zip(0u32..) {
            let at = site.layout.offset;
            let return_offset = match site.cold {
                Some(cold) => {
                    masm.name(format!("checkpoint{n}"));
                    emit_checkpoint_cold(masm, &site.labels, cold, at)
                }
                None => site.return_offset,
            };
            let (resume, resume_address) = site.labels.resume_fields(
                CodeKind::Tier0,
                self.options.resumption,
                Some(self.labels.resume),
            );
            let suspend = Suspend {
                site: n,
                image: &site.image,
                resume,
                resume_address,
                counter: Some(COUNTER_OFFSET),
                count_resumes: self.options.count_resumes,
                again: if site.in_loop {
                    Again::Changed
                } else {
                    Again::Never
                },
            };
            emit_suspend(masm, &site.labels, &suspend, self.labels.leave);
            let door = Door {
                site: n,
                kind: DoorKind::Refill,
                at,
                frame_size,
                image: &site.image,
                results: &site.results,
                counter: Some(COUNTER_OFFSET),
                landing: None,
            };
            emit_door(masm, &site.labels, &door);
            let references = (0u32..)
                .zip(site.layout.types())
                .filter_map(|(word, ty)| (ty == ValType::ExternRef).then_some(word))
                .collect();
            drafts.push(SiteDraft {
                references,
                map: (0u32..)
                    .take(site.layout.len())
                    .map(ImageSource::Word)
                    .collect(),
                layout: site.layout,
                results: site.results,
                image: site.image,
                recipes: Vec::new(),
                return_offset,
                door: masm.offset_of(site.labels.door),
                tier0_door: None,
            });
        }
        drafts
    }

    // --- Registers and homes ----------------------------------------------------------------------------------------

    /// Home of an operand-stack entry.
    pub(super) fn stack_home(&self, index: usize) -> FrameOffset {
        self.frame
            .stack(u32::try_from(index).expect("the operand stack is bounded"))
    }

    /// A free register; the lowest entry that has one goes home if there is none.
    pub(super) fn alloc_gpr(&mut self) -> Gpr {
        if let Some(reg) = self.stack.take_gpr() {
            return reg;
        }
        let index = self
            .stack
            .find(|loc| matches!(loc, Loc::Gpr(_)))
            .expect("an operator holds few registers itself");
        self.spill(index);
        self.stack.take_gpr().expect("one was just freed")
    }

    /// A free register; the lowest entry that has one goes home if there is none.
    pub(super) fn alloc_xmm(&mut self) -> Xmm {
        if let Some(reg) = self.stack.take_xmm() {
            return reg;
        }
        let index = self
            .stack
            .find(|loc| matches!(loc, Loc::Xmm(_)))
            .expect("an operator holds few registers itself");
        self.spill(index);
        self.stack.take_xmm().expect("one was just freed")
    }

    /// Takes `rax`, which no popped operand holds; an entry that has it goes home.
    pub(super) fn alloc_rax(&mut self) {
        if !self.stack.take_this(Loc::Gpr(RAX)) {
            let index = self
                .stack
                .find(|loc| loc == Loc::Gpr(RAX))
                .expect("no popped operand holds it");
            self.spill(index);
            let taken = self.stack.take_this(Loc::Gpr(RAX));
            debug_assert!(taken, "it was just freed");
        }
    }

    /// Frees the register of an operand.
    pub(super) fn free(&mut self, operand: &Operand) {
        self.stack.release(operand.loc);
    }

    /// Frees a register.
    pub(super) fn free_gpr(&mut self, reg: Gpr) {
        self.stack.release(Loc::Gpr(reg));
    }

    /// Frees a register.
    pub(super) fn free_xmm(&mut self, reg: Xmm) {
        self.stack.release(Loc::Xmm(reg));
    }

    /// Stores a value in a slot. Loses the scratch register, no flags.
    pub(super) fn store_value(&mut self, slot: FrameOffset, value: &Operand) {
        let masm = &mut self.masm;
        match value.loc {
            Loc::Const(bits) => store_constant(masm, slot, bits),
            Loc::Local(local) => {
                let home = self.frame.local(local);
                masm.mov(Width::W64, SCRATCH, home);
                masm.store(Width::W64, slot, SCRATCH);
            }
            Loc::Gpr(reg) => masm.store(Width::W64, slot, reg),
            Loc::Xmm(reg) => masm.fstore(width(value.ty), slot, reg),
            Loc::Home => {
                if slot != value.home {
                    masm.mov(Width::W64, SCRATCH, value.home);
                    masm.store(Width::W64, slot, SCRATCH);
                }
            }
        }
    }

    /// An entry as an operand, in place.
    pub(super) fn peek(&self, index: usize) -> Operand {
        let entry = self.stack.entry(index);
        Operand {
            ty: entry.ty,
            loc: entry.loc,
            home: self.stack_home(index),
        }
    }

    /// Sends an entry home. No flags are lost.
    pub(super) fn spill(&mut self, index: usize) {
        let value = self.peek(index);
        self.store_value(value.home, &value);
        self.stack.relocate(index, Loc::Home);
    }

    /// Sends all entries home. No flags are lost.
    pub(super) fn flush(&mut self) {
        while self.stack.flushed() < self.stack.len() {
            self.spill(self.stack.flushed());
        }
    }

    /// Sends entries home that read this local lazily; it is about to be written.
    pub(super) fn before_write(&mut self, local: LocalIndex) {
        while let Some(index) = self.stack.find(|loc| loc == Loc::Local(local)) {
            let value = self.peek(index);
            let register = if value.ty.is_float() {
                self.stack.take_xmm().map(Loc::Xmm)
            } else {
                self.stack.take_gpr().map(Loc::Gpr)
            };
            match register {
                Some(loc @ Loc::Gpr(reg)) => {
                    self.load_gpr(reg, &value);
                    self.stack.relocate(index, loc);
                }
                Some(loc @ Loc::Xmm(reg)) => {
                    self.load_xmm(reg, &value);
                    self.stack.relocate(index, loc);
                }
                _ => self.spill(index),
            }
        }
    }

    // --- Operands ---------------------------------------------------------------------------------------------------

    pub(super) fn push(&mut self, ty: ValType, loc: Loc) {
        self.stack.push(ty, loc);
        if self.stack.len() - self.stack.flushed() > WINDOW {
            self.spill(self.stack.flushed());
        }
    }

    pub(super) fn push_gpr(&mut self, ty: ValType, reg: Gpr) {
        self.push(ty, Loc::Gpr(reg));
    }

    pub(super) fn push_xmm(&mut self, ty: ValType, reg: Xmm) {
        self.push(ty, Loc::Xmm(reg));
    }

    pub(super) fn pop(&mut self) -> Operand {
        let entry = self.stack.pop();
        Operand {
            ty: entry.ty,
            loc: entry.loc,
            home: self.stack_home(self.stack.len()),
        }
    }

    /// Loads a value into a register. No flags are lost.
    pub(super) fn load_gpr(&mut self, dst: Gpr, value: &Operand) {
        match value.loc {
            Loc::Const(bits) => self.masm.mov_imm(dst, bits),
            Loc::Gpr(reg) => {
                if reg != dst {
                    self.masm.mov(Width::W64, dst, reg);
                }
            }
            Loc::Xmm(reg) => self.masm.xmm_to_gpr(width(value.ty), dst, reg),
            Loc::Local(_) | Loc::Home => {
                let slot = self.slot(value);
                self.masm.mov(width(value.ty), dst, slot);
            }
        }
    }

    /// Loads a value into a register. No flags are lost.
    pub(super) fn load_xmm(&mut self, dst: Xmm, value: &Operand) {
        match value.loc {
            Loc::Const(bits) => self.masm.fmov_imm(width(value.ty), dst, bits),
            Loc::Xmm(reg) => self.masm.fmov(dst, reg),
            Loc::Gpr(reg) => self.masm.gpr_to_xmm(width(value.ty), dst, reg),
            Loc::Local(_) | Loc::Home => {
                let slot = self.slot(value);
                self.masm.fload(width(value.ty), dst, slot);
            }
        }
    }

    /// The frame slot of a value that is in memory.
    fn slot(&self, value: &Operand) -> FrameOffset {
        match value.loc {
            Loc::Local(local) => self.frame.local(local),
            _ => value.home,
        }
    }

    /// The value in a register of its own, which may be written.
    pub(super) fn gpr_of(&mut self, value: &Operand) -> Gpr {
        if let Loc::Gpr(reg) = value.loc {
            return reg;
        }
        let reg = self.alloc_gpr();
        self.load_gpr(reg, value);
        self.free(value);
        reg
    }

    /// The value in a register of its own, which may be written.
    pub(super) fn xmm_of(&mut self, value: &Operand) -> Xmm {
        if let Loc::Xmm(reg) = value.loc {
            return reg;
        }
        let reg = self.alloc_xmm();
        self.load_xmm(reg, value);
        self.free(value);
        reg
    }

    pub(super) fn pop_gpr(&mut self) -> Gpr {
        let value = self.pop();
        self.gpr_of(&value)
    }

    pub(super) fn pop_xmm(&mut self) -> Xmm {
        let value = self.pop();
        self.xmm_of(&value)
    }

    /// The value where it is, or in a register if it is a constant; to be read only, and freed by [`Self::free_rm`].
    pub(super) fn rm_of(&mut self, value: &Operand) -> RegMem {
        match value.loc {
            Loc::Local(_) | Loc::Home => self.slot(value).into(),
            Loc::Const(_) | Loc::Gpr(_) | Loc::Xmm(_) => self.gpr_of(value).into(),
        }
    }

    /// The value where it is, or in a register if it is a constant; to be read only, and freed by [`Self::free_xm`].
    pub(super) fn xm_of(&mut self, value: &Operand) -> XmmMem {
        match value.loc {
            Loc::Local(_) | Loc::Home => self.slot(value).into(),
            Loc::Const(_) | Loc::Gpr(_) | Loc::Xmm(_) => self.xmm_of(value).into(),
        }
    }

    pub(super) fn free_rm(&mut self, operand: RegMem) {
        if let RegMem::Reg(reg) = operand {
            self.free_gpr(reg);
        }
    }

    pub(super) fn free_xm(&mut self, operand: XmmMem) {
        if let XmmMem::Reg(reg) = operand {
            self.free_xmm(reg);
        }
    }

    // --- Conditions -------------------------------------------------------------------------------------------------

    /// A comparison's answer: kept for the next operator if that consumes it at once, else pushed as an i32.
    pub(super) fn push_condition(&mut self, condition: Condition, reader: &OperatorsReader<'_>) {
        let next = reader.get_binary_reader().peek_operator(reader);
        let fused = match next {
            Ok(Operator::BrIf { .. } | Operator::If { .. } | Operator::I32Eqz) => true,
            Ok(Operator::Select | Operator::TypedSelect { .. }) => {
                matches!(condition, Condition::Flags(_))
            }
            _ => false,
        };
        if fused {
            self.pending = Some(condition);
            return;
        }
        let reg = self.alloc_gpr();
        match condition {
            Condition::Flags(cc) => self.masm.set_bool(cc, reg),
            Condition::Float {
                cc,
                wanted,
                width,
                a,
                b,
            } => {
                self.masm.float_compare(cc, width, reg, a, b);
                if !wanted {
                    self.masm.alu_imm(Alu::Xor, Width::W32, reg, 1);
                }
                self.free_xmm(a);
                self.free_xmm(b);
            }
        }
        self.push_gpr(ValType::I32, reg);
    }

    /// The condition on top of the operand stack.
    pub(super) fn pop_condition(&mut self) -> Condition {
        if let Some(condition) = self.pending.take() {
            return condition;
        }
        let value = self.pop();
        match self.rm_of(&value) {
            RegMem::Reg(reg) => {
                self.masm.test(Width::W32, reg, reg);
                self.free_gpr(reg);
            }
            mem @ RegMem::Mem(_) => {
                self.masm.alu_imm(Alu::Cmp, Width::W32, mem, 0);
            }
        }
        Condition::Flags(Cc::NotEqual)
    }

    /// Jumps if the condition is as wanted; frees its registers.
    pub(super) fn branch_on(&mut self, condition: Condition, wanted: bool, target: Label) {
        let condition = if wanted {
            condition
        } else {
            condition.negate()
        };
        match condition {
            Condition::Flags(cc) => self.masm.jcc(cc, target),
            Condition::Float {
                cc,
                wanted,
                width,
                a,
                b,
            } => {
                self.masm.float_branch(cc, wanted, width, a, b, target);
                self.free_xmm(a);
                self.free_xmm(b);
            }
        }
    }

    // --- Operators --------------------------------------------------------------------------------------------------

    fn operator(
        &mut self,
        operator: &Operator<'a>,
        reader: &OperatorsReader<'a>,
    ) -> Result<(), CompileError> {
        match *operator {
            Operator::Nop => {}
            Operator::Unreachable => {
                let trap = self.masm.trap_site(TrapCode::Unreachable, self.at);
                self.masm.jmp(trap);
                self.set_unreachable();
            }
            Operator::Block { blockty } => self.visit_block(self.module.block_type(blockty)),
            Operator::Loop { blockty } => self.visit_loop(self.module.block_type(blockty)),
            Operator::If { blockty } => self.visit_if(self.module.block_type(blockty)),
            Operator::Else => self.visit_else(),
            Operator::End => self.visit_end(),
            Operator::Br { relative_depth } => self.visit_br(relative_depth),
            Operator::BrIf { relative_depth } => self.visit_br_if(relative_depth),
            Operator::BrTable { ref targets } => {
                self.visit_br_table(targets)
                    .map_err(|error| invalid(&error))?;
            }
            Operator::Return => self.visit_return(),
            Operator::Call { function_index } => self.visit_call(FuncIndex(function_index)),
            Operator::ReturnCall { function_index } => {
                self.visit_return_call(FuncIndex(function_index));
            }
            Operator::CallIndirect {
                type_index,
                table_index,
            } => self.visit_call_indirect(TypeIndex(type_index), TableIndex(table_index)),
            Operator::ReturnCallIndirect {
                type_index,
                table_index,
            } => self.visit_return_call_indirect(TypeIndex(type_index), TableIndex(table_index)),
            Operator::TableGet { table } => self.visit_table_get(TableIndex(table)),
            Operator::TableSet { table } => self.visit_table_set(TableIndex(table)),
            Operator::TableSize { table } => self.visit_table_size(TableIndex(table)),
            Operator::TableGrow { table } => self.visit_table_grow(table),
            Operator::TableFill { table } => self.visit_table_fill(table),
            Operator::TableCopy {
                dst_table,
                src_table,
            } => self.visit_table_copy(dst_table, src_table),
            Operator::TableInit { elem_index, table } => {
                self.visit_table_init(table, elem_index);
            }
            Operator::ElemDrop { elem_index } => self.visit_elem_drop(elem_index),
            Operator::Drop => {
                let value = self.pop();
                self.free(&value);
            }
            Operator::Select | Operator::TypedSelect { .. } => self.visit_select(),
            Operator::LocalGet { local_index } => {
                let local = LocalIndex(local_index);
                self.push(self.local_types[local.index()], Loc::Local(local));
            }
            Operator::LocalSet { local_index } => self.visit_local_set(LocalIndex(local_index)),
            Operator::LocalTee { local_index } => self.visit_local_tee(LocalIndex(local_index)),
            Operator::GlobalGet { global_index } => {
                let ty = self.module.globals[global_index as usize].ty;
                let mem = self.global(global_index);
                if ty.is_float() {
                    let reg = self.alloc_xmm();
                    self.masm.fload(width(ty), reg, mem);
                    self.push_xmm(ty, reg);
                } else {
                    let reg = self.alloc_gpr();
                    self.masm.mov(width(ty), reg, mem);
                    self.push_gpr(ty, reg);
                }
            }
            Operator::GlobalSet { global_index } => {
                let ty = self.module.globals[global_index as usize].ty;
                let value = self.pop();
                if ty.is_float() {
                    let reg = self.xmm_of(&value);
                    let mem = self.global(global_index);
                    self.masm.fstore(width(ty), mem, reg);
                    self.free_xmm(reg);
                } else {
                    let reg = self.gpr_of(&value);
                    let mem = self.global(global_index);
                    self.masm.store(width(ty), mem, reg);
                    self.free_gpr(reg);
                }
            }
            Operator::RefNull { hty } => self.push(null_type(hty), Loc::Const(0)),
            Operator::RefIsNull => self.eqz(ValType::I64, reader),
            Operator::RefFunc { function_index } => {
                let offset = self.layout.func_refs[function_index as usize];
                let mem = Mem::context(offset.expect("validated: it is declared"));
                let reg = self.alloc_gpr();
                self.masm.lea(Width::W64, reg, mem);
                self.push_gpr(ValType::FuncRef, reg);
            }
            Operator::MemorySize { .. } => {
                let reg = self.alloc_gpr();
                self.masm
                    .mov(Width::W64, reg, Mem::context(offsets::MEMORY_LEN));
                self.masm.shift_imm(Shift::Shr, Width::W64, reg, 16);
                self.push_gpr(ValType::I32, reg);
            }
            Operator::MemoryGrow { .. } => self.visit_memory_grow(),
            Operator::MemoryCopy { .. } => self.visit_bulk(BulkOp::Copy),
            Operator::MemoryFill { .. } => self.visit_bulk(BulkOp::Fill),
            Operator::MemoryInit { data_index, .. } => {
                self.visit_bulk(BulkOp::Init(DataIndex(data_index)));
            }
            Operator::DataDrop { data_index } => self.visit_data_drop(data_index),
            ref other => {
                if !self.numeric(other, reader) {
                    let what = format!("{other:?}");
                    let name = what.split([' ', '{']).next().unwrap_or_default();
                    return Err(CompileError::Unsupported {
                        offset: self.at,
                        what: name.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }

    fn visit_select(&mut self) {
        let condition = self.pop_condition();
        let otherwise = self.pop();
        let then = self.pop();
        let skip = self.masm.label();
        if then.ty.is_float() {
            let otherwise = self.xmm_of(&otherwise);
            let dst = self.xmm_of(&then);
            self.branch_on(condition, true, skip);
            self.masm.fmov(dst, otherwise);
            self.masm.bind(skip);
            self.free_xmm(otherwise);
            self.push_xmm(then.ty, dst);
        } else {
            let otherwise = self.rm_of(&otherwise);
            let dst = self.gpr_of(&then);
            match condition {
                Condition::Flags(cc) => {
                    self.masm.cmov(cc.negate(), width(then.ty), dst, otherwise);
                }
                Condition::Float { .. } => {
                    self.branch_on(condition, true, skip);
                    self.masm.mov(width(then.ty), dst, otherwise);
                    self.masm.bind(skip);
                }
            }
            self.free_rm(otherwise);
            self.push_gpr(then.ty, dst);
        }
    }

    fn visit_local_set(&mut self, local: LocalIndex) {
        let value = self.pop();
        if value.loc == Loc::Local(local) {
            return;
        }
        self.before_write(local);
        let slot = self.frame.local(local);
        self.store_value(slot, &value);
        self.free(&value);
    }

    fn visit_local_tee(&mut self, local: LocalIndex) {
        let mut value = self.pop();
        if value.loc != Loc::Local(local) {
            self.before_write(local);
            if matches!(value.loc, Loc::Home | Loc::Local(_)) {
                value.loc = if value.ty.is_float() {
                    Loc::Xmm(self.xmm_of(&value))
                } else {
                    Loc::Gpr(self.gpr_of(&value))
                };
            }
            let slot = self.frame.local(local);
            self.store_value(slot, &value);
        }
        self.push(value.ty, value.loc);
    }

    /// Where a global is. Loses the scratch register if it is imported.
    fn global(&mut self, index: u32) -> Mem {
        match self.layout.globals[index as usize] {
            GlobalSlot::Own(offset) => Mem::context(offset),
            GlobalSlot::Imported(offset) => {
                self.masm.mov(Width::W64, SCRATCH, Mem::context(offset));
                Mem::new(SCRATCH, 0)
            }
        }
    }
}

/// Stores all 64 bits of a slot. Loses the scratch register, no flags.
fn store_constant(masm: &mut Masm, slot: FrameOffset, bits: u64) {
    if let Ok(imm) = i32::try_from(bits.cast_signed()) {
        masm.store_imm(Width::W64, slot, imm);
    } else {
        masm.mov_imm(SCRATCH, bits);
        masm.store(Width::W64, slot, SCRATCH);
    }
}

/// A constant as an immediate of an instruction of that width.
pub(super) fn immediate(width: Width, bits: u64) -> Option<i32> {
    match width {
        Width::W32 => u32::try_from(bits).ok().map(u32::cast_signed),
        Width::W64 => i32::try_from(bits.cast_signed()).ok(),
    }
}
