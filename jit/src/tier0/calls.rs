//! Calls: arguments to their places, everything else home, then the exit-word test and the results.

use super::{
    compile::{Compiler, Operand, width},
    control::{UNROLLED_WORDS, transfer_word},
    value_stack::Loc,
};
use crate::{
    arch::{
        masm::{Alu, Cc, Mem, Width},
        regs::{self, FRAME, Gpr, RAX, RCX, RDX, RSI, SCRATCH, Xmm},
    },
    frame::abi::{Place, Places, param_places},
    runtime::context::offsets,
    suspension::{point::PointKind, suspend::emit_exit_test},
    wasm::types::{FuncIndex, FuncType, ValType},
};

impl Compiler<'_> {
    pub(super) fn visit_call(&mut self, callee: FuncIndex) {
        let module = self.module;
        let ty: &FuncType = module.func_type(callee);
        self.arguments(ty);
        self.masm.comment(format!("call {callee} {}", self.at));
        let target = self.load_callee(callee);
        self.masm.call(target);
        self.returned(ty);
    }

    /// Pops a call's arguments and moves them to their places; all else goes home.
    pub(super) fn arguments(&mut self, ty: &FuncType) {
        let args = self.pop_arguments(ty);
        self.flush();
        self.move_and_free(ty, &args);
    }

    /// The same for a tail call: what is left on the operand stack is not needed any more.
    pub(super) fn last_arguments(&mut self, ty: &FuncType) {
        let args = self.pop_arguments(ty);
        self.move_and_free(ty, &args);
    }

    fn move_and_free(&mut self, ty: &FuncType, args: &[Operand]) {
        self.move_arguments(ty, args);
        for arg in args {
            self.free(arg);
        }
    }

    /// What stands behind a call: its site, the exit-word test, the results.
    pub(super) fn returned(&mut self, ty: &FuncType) {
        self.masm.note(self.at);
        let return_offset = self.masm.offset();
        let site = self.add_site(PointKind::Call, &ty.results);
        self.sites
            .last_mut()
            .expect("one was just added")
            .return_offset = return_offset;
        emit_exit_test(&mut self.masm, &site);
        self.push_results(&ty.results);
    }

    /// The frame goes before the call: the callee returns to whoever called this function. Values that are left on the
    /// operand stack go with it.
    pub(super) fn visit_return_call(&mut self, callee: FuncIndex) {
        let module = self.module;
        let ty: &FuncType = module.func_type(callee);
        self.last_arguments(ty);
        self.masm
            .comment(format!("return_call {callee} {}", self.at));
        let target = self.load_callee(callee);
        self.masm.leave();
        self.masm.jmp_to(target);
        self.set_unreachable();
    }

    fn pop_arguments(&mut self, ty: &FuncType) -> Vec<Operand> {
        let mut args: Vec<Operand> = ty.params.iter().map(|_| self.pop()).collect();
        args.reverse();
        args
    }

    /// Where a function's address is, once its arguments are in place. Loses `rax` and the environment's register.
    fn load_callee(&mut self, callee: FuncIndex) -> Mem {
        if self.module.is_imported(callee) {
            let entry = self.layout.import(callee.0);
            self.masm.mov(
                Width::W64,
                regs::ENVIRONMENT,
                Mem::context(entry + offsets::IMPORT_ENVIRONMENT),
            );
            Mem::context(entry + offsets::IMPORT_CODE)
        } else {
            let entry = callee.0.cast_signed() * offsets::ENTRY_SIZE;
            self.masm
                .mov(Width::W64, RAX, Mem::context(offsets::ENTRIES));
            Mem::new(RAX, entry + offsets::ENTRY_CODE)
        }
    }

    fn move_arguments(&mut self, ty: &FuncType, args: &[Operand]) {
        let places = param_places(ty);
        let placed = || places.iter().zip(args);
        // the transfer area while rcx, which no operand lives in, is not an argument yet
        if places
            .iter()
            .any(|place| matches!(place, Place::Transfer(_)))
        {
            self.masm
                .mov(Width::W64, RCX, Mem::context(offsets::TRANSFER));
            for (place, arg) in placed() {
                if let Place::Transfer(word) = *place {
                    self.store_operand_to(transfer_word(RCX, word), arg);
                }
            }
        }
        // registers to registers, all at once; then the rest, which reads no register
        let mut ints: Vec<(Gpr, Gpr)> = Vec::new();
        let mut floats: Vec<(Xmm, Xmm)> = Vec::new();
        for (place, arg) in placed() {
            match (*place, arg.loc) {
                (Place::Int(n), Loc::Gpr(src)) => ints.push((regs::ARGS[usize::from(n)], src)),
                (Place::Float(n), Loc::Xmm(src)) => {
                    floats.push((regs::FLOAT_ARGUMENTS[usize::from(n)], src));
                }
                _ => {}
            }
        }
        parallel_moves(ints, SCRATCH, |dst, src| {
            self.masm.mov(Width::W64, dst, src);
        });
        parallel_moves(floats, regs::FLOAT_SCRATCH, |dst, src| {
            self.masm.fmov(dst, src);
        });
        for (place, arg) in placed() {
            match (*place, arg.loc) {
                (_, Loc::Gpr(_) | Loc::Xmm(_)) | (Place::Transfer(_), _) => {}
                (Place::Int(n), _) => self.load_gpr(regs::ARGS[usize::from(n)], arg),
                (Place::Float(n), _) => self.load_xmm(regs::FLOAT_ARGUMENTS[usize::from(n)], arg),
            }
        }
    }

    /// Stores a value anywhere in memory, all 64 bits of integers. Loses the scratch register.
    pub(super) fn store_operand_to(&mut self, mem: Mem, value: &Operand) {
        match value.loc {
            Loc::Gpr(reg) => self.masm.store(Width::W64, mem, reg),
            Loc::Xmm(reg) => self.masm.fstore(width(value.ty), mem, reg),
            Loc::Const(_) | Loc::Local(_) | Loc::Home => {
                self.load_gpr(SCRATCH, value);
                self.masm.store(Width::W64, mem, SCRATCH);
            }
        }
    }

    /// Pushes a call's results; those in the transfer area go home at once.
    fn push_results(&mut self, results: &[ValType]) {
        let base = self.stack.len();
        let mut places = Places::results();
        let placed: Vec<(ValType, Place)> =
            results.iter().map(|&ty| (ty, places.next(ty))).collect();
        // take the registers before anything can be allocated
        for &(ty, place) in &placed {
            match place {
                Place::Int(0) => {
                    let taken = self.stack.take_this(Loc::Gpr(RAX));
                    debug_assert!(taken, "no register is taken behind a call");
                    debug_assert!(!ty.is_float());
                }
                Place::Float(n) => {
                    let reg = regs::FLOAT_RESULT_REGISTERS[usize::from(n)];
                    let taken = self.stack.take_this(Loc::Xmm(reg));
                    debug_assert!(taken, "no register is taken behind a call");
                }
                Place::Int(_) | Place::Transfer(_) => {}
            }
        }
        let second = placed
            .iter()
            .any(|&(_, place)| place == Place::Int(1))
            .then(|| {
                let reg = self.alloc_gpr();
                self.masm.mov(Width::W64, reg, regs::RESULTS[1]);
                reg
            });
        self.copy_transferred(base, &placed);
        for (ty, place) in placed {
            let loc = match place {
                Place::Int(0) => Loc::Gpr(RAX),
                Place::Int(_) => Loc::Gpr(second.expect("copied above")),
                Place::Float(n) => Loc::Xmm(regs::FLOAT_RESULT_REGISTERS[usize::from(n)]),
                Place::Transfer(_) => Loc::Home,
            };
            self.push(ty, loc);
        }
    }

    /// Copies results from the transfer area to the homes they are about to have.
    fn copy_transferred(&mut self, base: usize, placed: &[(ValType, Place)]) {
        let mut index = 0;
        let mut loaded = false;
        while index < placed.len() {
            let Place::Transfer(word) = placed[index].1 else {
                index += 1;
                continue;
            };
            if !loaded {
                loaded = true;
                self.masm
                    .mov(Width::W64, RCX, Mem::context(offsets::TRANSFER));
            }
            // words follow each other; so do homes, downwards, as far as no register comes in between
            let run = placed[index..]
                .iter()
                .take_while(|(_, place)| matches!(place, Place::Transfer(_)))
                .count();
            if run <= UNROLLED_WORDS {
                for (n, i) in (0u32..).zip(index..index + run) {
                    let home = self.stack_home(base + i);
                    self.masm
                        .mov(Width::W64, SCRATCH, transfer_word(RCX, word + n));
                    self.masm.store(Width::W64, home, SCRATCH);
                }
            } else {
                let home = self.stack_home(base + index);
                let words = i32::try_from(run).expect("results are bounded by validation");
                self.masm.lea(Width::W64, RCX, transfer_word(RCX, word));
                self.masm.zero(RDX);
                let again = self.masm.here();
                self.masm.mov(Width::W64, SCRATCH, Mem::new(RCX, 0));
                self.masm
                    .store(Width::W64, Mem::indexed(FRAME, RDX, 8, home.0), SCRATCH);
                self.masm.alu_imm(Alu::Add, Width::W64, RCX, 8);
                self.masm.alu_imm(Alu::Sub, Width::W64, RDX, 1);
                self.masm.alu_imm(Alu::Cmp, Width::W64, RDX, -words);
                self.masm.jcc(Cc::NotEqual, again);
                loaded = false;
            }
            index += run;
        }
    }

    pub(super) fn visit_memory_grow(&mut self) {
        let pages = self.pop();
        self.flush();
        self.load_gpr(RSI, &pages);
        self.free(&pages);
        debug_assert_eq!(regs::HELPER_ARGS[1], RSI);
        self.masm
            .mov(Width::W64, regs::HELPER_ARGS[0], regs::CONTEXT);
        self.masm.comment("memory.grow");
        self.masm.call_helper(offsets::HELPER_MEMORY_GROW);
        self.masm.note(self.at);
        // the C convention leaves the upper half open
        self.masm.mov(Width::W32, RAX, regs::HELPER_RESULT);
        let taken = self.stack.take_this(Loc::Gpr(RAX));
        debug_assert!(taken, "no register is taken behind a helper call");
        self.push_gpr(ValType::I32, RAX);
    }
}

/// Emits moves that happen all at once; `scratch` breaks cycles.
fn parallel_moves<R: Copy + PartialEq>(
    mut moves: Vec<(R, R)>,
    scratch: R,
    mut emit: impl FnMut(R, R),
) {
    moves.retain(|&(dst, src)| dst != src);
    while !moves.is_empty() {
        let ready = moves
            .iter()
            .position(|&(dst, _)| moves.iter().all(|&(_, src)| src != dst));
        if let Some(ready) = ready {
            let (dst, src) = moves.swap_remove(ready);
            emit(dst, src);
        } else {
            let blocked = moves[0].1;
            emit(scratch, blocked);
            for (_, src) in &mut moves {
                if *src == blocked {
                    *src = scratch;
                }
            }
        }
    }
}
