//! Asynchronous host functions: a future in its leaf, polled.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use super::{
    HostClosure, HostFunc, HostResult,
    leaf::{LeafSlot, LeafVtable, MAX_INLINE, new_leaf},
    shim::{Call, words_of},
};
use crate::{
    dispatch::WaitingGuard,
    error::Error,
    task_context::Inside,
    values::{WasmParams, WasmResults},
};
use midair_continuation::{header::payload, recycle::BLOCK_ALIGN};
use midair_jit::{
    frame::abi::{EXIT_RETURNED, HostExit},
    runtime::context::VmContext,
};
use std::{
    future::Future,
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll, Waker},
};

/// The payload of a future's leaf.
struct FutureLeaf<Fut>(PhantomData<Fut>);

impl<Fut, R> FutureLeaf<Fut>
where
    Fut: Future<Output = R> + Send + 'static,
    R: HostResult,
{
    const VTABLE: LeafVtable = LeafVtable::future(
        // SAFETY: the leaf's payload is a `Fut`.
        |leaf| unsafe { payload(leaf).cast::<Fut>().drop_in_place() },
        |leaf, cx, context| {
            // SAFETY: the leaf's payload is a `Fut`; **Invariant (a leaf's payload never moves)**.
            let future = unsafe { Pin::new_unchecked(payload(leaf).cast::<Fut>().as_mut()) };
            future
                .poll(cx)
                .map(|output| output.into_result()?.put(context))
        },
    );

    const VTABLE_REF: &'static LeafVtable = &Self::VTABLE;
}

/// An asynchronous closure as a host function.
pub(crate) fn async_closure<T, F, P, Fut, R>(closure: F) -> HostClosure
where
    T: 'static,
    F: Fn(crate::AsyncCaller<T>, P) -> Fut + Send + Sync + 'static,
    P: WasmParams,
    Fut: Future<Output = R> + Send + 'static,
    R: HostResult,
{
    unsafe extern "C" fn shim<T, F, P, Fut, R>(
        context: *mut VmContext,
        host: *const HostFunc,
        words: *mut u64,
    ) -> HostExit
    where
        T: 'static,
        F: Fn(crate::AsyncCaller<T>, P) -> Fut + Send + Sync + 'static,
        P: WasmParams,
        Fut: Future<Output = R> + Send + 'static,
        R: HostResult,
    {
        // SAFETY: made for this closure and store type below.
        let call = unsafe { Call::<T, F>::new(context, host, words, words_of::<P, R::Results>()) };
        call.leave(|| {
            // SAFETY: a host stub's words.
            let params =
                unsafe { P::read(std::slice::from_raw_parts(words, P::COUNT), call.core_ptr()) };
            if size_of::<Fut>() > MAX_INLINE || align_of::<Fut>() > BLOCK_ALIGN {
                call.core().activations.boxed_futures += 1;
                // SAFETY: as above.
                unsafe {
                    start_typed(&call, words, |caller| {
                        Box::pin((call.closure)(caller, params))
                    })
                }
            } else {
                // SAFETY: as above.
                unsafe { start_typed(&call, words, |caller| (call.closure)(caller, params)) }
            }
        })
    }
    HostClosure::new::<F, P, R::Results>(closure, shim::<T, F, P, Fut, R>)
}

/// As `start_future`, of a future whose type is known, with its results as `words`.
///
/// # Safety
/// `words` has one word per result; a `Fut` fits a leaf.
unsafe fn start_typed<T, F, Fut, R>(
    call: &Call<'_, T, F>,
    words: *mut u64,
    build: impl FnOnce(crate::AsyncCaller<T>) -> Fut,
) -> Result<u32, Error>
where
    T: 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: HostResult,
{
    let finish = |output: R| {
        let results = output.into_result()?;
        // SAFETY: the caller's.
        unsafe {
            results.write(
                std::slice::from_raw_parts_mut(words, R::Results::COUNT),
                call.core_ptr(),
            )
        }
    };
    // SAFETY: the caller's; the vtable is the type's own.
    unsafe { start_future(call, FutureLeaf::<Fut>::VTABLE_REF, build, finish) }
}

/// Builds a future in a leaf and polls it once: ready, `finish` puts its results where the stub finds them, and the leaf is
/// gone; pending, the leaf heads the chain.
///
/// # Safety
/// `vtable` is that of leaves whose payload is a `Fut`, and a `Fut` fits a leaf.
pub(super) unsafe fn start_future<T, F, Fut>(
    call: &Call<'_, T, F>,
    vtable: &'static LeafVtable,
    build: impl FnOnce(crate::AsyncCaller<T>) -> Fut,
    finish: impl FnOnce(Fut::Output) -> Result<(), Error>,
) -> Result<u32, Error>
where
    T: 'static,
    Fut: Future + Send + 'static,
{
    let number = call.core().activations.next_number();
    let caller = crate::AsyncCaller::new(call.core().id, number, call.instance);
    // SAFETY: the live context of the stub that called.
    let context = unsafe { &mut *call.context };
    let leaf = new_leaf(context, size_of::<Fut>(), vtable, number);
    let mut slot = LeafSlot {
        leaf,
        context: call.context,
        initialized: false,
    };
    let inside = Inside::begin();
    let future = build(caller);
    // SAFETY: the block has room for a `Fut`, aligned to `BLOCK_ALIGN` or less (a box is).
    unsafe { payload(leaf).cast::<Fut>().write(future) };
    slot.initialized = true;
    // SAFETY: just written; it stays there until it is dropped there.
    let future = unsafe { Pin::new_unchecked(payload(leaf).cast::<Fut>().as_mut()) };
    let core = NonNull::from(call.core());
    // SAFETY: the stub's frame, while its shim runs.
    let _waiting = unsafe { WaitingGuard::frames(core, call.frame) };
    let poll = crate::dispatch::with_current(core, number, || {
        // SAFETY: set by whoever polls this call, who is above on this stack.
        match unsafe { (*core.as_ptr()).activations.waker_context() } {
            Some(cx) => future.poll(cx),
            None => future.poll(&mut Context::from_waker(Waker::noop())),
        }
    });
    match poll {
        Poll::Ready(output) => {
            drop(slot);
            finish(output)?;
            Ok(EXIT_RETURNED)
        }
        Poll::Pending => {
            if call.core().activations.is_sync() {
                return Err(call.cannot_suspend());
            }
            std::mem::forget(slot);
            // SAFETY: the future's leaf, ours until the guest has unwound.
            unsafe { inside.pending(leaf) };
            Ok(call.suspend(leaf))
        }
    }
}
