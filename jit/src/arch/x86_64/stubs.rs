//! Stubs between Rust and guest code, one per function type, and the stubs that compile a function at its first call.
//!
//! ```text
//!   Rust ──enter──▶ entry stub: words to registers ──jmp──▶ guest code
//!   guest code ──call──▶ host stub: registers to words ──call──▶ Rust
//! ```

use super::{
    masm::{Alu, Cc, CpuFeatures, Masm, Mem, Width},
    registers::{
        ARGS, CONTEXT, ENVIRONMENT, EXIT, FLOAT_ARGUMENTS, FLOAT_RESULT_REGISTERS, FRAME,
        HELPER_ARGS, RAX, RDI, RESULTS, SCRATCH, STACK,
    },
};
use crate::{
    frame::abi::{EXIT_TRAPPED, Place, param_places, result_places},
    ir::value::TrapCode,
    runtime::context::{VmLayout, offsets},
    wasm::types::{CodeOffset, FuncType, WasmOffset},
};

/// The stubs of a module's functions that are not compiled yet.
#[derive(Debug)]
pub struct LazyStubs {
    /// Position-independent code.
    pub bytes: Vec<u8>,
    /// Where each function's stub begins.
    pub entries: Vec<CodeOffset>,
}

fn words(count: usize) -> i32 {
    i32::try_from(8 * count).expect("at most a thousand parameters or results")
}

/// One stub per function, imported ones first: of an imported function it jumps to the import, of a defined one it asks for
/// the function's code and jumps there.
///
/// # Machine contract
/// *On entry*: as any guest function. *On exit*: at the function's code, all argument registers as they were.
///
/// # Panics
/// Never: the stubs of a million functions fit.
pub fn lazy_stubs(layout: &VmLayout, imported: u32, count: u32) -> LazyStubs {
    let mut masm = Masm::new(CpuFeatures::detect());
    let common = masm.label();
    let mut entries = Vec::with_capacity(count as usize);
    for func in 0..imported {
        entries.push(masm.offset());
        let entry = layout.import(func);
        masm.mov(
            Width::W64,
            ENVIRONMENT,
            Mem::context(entry + offsets::IMPORT_ENVIRONMENT),
        );
        masm.jmp_to(Mem::context(entry + offsets::IMPORT_CODE));
    }
    for func in imported..count {
        entries.push(masm.offset());
        masm.mov_imm(RAX, u64::from(func));
        masm.jmp(common);
    }
    if count == 0 {
        return LazyStubs {
            bytes: Vec::new(),
            entries,
        };
    }
    masm.bind(common);
    masm.enter_frame();
    let overflow = masm.trap_site(TrapCode::StackOverflow, WasmOffset(0));
    let reset = masm.label();
    masm.make_room(128, reset);
    let saved = |i: usize| Mem::new(FRAME, -words(i + 1));
    for (i, &reg) in ARGS.iter().enumerate() {
        masm.store(Width::W64, saved(i), reg);
    }
    for (i, &reg) in FLOAT_ARGUMENTS.iter().enumerate() {
        masm.fstore(Width::W64, saved(ARGS.len() + i), reg);
    }
    masm.mov(Width::W64, HELPER_ARGS[1], RAX);
    masm.mov(Width::W64, HELPER_ARGS[0], CONTEXT);
    masm.call_helper(offsets::HELPER_COMPILE);
    let failed = masm.label();
    masm.test(Width::W64, RAX, RAX);
    masm.jcc(Cc::Equal, failed);
    for (i, &reg) in ARGS.iter().enumerate() {
        masm.mov(Width::W64, reg, saved(i));
    }
    for (i, &reg) in FLOAT_ARGUMENTS.iter().enumerate() {
        masm.fload(Width::W64, reg, saved(ARGS.len() + i));
    }
    masm.leave();
    masm.jmp_to(RAX);
    masm.bind(failed);
    masm.mov_imm(EXIT, u64::from(EXIT_TRAPPED));
    masm.leave();
    masm.ret();
    masm.bind(reset);
    masm.reset_stack();
    masm.jmp(overflow);
    masm.emit_deferred();
    let code = masm
        .finish()
        .expect("a few bytes per function, and functions are limited by validation");
    LazyStubs {
        bytes: code.bytes,
        entries,
    }
}

/// The entry stub of a function type: position-independent code.
///
/// # Machine contract
/// *On entry*: by a call; `rdi` points to the address of guest code, followed by one word per parameter; `r15` = context.
/// *On exit*: at that code, arguments in place, as if it had been called from where the stub was. *Clobbers*: `r11`.
///
/// # Panics
/// Never: a stub is short.
pub fn entry_stub(ty: &FuncType) -> Vec<u8> {
    let mut masm = Masm::new(CpuFeatures::detect());
    let word = |i: usize| Mem::new(RDI, words(i + 1));
    let places = param_places(ty);
    if places
        .iter()
        .any(|place| matches!(place, Place::Transfer(_)))
    {
        masm.mov(Width::W64, SCRATCH, Mem::context(offsets::TRANSFER));
    }
    // the array's own register is the first argument register, so that one is loaded last
    let mut first = None;
    for (i, &place) in places.iter().enumerate() {
        match place {
            Place::Int(0) => first = Some(i),
            Place::Int(n) => masm.mov(Width::W64, ARGS[usize::from(n)], word(i)),
            Place::Float(n) => masm.fload(Width::W64, FLOAT_ARGUMENTS[usize::from(n)], word(i)),
            Place::Transfer(n) => {
                masm.mov(Width::W64, RAX, word(i));
                masm.store(Width::W64, Mem::new(SCRATCH, words(n as usize)), RAX);
            }
        }
    }
    masm.mov(Width::W64, RAX, Mem::new(RDI, 0));
    if let Some(i) = first {
        masm.mov(Width::W64, RDI, word(i));
    }
    masm.jmp_to(RAX);
    masm.finish().expect("at most a thousand parameters").bytes
}

/// A host stub that needs more stack than this tests the limit.
const SMALL: u32 = 256;

/// The host stub of a function type: position-independent code.
///
/// # Machine contract
/// *On entry*: as an imported function; `r10` points to the environment, whose first word is the address of a function
/// `(context, environment, words) -> HostExit` of the C convention. It gets one word per parameter and leaves one per
/// result in their place. *On exit*: as from any guest function. *Stack shape*: a frame, with the words in it.
///
/// # Panics
/// Never: a stub is short.
pub fn host_stub(ty: &FuncType) -> Vec<u8> {
    let mut masm = Masm::new(CpuFeatures::detect());
    let count = ty.params.len().max(ty.results.len());
    let size = words(count.next_multiple_of(2));
    let word = |i: usize| Mem::new(FRAME, words(i) - size);
    if size == 0 {
        // nothing in the frame: the saved register is all there is to it
        masm.push(FRAME);
        masm.mov(Width::W64, HELPER_ARGS[0], CONTEXT);
        masm.mov(Width::W64, HELPER_ARGS[1], ENVIRONMENT);
        masm.mov(Width::W64, HELPER_ARGS[2], STACK);
        masm.call(Mem::new(ENVIRONMENT, 0));
        masm.pop(FRAME);
        masm.ret();
        return masm.finish().expect("a few instructions").bytes;
    }
    masm.enter_frame();
    // the caller has tested the limit, and what lies below it is room for helpers; words beyond that are tested
    masm.lea(Width::W64, STACK, Mem::new(FRAME, -size));
    let large = (size.cast_unsigned() > SMALL).then(|| masm.label());
    if let Some(overflow) = large {
        masm.alu(
            Alu::Cmp,
            Width::W64,
            STACK,
            Mem::context(offsets::STACK_LIMIT),
        );
        masm.jcc(Cc::Below, overflow);
    }
    let params = param_places(ty);
    if params
        .iter()
        .any(|place| matches!(place, Place::Transfer(_)))
    {
        masm.mov(Width::W64, SCRATCH, Mem::context(offsets::TRANSFER));
    }
    for (i, &place) in params.iter().enumerate() {
        match place {
            Place::Int(n) => masm.store(Width::W64, word(i), ARGS[usize::from(n)]),
            Place::Float(n) => masm.fstore(Width::W64, word(i), FLOAT_ARGUMENTS[usize::from(n)]),
            Place::Transfer(n) => {
                masm.mov(Width::W64, RAX, Mem::new(SCRATCH, words(n as usize)));
                masm.store(Width::W64, word(i), RAX);
            }
        }
    }
    masm.mov(Width::W64, HELPER_ARGS[0], CONTEXT);
    masm.mov(Width::W64, HELPER_ARGS[1], ENVIRONMENT);
    masm.mov(Width::W64, HELPER_ARGS[2], STACK);
    masm.call(Mem::new(ENVIRONMENT, 0));
    if !ty.results.is_empty() {
        let out = masm.label();
        masm.test(Width::W32, EXIT, EXIT);
        masm.jcc(Cc::NotEqual, out);
        let results = result_places(ty);
        if results
            .iter()
            .any(|place| matches!(place, Place::Transfer(_)))
        {
            masm.mov(Width::W64, SCRATCH, Mem::context(offsets::TRANSFER));
        }
        // transferred ones first: they pass through a result register
        for (i, &place) in results.iter().enumerate() {
            if let Place::Transfer(n) = place {
                masm.mov(Width::W64, RAX, word(i));
                masm.store(Width::W64, Mem::new(SCRATCH, words(n as usize)), RAX);
            }
        }
        for (i, &place) in results.iter().enumerate() {
            match place {
                Place::Int(n) => masm.mov(Width::W64, RESULTS[usize::from(n)], word(i)),
                Place::Float(n) => {
                    masm.fload(Width::W64, FLOAT_RESULT_REGISTERS[usize::from(n)], word(i));
                }
                Place::Transfer(_) => (),
            }
        }
        masm.bind(out);
    }
    masm.leave();
    masm.ret();
    if let Some(overflow) = large {
        let trap = masm.trap_site(TrapCode::StackOverflow, WasmOffset(0));
        masm.bind(overflow);
        masm.reset_stack();
        masm.jmp(trap);
    }
    masm.emit_deferred();
    masm.finish()
        .expect("at most a thousand parameters and results")
        .bytes
}
