//! The function's top: make the frame, give every argument its home, zero the other locals, count, test the checkpoint.

use super::compile::Compiler;
use crate::{
    arch::{
        masm::{Alu, Cc, Mem, RoomFixup, Width},
        regs::{self, FRAME, RAX, RDX, SCRATCH},
    },
    error::CompileError,
    frame::{
        abi::{Place, param_places},
        layout::COUNTER_OFFSET,
    },
    ir::value::TrapCode,
    runtime::context::offsets,
    suspension::{point::PointKind, suspend::emit_checkpoint_test},
    tier0::{
        compile::width,
        control::{UNROLLED_WORDS, transfer_word},
    },
    wasm::types::LocalIndex,
};

impl Compiler<'_> {
    /// Everything up to the body. The frame's size is filled in later.
    pub(super) fn emit_entry(&mut self) -> Result<RoomFixup, CompileError> {
        let module = self.module;
        let ty = module.func_type(self.func);
        let overflow = self.masm.label();
        self.masm.enter_frame();
        let room = self.masm.make_room_later(overflow);
        let trap = self.masm.trap_site(TrapCode::StackOverflow, self.at);
        self.masm.defer(move |masm| {
            masm.bind(overflow);
            masm.reset_stack();
            masm.jmp(trap);
        });

        // arguments: those in registers first, which frees rax for the transfer area
        let places = param_places(ty);
        for (n, (&ty, place)) in (0u32..).zip(ty.params.iter().zip(&places)) {
            let home = self.frame.local(LocalIndex(n));
            match *place {
                Place::Int(n) => self
                    .masm
                    .store(Width::W64, home, regs::ARGS[usize::from(n)]),
                Place::Float(n) => {
                    let reg = regs::FLOAT_ARGUMENTS[usize::from(n)];
                    self.masm.fstore(width(ty), home, reg);
                }
                Place::Transfer(_) => {}
            }
        }
        let mut area_loaded = false;
        for (n, place) in (0u32..).zip(&places) {
            if let Place::Transfer(word) = *place {
                if !area_loaded {
                    area_loaded = true;
                    self.masm
                        .mov(Width::W64, RAX, Mem::context(offsets::TRANSFER));
                }
                let home = self.frame.local(LocalIndex(n));
                self.masm.mov(Width::W64, SCRATCH, transfer_word(RAX, word));
                self.masm.store(Width::W64, home, SCRATCH);
            }
        }

        let first = u32::try_from(places.len()).expect("parameters are bounded by validation");
        self.zero_locals(first);
        if self.options.patchpoints {
            let counter = self.options.patchpoint_counter.cast_signed();
            self.masm.store_imm(Width::W32, COUNTER_OFFSET, counter);
        }
        if self.options.count_calls {
            self.emit_call_count();
        }
        let site = self.add_site(PointKind::Entry, &[]);
        let cold = self.checkpoint_cold();
        self.masm.comment("checkpoint");
        emit_checkpoint_test(&mut self.masm, &site, cold);
        self.masm.name("body");
        Ok(room)
    }

    fn zero_locals(&mut self, first: u32) {
        let count = self.frame.locals() - first;
        if count as usize <= UNROLLED_WORDS {
            for n in first..self.frame.locals() {
                let home = self.frame.local(LocalIndex(n));
                self.masm.store_imm(Width::W64, home, 0);
            }
            return;
        }
        // homes lie downwards, so the index counts down from zero
        let home = self.frame.local(LocalIndex(first));
        self.masm.zero(RDX);
        let again = self.masm.here();
        self.masm
            .store_imm(Width::W64, Mem::indexed(FRAME, RDX, 8, home.0), 0);
        self.masm.alu_imm(Alu::Sub, Width::W64, RDX, 1);
        self.masm
            .alu_imm(Alu::Cmp, Width::W64, RDX, -count.cast_signed());
        self.masm.jcc(Cc::NotEqual, again);
    }

    fn emit_call_count(&mut self) {
        let (func, at) = (self.func, self.at);
        let cold = self.masm.label();
        let counter = Mem::new(
            RAX,
            func.0.cast_signed() * offsets::ENTRY_SIZE + offsets::ENTRY_CALL_COUNTER,
        );
        self.masm.comment("call counter");
        self.masm
            .mov(Width::W64, RAX, Mem::context(offsets::ENTRIES));
        self.masm.alu_imm(Alu::Sub, Width::W32, counter, 1);
        self.masm.jcc(Cc::LessEqual, cold);
        let back = self.masm.here();
        self.masm.defer(move |masm| {
            masm.bind_named(cold, "call_count");
            masm.helper_args_context_imm(func.0);
            masm.call_helper(offsets::HELPER_CALL_COUNT);
            masm.note(at);
            masm.jmp(back);
        });
    }
}
