//! Awaiters: something a guest can await without a future.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use super::{
    HostClosure, HostFunc, HostResult, Panic,
    leaf::{LeafKind, LeafVtable, MAX_INLINE, context_of, never_poll, new_leaf},
    shim::{Call, suspend, words_of},
};
use crate::{
    error::{Error, Pending, WasmBacktrace},
    instance::InstanceInner,
    resumption::Resumption,
    store::Caller,
    values::{WasmParams, WasmResults},
};
use midair_continuation::{
    Header,
    header::{FLAG_FAILED, FLAG_STRAIGHT, LeafType, payload},
    recycle::{BLOCK_ALIGN, leaf_key},
};
use midair_jit::{
    frame::abi::{EXIT_RETURNED, EXIT_SUSPENDED, HostExit},
    runtime::context::VmContext,
};
use std::{
    marker::PhantomData,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
};

/// Something a guest can await without a future: the raw protocol.
///
/// The runtime asks [`is_completed`](Self::is_completed); if not, it suspends the guest and then, when the whole chain has
/// unwound, gives a clone of the awaiter the one-shot token in [`on_completed`](Self::on_completed). Whoever uses the token
/// resumes the call, which takes the result. (A clone, because another thread may resume the call, and drop the awaiter in
/// it, before `on_completed` has returned. Awaiters are small: a reference or an index.)
///
/// # Examples
/// ```
/// use midair::{Awaiter, Engine, Linker, Module, Resumption, Store};
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Clone, Default)]
/// struct Parking(Arc<Mutex<Option<Resumption>>>);
///
/// impl Awaiter for Parking {
///     type Output = i32;
///     fn is_completed(&self) -> bool { false }
///     fn on_completed(self, resumption: Resumption) { *self.0.lock().unwrap() = Some(resumption); }
///     fn get_result(self) -> i32 { 42 }
/// }
///
/// # fn main() -> midair::Result<()> {
/// let engine = Engine::default();
/// let module = Module::new(&engine, r#"(module
///     (import "host" "park" (func $park (result i32)))
///     (func (export "run") (result i32) (i32.add (call $park) (i32.const 1))))"#)?;
/// let parking = Parking::default();
/// let awaiter = parking.clone();
/// let mut linker = Linker::new(&engine);
/// linker.func_awaiter("host", "park", move |_, ()| awaiter.clone())?;
/// let mut store = Store::new(&engine, ());
/// let run = linker.instantiate(&mut store, &module)?.get_typed_func::<(), i32>(&store, "run")?;
///
/// let call = run.start(store, ());
/// assert!(!call.is_finished());
/// let resumption = parking.0.lock().unwrap().take().unwrap();
/// resumption.resume();
/// let (_store, result) = call.finish().unwrap();
/// assert_eq!(result?, 43);
/// # Ok(()) }
/// ```
pub trait Awaiter: Clone + Send + 'static {
    /// What the guest gets: results, or a `Result` of them with any error.
    type Output: HostResult;
    /// Whether the result is there already.
    fn is_completed(&self) -> bool;
    /// The guest is suspended; the token resumes it.
    fn on_completed(self, resumption: Resumption);
    /// The result.
    fn get_result(self) -> Self::Output;
}

struct AwaiterLeaf<A>(PhantomData<A>);

impl<A: Awaiter> AwaiterLeaf<A> {
    const VTABLE: LeafVtable = LeafVtable {
        leaf_type: LeafType {
            // SAFETY: the leaf's payload is an `A`.
            drop_payload: |leaf| unsafe { payload(leaf).cast::<A>().drop_in_place() },
        },
        kind: LeafKind::Awaiter,
        poll: never_poll,
        on_completed: |leaf, resumption, parking| {
            // SAFETY: the leaf's payload is an `A`, and stays until the call is parked.
            let awaiter = unsafe { payload(leaf).cast::<A>().as_ref() }.clone();
            parking.park();
            awaiter.on_completed(resumption);
        },
        complete: |leaf, context| {
            // SAFETY: the leaf's payload is an `A`, taken out once.
            let awaiter = unsafe { payload(leaf).cast::<A>().read() };
            let done = awaiter.get_result().into_result();
            if let Err(error) = done.and_then(|results| results.put(context)) {
                // SAFETY: a live leaf of the context.
                unsafe { fail(leaf, context, error) };
            }
        },
    };

    const VTABLE_REF: &'static LeafVtable = &Self::VTABLE;
}

/// Completing a leaf failed.
///
/// # Safety
/// `leaf` is a live awaiter's leaf, of this context, whose store is used exclusively.
#[cold]
unsafe fn fail(mut leaf: NonNull<Header>, context: &mut VmContext, error: Error) {
    // SAFETY: the caller's.
    let header = unsafe { leaf.as_mut() };
    header.flags = header.flags & !FLAG_STRAIGHT | FLAG_FAILED;
    // SAFETY: the context is the front of its instance.
    let core = unsafe { &mut *(*context.host.cast::<InstanceInner>()).store.as_ptr() };
    core.set_pending(Pending::Error(error), WasmBacktrace::default());
}

/// An awaiter in its leaf, which is being asked. Dropped, it takes the awaiter with it, not the leaf.
struct Asked<A>(NonNull<Header>, PhantomData<A>);

impl<A> Drop for Asked<A> {
    fn drop(&mut self) {
        // SAFETY: the leaf's payload is an `A`, dropped once.
        unsafe { payload(self.0).cast::<A>().drop_in_place() };
    }
}

/// The awaiter has its result already; or it, or what makes it, panicked.
///
/// # Safety
/// `leaf` is what the shim has taken; it has its awaiter, or with a panic, none.
#[cold]
#[inline(never)]
unsafe fn not_suspended<T: 'static, F, P: WasmParams, A: Awaiter>(
    leaf: NonNull<Header>,
    panic: Option<Panic>,
) -> HostExit {
    // SAFETY: the leaf's fields are as the shim has set them.
    let (context, host, words) = unsafe {
        (
            context_of(leaf),
            std::ptr::with_exposed_provenance::<HostFunc>(leaf_key(leaf)),
            leaf.as_ref().next.cast::<u64>(),
        )
    };
    // SAFETY: those of the stub that called.
    let call = unsafe { awaiter_call::<T, F, P, A>(context, host, words) };
    // SAFETY: the live context of the stub that called.
    let lists = unsafe { &mut (*context).free_lists };
    if let Some(panic) = panic {
        // SAFETY: it has no payload, and hangs in no chain.
        unsafe { lists.give(leaf) };
        return call.trapped(Pending::Panic(panic)).into();
    }
    // SAFETY: the leaf's payload is an `A`, taken once.
    let awaiter = unsafe { payload(leaf).cast::<A>().read() };
    // SAFETY: as above.
    unsafe { lists.give(leaf) };
    call.leave(|| {
        let results = awaiter.get_result().into_result()?;
        let count = <A::Output as HostResult>::Results::COUNT;
        // SAFETY: one word per result; the store of the running call.
        unsafe {
            results.write(
                std::slice::from_raw_parts_mut(words, count),
                call.core_ptr(),
            )
        }?;
        Ok(EXIT_RETURNED)
    })
}

/// # Safety
/// The arguments are a host stub's.
#[inline]
unsafe fn awaiter_call<'a, T: 'static, F, P: WasmParams, A: Awaiter>(
    context: *mut VmContext,
    host: *const HostFunc,
    words: *mut u64,
) -> Call<'a, T, F> {
    let count = words_of::<P, <A::Output as HostResult>::Results>();
    // SAFETY: the caller's.
    unsafe { Call::new(context, host, words, count) }
}

/// What a guest calls.
///
/// # Safety
/// The arguments are a host stub's; the closure is an `F`, and the store's data is a `T`.
unsafe extern "C" fn shim<T, F, P, A>(
    context: *mut VmContext,
    host: *const HostFunc,
    words: *mut u64,
) -> HostExit
where
    T: 'static,
    F: Fn(Caller<'_, T>, P) -> A + Send + Sync + 'static,
    P: WasmParams,
    A: Awaiter,
{
    const {
        assert!(
            size_of::<A>() <= MAX_INLINE && align_of::<A>() <= BLOCK_ALIGN,
            "an awaiter is small"
        );
    }
    // SAFETY: the live context of the stub that called.
    let lists = unsafe { &mut (*context).free_lists };
    match lists.take_spare_leaf(key_of(host)) {
        // SAFETY: the caller's; just taken.
        Some(leaf) => unsafe { ask::<T, F, P, A>(context, host, words, leaf) },
        // SAFETY: the caller's.
        None => unsafe { ask_in_fresh_leaf::<T, F, P, A>(context, host, words) },
    }
}

/// What the leaves of a host function are known by.
fn key_of(host: *const HostFunc) -> NonZeroUsize {
    // SAFETY: it is at some address.
    unsafe { NonZeroUsize::new_unchecked(host.expose_provenance()) }
}

/// # Safety
/// As for `shim`.
#[cold]
#[inline(never)]
unsafe fn ask_in_fresh_leaf<T, F, P, A>(
    context: *mut VmContext,
    host: *const HostFunc,
    words: *mut u64,
) -> HostExit
where
    T: 'static,
    F: Fn(Caller<'_, T>, P) -> A + Send + Sync + 'static,
    P: WasmParams,
    A: Awaiter,
{
    // SAFETY: the live context of the stub that called.
    let context_ref = unsafe { &mut *context };
    let leaf = new_leaf(context_ref, size_of::<A>(), AwaiterLeaf::<A>::VTABLE_REF, 0);
    // SAFETY: just taken.
    unsafe { context_ref.free_lists.adopt_leaf(leaf, key_of(host)) };
    // SAFETY: the caller's; just taken.
    unsafe { ask::<T, F, P, A>(context, host, words, leaf) }
}

/// Makes the awaiter in its leaf, and asks it.
///
/// Across the awaiter's functions only the leaf is held: a register that must survive them is saved and restored at each
/// await. What else is needed is found from the leaf, if it is.
///
/// # Safety
/// As for `shim`; `leaf` is in use, by nobody else, and without payload.
#[inline(always)]
unsafe fn ask<T, F, P, A>(
    context: *mut VmContext,
    host: *const HostFunc,
    words: *mut u64,
    mut leaf: NonNull<Header>,
) -> HostExit
where
    T: 'static,
    F: Fn(Caller<'_, T>, P) -> A + Send + Sync + 'static,
    P: WasmParams,
    A: Awaiter,
{
    // until it hangs in a chain, its link says where the words are
    // SAFETY: the caller's.
    unsafe { leaf.as_mut() }.next = words.cast();
    let completed = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the caller's.
        let call = unsafe { awaiter_call::<T, F, P, A>(context, host, words) };
        // SAFETY: a host stub's words.
        let params =
            unsafe { P::read(std::slice::from_raw_parts(words, P::COUNT), call.core_ptr()) };
        let awaiter = (call.closure)(call.caller(), params);
        // SAFETY: the block has room for an `A`.
        unsafe { payload(leaf).cast::<A>().write(awaiter) };
        let asked = Asked::<A>(leaf, PhantomData);
        // whether it will hang there is about to be known; nobody looks at the chain before
        // SAFETY: the live context of the stub that called.
        suspend(unsafe { &mut *context }, leaf);
        // SAFETY: just written.
        let completed = unsafe { payload(leaf).cast::<A>().as_ref() }.is_completed();
        std::mem::forget(asked);
        completed
    }));
    match completed {
        // whether something is in the way is known to whoever runs the guest
        Ok(false) => EXIT_SUSPENDED.into(),
        // SAFETY: it has its awaiter.
        Ok(true) => unsafe { not_suspended::<T, F, P, A>(leaf, None) },
        // SAFETY: its awaiter is gone.
        Err(panic) => unsafe { not_suspended::<T, F, P, A>(leaf, Some(panic)) },
    }
}

/// A closure that makes an awaiter as a host function.
pub(crate) fn awaiter_closure<T, F, P, A>(closure: F) -> HostClosure
where
    T: 'static,
    F: Fn(Caller<'_, T>, P) -> A + Send + Sync + 'static,
    P: WasmParams,
    A: Awaiter,
{
    HostClosure::new::<F, P, <A::Output as HostResult>::Results>(closure, shim::<T, F, P, A>)
}
