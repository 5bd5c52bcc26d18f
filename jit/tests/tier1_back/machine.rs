//! A machine to run drafts on: a context, fake imports that record and garble, helpers that note what they were told.

use crate::segments::{
    data_drop, memory_init, no_elem_drop, no_table_fill, no_table_grow, no_table_move,
};
use midair_continuation::{Header, header::nobody, recycle::FreeLists};
use midair_jit::{
    arch::{
        Masm,
        masm::{CpuFeatures, Mem, Width},
        regs,
    },
    code::draft::{CodeDraft, RelocTarget},
    frame::abi::EXIT_TRAPPED,
    runtime::{
        context::{FuncEntry, GlobalSlot, Helpers, ImportEntry, VmContext, VmLayout},
        helpers,
    },
};
use std::{
    arch::global_asm,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

pub(crate) const GLOBALS: usize = 8;
pub(crate) const IMPORTS: usize = 2;
pub(crate) const TRANSFER: usize = 1200;

/// What an import does when it is called.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reply {
    pub(crate) exit: u64,
    pub(crate) ints: [u64; 2],
    pub(crate) floats: [u64; 2],
    /// Filled in by the import: what it was given.
    pub(crate) int_args: [u64; 6],
    pub(crate) float_args: [u64; 8],
}

#[repr(C)]
struct Environment {
    next: *mut Reply,
}

/// The context with what lies behind it.
#[repr(C)]
struct Context {
    vm: VmContext,
    globals: [u64; GLOBALS],
    imports: [ImportEntry; IMPORTS],
}

/// What helpers report to.
#[derive(Debug, Default)]
pub(crate) struct Host {
    pub(crate) trap: Option<(u32, u32)>,
    /// What the checkpoint helper answers next; its word is cleared when there is nothing more.
    pub(crate) checkpoint_answers: Vec<u32>,
    pub(crate) checkpoints: u32,
    pub(crate) allocated: u32,
    pub(crate) grow_by: Option<u32>,
}

/// How an activation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Returned { ints: [u64; 2], floats: [u64; 2] },
    Suspended,
    Trapped(u32, u32),
}

impl Outcome {
    #[track_caller]
    pub(crate) fn int(self) -> u64 {
        match self {
            Self::Returned { ints, .. } => ints[0],
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn float(self) -> u64 {
        match self {
            Self::Returned { floats, .. } => floats[0],
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) struct Machine {
    context: Box<Context>,
    _entries: Vec<FuncEntry>,
    _helpers: Box<Helpers>,
    transfer: Box<[u64]>,
    pub(crate) memory: Vec<u8>,
    replies: Vec<Reply>,
    environment: Box<Environment>,
    leaf: Box<Header>,
    code: Vec<Mapping>,
}

struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped with that size, and no code runs when its machine is dropped.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

global_asm!(
    ".globl midair_tier1_test_enter",
    "midair_tier1_test_enter:",
    "push rbp",
    "push rbx",
    "push r12",
    "push r13",
    "push r14",
    "push r15",
    "push rdx",
    "mov r15, rdi",
    "mov rax, rsi",
    "mov rbx, rdx",
    "movsd xmm0, [rbx + 48]",
    "movsd xmm1, [rbx + 56]",
    "movsd xmm2, [rbx + 64]",
    "movsd xmm3, [rbx + 72]",
    "movsd xmm4, [rbx + 80]",
    "movsd xmm5, [rbx + 88]",
    "movsd xmm6, [rbx + 96]",
    "movsd xmm7, [rbx + 104]",
    "mov rdi, [rbx]",
    "mov rsi, [rbx + 8]",
    "mov rdx, [rbx + 16]",
    "mov rcx, [rbx + 24]",
    "mov r8, [rbx + 32]",
    "mov r9, [rbx + 40]",
    "xor ebp, ebp",
    "call rax",
    "pop rbx",
    "mov [rbx], rax",
    "mov [rbx + 8], rcx",
    "movsd [rbx + 16], xmm0",
    "movsd [rbx + 24], xmm1",
    "mov eax, edx",
    "pop r15",
    "pop r14",
    "pop r13",
    "pop r12",
    "pop rbx",
    "pop rbp",
    "ret",
);

#[expect(
    improper_ctypes,
    reason = "the context is passed through by its address"
)]
unsafe extern "C" {
    /// Enters guest code: six integer and eight float arguments in, two and two results out; gives the exit word.
    fn midair_tier1_test_enter(context: *mut VmContext, code: usize, registers: *mut u64) -> u32;
}

/// The host of a context.
///
/// # Safety
/// `context` belongs to a live [`Machine`] whose `run` is on the stack.
unsafe fn host<'a>(context: *mut VmContext) -> &'a mut Host {
    // SAFETY: `Machine::run` stored a live host there, and uses it only after guest code has returned.
    let host = unsafe { (*context).host };
    // SAFETY: as above.
    unsafe { &mut *host.cast::<Host>() }
}

unsafe extern "C" fn trap(context: *mut VmContext, code: u32, offset: u32, _: usize, _: usize) {
    // SAFETY: called by guest code that `Machine::run` entered.
    unsafe { host(context) }.trap = Some((code, offset));
}

unsafe extern "C" fn checkpoint(context: *mut VmContext) -> u32 {
    // SAFETY: called by guest code that `Machine::run` entered.
    let host = unsafe { host(context) };
    host.checkpoints += 1;
    let answer = if host.checkpoint_answers.is_empty() {
        0
    } else {
        host.checkpoint_answers.remove(0)
    };
    if host.checkpoint_answers.is_empty() {
        // SAFETY: as above; an atomic needs no exclusive access.
        unsafe { &(*context).checkpoint }.store(0, Ordering::Relaxed);
    }
    answer
}

unsafe extern "C" fn memory_grow(context: *mut VmContext, pages: u32) -> u32 {
    // SAFETY: called by guest code that `Machine::run` entered.
    unsafe { host(context) }.grow_by = Some(pages);
    7
}

unsafe extern "C" fn allocate(context: *mut VmContext, words: u32) -> *mut Header {
    // SAFETY: called by guest code that `Machine::run` entered.
    unsafe { host(context) }.allocated += 1;
    // SAFETY: guest code does not touch its free lists while a helper runs.
    let lists = unsafe { &mut (*context).free_lists };
    lists.take(8 * words as usize).as_ptr()
}

unsafe extern "C" fn unexpected() {
    std::process::abort();
}

/// A stub that answers with the next reply, garbling every register that a call may lose.
fn import_stub() -> Vec<u8> {
    let mut masm = Masm::new(CpuFeatures::BASELINE);
    let reply = regs::RAX;
    masm.mov(Width::W64, reply, Mem::new(regs::ENVIRONMENT, 0));
    masm.alu_imm(
        midair_jit::arch::masm::Alu::Add,
        Width::W64,
        Mem::new(regs::ENVIRONMENT, 0),
        i32::try_from(size_of::<Reply>()).unwrap(),
    );
    for (arg, i) in regs::ARGS.into_iter().zip(0..) {
        masm.store(Width::W64, Mem::new(reply, 40 + 8 * i), arg);
    }
    for (arg, i) in regs::FLOAT_ARGUMENTS.into_iter().zip(0..) {
        masm.fstore(Width::W64, Mem::new(reply, 88 + 8 * i), arg);
    }
    for n in (0..16).filter(|n| ![0, 4, 5, 15].contains(n)) {
        masm.mov_imm(regs::Gpr::new(n), 0xdead_0000_dead_0000 + u64::from(n));
    }
    for n in 0..16 {
        masm.gpr_to_xmm(Width::W64, regs::Xmm::new(n), regs::R11);
    }
    masm.mov(Width::W64, regs::EXIT, Mem::new(reply, 0));
    masm.mov(Width::W64, regs::RESULTS[1], Mem::new(reply, 16));
    masm.fload(Width::W64, regs::Xmm::new(0), Mem::new(reply, 24));
    masm.fload(Width::W64, regs::Xmm::new(1), Mem::new(reply, 32));
    masm.mov(Width::W64, regs::RAX, Mem::new(reply, 8));
    masm.ret();
    masm.finish().unwrap().bytes
}

/// Globals in words behind the context, then imports.
pub(crate) fn layout() -> VmLayout {
    let base = i32::try_from(size_of::<VmContext>()).unwrap();
    let globals = i32::try_from(GLOBALS).unwrap();
    VmLayout {
        globals: (0..globals)
            .map(|n| GlobalSlot::Own(base + 8 * n))
            .collect(),
        imports: base + 8 * globals,
        size: u32::try_from(size_of::<Context>()).unwrap(),
        ..VmLayout::default()
    }
}

impl Machine {
    pub(crate) fn new() -> Self {
        let helpers = Box::new(Helpers {
            trap,
            patchpoint_hit: {
                unsafe extern "C" fn f(_: *mut VmContext, _: usize, _: usize, _: usize) -> usize {
                    std::process::abort()
                }
                f
            },
            checkpoint,
            memory_grow,
            memory_copy: helpers::memory_copy,
            memory_fill: helpers::memory_fill,
            memory_init,
            data_drop,
            table_grow: no_table_grow,
            table_fill: no_table_fill,
            table_copy: no_table_move,
            table_init: no_table_move,
            elem_drop: no_elem_drop,
            allocate,
            call_count: {
                unsafe extern "C" fn f(_: *mut VmContext, _: u32) {}
                f
            },
            compile: {
                unsafe extern "C" fn f(_: *mut VmContext, _: u32) -> usize {
                    0
                }
                f
            },
            patchpoint_resume: unexpected,
        });
        let mut transfer = vec![0; TRANSFER].into_boxed_slice();
        let entries: Vec<FuncEntry> = (0..4)
            .map(|_| FuncEntry {
                code: AtomicUsize::new(0),
                call_counter: AtomicU32::new(0),
                resume_counter: AtomicU32::new(0),
            })
            .collect();
        let mut environment = Box::new(Environment {
            next: ptr::null_mut(),
        });
        let leaf = Box::new(Header {
            next: ptr::null_mut(),
            resume: 0,
            resume_address: None,
            site: ptr::null(),
            flags: 0,
            counter: 0,
            context: ptr::null_mut(),
        });
        let context = Box::new(Context {
            vm: VmContext {
                checkpoint: AtomicU32::new(0),
                helper_calls: 0,
                stack_limit: 0,
                resume_floor: usize::MAX,
                memory_base: ptr::null_mut(),
                memory_len: 0,
                entries: entries.as_ptr(),
                helpers: &raw const *helpers,
                transfer: transfer.as_mut_ptr(),
                chain_head: ptr::null_mut(),
                chain_tail: ptr::null_mut(),
                kept: nobody(),
                results: [0; 4],
                free_lists: FreeLists::default(),
                module: ptr::null(),
                host: ptr::null_mut(),
            },
            globals: [0; GLOBALS],
            imports: [0; IMPORTS].map(|_| ImportEntry {
                code: 0,
                environment: &raw mut *environment as usize,
            }),
        });
        let mut machine = Self {
            context,
            _entries: entries,
            _helpers: helpers,
            transfer,
            memory: vec![0; 65536],
            replies: Vec::new(),
            environment,
            leaf,
            code: Vec::new(),
        };
        let stub = machine.map(&import_stub());
        for import in &mut machine.context.imports {
            import.code = stub;
        }
        machine
    }

    /// Puts bytes where they can run.
    pub(crate) fn map(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().next_multiple_of(4096);
        // SAFETY: a fresh private mapping.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED);
        let at = at.cast::<u8>();
        // SAFETY: the mapping is at least that large and nobody else knows it.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        // SAFETY: as above; it is not written any more.
        let status = unsafe { libc::mprotect(at.cast(), len, libc::PROT_READ | libc::PROT_EXEC) };
        assert_eq!(status, 0);
        self.code.push(Mapping { at, len });
        at as usize
    }

    /// Publishes a draft; site n is described by the number n.
    pub(crate) fn publish(&mut self, draft: &CodeDraft) -> usize {
        // sites are told apart by their addresses, also those of code published before
        static PUBLISHED: AtomicU64 = AtomicU64::new(0);
        let published = PUBLISHED.fetch_add(1, Ordering::Relaxed);
        let mut bytes = draft.bytes.clone();
        for reloc in &draft.relocs {
            let word = match reloc.target {
                RelocTarget::Site(n) => (published << 16) + u64::from(n) + 1,
                _ => 0,
            };
            let at = reloc.at.0 as usize;
            bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        self.map(&bytes)
    }

    /// Makes a function of the module be this code.
    pub(crate) fn define(&mut self, func: usize, code: usize) {
        self._entries[func].code.store(code, Ordering::Release);
    }

    pub(crate) fn global(&mut self, n: usize) -> &mut u64 {
        &mut self.context.globals[n]
    }

    pub(crate) fn transfer(&mut self) -> &mut [u64] {
        &mut self.transfer
    }

    pub(crate) fn results(&mut self) -> &mut [u64; 4] {
        &mut self.context.vm.results
    }

    pub(crate) fn set_checkpoint(&mut self) {
        self.context.vm.checkpoint.store(1, Ordering::Relaxed);
    }

    /// What imports answer from now on, call by call.
    pub(crate) fn set_replies(&mut self, replies: &[Reply]) {
        self.replies = replies.to_vec();
        self.environment.next = self.replies.as_mut_ptr();
    }

    /// What they answered, and were given.
    pub(crate) fn replies(&self) -> &[Reply] {
        &self.replies
    }

    pub(crate) fn set_stack_limit(&mut self, limit: usize) {
        self.context.vm.stack_limit = limit;
    }

    /// Enters code with these argument registers.
    pub(crate) fn run(
        &mut self,
        code: usize,
        ints: &[u64],
        floats: &[u64],
        host: &mut Host,
    ) -> Outcome {
        let mut registers = [0_u64; 14];
        registers[..ints.len()].copy_from_slice(ints);
        registers[6..6 + floats.len()].copy_from_slice(floats);
        let vm = &mut self.context.vm;
        vm.memory_base = self.memory.as_mut_ptr();
        vm.memory_len = u64::try_from(self.memory.len()).unwrap();
        vm.host = ptr::from_mut(host).cast();
        self.leaf.next = ptr::null_mut();
        vm.chain_head = &raw mut *self.leaf;
        vm.chain_tail = &raw mut *self.leaf;
        let context = (&raw mut *self.context).cast::<VmContext>();
        // SAFETY: the code was published by this machine, its context is whole, the stub keeps the C convention.
        let exit = unsafe { midair_tier1_test_enter(context, code, registers.as_mut_ptr()) };
        match exit {
            0 => Outcome::Returned {
                ints: [registers[0], registers[1]],
                floats: [registers[2], registers[3]],
            },
            1 => Outcome::Suspended,
            EXIT_TRAPPED => {
                let (code, offset) = host.trap.take().expect("a trap is recorded");
                Outcome::Trapped(code, offset)
            }
            other => panic!("exit word {other}"),
        }
    }

    /// The continuations behind the leaf, callee first.
    pub(crate) fn chain(&self) -> Vec<*mut Header> {
        let mut chain = Vec::new();
        // the last link is the dispatcher's to end
        // SAFETY: the last continuation linked.
        unsafe { (*self.context.vm.chain_tail).next = ptr::null_mut() };
        let mut at = self.leaf.next;
        while !at.is_null() {
            chain.push(at);
            // SAFETY: the chain was linked by guest code that has returned.
            at = unsafe { (*at).next };
        }
        chain
    }

    /// Goes on with a continuation.
    pub(crate) fn resume(&mut self, continuation: *mut Header, host: &mut Host) -> Outcome {
        // SAFETY: it came from `chain`.
        let code = unsafe { (*continuation).resume };
        let outcome = self.run(code, &[continuation as u64], &[], host);
        let block = NonNull::new(continuation).expect("it came from `chain`");
        // SAFETY: its frame is gone, and nothing was kept for it.
        unsafe { self.context.vm.free_lists.give(block) };
        outcome
    }
}

/// The number of the site a continuation is parked at, and its image.
pub(crate) fn parked(continuation: *mut Header, words: usize) -> (usize, Vec<u64>) {
    // SAFETY: a continuation of a chain, with an image of that many words behind its header.
    let site = (unsafe { (*continuation).site } as usize & 0xffff) - 1;
    let image = continuation.wrapping_add(1).cast::<u64>();
    let image = (0..words)
        // SAFETY: as above.
        .map(|i| unsafe { image.wrapping_add(i).read() })
        .collect();
    (site, image)
}

/// Fake tier-0 code: makes a frame, stores its arguments in homes from `[rbp - 16]` on, jumps to OSR code.
pub(crate) fn osr_stub(frame_size: u32, args: usize, target: usize) -> Vec<u8> {
    let mut masm = Masm::new(CpuFeatures::BASELINE);
    masm.enter_frame();
    let overflow = masm.label();
    masm.make_room(frame_size, overflow);
    for (&arg, i) in regs::ARGS[..args].iter().zip(0..) {
        masm.store(Width::W64, Mem::new(regs::FRAME, -16 - 8 * i), arg);
    }
    masm.mov_imm(regs::RAX, target as u64);
    masm.jmp_to(regs::RAX);
    masm.bind(overflow);
    masm.int3();
    masm.finish().unwrap().bytes
}
