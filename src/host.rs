//! Host functions: how a Rust closure becomes something a guest can call, and what it leaves behind when it must wait.
//!
//! ```text
//!   guest ─▶ host stub ─▶ shim (one per closure type, below) ─▶ the closure
//!                          │ words to parameters, results to words
//!                          │ panics caught, errors recorded
//!                          └ pending: a leaf in the chain, EXIT_SUSPENDED
//! ```
//!
//! A leaf is a continuation block whose payload is the future or awaiter itself:
//!
//! ```text
//!   Header { next, resume = the context to go on in, resume_address = the leaf's number, site = its LeafVtable, .. }
//!   payload: F
//! ```
//!
//! **Invariant (a leaf's payload never moves).** It is built in its block, polled there and dropped there.

#![expect(
    non_snake_case,
    reason = "macros use one name for a type and its value"
)]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{
    dispatch::WaitingGuard,
    error::{CannotSuspend, Error, Pending},
    instance::InstanceInner,
    resumption::Resumption,
    store::{Caller, CorePtr, StoreCore, StoreInner},
    task_context::Inside,
    values::{WasmParams, WasmResults, WasmTy},
};
use midair_continuation::{
    Header,
    header::{FLAG_HOST_LEAF, HEADER_SIZE, LeafType, payload},
    recycle::{BLOCK_ALIGN, SIZE_CLASSES},
};
use midair_jit::{
    frame::abi::{EXIT_RETURNED, EXIT_SUSPENDED, EXIT_TRAPPED},
    runtime::context::VmContext,
    wasm::types::FuncType,
};
use std::{
    any::Any,
    fmt,
    future::Future,
    marker::PhantomData,
    num::NonZeroUsize,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    ptr::NonNull,
    sync::Arc,
    task::{Context, Poll, Waker},
};

pub(crate) type Shim = unsafe extern "C" fn(*mut VmContext, *const HostFunc, *mut u64) -> u32;

/// A function of the host. Guests call it through its stub.
#[repr(C)]
#[expect(unnameable_types, reason = "in the signature of a sealed trait")]
pub struct HostFunc {
    shim: Shim,
    closure: NonNull<()>,
    drop_closure: unsafe fn(NonNull<()>),
    pub(crate) stub: usize,
    pub(crate) ty: FuncType,
    pub(crate) module: String,
    pub(crate) name: String,
    /// The engine that owns the stub's code.
    _engine: crate::Engine,
}

// SAFETY: the closure is `Send + Sync`; the rest is plain data.
unsafe impl Send for HostFunc {}
// SAFETY: the same.
unsafe impl Sync for HostFunc {}

impl fmt::Debug for HostFunc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}::{} {}", self.module, self.name, self.ty)
    }
}

impl Drop for HostFunc {
    fn drop(&mut self) {
        // SAFETY: made together with the closure, dropped once.
        unsafe { (self.drop_closure)(self.closure) };
    }
}

/// A closure with the shim that fits it.
pub(crate) struct HostClosure {
    shim: Shim,
    closure: NonNull<()>,
    drop_closure: unsafe fn(NonNull<()>),
    ty: FuncType,
}

impl HostClosure {
    /// A closure of that type; `shim` must take it for an `F`.
    pub(crate) fn of_type<F: Send + Sync + 'static>(closure: F, shim: Shim, ty: FuncType) -> Self {
        Self {
            shim,
            closure: NonNull::from(Box::leak(Box::new(closure))).cast(),
            drop_closure: |closure| {
                // SAFETY: leaked above.
                drop(unsafe { Box::from_raw(closure.cast::<F>().as_ptr()) });
            },
            ty,
        }
    }

    fn new<F: Send + Sync + 'static, P: WasmParams, R: WasmResults>(
        closure: F,
        shim: Shim,
    ) -> Self {
        Self::of_type(closure, shim, FuncType::new(P::types(), R::types()))
    }

    pub(crate) fn finish(
        self,
        engine: &crate::Engine,
        module: &str,
        name: &str,
    ) -> crate::Result<Arc<HostFunc>> {
        let stubs = engine.stubs(&self.ty);
        let host = Arc::new(HostFunc {
            shim: self.shim,
            closure: self.closure,
            drop_closure: self.drop_closure,
            stub: stubs.as_ref().map_or(0, |stubs| stubs.host),
            ty: self.ty,
            module: module.to_owned(),
            name: name.to_owned(),
            _engine: engine.clone(),
        });
        stubs?;
        Ok(host)
    }
}

/// The frame register of the host stub that passed these words.
#[inline]
fn stub_frame(words: *mut u64, count: usize) -> usize {
    words.addr() + 8 * count.next_multiple_of(2)
}

/// The words of a host stub: one per parameter or result.
const fn words_of<P: WasmParams, R: WasmParams>() -> usize {
    if P::COUNT > R::COUNT {
        P::COUNT
    } else {
        R::COUNT
    }
}

/// What a shim works with.
pub(crate) struct Call<'a, T: 'static, F> {
    pub(crate) context: *mut VmContext,
    pub(crate) host: &'a HostFunc,
    pub(crate) closure: &'a F,
    pub(crate) store: NonNull<StoreInner<T>>,
    pub(crate) instance: NonNull<InstanceInner>,
    /// The stub's frame.
    pub(crate) frame: usize,
}

impl<T, F> Call<'_, T, F> {
    /// # Safety
    /// 1. `context`, `host` and `words` are what a host stub passed, for this many words; the closure is an `F`, and the
    ///    store's data is a `T`.
    #[inline]
    pub(crate) unsafe fn new(
        context: *mut VmContext,
        host: *const HostFunc,
        words: *mut u64,
        count: usize,
    ) -> Self {
        // SAFETY: (1).
        let instance = unsafe { NonNull::new_unchecked((*context).host) }.cast::<InstanceInner>();
        // SAFETY: (1).
        let store = unsafe { (*instance.as_ptr()).store }.cast();
        // SAFETY: (1); the instance keeps it alive.
        let host = unsafe { &*host };
        // SAFETY: (1).
        let closure = unsafe { host.closure.cast::<F>().as_ref() };
        Self {
            context,
            host,
            closure,
            store,
            instance,
            frame: stub_frame(words, count),
        }
    }

    pub(crate) fn core_ptr(&self) -> CorePtr {
        CorePtr(self.store.cast())
    }

    pub(crate) fn caller(&self) -> Caller<'_, T> {
        Caller {
            store: self.store,
            borrow: PhantomData,
            instance: self.instance,
            host: Some(self.host),
            frame: self.frame,
        }
    }

    #[expect(
        clippy::mut_from_ref,
        reason = "the store lies behind a pointer; see below"
    )]
    pub(crate) fn core(&self) -> &mut StoreCore {
        // SAFETY: the store is this call's, and no other borrow of it is alive between uses in the shims below.
        unsafe { &mut (*self.store.as_ptr()).core }
    }

    /// Runs `body`; errors and panics become the reason for leaving.
    #[inline]
    pub(crate) fn leave(&self, body: impl FnOnce() -> Result<u32, Error>) -> u32 {
        match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(exit)) => exit,
            Ok(Err(error)) => self.trapped(Pending::Error(error)),
            Err(panic) => self.trapped(Pending::Panic(panic)),
        }
    }

    #[cold]
    fn trapped(&self, pending: Pending) -> u32 {
        let core = self.core();
        let backtrace = core.trace(0, self.frame, None);
        core.set_pending(pending, backtrace);
        EXIT_TRAPPED
    }

    /// As the function below.
    pub(crate) fn suspend(&self, leaf: NonNull<Header>) -> u32 {
        // SAFETY: the live context of the stub that called.
        suspend(unsafe { &mut *self.context }, leaf)
    }

    /// Something that cannot wait is in the way of this function's suspension.
    #[cold]
    pub(crate) fn cannot_suspend(&self) -> Error {
        let awaiting = format!("{}::{}", self.host.module, self.host.name);
        let beneath = self.core().activations.beneath();
        CannotSuspend { awaiting, beneath }.into()
    }
}

/// Hangs a leaf at the front of the chain; the frames above link themselves behind it.
#[inline]
fn suspend(context: &mut VmContext, leaf: NonNull<Header>) -> u32 {
    context.chain_head = leaf.as_ptr();
    context.chain_tail = leaf.as_ptr();
    EXIT_SUSPENDED
}

/// What a host function may return: results, or a `Result` of them with any error.
pub trait HostResult {
    /// The results.
    type Results: WasmResults;
    /// Results or error.
    ///
    /// # Errors
    /// What the function returned.
    fn into_result(self) -> Result<Self::Results, Error>;
}

impl<R: WasmResults> HostResult for R {
    type Results = R;
    #[inline]
    fn into_result(self) -> Result<R, Error> {
        Ok(self)
    }
}

impl<R: WasmResults, E: Into<Error>> HostResult for Result<R, E> {
    type Results = R;
    #[inline]
    fn into_result(self) -> Result<R, Error> {
        self.map_err(Into::into)
    }
}

/// A closure that can be a synchronous host function: of up to sixteen [`WasmTy`] parameters, perhaps after a
/// [`Caller`].
pub trait IntoFunc<T, Params, Results>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_closure(self) -> IntoClosure;
}

/// A closure with its shim.
#[doc(hidden)]
#[expect(unnameable_types, reason = "in the signature of a sealed trait")]
pub struct IntoClosure(pub(crate) HostClosure);

impl fmt::Debug for IntoClosure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.ty)
    }
}

macro_rules! into_func {
    ($(($($param:ident),*);)*) => {
        $(into_func!(@one $($param)*);)*
    };
    (@one $($param:ident)*) => {
        impl<T: 'static, F, $($param: WasmTy,)* R: HostResult> IntoFunc<T, ($($param,)*), R> for F
        where
            F: Fn($($param),*) -> R + Send + Sync + 'static,
        {
            fn into_closure(self) -> IntoClosure {
                unsafe extern "C" fn shim<T: 'static, F, $($param: WasmTy,)* R: HostResult>(
                    context: *mut VmContext,
                    host: *const HostFunc,
                    words: *mut u64,
                ) -> u32
                where
                    F: Fn($($param),*) -> R + Send + Sync + 'static,
                {
                    // SAFETY: made for this closure and store type below.
                    let call = unsafe { Call::<T, F>::new(context, host, words, words_of::<($($param,)*), R::Results>()) };
                    // SAFETY: a host stub's words: one per parameter or result.
                    unsafe {
                        run_sync::<T, F, ($($param,)*), R::Results>(&call, words, |($($param,)*)| {
                            (call.closure)($($param),*).into_result()
                        })
                    }
                }
                IntoClosure(HostClosure::new::<F, ($($param,)*), R::Results>(self, shim::<T, F, $($param,)* R>))
            }
        }

        impl<T: 'static, F, $($param: WasmTy,)* R: HostResult> IntoFunc<T, (Caller<'_, T>, $($param,)*), R> for F
        where
            F: Fn(Caller<'_, T>, $($param),*) -> R + Send + Sync + 'static,
        {
            fn into_closure(self) -> IntoClosure {
                unsafe extern "C" fn shim<T: 'static, F, $($param: WasmTy,)* R: HostResult>(
                    context: *mut VmContext,
                    host: *const HostFunc,
                    words: *mut u64,
                ) -> u32
                where
                    F: Fn(Caller<'_, T>, $($param),*) -> R + Send + Sync + 'static,
                {
                    // SAFETY: made for this closure and store type below.
                    let call = unsafe { Call::<T, F>::new(context, host, words, words_of::<($($param,)*), R::Results>()) };
                    // SAFETY: a host stub's words: one per parameter or result.
                    unsafe {
                        run_sync::<T, F, ($($param,)*), R::Results>(&call, words, |($($param,)*)| {
                            (call.closure)(call.caller(), $($param),*).into_result()
                        })
                    }
                }
                IntoClosure(HostClosure::new::<F, ($($param,)*), R::Results>(self, shim::<T, F, $($param,)* R>))
            }
        }
    };
}

into_func! {
    ();
    (A1);
    (A1, A2);
    (A1, A2, A3);
    (A1, A2, A3, A4);
    (A1, A2, A3, A4, A5);
    (A1, A2, A3, A4, A5, A6);
    (A1, A2, A3, A4, A5, A6, A7);
    (A1, A2, A3, A4, A5, A6, A7, A8);
    (A1, A2, A3, A4, A5, A6, A7, A8, A9);
    (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10);
    (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11);
    (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12);
    (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13);
    (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14);
    (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15);
    (A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, A13, A14, A15, A16);
}

/// # Safety
/// `words` has one word per parameter and per result.
#[inline]
unsafe fn run_sync<T, F, P: WasmParams, R: WasmResults>(
    call: &Call<'_, T, F>,
    words: *mut u64,
    body: impl FnOnce(P) -> Result<R, Error>,
) -> u32 {
    call.leave(|| {
        // SAFETY: the caller's.
        let params =
            unsafe { P::read(std::slice::from_raw_parts(words, P::COUNT), call.core_ptr()) };
        let results = body(params)?;
        // SAFETY: the caller's.
        unsafe {
            results.write(
                std::slice::from_raw_parts_mut(words, R::COUNT),
                call.core_ptr(),
            )
        }?;
        Ok(EXIT_RETURNED)
    })
}

// --- Leaves -------------------------------------------------------------------------------------------------------------

/// What kind of leaf ends a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeafKind {
    /// A future: polled until it is ready.
    Future,
    /// An awaiter: told of the suspension, then resumed by its token.
    Awaiter,
    /// A forced suspension: resumed at once.
    Yield,
}

/// Polls a leaf's payload; when it is ready, its results are in the context.
pub(crate) type PollLeaf =
    unsafe fn(NonNull<Header>, &mut Context<'_>, &mut VmContext) -> Poll<Result<(), Error>>;

/// The type of a leaf; what its `site` points to.
#[repr(C)]
pub(crate) struct LeafVtable {
    leaf_type: LeafType,
    pub(crate) kind: LeafKind,
    /// Futures: polls the payload; ready: results are in the context.
    pub(crate) poll: PollLeaf,
    /// Awaiters: hands the token over.
    pub(crate) on_completed: unsafe fn(NonNull<Header>, Resumption),
    /// Awaiters: puts the result in the context and drops the payload.
    pub(crate) complete: unsafe fn(NonNull<Header>, &mut VmContext) -> Result<(), Error>,
}

impl LeafVtable {
    /// A future's, by how its payload is dropped and polled.
    pub(crate) const fn future(drop_payload: unsafe fn(NonNull<Header>), poll: PollLeaf) -> Self {
        Self {
            leaf_type: LeafType { drop_payload },
            kind: LeafKind::Future,
            poll,
            on_completed: never_on_completed,
            complete: never_complete,
        }
    }

    pub(crate) fn drop_payload(&self) -> unsafe fn(NonNull<Header>) {
        self.leaf_type.drop_payload
    }
}

/// The vtable of a leaf.
///
/// # Safety
/// `leaf` is a live host leaf.
#[inline]
pub(crate) unsafe fn vtable_of(leaf: NonNull<Header>) -> &'static LeafVtable {
    // SAFETY: a host leaf's `site` is one, and they are static.
    unsafe { &*leaf.as_ref().site.cast::<LeafVtable>() }
}

/// The context a leaf's caller runs in.
///
/// # Safety
/// `leaf` is a live host leaf.
#[inline]
pub(crate) unsafe fn context_of(leaf: NonNull<Header>) -> *mut VmContext {
    // SAFETY: the caller's.
    std::ptr::with_exposed_provenance_mut(unsafe { leaf.as_ref() }.resume)
}

unsafe fn never_poll(
    _: NonNull<Header>,
    _: &mut Context<'_>,
    _: &mut VmContext,
) -> Poll<Result<(), Error>> {
    unreachable!("only futures are polled")
}

unsafe fn never_on_completed(_: NonNull<Header>, _: Resumption) {
    unreachable!("only awaiters get a token")
}

unsafe fn never_complete(_: NonNull<Header>, _: &mut VmContext) -> Result<(), Error> {
    unreachable!("only awaiters are completed")
}

/// A leaf without payload: a forced suspension.
pub(crate) static YIELD: LeafVtable = LeafVtable {
    leaf_type: LeafType {
        drop_payload: |_| (),
    },
    kind: LeafKind::Yield,
    poll: never_poll,
    on_completed: never_on_completed,
    complete: never_complete,
};

/// A leaf of this type, for a payload of `size` bytes.
#[inline]
fn take_leaf(context: &mut VmContext, size: usize, vtable: &'static LeafVtable) -> NonNull<Header> {
    match context
        .free_lists
        .take_leaf(std::ptr::from_ref(vtable).cast())
    {
        // a spare leaf was this context's before, so all its header says is right
        Some(leaf) => leaf,
        None => new_leaf(context, size, vtable, 0),
    }
}

/// Takes a block for a leaf of `size` bytes and fills its header.
#[cold]
pub(crate) fn new_leaf(
    context: &mut VmContext,
    size: usize,
    vtable: &'static LeafVtable,
    number: u64,
) -> NonNull<Header> {
    let mut leaf = context.free_lists.take(size);
    // SAFETY: just taken.
    let header = unsafe { leaf.as_mut() };
    header.resume = std::ptr::from_mut(context).expose_provenance();
    header.resume_address = usize::try_from(number).ok().and_then(NonZeroUsize::new);
    header.site = std::ptr::from_ref(vtable).cast();
    header.flags |= FLAG_HOST_LEAF;
    leaf
}

// --- Futures ------------------------------------------------------------------------------------------------------------

/// The payload of a future's leaf.
struct FutureLeaf<Fut>(PhantomData<Fut>);

/// Futures up to this size lie in their leaf; larger or over-aligned ones are boxed.
const MAX_INLINE: usize = SIZE_CLASSES[SIZE_CLASSES.len() - 1] - HEADER_SIZE;

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
    ) -> u32
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
                    start_future(&call, words, |caller| {
                        Box::pin((call.closure)(caller, params))
                    })
                }
            } else {
                // SAFETY: as above.
                unsafe { start_future(&call, words, |caller| (call.closure)(caller, params)) }
            }
        })
    }
    HostClosure::new::<F, P, R::Results>(closure, shim::<T, F, P, Fut, R>)
}

/// Builds a future in a leaf and polls it once: ready, its results are in `words` and the leaf is gone; pending, the leaf
/// heads the chain.
///
/// # Safety
/// `words` has one word per result.
unsafe fn start_future<T, F, Fut, R>(
    call: &Call<'_, T, F>,
    words: *mut u64,
    build: impl FnOnce(crate::AsyncCaller<T>) -> Fut,
) -> Result<u32, Error>
where
    T: 'static,
    Fut: Future<Output = R> + Send + 'static,
    R: HostResult,
{
    let number = call.core().activations.next_number();
    let caller = crate::AsyncCaller::new(call.core().id, number, call.instance);
    // SAFETY: the live context of the stub that called.
    let context = unsafe { &mut *call.context };
    let leaf = new_leaf(
        context,
        size_of::<Fut>(),
        FutureLeaf::<Fut>::VTABLE_REF,
        number,
    );
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
            let results = output.into_result()?;
            // SAFETY: the caller's.
            unsafe {
                results.write(
                    std::slice::from_raw_parts_mut(words, R::Results::COUNT),
                    call.core_ptr(),
                )
            }?;
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

/// A leaf that is not in a chain yet: dropped with its payload unless it is forgotten.
pub(crate) struct LeafSlot {
    pub(crate) leaf: NonNull<Header>,
    pub(crate) context: *mut VmContext,
    pub(crate) initialized: bool,
}

impl Drop for LeafSlot {
    fn drop(&mut self) {
        if self.initialized {
            // SAFETY: a live leaf.
            let drop_payload = unsafe { vtable_of(self.leaf) }.drop_payload();
            // SAFETY: the context is that of the running stub, and the front of its instance.
            let core = unsafe { (*(*self.context).host.cast::<InstanceInner>()).store };
            // calls that the future made of guests find their store
            crate::dispatch::with_current(core, 0, || {
                // SAFETY: its payload is initialized and dropped once.
                unsafe { drop_payload(self.leaf) };
            });
        }
        // SAFETY: the context is that of the running stub.
        let lists = unsafe { &mut (*self.context).free_lists };
        // SAFETY: taken from there, used no longer.
        unsafe { lists.give(self.leaf) };
    }
}

// --- Awaiters -----------------------------------------------------------------------------------------------------------

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

/// A panic payload.
pub(crate) type Panic = Box<dyn Any + Send>;
