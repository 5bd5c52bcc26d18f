//! A small machine to run tier-0 code in: a context, helpers, an import that may suspend, and a dispatch loop.

use crate::segments::{
    data_drop, memory_init, no_elem_drop, no_table_fill, no_table_grow, no_table_move,
};
use midair_continuation::{
    Header,
    header::nobody,
    recycle::{NO_CLASS, SIZE_CLASSES, class_for_words},
};
use midair_jit::{
    arch::masm::CpuFeatures,
    code::draft::{CodeDraft, RelocTarget},
    frame::abi::{self, EXIT_RETURNED, EXIT_SUSPENDED, EXIT_SUSPENDED_AGAIN, EXIT_TRAPPED, Place},
    options::CompileOptions,
    runtime::{
        context::{FuncEntry, GlobalSlot, Helpers, ImportEntry, VmContext, VmLayout},
        helpers,
    },
    wasm::{
        liveness::Liveness,
        module::{GlobalInit, Module},
        types::{FuncIndex, FuncType, WasmOffset},
    },
};
use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    arch::naked_asm,
    collections::HashMap,
    ptr,
};

/// Registers as they are on the way in (arguments) and out (results).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Registers {
    ints: [u64; 6],
    floats: [u64; 8],
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Bits of the results.
    Returned(Vec<u64>),
    /// Trap code and Wasm offset.
    Trapped(u32, u32),
}

/// What the run-time side may do.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Behaviour {
    /// Every call of an import suspends.
    pub(crate) suspend_imports: bool,
    /// The checkpoint word is set, and every nth checkpoint suspends (0: never).
    pub(crate) suspend_checkpoints: u32,
}

/// The embedder's side of the context.
#[derive(Debug, Default)]
struct Host {
    behaviour: Behaviour,
    trap: Option<(u32, u32)>,
    checkpoints: u32,
    /// Results of the suspended leaf.
    leaf_results: [u64; 4],
    import_types: Vec<FuncType>,
    memory: Vec<u8>,
    max_pages: usize,
    counts: Counts,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    /// Patchpoint hits.
    pub(crate) hits: u64,
    /// Resumptions of guest frames.
    pub(crate) resumptions: u64,
    /// Suspensions of frames at the point they were resumed at.
    pub(crate) again: u64,
    /// Blocks that helpers allocated.
    pub(crate) allocated: u64,
    /// Blocks without class that code released.
    pub(crate) released: u64,
    /// Call counters that ran out.
    pub(crate) call_counts: u64,
}

/// A module compiled by tier-0, and one instance of it.
pub(crate) struct Machine {
    pub(crate) module: Module,
    code: *mut u8,
    code_len: usize,
    context: Vec<u64>,
    _entries: Vec<FuncEntry>,
    _sites: Vec<Box<[u64]>>,
    /// Words of the image, by the address of a site.
    images: HashMap<usize, u32>,
    _helpers: Box<Helpers>,
    transfer: Vec<u64>,
    host: Box<Host>,
    pub(crate) drafts: Vec<CodeDraft>,
}

const CONTEXT_WORDS: usize = size_of::<VmContext>().div_ceil(8);
const GUEST_STACK: usize = 1 << 20;

/// Calls machine code: `registers` are loaded, and hold the results afterwards.
#[unsafe(naked)]
unsafe extern "sysv64" fn enter(
    code: usize,
    context: *mut VmContext,
    registers: *mut Registers,
) -> u32 {
    naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "push rdx",
        "mov r15, rsi",
        "mov r11, rdi",
        "mov rax, rdx",
        "movsd xmm0, [rax + 48]",
        "movsd xmm1, [rax + 56]",
        "movsd xmm2, [rax + 64]",
        "movsd xmm3, [rax + 72]",
        "movsd xmm4, [rax + 80]",
        "movsd xmm5, [rax + 88]",
        "movsd xmm6, [rax + 96]",
        "movsd xmm7, [rax + 104]",
        "mov rdi, [rax]",
        "mov rsi, [rax + 8]",
        "mov rdx, [rax + 16]",
        "mov rcx, [rax + 24]",
        "mov r8, [rax + 32]",
        "mov r9, [rax + 40]",
        "xor ebp, ebp",
        "call r11",
        "pop r10",
        "mov [r10], rax",
        "mov [r10 + 8], rcx",
        "movsd [r10 + 48], xmm0",
        "movsd [r10 + 56], xmm1",
        "mov eax, edx",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
    )
}

/// Every import: hands its registers to [`import`].
#[unsafe(naked)]
unsafe extern "sysv64" fn import_stub() {
    naked_asm!(
        "push rbp", "mov rbp, rsp", "sub rsp, 112",
        "mov [rsp], rdi", "mov [rsp + 8], rsi", "mov [rsp + 16], rdx", "mov [rsp + 24], rcx",
        "mov [rsp + 32], r8", "mov [rsp + 40], r9",
        "movsd [rsp + 48], xmm0", "movsd [rsp + 56], xmm1", "movsd [rsp + 64], xmm2", "movsd [rsp + 72], xmm3",
        "movsd [rsp + 80], xmm4", "movsd [rsp + 88], xmm5", "movsd [rsp + 96], xmm6", "movsd [rsp + 104], xmm7",
        "mov rdi, r15", "mov rsi, r10", "mov rdx, rsp",
        "call {import}",
        "mov edx, eax",
        "mov rax, [rsp]", "mov rcx, [rsp + 8]", "movsd xmm0, [rsp + 48]", "movsd xmm1, [rsp + 56]",
        // nothing else survives a call
        "mov rsi, -1", "mov rdi, -1", "mov r8, -1", "mov r9, -1", "mov r10, -1", "mov r11, -1", "mov rbx, -1",
        "mov r12, -1", "mov r13, -1", "mov r14, -1", "movq xmm2, r14", "movq xmm3, r14", "movq xmm4, r14",
        "leave", "ret",
        import = sym import,
    )
}

unsafe fn host<'a>(context: *mut VmContext) -> &'a mut Host {
    // SAFETY: `Machine::new` stores its host there, which outlives every call; helpers do not nest.
    unsafe { &mut *(*context).host.cast::<Host>() }
}

/// What an import does: every result is the sum of the arguments' bits, in the result's width, plus its position.
pub(crate) fn import_results(ty: &FuncType, args: &[u64]) -> Vec<u64> {
    let sum = args.iter().fold(0u64, |sum, &arg| sum.wrapping_add(arg));
    ty.results
        .iter()
        .zip(0u64..)
        .map(|(ty, n)| {
            let bits = sum.wrapping_add(n);
            if ty.is_64() { bits } else { bits & 0xffff_ffff }
        })
        .collect()
}

unsafe extern "C" fn import(
    context: *mut VmContext,
    index: usize,
    registers: *mut Registers,
) -> u32 {
    // SAFETY: called by the stub above, with its own frame's registers.
    unsafe {
        let host = host(context);
        let ty = host.import_types[index].clone();
        let places = abi::param_places(&ty);
        let args: Vec<u64> = places
            .iter()
            .zip(&ty.params)
            .map(|(place, ty)| {
                let bits = match *place {
                    Place::Int(n) => (&(*registers).ints)[usize::from(n)],
                    Place::Float(n) => (&(*registers).floats)[usize::from(n)],
                    Place::Transfer(n) => *(*context).transfer.add(n as usize),
                };
                if ty.is_64() { bits } else { bits & 0xffff_ffff }
            })
            .collect();
        let results = import_results(&ty, &args);
        let mut kept = [0; 4];
        for (place, bits) in abi::result_places(&ty).iter().zip(results) {
            match *place {
                Place::Int(n) => kept[usize::from(n)] = bits,
                Place::Float(n) => kept[2 + usize::from(n)] = bits,
                Place::Transfer(n) => *(*context).transfer.add(n as usize) = bits,
            }
        }
        if host.behaviour.suspend_imports {
            host.leaf_results = kept;
            suspend_leaf(context);
            return EXIT_SUSPENDED;
        }
        (&mut (*registers).ints)[..2].copy_from_slice(&kept[..2]);
        (&mut (*registers).floats)[..2].copy_from_slice(&kept[2..]);
        EXIT_RETURNED
    }
}

unsafe fn suspend_leaf(context: *mut VmContext) {
    // SAFETY: the context is the one of the running machine.
    unsafe {
        let leaf = allocate(context, 0);
        (*leaf).next = ptr::null_mut();
        (*context).chain_head = leaf;
        (*context).chain_tail = leaf;
    }
}

unsafe extern "C" fn trap(
    context: *mut VmContext,
    code: u32,
    offset: u32,
    frame: usize,
    behind: usize,
) {
    assert_ne!(frame, 0);
    assert_ne!(behind, 0);
    // SAFETY: as in `host`.
    unsafe { host(context).trap = Some((code, offset)) };
}

unsafe extern "C" fn patchpoint_hit(
    context: *mut VmContext,
    frame: usize,
    state: usize,
    behind: usize,
) -> usize {
    assert_ne!(state, 0);
    // SAFETY: the frame register of a tier-0 frame; its counter lies 8 bytes below.
    unsafe {
        host(context).counts.hits += 1;
        *((frame - 8) as *mut u32) = 3;
    }
    behind
}

unsafe extern "C" fn checkpoint(context: *mut VmContext) -> u32 {
    // SAFETY: as in `host`.
    unsafe {
        let host = host(context);
        host.checkpoints += 1;
        let every = host.behaviour.suspend_checkpoints;
        if every != 0 && host.checkpoints % every == 0 {
            host.leaf_results = [0; 4];
            suspend_leaf(context);
            return EXIT_SUSPENDED;
        }
    }
    EXIT_RETURNED
}

unsafe extern "C" fn memory_grow(context: *mut VmContext, pages: u32) -> u32 {
    // SAFETY: as in `host`.
    unsafe {
        let host = host(context);
        let old = host.memory.len() / 65536;
        if old + pages as usize > host.max_pages {
            return u32::MAX;
        }
        // somewhere else, always
        let mut memory = vec![0; (old + pages as usize) * 65536];
        memory[..host.memory.len()].copy_from_slice(&host.memory);
        host.memory = memory;
        (*context).memory_base = host.memory.as_mut_ptr();
        (*context).memory_len = host.memory.len() as u64;
        old as u32
    }
}

fn block_layout(words: u32) -> Layout {
    let size = class_for_words(words).map_or(48 + 8 * words as usize, |class| {
        SIZE_CLASSES[usize::from(class)]
    });
    Layout::from_size_align(size, 16).expect("a block")
}

unsafe extern "C" fn allocate(context: *mut VmContext, words: u32) -> *mut Header {
    // SAFETY: as in `host`; a block has a size.
    unsafe {
        host(context).counts.allocated += 1;
        let block = alloc_zeroed(block_layout(words)).cast::<Header>();
        (*block).flags = u32::from(class_for_words(words).unwrap_or(NO_CLASS));
        block
    }
}

/// Takes back the block of a frame that is gone: on the list that machine code takes it from, if there is one.
unsafe fn take_back(context: *mut VmContext, block: *mut Header, words: u32) {
    // SAFETY: allocated above with as many words.
    unsafe {
        if let Some(class) = class_for_words(words) {
            let list = &mut (*context).free_lists.heads[usize::from(class)];
            (*block).next = *list;
            *list = block;
        } else {
            host(context).counts.released += 1;
            assert_eq!((*block).flags & 0xff, u32::from(NO_CLASS));
            dealloc(block.cast(), block_layout(words));
        }
    }
}

unsafe extern "C" fn call_count(context: *mut VmContext, func: u32) {
    // SAFETY: as in `host`; there is an entry per function.
    unsafe {
        host(context).counts.call_counts += 1;
        (*(*context).entries.add(func as usize))
            .call_counter
            .store(5, std::sync::atomic::Ordering::Relaxed);
    }
}

unsafe extern "C" fn compile(_: *mut VmContext, _: u32) -> usize {
    unreachable!("everything is compiled at the start")
}

unsafe extern "C" fn patchpoint_resume() {
    unreachable!("there is no OSR code")
}

impl Machine {
    /// Compiles and instantiates a module given as text.
    pub(crate) fn new(text: &str, features: CpuFeatures, options: &CompileOptions) -> Self {
        let bytes = wat::parse_str(text).expect("the text is well-formed");
        Self::from_bytes(&bytes, features, options)
    }

    /// Compiles and instantiates a module.
    pub(crate) fn from_bytes(
        bytes: &[u8],
        features: CpuFeatures,
        options: &CompileOptions,
    ) -> Self {
        let module = Module::new(bytes).expect("the module is valid");
        let globals = (0..module.globals.len())
            .map(|n| GlobalSlot::Own(offset(CONTEXT_WORDS + n)))
            .collect();
        let imports = offset(CONTEXT_WORDS + module.globals.len());
        let imported = module.imported_functions as usize;
        let words = CONTEXT_WORDS + module.globals.len() + 2 * imported;
        let layout = VmLayout {
            globals,
            imports,
            size: 8 * u32::try_from(words).expect("small"),
            ..VmLayout::default()
        };
        let drafts: Vec<CodeDraft> = (imported..module.functions.len())
            .map(|func| {
                let func = FuncIndex::new(func);
                let liveness = Liveness::compute(&module, func).expect("liveness");
                crate::compile(features, &module, func, &layout, options, &liveness)
            })
            .collect();

        // publish
        let code_len = drafts
            .iter()
            .map(|draft| draft.bytes.len().next_multiple_of(16))
            .sum::<usize>()
            .next_multiple_of(4096)
            .max(4096);
        // SAFETY: an anonymous mapping.
        let code = unsafe {
            libc::mmap(
                ptr::null_mut(),
                code_len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        }
        .cast::<u8>();
        assert_ne!(code.cast(), libc::MAP_FAILED);
        let mut at = 0;
        let mut entries: Vec<FuncEntry> = (0..imported).map(|_| entry(0)).collect();
        let mut sites = Vec::new();
        let mut images = HashMap::new();
        for draft in &drafts {
            let base = code as usize + at;
            let words: Box<[u64]> = draft
                .sites
                .iter()
                .map(|site| base as u64 + u64::from(site.door.0))
                .collect();
            let mut bytes = draft.bytes.clone();
            for reloc in &draft.relocs {
                let word = match reloc.target {
                    RelocTarget::Site(n) => &raw const words[n as usize] as u64,
                    RelocTarget::Patchpoint(n) => u64::from(n) + 1,
                    RelocTarget::Tier0ResumeEntry => unreachable!("only in OSR code"),
                };
                let at = reloc.at.0 as usize;
                bytes[at..at + 8].copy_from_slice(&word.to_le_bytes());
            }
            for (word, site) in words.iter().zip(&draft.sites) {
                let count = u32::try_from(site.image.len()).expect("small");
                images.insert(ptr::from_ref(word).addr(), count);
            }
            sites.push(words);
            // SAFETY: the mapping has room for every draft, each rounded up.
            unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), code.add(at), bytes.len()) };
            entries.push(entry(base + draft.entry.0 as usize));
            at += bytes.len().next_multiple_of(16);
        }
        // SAFETY: the mapping made above.
        unsafe { libc::mprotect(code.cast(), code_len, libc::PROT_READ | libc::PROT_EXEC) };

        let mut context = vec![0u64; words];
        for (n, global) in module.globals.iter().enumerate() {
            let GlobalInit::Const(bits) = global.init else {
                panic!("constant globals only");
            };
            context[CONTEXT_WORDS + n] = bits;
        }
        let first_import = CONTEXT_WORDS + module.globals.len();
        for n in 0..imported {
            let stub: unsafe extern "sysv64" fn() = import_stub;
            #[expect(clippy::fn_to_numeric_cast_any, reason = "machine code jumps there")]
            let stub = stub as usize as u64;
            context[first_import + 2 * n] = stub;
            context[first_import + 2 * n + 1] = n as u64;
        }
        assert_eq!(size_of::<ImportEntry>(), 16);
        let mut host = Box::new(Host::default());
        host.import_types = (0..imported)
            .map(|n| FuncType::clone(module.func_type(FuncIndex::new(n))))
            .collect();
        let pages = module.memory.map_or(0, |memory| memory.min as usize);
        host.memory = vec![0; pages * 65536];
        host.max_pages = module
            .memory
            .and_then(|memory| memory.max)
            .map_or(100, |max| max as usize);
        let helpers = Box::new(Helpers {
            trap,
            patchpoint_hit,
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
            call_count,
            compile,
            patchpoint_resume,
        });
        let mut transfer = vec![0u64; 4096];
        let vm = context.as_mut_ptr().cast::<VmContext>();
        // SAFETY: the buffer is as large as a context and zeroed, which is a valid state of all its fields.
        unsafe {
            (*vm).memory_base = host.memory.as_mut_ptr();
            (*vm).memory_len = host.memory.len() as u64;
            (*vm).entries = entries.as_ptr();
            (*vm).helpers = &raw const *helpers;
            (*vm).transfer = transfer.as_mut_ptr();
            (*vm).host = (&raw mut *host).cast();
        }
        Self {
            module,
            code,
            code_len,
            context,
            _entries: entries,
            _sites: sites,
            images,
            _helpers: helpers,
            transfer,
            host,
            drafts,
        }
    }

    /// Sets what the run-time side does.
    pub(crate) fn behave(&mut self, behaviour: Behaviour) {
        self.host.behaviour = behaviour;
    }

    pub(crate) fn counts(&self) -> Counts {
        self.host.counts
    }

    /// Bits of a global.
    pub(crate) fn global(&self, n: usize) -> u64 {
        self.context[CONTEXT_WORDS + n]
    }

    pub(crate) fn memory(&self) -> &[u8] {
        &self.host.memory
    }

    pub(crate) fn exported(&self, name: &str) -> FuncIndex {
        let found = self
            .module
            .exports
            .iter()
            .find_map(|(export, item)| match item {
                midair_jit::wasm::module::Extern::Func(func) if export == name => Some(*func),
                _ => None,
            });
        found.unwrap_or_else(|| panic!("no export {name}"))
    }

    /// Calls an export with arguments by their bits, and drives it to its end.
    pub(crate) fn call(&mut self, name: &str, args: &[u64]) -> Outcome {
        let func = self.exported(name);
        let ty = FuncType::clone(self.module.func_type(func));
        let mut registers = Registers {
            ints: [u64::MAX; 6],
            floats: [u64::MAX; 8],
        };
        for (place, &bits) in abi::param_places(&ty).iter().zip(args) {
            match *place {
                Place::Int(n) => registers.ints[usize::from(n)] = bits,
                Place::Float(n) => registers.floats[usize::from(n)] = bits,
                Place::Transfer(n) => self.transfer[n as usize] = bits,
            }
        }
        self.host.trap = None;
        let suspending = self.host.behaviour.suspend_checkpoints != 0;
        let context = self.context.as_mut_ptr().cast::<VmContext>();
        let marker = 0u8;
        // SAFETY: the context is whole, and the code was compiled for it. Continuations are entered once each.
        unsafe {
            (*context).checkpoint = u32::from(suspending).into();
            (*context).kept = nobody();
            (*context).stack_limit = (&raw const marker as usize) - GUEST_STACK;
            let code = (*(*context).entries.add(func.index()))
                .code
                .load(std::sync::atomic::Ordering::Acquire);
            let mut exit = enter(code, context, &raw mut registers);
            let mut outer: *mut Header = ptr::null_mut();
            loop {
                match exit {
                    EXIT_RETURNED => {
                        (*context).results = [
                            registers.ints[0],
                            registers.ints[1],
                            registers.floats[0],
                            registers.floats[1],
                        ];
                    }
                    EXIT_SUSPENDED | EXIT_SUSPENDED_AGAIN => {
                        let leaf = (*context).chain_head;
                        if exit == EXIT_SUSPENDED {
                            (*(*context).chain_tail).next = outer;
                        }
                        outer = (*leaf).next;
                        dealloc(leaf.cast(), block_layout(0));
                        (*context).results = self.host.leaf_results;
                    }
                    EXIT_TRAPPED => {
                        while !outer.is_null() {
                            outer = (*outer).next;
                        }
                        let (code, offset) = self.host.trap.take().expect("a trap is recorded");
                        return Outcome::Trapped(code, offset);
                    }
                    other => panic!("exit word {other}"),
                }
                if outer.is_null() {
                    break;
                }
                let continuation = outer;
                outer = (*continuation).next;
                self.host.counts.resumptions += 1;
                registers = Registers {
                    ints: [u64::MAX; 6],
                    floats: [u64::MAX; 8],
                };
                registers.ints[0] = continuation as u64;
                (*context).kept = continuation;
                exit = enter((*continuation).resume, context, &raw mut registers);
                if exit == EXIT_SUSPENDED_AGAIN {
                    self.host.counts.again += 1;
                    assert_eq!((*continuation).next, outer, "its link is as it was");
                } else {
                    let words = self.image_words(continuation);
                    take_back(context, continuation, words);
                }
            }
            let kept = (*context).results;
            let results = abi::result_places(&ty)
                .iter()
                .zip(&ty.results)
                .map(|(place, ty)| {
                    let bits = match *place {
                        Place::Int(n) => {
                            let bits = kept[usize::from(n)];
                            assert!(
                                ty.is_64() || bits >> 32 == 0,
                                "i32 results are zero-extended"
                            );
                            bits
                        }
                        Place::Float(n) => kept[2 + usize::from(n)],
                        Place::Transfer(n) => self.transfer[n as usize],
                    };
                    if ty.is_64() { bits } else { bits & 0xffff_ffff }
                })
                .collect();
            Outcome::Returned(results)
        }
    }

    /// Words of the image of a continuation.
    fn image_words(&self, continuation: *mut Header) -> u32 {
        // SAFETY: live; its site is of this machine.
        let site = unsafe { (*continuation).site }.addr();
        self.images[&site]
    }

    /// The operator a trap's offset points at.
    pub(crate) fn operator_at(&self, func: FuncIndex, at: u32) -> String {
        let mut reader = self
            .module
            .body(func)
            .get_operators_reader()
            .expect("a body");
        let mut operators = HashMap::new();
        while !reader.eof() {
            let offset = reader.original_position();
            operators.insert(offset, format!("{:?}", reader.read().expect("an operator")));
        }
        operators
            .remove(&u64::from(WasmOffset(at).0))
            .unwrap_or_else(|| "none".into())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: the mapping made in `new`; no code runs.
        unsafe { libc::munmap(self.code.cast(), self.code_len) };
    }
}

fn offset(word: usize) -> i32 {
    i32::try_from(8 * word).expect("a small context")
}

fn entry(code: usize) -> FuncEntry {
    FuncEntry {
        code: code.into(),
        call_counter: 5.into(),
        resume_counter: 1000.into(),
    }
}
