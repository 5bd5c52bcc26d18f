//! The context: what machine code finds behind its pinned register.
//!
//! One [`VmContext`] per instance; `regs::CONTEXT` points at it whenever guest code runs. Machine code uses the fields by
//! their offsets ([`offsets`]); the module's own globals and imports follow the struct, where [`VmLayout`] says.

#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "offsets in structs of a few hundred bytes"
)]

use super::functions::CompiledModule;
use midair_continuation::{Header, recycle::FreeLists};
use std::sync::atomic::{AtomicU32, AtomicUsize};

/// What machine code finds behind its pinned register.
#[repr(C)]
#[derive(Debug)]
pub struct VmContext {
    /// The checkpoint word: not zero when loop headers and function entries must call [`Helpers::checkpoint`].
    pub checkpoint: AtomicU32,
    /// Calls of helpers by machine code, counted by the helpers themselves.
    pub helper_calls: u32,
    /// The stack pointer must not fall below this; set for the thread at `enter`.
    pub stack_limit: usize,
    /// Above this a stack pointer leaves a resumed call as much room as it should have; `usize::MAX` when the limit was not
    /// set by who resumes calls.
    pub resume_floor: usize,
    /// Linear memory.
    pub memory_base: *mut u8,
    /// Its length in bytes.
    pub memory_len: u64,
    /// One [`FuncEntry`] per function of the module.
    pub entries: *const FuncEntry,
    /// The helper table.
    pub helpers: *const Helpers,
    /// The transfer area: arguments and results beyond the registers.
    pub transfer: *mut u64,
    /// First continuation (the leaf) of the chain that is being built or resumed.
    pub chain_head: *mut Header,
    /// Last continuation of that chain: the next frame links itself behind it.
    pub chain_tail: *mut Header,
    /// The continuation that the outermost guest frame was resumed from, while that runs: it may be suspended in it again (see
    /// [`suspend`](crate::suspension::suspend)). [`nobody`](midair_continuation::header::nobody) if that frame was called.
    pub kept: *mut Header,
    /// Result registers (two integers, two floats), kept here while no guest frame runs.
    pub results: [u64; 4],
    /// Recycled continuations by size class.
    pub free_lists: FreeLists,
    /// The module's code, for helpers.
    pub module: *const CompiledModule,
    /// The embedder's side: never touched by machine code.
    pub host: *mut (),
}

/// A function as machine code calls it.
#[repr(C)]
#[derive(Debug)]
pub struct FuncEntry {
    /// Where to call: compiled code, or a stub that compiles. Stored with Release, loaded with Acquire.
    pub code: AtomicUsize,
    /// Counts calls of tier-0 code down.
    pub call_counter: AtomicU32,
    /// Counts resumptions of tier-0 and OSR code down.
    pub resume_counter: AtomicU32,
}

/// An imported function as machine code calls it: `mov r10, [environment]; call [code]`.
#[repr(C)]
#[derive(Debug)]
pub struct ImportEntry {
    /// Where to call.
    pub code: usize,
    /// Passed in `r10`.
    pub environment: usize,
}

/// A function as a value: what a `funcref` that is not null points to. It lives as long as its store.
///
/// Calling it from anywhere: `mov r10, [environment]; call [code]`, as an import. From code of its `owner` it is `call [local]`.
#[repr(C)]
#[derive(Debug)]
pub struct FuncRef {
    /// Where to call: a stub of a host function, or a way into another instance.
    pub code: usize,
    /// Passed in `r10`.
    pub environment: usize,
    /// The context of the instance that defines it; null for a host function.
    pub owner: *const VmContext,
    /// Its entry in the owner's module; null for a host function.
    pub local: *const FuncEntry,
    /// Its type: equal for equal types of all modules of an engine.
    pub type_id: u32,
    /// Its index in the instance whose record this is.
    pub index: u32,
    /// The context of the instance whose record this is: the owner, or one that imports it.
    pub home: *const VmContext,
}

/// A table as machine code sees it.
#[repr(C)]
#[derive(Debug)]
pub struct TableDescriptor {
    /// One word per element: a reference, or 0 for null.
    pub elements: *mut u64,
    /// How many there are.
    pub len: u64,
}

/// Functions that machine code calls by the C convention, at an aligned stack. All registers but the three pinned ones
/// count as lost.
#[repr(C)]
#[derive(Debug)]
pub struct Helpers {
    /// `(context, code, wasm offset, frame register, address behind this call)`: records a trap with its backtrace. The
    /// caller then returns `EXIT_TRAPPED`.
    pub trap: unsafe extern "C" fn(*mut VmContext, u32, u32, usize, usize),
    /// `(context, frame register, patchpoint state, address behind the patchpoint) -> where to jump`.
    pub patchpoint_hit: unsafe extern "C" fn(*mut VmContext, usize, usize, usize) -> usize,
    /// `(context) -> exit word`: the checkpoint word was set. `EXIT_RETURNED`: go on; `EXIT_SUSPENDED`: a leaf is in the
    /// chain, suspend; `EXIT_TRAPPED`: leave.
    pub checkpoint: unsafe extern "C" fn(*mut VmContext) -> u32,
    /// `(context, pages) -> old length or -1`.
    pub memory_grow: unsafe extern "C" fn(*mut VmContext, u32) -> u32,
    /// `(context, to, from, bytes) -> 0`, or 1 if a range lies outside the memory and nothing was done.
    pub memory_copy: unsafe extern "C" fn(*mut VmContext, u32, u32, u32) -> u32,
    /// `(context, to, byte, bytes) -> 0`, or 1 if the range lies outside the memory and nothing was done.
    pub memory_fill: unsafe extern "C" fn(*mut VmContext, u32, u32, u32) -> u32,
    /// `(context, data segment, to, from, bytes) -> 0`, or 1 if a range lies outside the memory or the segment and nothing
    /// was done.
    pub memory_init: unsafe extern "C" fn(*mut VmContext, u32, u32, u32, u32) -> u32,
    /// `(context, data segment)`: it is empty from now on.
    pub data_drop: unsafe extern "C" fn(*mut VmContext, u32),
    /// `(context, table, element, count) -> old length or -1`.
    pub table_grow: unsafe extern "C" fn(*mut VmContext, u32, u64, u32) -> u32,
    /// `(context, table, start, element, count) -> 0`, or something else if that lies outside.
    pub table_fill: unsafe extern "C" fn(*mut VmContext, u32, u32, u64, u32) -> u32,
    /// `(context, destination table, source table, destination, source, count) -> 0`, or something else if that lies
    /// outside.
    pub table_copy: unsafe extern "C" fn(*mut VmContext, u32, u32, u32, u32, u32) -> u32,
    /// `(context, table, segment, destination, source, count) -> 0`, or something else if that lies outside.
    pub table_init: unsafe extern "C" fn(*mut VmContext, u32, u32, u32, u32, u32) -> u32,
    /// `(context, segment)`.
    pub elem_drop: unsafe extern "C" fn(*mut VmContext, u32),
    /// `(context, image words) -> block`: a fresh continuation, flags set; its free list was empty, or it has none.
    pub allocate: unsafe extern "C" fn(*mut VmContext, u32) -> *mut Header,
    /// `(context, function)`: its call counter ran out.
    pub call_count: unsafe extern "C" fn(*mut VmContext, u32),
    /// `(context, function) -> address`: compile it, it is called for the first time; 0 if it cannot be (a trap is
    /// recorded).
    pub compile: unsafe extern "C" fn(*mut VmContext, u32) -> usize,
    /// `(registers, site address)`: the resume path of `Resumption::Patchpoint`.
    pub patchpoint_resume: unsafe extern "C" fn(),
}

/// Offsets machine code uses.
pub mod offsets {
    use super::{FuncEntry, FuncRef, Helpers, ImportEntry, TableDescriptor, VmContext};
    use midair_continuation::Header;
    use std::mem::offset_of;

    macro_rules! offsets {
        ($($(#[$doc:meta])* $name:ident = $ty:ty, $($field:tt).+;)*) => {
            $($(#[$doc])* pub const $name: i32 = offset_of!($ty, $($field).+) as i32;)*
        };
    }

    offsets! {
        /// In [`VmContext`].
        CHECKPOINT = VmContext, checkpoint;
        /// In [`VmContext`].
        STACK_LIMIT = VmContext, stack_limit;
        /// In [`VmContext`].
        RESUME_FLOOR = VmContext, resume_floor;
        /// In [`VmContext`].
        MEMORY_BASE = VmContext, memory_base;
        /// In [`VmContext`].
        MEMORY_LEN = VmContext, memory_len;
        /// In [`VmContext`].
        ENTRIES = VmContext, entries;
        /// In [`VmContext`].
        HELPERS = VmContext, helpers;
        /// In [`VmContext`].
        TRANSFER = VmContext, transfer;
        /// In [`VmContext`].
        CHAIN_HEAD = VmContext, chain_head;
        /// In [`VmContext`].
        CHAIN_TAIL = VmContext, chain_tail;
        /// In [`VmContext`].
        KEPT = VmContext, kept;
        /// In [`VmContext`]: int 0, int 1, float 0, float 1.
        RESULTS = VmContext, results;
        /// In [`VmContext`]: one list head per size class.
        FREE_LISTS = VmContext, free_lists;
        /// In [`FuncEntry`].
        ENTRY_CODE = FuncEntry, code;
        /// In [`FuncEntry`].
        ENTRY_CALL_COUNTER = FuncEntry, call_counter;
        /// In [`ImportEntry`].
        IMPORT_CODE = ImportEntry, code;
        /// In [`ImportEntry`].
        IMPORT_ENVIRONMENT = ImportEntry, environment;
        /// In [`FuncRef`].
        FUNC_CODE = FuncRef, code;
        /// In [`FuncRef`].
        FUNC_ENVIRONMENT = FuncRef, environment;
        /// In [`FuncRef`].
        FUNC_OWNER = FuncRef, owner;
        /// In [`FuncRef`].
        FUNC_LOCAL = FuncRef, local;
        /// In [`FuncRef`].
        FUNC_TYPE = FuncRef, type_id;
        /// In [`TableDescriptor`].
        TABLE_ELEMENTS = TableDescriptor, elements;
        /// In [`TableDescriptor`].
        TABLE_LEN = TableDescriptor, len;
        /// In [`Helpers`].
        HELPER_TRAP = Helpers, trap;
        /// In [`Helpers`].
        HELPER_PATCHPOINT_HIT = Helpers, patchpoint_hit;
        /// In [`Helpers`].
        HELPER_CHECKPOINT = Helpers, checkpoint;
        /// In [`Helpers`].
        HELPER_MEMORY_GROW = Helpers, memory_grow;
        /// In [`Helpers`].
        HELPER_MEMORY_COPY = Helpers, memory_copy;
        /// In [`Helpers`].
        HELPER_MEMORY_FILL = Helpers, memory_fill;
        /// In [`Helpers`].
        HELPER_MEMORY_INIT = Helpers, memory_init;
        /// In [`Helpers`].
        HELPER_DATA_DROP = Helpers, data_drop;
        /// In [`Helpers`].
        HELPER_TABLE_GROW = Helpers, table_grow;
        /// In [`Helpers`].
        HELPER_TABLE_FILL = Helpers, table_fill;
        /// In [`Helpers`].
        HELPER_TABLE_COPY = Helpers, table_copy;
        /// In [`Helpers`].
        HELPER_TABLE_INIT = Helpers, table_init;
        /// In [`Helpers`].
        HELPER_ELEM_DROP = Helpers, elem_drop;
        /// In [`Helpers`].
        HELPER_ALLOCATE = Helpers, allocate;
        /// In [`Helpers`].
        HELPER_CALL_COUNT = Helpers, call_count;
        /// In [`Helpers`].
        HELPER_COMPILE = Helpers, compile;
        /// In [`Helpers`].
        HELPER_PATCHPOINT_RESUME = Helpers, patchpoint_resume;
        /// In [`Header`].
        NEXT = Header, next;
        /// In [`Header`].
        RESUME = Header, resume;
        /// In [`Header`].
        RESUME_ADDRESS = Header, resume_address;
        /// In [`Header`].
        SITE = Header, site;
        /// In [`Header`].
        FLAGS = Header, flags;
        /// In [`Header`].
        COUNTER = Header, counter;
        /// In [`Header`].
        TASK_CONTEXT = Header, context;
    }

    /// Bytes per [`FuncEntry`].
    pub const ENTRY_SIZE: i32 = size_of::<FuncEntry>() as i32;
}

/// Where a module's globals, tables, imports and functions as values lie behind [`VmContext`], in bytes from the context
/// register.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VmLayout {
    /// One per global.
    pub globals: Box<[GlobalSlot]>,
    /// One per table.
    pub tables: Box<[TableSlot]>,
    /// Where the first [`ImportEntry`] lies.
    pub imports: i32,
    /// Of every function: where its [`FuncRef`] lies, if it can be named as a value.
    pub func_refs: Box<[Option<i32>]>,
    /// Of every type: what a function of that type has as [`FuncRef::type_id`].
    pub type_ids: Box<[u32]>,
    /// Bytes of the context in all.
    pub size: u32,
}

/// Where a global lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GlobalSlot {
    /// The value itself is at this offset from the context register.
    Own(i32),
    /// A pointer to the value is at this offset.
    Imported(i32),
}

/// Where a table lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableSlot {
    /// Its [`TableDescriptor`] is at this offset from the context register.
    Own(i32),
    /// A pointer to it is at this offset.
    Imported(i32),
}

impl VmLayout {
    /// Offset of the entry of imported function `n`.
    pub fn import(&self, n: u32) -> i32 {
        self.imports + n.cast_signed() * size_of::<ImportEntry>() as i32
    }
}
