//! The Rust functions that machine code calls and that need nothing of the embedder.
//!
//! The rest of the table (`trap`, `checkpoint`, `memory_grow`) is the embedder's: it knows stores and errors.
//!
//! No panic may leave these functions: there is guest code above them. Each either cannot panic or catches.

use super::{context::VmContext, functions::CompiledModule};
use crate::{
    observe::events::Event,
    patchpoint::site::{Hit, Patchpoint},
};
use midair_continuation::Header;
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// Room a helper may use below the stack limit.
pub const HELPER_STACK: usize = 128 << 10;

/// A counter that never runs out in practice: of a frame whose loop is not optimized.
const NEVER: u32 = i32::MAX.cast_unsigned();

/// The module of a context, shared.
///
/// # Safety
/// The context is live, and its module came from an [`Arc`].
unsafe fn module_of(context: &VmContext) -> Arc<CompiledModule> {
    // SAFETY: the caller's; the instance of this context holds a reference.
    unsafe { Arc::increment_strong_count(context.module) };
    // SAFETY: the reference just counted.
    unsafe { Arc::from_raw(context.module) }
}

/// See [`Helpers::patchpoint_hit`](super::context::Helpers::patchpoint_hit).
///
/// # Safety
/// 1. Called by tier-0 code with its context, its frame register, and the address of one of its patchpoints.
pub unsafe extern "C" fn patchpoint_hit(
    context: *mut VmContext,
    frame: usize,
    patchpoint: usize,
    behind: usize,
) -> usize {
    // SAFETY: (1).
    let context = unsafe { &mut *context };
    context.helper_calls = context.helper_calls.wrapping_add(1);
    // SAFETY: (1); a published patchpoint lives as long as the code.
    let patchpoint = unsafe { &*std::ptr::with_exposed_provenance::<Patchpoint>(patchpoint) };
    // SAFETY: (1); the module is kept alive by the instance whose code is running.
    let module = unsafe { &*context.module };
    let observer = &module.shared.observer;
    let policy = &module.shared.policy;
    let (func, offset) = (patchpoint.func, patchpoint.offset);
    let mut hit = patchpoint.hit(policy.hit_limit);
    observer.record(|| Event::Hit { func, offset });
    if hit == Hit::Trigger {
        observer.record(|| Event::Trigger {
            func,
            offset: Some(offset),
        });
        // A compiler bug is a panic: this loop stays in tier-0 then, and the message was printed.
        let compiled = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: (1).
            unsafe { module_of(context) }.request_osr(func, offset);
        }));
        if compiled.is_err() {
            patchpoint.invalidate();
        }
        hit = patchpoint.transition().unwrap_or(Hit::Stay);
    }
    let counter = match hit {
        Hit::Transition { entry, frame_size } => {
            // `frame` lies above the tier-0 part, which is there already; the sum errs on the safe side.
            let bottom = frame.saturating_sub(frame_size as usize);
            if bottom > context.stack_limit {
                observer.record(|| Event::Transition { func, offset });
                return entry;
            }
            policy.patchpoint_bump
        }
        Hit::Never => NEVER,
        Hit::Stay | Hit::Trigger => policy.patchpoint_bump,
    };
    let home = frame.wrapping_add_signed(crate::frame::layout::COUNTER_OFFSET.0 as isize);
    // SAFETY: (1): the home of the counter in the calling frame.
    unsafe { std::ptr::with_exposed_provenance_mut::<u32>(home).write(counter.max(1)) };
    behind
}

/// A range of memory, if all of it is there.
///
/// # Safety
/// 1. The context is live and describes its memory.
unsafe fn range(context: &VmContext, at: u32, len: u32) -> Option<*mut u8> {
    if u64::from(at) + u64::from(len) > context.memory_len {
        return None;
    }
    // Without bytes there may be no memory, and nothing is touched.
    // SAFETY: (1): within the memory.
    Some(unsafe { context.memory_base.add(at as usize) })
}

/// See [`Helpers::memory_copy`](super::context::Helpers::memory_copy).
///
/// # Safety
/// 1. Called by guest code with its context.
pub unsafe extern "C" fn memory_copy(context: *mut VmContext, to: u32, from: u32, len: u32) -> u32 {
    // SAFETY: (1).
    let context = unsafe { &mut *context };
    context.helper_calls = context.helper_calls.wrapping_add(1);
    // SAFETY: (1).
    let to = unsafe { range(context, to, len) };
    // SAFETY: (1).
    let from = unsafe { range(context, from, len) };
    let (Some(to), Some(from)) = (to, from) else {
        return 1;
    };
    // SAFETY: both ranges lie in the memory, which no reference points into while the guest runs.
    unsafe { std::ptr::copy(from, to, len as usize) };
    0
}

/// See [`Helpers::memory_fill`](super::context::Helpers::memory_fill).
///
/// # Safety
/// 1. Called by guest code with its context.
pub unsafe extern "C" fn memory_fill(context: *mut VmContext, to: u32, byte: u32, len: u32) -> u32 {
    // SAFETY: (1).
    let context = unsafe { &mut *context };
    context.helper_calls = context.helper_calls.wrapping_add(1);
    // SAFETY: (1).
    let Some(to) = (unsafe { range(context, to, len) }) else {
        return 1;
    };
    // SAFETY: the range lies in the memory, which no reference points into while the guest runs.
    unsafe { to.write_bytes(byte.to_le_bytes()[0], len as usize) };
    0
}

/// Copies bytes of a data segment into memory; as the helpers do, 1 if a range lies outside.
///
/// # Safety
/// 1. Called beneath guest code with its context.
pub unsafe fn memory_init(
    context: &mut VmContext,
    to: u32,
    from: u32,
    len: u32,
    segment: &[u8],
) -> u32 {
    // SAFETY: (1).
    let to = unsafe { range(context, to, len) };
    let bytes = segment
        .get(from as usize..)
        .and_then(|bytes| bytes.get(..len as usize));
    let (Some(to), Some(bytes)) = (to, bytes) else {
        return 1;
    };
    // SAFETY: the range lies in the memory, and a segment does not.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    0
}

/// See [`Helpers::allocate`](super::context::Helpers::allocate).
///
/// # Safety
/// 1. Called by guest code with its context.
pub unsafe extern "C" fn allocate(context: *mut VmContext, words: u32) -> *mut Header {
    // SAFETY: (1).
    let context = unsafe { &mut *context };
    context.helper_calls = context.helper_calls.wrapping_add(1);
    context.free_lists.take(8 * words as usize).as_ptr()
}

/// See [`Helpers::call_count`](super::context::Helpers::call_count).
///
/// # Safety
/// 1. Called by tier-0 code with its context and its own function.
pub unsafe extern "C" fn call_count(context: *mut VmContext, func: u32) {
    // SAFETY: (1).
    let context = unsafe { &mut *context };
    context.helper_calls = context.helper_calls.wrapping_add(1);
    // SAFETY: (1).
    let module = unsafe { module_of(context) };
    let func = crate::wasm::types::FuncIndex(func);
    module.entries()[func.index()]
        .call_counter
        .store(NEVER, std::sync::atomic::Ordering::Relaxed);
    module
        .shared
        .observer
        .record(|| Event::Trigger { func, offset: None });
    // A compiler bug is a panic: the function stays in tier-0 then, and the message was printed.
    let _ = catch_unwind(AssertUnwindSafe(|| module.request_tier1(func)));
}
