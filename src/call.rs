//! Calling guests: at once, as a future that borrows the store, or as a call that owns it.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{
    dispatch::{self, Beneath, Mode, ModeGuard, Outcome, Parked, Progress, WaitingGuard},
    error::{Error, FrameInfo, Pending, Result, WasmBacktrace},
    helpers::context_of_instance,
    host::{LeafKind, context_of, vtable_of},
    instance::Func,
    resumption::Call,
    store::{AsContextMut, CorePtr, Store, StoreCore, StoreInner, expect_own},
    task_context::Outside,
    values::{Val, WasmParams, WasmResults, read_result, store_of},
};
use midair_jit::{
    frame::abi,
    runtime::context::{FuncEntry, VmContext},
    wasm::types::FuncType,
};
use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    panic::resume_unwind,
    pin::Pin,
    ptr::NonNull,
    sync::atomic::Ordering,
    task::{Context, Poll},
};

/// A guest function whose parameters and results are Rust types.
pub struct TypedFunc<P, R> {
    pub(crate) func: Func,
    pub(crate) entry_stub: usize,
    pub(crate) types: PhantomData<fn(P) -> R>,
}

impl<P, R> Clone for TypedFunc<P, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P, R> Copy for TypedFunc<P, R> {}

impl<P, R> fmt::Debug for TypedFunc<P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.func, f)
    }
}

/// An entry stub's argument for typed calls: the address, then one word per parameter.
const WORDS: usize = 17;

impl Func {
    #[inline]
    pub(crate) fn entry(&self) -> (*mut VmContext, usize) {
        let context = context_of_instance(self.instance);
        // SAFETY: callers hold the store.
        let entries: *const FuncEntry = unsafe { (*context).entries };
        // SAFETY: one per function of the module, which the instance keeps alive.
        let entry = unsafe { &*entries.add(self.index.index()) };
        (context, entry.code.load(Ordering::Acquire))
    }

    pub(crate) fn check_store(&self, store: u64) {
        expect_own(self.store, store, "a function");
    }
}

/// What a guest that left without results means for who called it.
#[cold]
pub(crate) fn failed(core: NonNull<StoreCore>) -> Error {
    // SAFETY: callers hold the store.
    match unsafe { (*core.as_ptr()).take_error() } {
        Ok(error) => error,
        Err(panic) => resume_unwind(panic),
    }
}

/// Runs a started guest to its end; only forced suspensions can be met.
///
/// # Safety
/// The caller uses the store exclusively, and the mode is `Sync`.
#[inline]
unsafe fn finish_sync(core: NonNull<StoreCore>, mut outcome: Outcome) -> Result<*mut VmContext> {
    loop {
        match outcome {
            Outcome::Returned(context) => return Ok(context),
            Outcome::Trapped => return Err(failed(core)),
            Outcome::Suspended(leaf) => {
                // SAFETY: the leaf of a chain this owns.
                let (kind, context) = unsafe { (vtable_of(leaf).kind, context_of(leaf)) };
                let ready = match kind {
                    LeafKind::Yield => Ok(()),
                    // SAFETY: the caller's.
                    LeafKind::Awaiter => Err(unsafe { dispatch::awaited_beneath(core, leaf) }),
                    LeafKind::Future => unreachable!("its host function has looked at the mode"),
                };
                // SAFETY: the caller's; there is no payload any more.
                outcome = unsafe { StoreCore::leaf_done(core, context, leaf, ready) };
            }
        }
    }
}

impl<P: WasmParams, R: WasmResults> TypedFunc<P, R> {
    /// The function.
    pub fn func(&self) -> Func {
        self.func
    }

    /// # Safety
    /// The caller uses the store exclusively.
    #[inline]
    unsafe fn words(
        &self,
        core: NonNull<StoreCore>,
        code: usize,
        params: P,
    ) -> Result<[u64; WORDS]> {
        let mut words = [0; WORDS];
        words[0] = code as u64;
        // SAFETY: the caller's.
        unsafe { params.write(&mut words[1..], CorePtr(core)) }?;
        Ok(words)
    }

    /// # Safety
    /// The caller uses the store exclusively and has set the mode.
    #[inline]
    pub(crate) unsafe fn begin(&self, core: NonNull<StoreCore>, params: P) -> Outcome {
        let (context, code) = self.func.entry();
        // SAFETY: the caller's.
        let words = match unsafe { self.words(core, code, params) } {
            Ok(words) => words,
            Err(error) => {
                // SAFETY: the caller's.
                unsafe { &mut *core.as_ptr() }
                    .set_pending(Pending::Error(error), WasmBacktrace::default());
                return Outcome::Trapped;
            }
        };
        // SAFETY: the entry stub of this function's type, with its words.
        unsafe {
            StoreCore::start(
                core,
                context,
                self.entry_stub,
                words.as_ptr().expose_provenance(),
            )
        }
    }

    /// Calls it and runs it to its end.
    ///
    /// # Errors
    /// A [`Trap`](crate::Trap); an error that a host function returned;
    /// [`CannotSuspend`](crate::CannotSuspend) when it awaits something that is not ready.
    ///
    /// # Panics
    /// If the function is of another store; with the panic of a host function.
    pub fn call<C: AsContextMut>(&self, store: C, params: P) -> Result<R> {
        let beneath = match store.host_function() {
            Some(host) => Beneath::Host(NonNull::from(host)),
            None => Beneath::Call(self.func),
        };
        let frame = store.host_frame();
        // SAFETY: `store` is borrowed exclusively until the end.
        unsafe { self.call_beneath(store.store_ptr().0.cast(), params, beneath, frame) }
    }

    /// # Safety
    /// The caller uses the store exclusively.
    pub(crate) unsafe fn call_beneath(
        &self,
        core: NonNull<StoreCore>,
        params: P,
        beneath: Beneath,
        frame: usize,
    ) -> Result<R> {
        // SAFETY: the caller's.
        unsafe { &mut *core.as_ptr() }.begin_use(self.func.store);
        // SAFETY: the store outlives this call, and so does the host function that makes it.
        let _waiting = unsafe { WaitingGuard::frames(core, frame) };
        // SAFETY: the store outlives this call.
        let _mode = unsafe { ModeGuard::new(core, Mode::Sync(beneath)) };
        let _outside = Outside::share();
        // SAFETY: the caller's.
        let outcome = unsafe { self.begin(core, params) };
        // SAFETY: the caller's.
        let context = unsafe { finish_sync(core, outcome) }?;
        // SAFETY: the context's store is held.
        Ok(R::take(unsafe { &*context }))
    }

    /// Calls it as a future: the guest runs in its `poll`, and what it awaits is polled with the same context.
    ///
    /// Dropping the future drops the call: host futures in it are dropped, and the instance can be used again. A leaked
    /// future is cancelled by the next use of the store.
    ///
    /// # Errors
    /// The future's: as [`call`](Self::call), but awaits are waited for.
    ///
    /// # Panics
    /// If the function is of another store; the future, with the panic of a host function.
    pub fn call_async<T: Send>(&self, store: &mut Store<T>, params: P) -> CallFuture<'_, T, P, R> {
        let inner = store.inner;
        // SAFETY: borrowed exclusively.
        unsafe { &mut (*inner.as_ptr()).core }.begin_use(self.func.store);
        CallFuture {
            store: inner,
            borrow: PhantomData,
            func: *self,
            params: Some(params),
        }
    }

    /// Starts a call that owns its store, and runs it until it first waits. What it waits for resumes it: a
    /// [`Resumption`](crate::Resumption) in place, on whatever thread uses it; a host future when the [`Call`] is polled.
    ///
    /// # Panics
    /// If the function is of another store.
    pub fn start<T: Send + 'static>(&self, store: Store<T>, params: P) -> Call<T, R> {
        Call::start(store, self, params)
    }
}

impl Func {
    fn module<'a>(&self) -> &'a crate::Module {
        // SAFETY: owned by the store, which callers borrow.
        unsafe { &(*self.instance.as_ptr()).module }
    }

    /// The words an entry stub wants, and its address; the types are checked.
    fn dynamic_words(&self, core: NonNull<StoreCore>, params: &[Val]) -> Result<(Vec<u64>, usize)> {
        let module = self.module();
        let ty: &FuncType = module.inner.code.module.func_type(self.index);
        if params.len() != ty.params.len() {
            return Err(Error::msg(format_args!(
                "expected {} arguments, got {}",
                ty.params.len(),
                params.len()
            )));
        }
        for (i, (param, ty)) in params.iter().zip(&ty.params).enumerate() {
            if param.ty() != *ty {
                return Err(Error::msg(format_args!(
                    "argument {i} is {}, expected {ty}",
                    param.ty()
                )));
            }
        }
        let stubs = module.engine().stubs(ty)?;
        // the first word is the address of the code, which is known at the call
        let words = params
            .iter()
            // SAFETY: callers use the store.
            .map(|param| unsafe { param.to_word(CorePtr(core)) });
        let words = std::iter::once(Ok(0))
            .chain(words)
            .collect::<Result<Vec<u64>>>()?;
        Ok((words, stubs.entry))
    }

    /// # Safety
    /// The caller uses the store exclusively and has set the mode; words and stub are of `dynamic_words`.
    unsafe fn begin_dynamic(
        &self,
        core: NonNull<StoreCore>,
        (mut words, stub): (Vec<u64>, usize),
    ) -> Outcome {
        let (context, code) = self.entry();
        words[0] = code as u64;
        // SAFETY: the entry stub of this function's type, with its words.
        unsafe { StoreCore::start(core, context, stub, words.as_ptr().expose_provenance()) }
    }

    /// The results of a call that has returned, in its context.
    fn dynamic_results(&self, context: &VmContext) -> Vec<Val> {
        let ty: &FuncType = self.module().inner.code.module.func_type(self.index);
        let places = abi::result_places(ty);
        places
            .iter()
            .zip(&ty.results)
            // SAFETY: results of these types, in a context of the store.
            .map(|(&place, &ty)| unsafe {
                Val::from_word(ty, read_result(context, place), store_of(context))
            })
            .collect()
    }

    pub(crate) fn call_dynamic<C: AsContextMut>(
        &self,
        store: C,
        params: &[Val],
    ) -> Result<Vec<Val>> {
        let core: NonNull<StoreCore> = store.store_ptr().0.cast();
        let beneath = match store.host_function() {
            Some(host) => Beneath::Host(NonNull::from(host)),
            None => Beneath::Call(*self),
        };
        // SAFETY: borrowed exclusively until the end.
        unsafe { &mut *core.as_ptr() }.begin_use(self.store);
        let words = self.dynamic_words(core, params)?;
        // SAFETY: the store outlives this call, and so does the host function that makes it.
        let _waiting = unsafe { WaitingGuard::frames(core, store.host_frame()) };
        // SAFETY: the store outlives this call.
        let _mode = unsafe { ModeGuard::new(core, Mode::Sync(beneath)) };
        let _outside = Outside::share();
        // SAFETY: borrowed exclusively until the end.
        let outcome = unsafe { self.begin_dynamic(core, words) };
        // SAFETY: borrowed exclusively until the end.
        let context = unsafe { finish_sync(core, outcome) }?;
        // SAFETY: the context's store is held.
        Ok(self.dynamic_results(unsafe { &*context }))
    }

    /// Calls it as a future, with values checked at run time: see [`TypedFunc::call_async`].
    ///
    /// # Errors
    /// If number or types of the parameters are not the function's; the future's, as [`TypedFunc::call_async`] says.
    ///
    /// # Panics
    /// If the function is of another store; the future, with the panic of a host function.
    pub fn call_async<'a, T: Send>(
        &self,
        store: &'a mut Store<T>,
        params: &[Val],
    ) -> Result<DynamicCallFuture<'a, T>> {
        self.check_store(store.core_id());
        let (words, entry_stub) = self.dynamic_words(store.core(), params)?;
        let inner = store.inner;
        // SAFETY: borrowed exclusively.
        unsafe { &mut (*inner.as_ptr()).core }.begin_use(self.store);
        let func = TypedFunc {
            func: *self,
            entry_stub,
            types: PhantomData,
        };
        Ok(DynamicCallFuture {
            call: CallFuture {
                store: inner,
                borrow: PhantomData,
                func,
                params: Some(words),
            },
        })
    }

    /// Starts a call that owns its store, with values checked at run time: see [`TypedFunc::start`].
    ///
    /// # Errors
    /// The store, with what is wrong, if number or types of the parameters are not the function's.
    ///
    /// # Panics
    /// If the function is of another store.
    pub fn start<T: Send + 'static>(
        &self,
        store: Store<T>,
        params: &[Val],
    ) -> std::result::Result<DynamicCall<T>, (Store<T>, Error)> {
        self.check_store(store.core_id());
        let words = match self.dynamic_words(store.core(), params) {
            Ok(words) => words,
            Err(error) => return Err((store, error)),
        };
        // SAFETY: `start_with` uses the store exclusively and has set the mode.
        let call = Call::start_with(store, self.store, |core| unsafe {
            self.begin_dynamic(core, words)
        });
        Ok(DynamicCall { call, func: *self })
    }
}

/// A call in progress whose types are checked at run time: see [`Func::call_async`].
#[derive(Debug)]
#[must_use = "futures do nothing unless they are polled"]
pub struct DynamicCallFuture<'a, T: 'static> {
    call: CallFuture<'a, T, Vec<u64>, ()>,
}

impl<T> DynamicCallFuture<'_, T> {
    /// As [`CallFuture::frames`].
    pub fn frames(&self) -> Vec<FrameInfo> {
        self.call.frames()
    }

    /// As [`CallFuture::normalize`].
    ///
    /// # Errors
    /// The same.
    pub fn normalize(&mut self, choose: impl FnMut(usize) -> bool) -> Result<usize> {
        self.call.normalize(choose)
    }
}

impl<T: Send> Future for DynamicCallFuture<'_, T> {
    type Output = Result<Vec<Val>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Vec<Val>>> {
        let func = self.call.func.func;
        let stub = self.call.func.entry_stub;
        // SAFETY: `step` uses the store exclusively and has set the mode.
        let step = self.call.step(cx, |_, core, words| unsafe {
            func.begin_dynamic(core, (words, stub))
        });
        step.map_ok(|context| func.dynamic_results(unsafe_context(context)))
    }
}

/// A call that owns its store, whose types are checked at run time: see [`Func::start`].
#[derive(Debug)]
#[must_use = "a call that is dropped is cancelled"]
pub struct DynamicCall<T: 'static> {
    call: Call<T, ()>,
    func: Func,
}

impl<T> DynamicCall<T> {
    /// As [`Call::is_finished`].
    pub fn is_finished(&self) -> bool {
        self.call.is_finished()
    }

    /// As [`Call::frames`].
    pub fn frames(&self) -> Option<Vec<FrameInfo>> {
        self.call.frames()
    }

    /// As [`Call::normalize`].
    ///
    /// # Errors
    /// The same.
    pub fn normalize(&mut self, choose: impl FnMut(usize) -> bool) -> Option<Result<usize>> {
        self.call.normalize(choose)
    }

    /// As [`Call::finish`].
    ///
    /// # Errors
    /// The handle, if the call has not ended.
    ///
    /// # Panics
    /// With the panic of a host function, if that ended the call.
    pub fn finish(mut self) -> std::result::Result<(Store<T>, Result<Vec<Val>>), Self> {
        if !self.is_finished() {
            return Err(self);
        }
        let (store, ended) = self.call.take_ended();
        let result = ended.map(|context| self.func.dynamic_results(unsafe_context(context)));
        Ok((store, result))
    }
}

impl<T: Send> Future for DynamicCall<T> {
    type Output = (Store<T>, Result<Vec<Val>>);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let func = self.func;
        self.call.poll_ended(cx).map(|(store, ended)| {
            let result = ended.map(|context| func.dynamic_results(unsafe_context(context)));
            (store, result)
        })
    }
}

impl StoreCore {
    /// Somebody uses the store from outside: a call that was leaked is cancelled.
    #[inline]
    pub(crate) fn begin_use(&mut self, store: u64) {
        expect_own(store, self.id, "a function");
        if matches!(self.activations.mode, Mode::Idle) && self.activations.is_parked() {
            self.cancel_everything();
        }
    }
}

/// A call in progress: see [`TypedFunc::call_async`].
#[must_use = "futures do nothing unless they are polled"]
pub struct CallFuture<'a, T: 'static, P, R> {
    store: NonNull<StoreInner<T>>,
    borrow: PhantomData<&'a mut Store<T>>,
    func: TypedFunc<P, R>,
    /// `None` once it has started.
    params: Option<P>,
}

// SAFETY: it borrows the store exclusively, which is `Send`; a parked chain holds only what is `Send`.
unsafe impl<T: Send, P: Send, R> Send for CallFuture<'_, T, P, R> {}

impl<T, P, R> Unpin for CallFuture<'_, T, P, R> {}

impl<T, P, R> fmt::Debug for CallFuture<'_, T, P, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture")
            .field("func", &self.func)
            .field("started", &self.params.is_none())
            .finish()
    }
}

impl<T, P, R> CallFuture<'_, T, P, R> {
    fn core(&self) -> NonNull<StoreCore> {
        self.store.cast()
    }

    /// The guest frames that wait, innermost first; empty unless the call is suspended.
    pub fn frames(&self) -> Vec<FrameInfo> {
        // SAFETY: this borrows the store exclusively.
        let root = unsafe { &(*self.core().as_ptr()).activations.root };
        root.as_ref()
            .map_or_else(Vec::new, |parked| dispatch::logical_frames(parked.leaf))
    }

    /// Rewrites the waiting frames that `choose` picks (the innermost is 0) into their canonical layout: they go on in
    /// tier-0. This never changes a result. Gives how many there were.
    ///
    /// # Errors
    /// If tier-0 code is needed and cannot be made; the frames before are normalized then.
    pub fn normalize(&mut self, choose: impl FnMut(usize) -> bool) -> Result<usize> {
        // `choose` may do anything, so it is asked while the chain is where it belongs
        let chosen: Vec<bool> = (0..self.frames().len()).map(choose).collect();
        // SAFETY: this borrows the store exclusively.
        let core = unsafe { &mut *self.core().as_ptr() };
        let Some(parked) = core.activations.root.take() else {
            return Ok(0);
        };
        // SAFETY: the chain of this call.
        let normalized = unsafe { core.normalize_links(parked.leaf, |_, frame| chosen[frame]) };
        core.activations.root = Some(parked);
        normalized
    }
}

impl<T, P, R> CallFuture<'_, T, P, R> {
    /// One poll; ready: the results are in that context. `begin` starts the guest, with the store used exclusively and the
    /// mode set.
    fn step(
        &mut self,
        cx: &mut Context<'_>,
        begin: impl FnOnce(&TypedFunc<P, R>, NonNull<StoreCore>, P) -> Outcome,
    ) -> Poll<Result<*mut VmContext>> {
        let core = self.core();
        let _outside = Outside::share();
        let (parked, fresh) = match self.params.take() {
            Some(params) => {
                // SAFETY: the store outlives this poll.
                let _mode =
                    unsafe { ModeGuard::new(core, Mode::Poll(NonNull::from(&mut *cx).cast())) };
                match begin(&self.func, core, params) {
                    Outcome::Returned(context) => return Poll::Ready(Ok(context)),
                    Outcome::Trapped => return Poll::Ready(Err(failed(core))),
                    Outcome::Suspended(leaf) => (Parked { leaf, ticket: None }, true),
                }
            }
            None => {
                // SAFETY: this borrows the store exclusively.
                let root = unsafe { (*core.as_ptr()).activations.root.take() };
                (
                    root.expect("a call is not polled after it has finished"),
                    false,
                )
            }
        };
        // SAFETY: the store outlives this poll.
        let _mode = unsafe { ModeGuard::new(core, Mode::Poll(NonNull::from(&mut *cx).cast())) };
        // SAFETY: this borrows the store exclusively; the chain is this call's.
        match unsafe { dispatch::poll(core, cx, parked, fresh) } {
            Progress::Done(context) => Poll::Ready(Ok(context)),
            Progress::Trapped => Poll::Ready(Err(failed(core))),
            Progress::Pending(parked) => {
                // SAFETY: this borrows the store exclusively.
                unsafe { (*core.as_ptr()).activations.root = Some(parked) };
                Poll::Pending
            }
        }
    }
}

impl<T: Send, P: WasmParams, R: WasmResults> Future for CallFuture<'_, T, P, R> {
    type Output = Result<R>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<R>> {
        // SAFETY: `step` uses the store exclusively and has set the mode.
        let step = self.step(cx, |func, core, params| unsafe { func.begin(core, params) });
        step.map_ok(|context| R::take(unsafe_context(context)))
    }
}

/// A context whose store the caller holds.
pub(crate) fn unsafe_context<'a>(context: *mut VmContext) -> &'a VmContext {
    // SAFETY: outcomes name live contexts of the store that is being polled.
    unsafe { &*context }
}

impl<T, P, R> Drop for CallFuture<'_, T, P, R> {
    fn drop(&mut self) {
        if self.params.is_none() {
            // SAFETY: this borrows the store exclusively.
            unsafe { (*self.core().as_ptr()).cancel_everything() };
        }
    }
}
