//! A call that owns its store, as the embedder holds it.

use super::state::{
    CANCELLED, DONE, LEFT, LOCKED, OPEN, ORPHAN, ORPHANED, OwnedCall, PARKED_FUTURE, PARKED_TOKEN,
    RUNNING,
};
use crate::{
    call::{TypedFunc, unsafe_context},
    dispatch::{self, Mode, Outcome},
    error::{FrameInfo, Result},
    store::{Store, StoreCore, StoreInner},
    task_context::Outside,
    values::{WasmParams, WasmResults},
};
use midair_continuation::Header;
use midair_jit::{code::draft::CodeKind, runtime::context::VmContext};
use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    mem,
    pin::Pin,
    ptr::NonNull,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

/// A call that owns its store: see [`TypedFunc::start`].
///
/// As a future it gives the store back with the result, and polls the host futures that the guest awaits. A call that waits
/// for a [`Resumption`](crate::Resumption) needs no poll: the token runs it. Dropping the handle cancels the call; its store goes with it.
#[must_use = "a call that is dropped is cancelled"]
pub struct Call<T: 'static, R> {
    /// `None` once the store was given back.
    store: Option<NonNull<StoreInner<T>>>,
    /// Invariant in `T`: host functions of the store are made for just this type.
    result: PhantomData<fn(T) -> (T, R)>,
}

/// Sets a call's home back when its handle has looked at the chain.
struct Unlock<'a> {
    home: &'a AtomicUsize,
    here: usize,
}

impl Drop for Unlock<'_> {
    fn drop(&mut self) {
        self.home.store(self.here, Ordering::Release);
    }
}

// SAFETY: `start` demands a store that is `Send`; all that is shared with tokens is settled by atomics.
unsafe impl<T: Send, R> Send for Call<T, R> {}

impl<T, R> Unpin for Call<T, R> {}

impl<T, R> fmt::Debug for Call<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("finished", &self.is_finished())
            .finish()
    }
}

impl<T: Send + 'static, R> Call<T, R> {
    pub(crate) fn start<P: WasmParams>(store: Store<T>, func: &TypedFunc<P, R>, params: P) -> Self
    where
        R: WasmResults,
    {
        // SAFETY: owned, and nobody else has the right to run it.
        Self::start_with(store, func.func().store, |core| unsafe {
            func.begin(core, params)
        })
    }

    /// Starts a call of a function of the store with this number; `begin` starts the guest.
    pub(crate) fn start_with(
        store: Store<T>,
        id: u64,
        begin: impl FnOnce(NonNull<StoreCore>) -> Outcome,
    ) -> Self {
        let inner = store.inner;
        let core: NonNull<StoreCore> = inner.cast();
        // SAFETY: owned. (A function of another store panics here, while the store is still its owner's.)
        unsafe { &mut *core.as_ptr() }.begin_use(id);
        mem::forget(store);
        let this = Self {
            store: Some(inner),
            result: PhantomData,
        };
        // SAFETY: owned.
        let owned = unsafe { &mut *core.as_ptr() };
        owned.activations.mode = Mode::Owned;
        owned.forget_stack_limits();
        // SAFETY: owned.
        let home = unsafe { OwnedCall::home_here(core) };
        owned.call.home.store(home, Ordering::Relaxed);
        owned.call.state.store(RUNNING, Ordering::Relaxed);
        owned.call.claim.store(OPEN, Ordering::Relaxed);
        let _outside = Outside::share();
        let outcome = begin(core);
        // SAFETY: owned, and nobody else has the right to run it.
        unsafe { OwnedCall::drive(core, outcome) };
        this
    }
}

impl<T, R> Call<T, R> {
    fn core(&self) -> Option<NonNull<StoreCore>> {
        self.store.map(NonNull::cast)
    }

    /// Whether the call has ended, with a result or an error.
    pub fn is_finished(&self) -> bool {
        // SAFETY: the handle keeps the store.
        self.core()
            .is_some_and(|core| unsafe { OwnedCall::of(core) }.settled_state() == DONE)
    }

    /// Runs `inspect` on the parked chain, if the call is parked and this thread may look at it.
    fn inspect<V>(&self, inspect: impl FnOnce(&mut StoreCore, NonNull<Header>) -> V) -> Option<V> {
        let core = self.core()?;
        // SAFETY: the handle keeps the store.
        let call = unsafe { OwnedCall::of(core) };
        let home = match call.settled_state() {
            PARKED_TOKEN => Some(call.leave_home(LOCKED)?),
            PARKED_FUTURE => None,
            _ => return None,
        };
        // SAFETY: parked, and nobody can start to run it: it is the handle's, or its home is locked.
        let store = unsafe { &mut *core.as_ptr() };
        let leaf = NonNull::new(store.call.leaf).expect("a parked call has a leaf");
        let _unlock = home.map(|here| Unlock {
            home: &call.home,
            here,
        });
        Some(inspect(store, leaf))
    }

    /// The guest frames that wait, innermost first. `None` if the call runs, has ended, or was last run by another thread,
    /// whose token may be running it now.
    pub fn frames(&self) -> Option<Vec<FrameInfo>> {
        self.inspect(|_, leaf| dispatch::logical_frames(leaf))
    }

    /// Which kind of code each waiting guest frame is in, innermost first; `None` as for [`frames`](Self::frames).
    pub fn code_kinds(&self) -> Option<Vec<CodeKind>> {
        self.inspect(|_, leaf| dispatch::code_kinds(leaf))
    }

    /// Rewrites the waiting frames that `choose` picks (the innermost is 0) into their canonical layout: they go on in
    /// tier-0. This never changes a result. Gives how many there were; `None` as for [`frames`](Self::frames).
    ///
    /// A listener of events ([`Config::on_event`](crate::Config::on_event)) must not wait for this call's token meanwhile:
    /// whoever uses the token waits until the frames are rewritten.
    ///
    /// # Errors
    /// If tier-0 code is needed and cannot be made; the frames before are normalized then.
    pub fn normalize(&mut self, choose: impl FnMut(usize) -> bool) -> Option<Result<usize>> {
        // `choose` may do anything, so it is asked while nothing is locked
        let frames = self.frames()?.len();
        let chosen: Vec<bool> = (0..frames).map(choose).collect();
        self.inspect(|store, leaf| {
            // SAFETY: `inspect` says the chain is nobody's but ours.
            unsafe {
                store.normalize_links(leaf, |_, frame| chosen.get(frame).copied().unwrap_or(false))
            }
        })
    }

    /// The store, taken out of the handle.
    fn take_store(&mut self) -> Store<T> {
        Store {
            inner: self.store.take().expect("given back once"),
            data: PhantomData,
        }
    }
}

impl<T, R: WasmResults> Call<T, R> {
    /// The store with the result, if the call has ended.
    ///
    /// # Errors
    /// The handle, if it has not.
    ///
    /// # Panics
    /// With the panic of a host function, if that ended the call.
    pub fn finish(mut self) -> std::result::Result<(Store<T>, Result<R>), Self> {
        if !self.is_finished() {
            return Err(self);
        }
        Ok(self.take_result())
    }

    fn take_result(&mut self) -> (Store<T>, Result<R>) {
        let (store, ended) = self.take_ended();
        (store, ended.map(|context| R::take(unsafe_context(context))))
    }
}

impl<T, R> Call<T, R> {
    /// The store of a call that has ended, and the context with its results.
    pub(crate) fn take_ended(&mut self) -> (Store<T>, Result<*mut VmContext>) {
        let store = self.take_store();
        let core = store.core();
        // SAFETY: done, so the store is ours.
        let context = unsafe { (*core.as_ptr()).call.context };
        if context.is_null() {
            let error = crate::call::failed(core);
            return (store, Err(error));
        }
        (store, Ok(context))
    }

    /// One poll; ready: as `take_ended`.
    pub(crate) fn poll_ended(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(Store<T>, Result<*mut VmContext>)> {
        let core = self
            .core()
            .expect("a call is not polled after it has finished");
        // SAFETY: the handle keeps the store.
        let call = unsafe { OwnedCall::of(core) };
        call.waker.register(cx.waker());
        if call.settled_state() == PARKED_FUTURE {
            // SAFETY: it is the handle's to run.
            unsafe { OwnedCall::poll_future(core, cx) };
        }
        // SAFETY: the handle keeps the store.
        if unsafe { OwnedCall::of(core) }.settled_state() == DONE {
            return Poll::Ready(self.take_ended());
        }
        Poll::Pending
    }
}

impl<T: Send, R: WasmResults> Future for Call<T, R> {
    type Output = (Store<T>, Result<R>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let ended = self.poll_ended(cx);
        ended.map(|(store, ended)| (store, ended.map(|context| R::take(unsafe_context(context)))))
    }
}

impl<T, R> Drop for Call<T, R> {
    fn drop(&mut self) {
        let Some(core) = self.core() else { return };
        // SAFETY: the handle keeps the store.
        let call = unsafe { OwnedCall::of(core) };
        if call.settled_state() == PARKED_TOKEN && call.leave_home(CANCELLED).is_some() {
            // SAFETY: parked at a token that can do nothing any more.
            unsafe { OwnedCall::cancel_here(core) };
            return;
        }
        // Whoever has the token, on another thread, takes notice; if it comes first, it leaves the call to us.
        call.home.store(ORPHAN, Ordering::SeqCst);
        match call
            .claim
            .compare_exchange(OPEN, ORPHANED, Ordering::AcqRel, Ordering::Acquire)
        {
            // whoever runs it, or has its token, cancels it
            Ok(_) => (),
            // SAFETY: the token was here, and its right is ours.
            Err(LEFT) => unsafe { OwnedCall::cancel_orphan(core) },
            Err(_) => {
                // offered to the handle, or done: wait until the other thread has let go
                call.settled_state();
                // SAFETY: nobody else knows the call; what it waits for is dropped with it.
                unsafe { OwnedCall::cancel_orphan(core) };
            }
        }
    }
}

impl<T, R> Call<T, R> {
    /// Helper functions that machine code of the call's store has called so far; `None` as for [`frames`](Self::frames).
    pub fn helper_calls(&self) -> Option<u64> {
        self.inspect(|store, _| store.helper_calls())
    }
}
