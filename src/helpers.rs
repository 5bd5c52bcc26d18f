//! The helpers that know stores: traps, checkpoints, growing memory, compiling at the first call.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{
    error::{Error, Pending, Trap},
    host::{YIELD, new_leaf},
    instance::InstanceInner,
    store::StoreCore,
};
use midair_continuation::Header;
use midair_jit::{
    arch::x86_64::non_local_jump,
    frame::abi::{EXIT_RETURNED, EXIT_SUSPENDED, EXIT_TRAPPED},
    runtime::{
        context::{Helpers, VmContext},
        helpers as jit,
    },
    wasm::types::FuncIndex,
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
    sync::atomic::Ordering,
};

/// The table that every context points to.
pub(crate) static HELPERS: Helpers = Helpers {
    trap,
    patchpoint_hit: jit::patchpoint_hit,
    checkpoint,
    memory_grow,
    memory_copy: jit::memory_copy,
    memory_fill: jit::memory_fill,
    memory_init,
    data_drop,
    table_grow,
    table_fill,
    table_copy,
    table_init,
    elem_drop,
    allocate,
    call_count: jit::call_count,
    compile,
    patchpoint_resume: non_local_jump::patchpoint_resume,
};

/// The instance of a context, counting the helper call.
///
/// # Safety
/// The context is live, and its code is running.
unsafe fn instance<'a>(context: *mut VmContext) -> &'a mut InstanceInner {
    // SAFETY: a context is the front of its instance.
    let instance = unsafe { &mut *(*context).host.cast::<InstanceInner>() };
    instance.context.helper_calls = instance.context.helper_calls.wrapping_add(1);
    instance
}

/// # Safety
/// The store of a running instance; no other borrow of it is alive beneath guest code.
unsafe fn core<'a>(instance: &InstanceInner) -> &'a mut StoreCore {
    // SAFETY: the caller's.
    unsafe { &mut *instance.store.as_ptr() }
}

unsafe extern "C" fn trap(
    context: *mut VmContext,
    code: u32,
    offset: u32,
    frame: usize,
    pc: usize,
) {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    // SAFETY: called by guest code.
    let core = unsafe { core(instance) };
    let trap = Trap::from_code(code).unwrap_or(Trap::Unreachable);
    let backtrace = core.trace(pc, frame, Some(offset));
    core.set_pending(Pending::Error(Error::new(trap)), backtrace);
}

/// Passes the frame register and the return address along.
#[unsafe(naked)]
unsafe extern "C" fn checkpoint(context: *mut VmContext) -> u32 {
    std::arch::naked_asm!(
        "mov rsi, rbp",
        "mov rdx, [rsp]",
        "jmp {checkpoint_at}",
        checkpoint_at = sym checkpoint_at,
    )
}

unsafe extern "C" fn checkpoint_at(context: *mut VmContext, frame: usize, pc: usize) -> u32 {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    // SAFETY: called by guest code.
    let core = unsafe { core(instance) };
    if core.engine.deadline_reached(core.id) {
        let backtrace = core.trace(pc, frame, None);
        core.set_pending(Pending::Error(Error::new(Trap::Interrupt)), backtrace);
        return EXIT_TRAPPED;
    }
    if core.continuations_exhausted() {
        let backtrace = core.trace(pc, frame, None);
        core.set_pending(Pending::Error(Error::new(Trap::StackOverflow)), backtrace);
        return EXIT_TRAPPED;
    }
    match core.engine.inner.config.stress_suspend {
        Some(every) => {
            core.stress_countdown = core.stress_countdown.saturating_sub(1);
            if core.stress_countdown > 0 {
                return EXIT_RETURNED;
            }
            core.stress_countdown = every.get();
            let context = &mut instance.context;
            let leaf = new_leaf(context, 0, &YIELD, 0);
            context.chain_head = leaf.as_ptr();
            context.chain_tail = leaf.as_ptr();
            EXIT_SUSPENDED
        }
        None => {
            instance.context.checkpoint.store(0, Ordering::Relaxed);
            // a deadline that was reached meanwhile must not be lost
            if core.engine.deadline_reached(core.id) {
                instance.context.checkpoint.store(1, Ordering::Relaxed);
            }
            EXIT_RETURNED
        }
    }
}

/// A store that has allocated many continuations counts them at its next checkpoint.
unsafe extern "C" fn allocate(context: *mut VmContext, words: u32) -> *mut Header {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    let lists = &mut instance.context.free_lists;
    let block = lists.take(8 * words as usize);
    let allocated = lists.allocated.cast_signed();
    // SAFETY: called by guest code.
    let core = unsafe { core(instance) };
    if allocated > core.continuation_budget.cast_signed() {
        instance.context.checkpoint.store(1, Ordering::Relaxed);
    }
    block.as_ptr()
}

unsafe extern "C" fn memory_grow(context: *mut VmContext, pages: u32) -> u32 {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    // SAFETY: called by guest code.
    let core = unsafe { core(instance) };
    instance
        .memory
        .and_then(|memory| core.grow_memory(memory, pages))
        .unwrap_or(u32::MAX)
}

unsafe extern "C" fn memory_init(
    context: *mut VmContext,
    segment: u32,
    to: u32,
    from: u32,
    len: u32,
) -> u32 {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    let wasm = &instance.module.inner.code.module;
    let segment = segment as usize;
    let bytes = if instance.dropped_data[segment] {
        &[]
    } else {
        &wasm.bytes[wasm.data[segment].bytes.clone()]
    };
    // SAFETY: called by guest code.
    unsafe { jit::memory_init(&mut instance.context, to, from, len, bytes) }
}

unsafe extern "C" fn data_drop(context: *mut VmContext, segment: u32) {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    instance.dropped_data[segment as usize] = true;
}

unsafe extern "C" fn table_grow(
    context: *mut VmContext,
    table: u32,
    element: u64,
    count: u32,
) -> u32 {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    // SAFETY: called by guest code.
    let core = unsafe { core(instance) };
    core.grow_table(instance.tables[table as usize], count, element)
        .unwrap_or(u32::MAX)
}

unsafe extern "C" fn table_fill(
    context: *mut VmContext,
    table: u32,
    start: u32,
    element: u64,
    count: u32,
) -> u32 {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    // SAFETY: called by guest code.
    let core = unsafe { core(instance) };
    let done = core.fill_table(instance.tables[table as usize], start, element, count);
    u32::from(done.is_none())
}

unsafe extern "C" fn table_copy(
    context: *mut VmContext,
    to: u32,
    from: u32,
    to_start: u32,
    from_start: u32,
    count: u32,
) -> u32 {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    // SAFETY: called by guest code.
    let core = unsafe { core(instance) };
    let [to, from] = [to, from].map(|table| instance.tables[table as usize]);
    u32::from(
        core.copy_table((to, to_start), (from, from_start), count)
            .is_none(),
    )
}

unsafe extern "C" fn table_init(
    context: *mut VmContext,
    table: u32,
    segment: u32,
    to: u32,
    from: u32,
    count: u32,
) -> u32 {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    // SAFETY: called by guest code.
    let core = unsafe { core(instance) };
    let this = NonNull::from(instance);
    u32::from(
        core.init_table(this, table, segment, (to, from), count)
            .is_none(),
    )
}

unsafe extern "C" fn elem_drop(context: *mut VmContext, segment: u32) {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    instance.dropped_elements[segment as usize] = true;
}

unsafe extern "C" fn compile(context: *mut VmContext, func: u32) -> usize {
    // SAFETY: called by guest code.
    let instance = unsafe { instance(context) };
    let code = &instance.module.inner.code;
    let func = FuncIndex(func);
    let pending = match catch_unwind(AssertUnwindSafe(|| code.compile_entry(func))) {
        Ok(Ok(address)) => return address.0,
        Ok(Err(error)) => Pending::Error(Error::new(error)),
        Err(panic) => Pending::Panic(panic),
    };
    // SAFETY: called by guest code.
    let core = unsafe { core(instance) };
    core.set_pending(pending, Default::default());
    0
}

/// The front of an instance is its context.
pub(crate) fn context_of_instance(instance: NonNull<InstanceInner>) -> *mut VmContext {
    instance.cast().as_ptr()
}
