//! Awaiters: something a guest can await without a future.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use super::{
    HostClosure, HostFunc, HostResult, Panic,
    leaf::{LeafKind, LeafVtable, MAX_INLINE, never_poll, take_leaf},
    shim::{Call, suspend, words_of},
};
use crate::{
    error::Pending,
    resumption::Resumption,
    store::Caller,
    values::{WasmParams, WasmResults},
};
use midair_continuation::{
    header::{LeafType, payload},
    recycle::BLOCK_ALIGN,
};
use midair_jit::{frame::abi::EXIT_RETURNED, runtime::context::VmContext};
use std::{
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
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
        on_completed: |leaf, resumption| {
            // SAFETY: the leaf's payload is an `A`.
            let awaiter = unsafe { payload(leaf).cast::<A>().as_ref() }.clone();
            awaiter.on_completed(resumption);
        },
        complete: |leaf, context| {
            // SAFETY: the leaf's payload is an `A`, taken out once.
            let awaiter = unsafe { payload(leaf).cast::<A>().read() };
            awaiter.get_result().into_result()?.put(context)
        },
    };

    const VTABLE_REF: &'static LeafVtable = &Self::VTABLE;
}

/// The result was there already.
///
/// # Safety
/// The arguments are a host stub's.
#[inline(never)]
unsafe fn completed_at_once<T: 'static, F, P: WasmParams, A: Awaiter>(
    context: *mut VmContext,
    host: *const HostFunc,
    words: *mut u64,
    awaiter: A,
) -> u32 {
    // SAFETY: the caller's.
    let call = unsafe { awaiter_call::<T, F, P, A>(context, host, words) };
    let written = awaiter.get_result().into_result().and_then(|results| {
        let count = <A::Output as HostResult>::Results::COUNT;
        // SAFETY: one word per result; the store of the running call.
        unsafe {
            results.write(
                std::slice::from_raw_parts_mut(words, count),
                call.core_ptr(),
            )
        }
    });
    match written {
        Ok(()) => EXIT_RETURNED,
        Err(error) => call.trapped(Pending::Error(error)),
    }
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

/// Something that cannot wait is in the way.
///
/// # Safety
/// The arguments are a host stub's.
#[cold]
#[inline(never)]
unsafe fn awaited_synchronously<T: 'static, F, P: WasmParams, A: Awaiter>(
    context: *mut VmContext,
    host: *const HostFunc,
    words: *mut u64,
) -> u32 {
    // SAFETY: the caller's.
    let call = unsafe { awaiter_call::<T, F, P, A>(context, host, words) };
    call.trapped(Pending::Error(call.cannot_suspend()))
}

/// The awaiter, or what made it, panicked.
///
/// # Safety
/// The arguments are a host stub's.
#[cold]
#[inline(never)]
unsafe fn panicked<T: 'static, F, P: WasmParams, A: Awaiter>(
    context: *mut VmContext,
    host: *const HostFunc,
    words: *mut u64,
    panic: Panic,
) -> u32 {
    // SAFETY: the caller's.
    let call = unsafe { awaiter_call::<T, F, P, A>(context, host, words) };
    call.trapped(Pending::Panic(panic))
}

/// A closure that makes an awaiter as a host function.
pub(crate) fn awaiter_closure<T, F, P, A>(closure: F) -> HostClosure
where
    T: 'static,
    F: Fn(Caller<'_, T>, P) -> A + Send + Sync + 'static,
    P: WasmParams,
    A: Awaiter,
{
    unsafe extern "C" fn shim<T, F, P, A>(
        context: *mut VmContext,
        host: *const HostFunc,
        words: *mut u64,
    ) -> u32
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
        // Everything but the context is found again where it is needed: a register that must survive the awaiter's
        // functions is saved and restored at each await.
        let done = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: made for this closure and store type below.
            let call = unsafe { awaiter_call::<T, F, P, A>(context, host, words) };
            // SAFETY: a host stub's words.
            let params =
                unsafe { P::read(std::slice::from_raw_parts(words, P::COUNT), call.core_ptr()) };
            let awaiter = (call.closure)(call.caller(), params);
            if awaiter.is_completed() {
                // SAFETY: a host stub's words.
                return unsafe { completed_at_once::<T, F, P, A>(context, host, words, awaiter) };
            }
            // SAFETY: as above.
            if unsafe { awaiter_call::<T, F, P, A>(context, host, words) }
                .core()
                .activations
                .is_sync()
            {
                // SAFETY: a host stub's words.
                return unsafe { awaited_synchronously::<T, F, P, A>(context, host, words) };
            }
            // SAFETY: the live context of the stub that called.
            let context = unsafe { &mut *context };
            let leaf = take_leaf(context, size_of::<A>(), AwaiterLeaf::<A>::VTABLE_REF);
            // SAFETY: the block has room for an `A`.
            unsafe { payload(leaf).cast::<A>().write(awaiter) };
            suspend(context, leaf)
        }));
        match done {
            Ok(exit) => exit,
            // SAFETY: a host stub's words.
            Err(panic) => unsafe { panicked::<T, F, P, A>(context, host, words, panic) },
        }
    }
    HostClosure::new::<F, P, <A::Output as HostResult>::Results>(closure, shim::<T, F, P, A>)
}
