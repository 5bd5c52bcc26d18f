//! A store: guest instances, their memories, and the embedder's data. What runs at one time runs in one store.

use crate::{
    dispatch::Activations,
    engine::Engine,
    error::{Error, FrameInfo, Pending, WasmBacktrace},
    host::HostFunc,
    instance::InstanceInner,
    memory::MemoryData,
    references::{References, collect_all, drop_payloads},
    resumption::OwnedCall,
    table::TableData,
};
use midair_jit::{
    arch::x86_64::cross_instance::CrossCall,
    runtime::{context::VmContext, trap},
};
use std::{
    fmt,
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// What belongs to the store `own` was used with the store `given`.
///
/// # Panics
/// If that is another one.
#[inline]
#[track_caller]
pub(crate) fn expect_own(own: u64, given: u64, what: &str) {
    assert!(
        own == given,
        "{what} was used with another store than its own"
    );
}

/// Guest instances and the embedder's data `T`.
///
/// One call runs in a store at a time, suspended or not; a million stores are a million calls in flight, and an empty one costs
/// a few hundred bytes.
pub struct Store<T: 'static> {
    pub(crate) inner: NonNull<StoreInner<T>>,
    /// Invariant in `T`: host functions of the store are made for just this type.
    pub(crate) data: PhantomData<fn(T) -> T>,
}

#[repr(C)]
pub(crate) struct StoreInner<T> {
    pub(crate) core: StoreCore,
    pub(crate) data: T,
}

/// The part of a store that does not depend on the embedder's data; always the front of a `StoreInner`.
#[repr(C)]
pub(crate) struct StoreCore {
    pub(crate) call: OwnedCall,
    pub(crate) id: u64,
    pub(crate) engine: Engine,
    pub(crate) instances: Vec<NonNull<InstanceInner>>,
    pub(crate) memories: Vec<MemoryData>,
    pub(crate) tables: Vec<TableData>,
    #[expect(clippy::vec_box, reason = "machine code has their addresses")]
    pub(crate) globals: Vec<Box<u64>>,
    /// `None` until the first is made.
    pub(crate) references: Option<Box<References>>,
    pub(crate) transfer: Box<[u64]>,
    /// Calls between instances; their addresses are in import tables.
    #[expect(clippy::vec_box, reason = "machine code has their addresses")]
    pub(crate) crossings: Vec<Box<CrossCall>>,
    /// What made the innermost guest code leave, with where it stood.
    pub(crate) pending: Option<Box<(Pending, WasmBacktrace)>>,
    pub(crate) activations: Activations,
    /// Checkpoints until the next forced suspension.
    pub(crate) stress_countdown: u32,
    /// Somebody observes, or stress wants to know of each suspension.
    pub(crate) watched: bool,
    /// The engine knows of a deadline of this store; without one, stores share no lock.
    pub(crate) has_deadline: bool,
    pub(crate) max_wasm_stack: usize,
    /// With that much room a stack limit of before still does: half of the most.
    pub(crate) enough_stack: usize,
    /// Bytes of continuations that may be allocated before they are counted.
    pub(crate) continuation_budget: usize,
    pub(crate) random: u64,
    pub(crate) drop_store: unsafe fn(NonNull<Self>),
}

static NEXT_STORE: AtomicU64 = AtomicU64::new(1);

// SAFETY: a store is one value that owns all it points to; guest instances and continuations are bound to no thread
// (stack limits are set at each entry), host futures in parked chains are `Send`, and so is the data.
unsafe impl<T: Send> Send for Store<T> {}
// SAFETY: a shared store gives out shared data only.
unsafe impl<T: Sync> Sync for Store<T> {}

impl<T> Store<T> {
    /// An empty store.
    pub fn new(engine: &Engine, data: T) -> Self {
        let config = &engine.inner.config;
        let core = StoreCore {
            call: OwnedCall::default(),
            id: NEXT_STORE.fetch_add(1, Ordering::Relaxed),
            engine: engine.clone(),
            instances: Vec::new(),
            memories: Vec::new(),
            tables: Vec::new(),
            globals: Vec::new(),
            references: None,
            transfer: Box::default(),
            crossings: Vec::new(),
            pending: None,
            activations: Activations::default(),
            stress_countdown: config.stress_suspend.map_or(0, std::num::NonZeroU32::get),
            watched: engine.inner.shared.observer.is_watching()
                || config.stress_normalize.is_some(),
            has_deadline: false,
            max_wasm_stack: config.max_wasm_stack,
            enough_stack: config.max_wasm_stack / 2,
            continuation_budget: config.max_continuations,
            random: 0x9e37_79b9_7f4a_7c15,
            drop_store: |core| {
                // SAFETY: `core` is the front of this store, which nobody uses any more.
                drop(unsafe { Box::from_raw(core.cast::<StoreInner<T>>().as_ptr()) });
            },
        };
        let inner = Box::new(StoreInner { core, data });
        Self {
            inner: NonNull::from(Box::leak(inner)),
            data: PhantomData,
        }
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        // SAFETY: the store owns it, and is borrowed.
        unsafe { &(*self.inner.as_ptr()).data }
    }

    /// The embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        // SAFETY: the store owns it, and is borrowed exclusively.
        unsafe { &mut (*self.inner.as_ptr()).data }
    }

    /// Gives the data back; instances are dropped.
    pub fn into_data(self) -> T {
        let this = std::mem::ManuallyDrop::new(self);
        // SAFETY: the store owns it and does not drop it a second time.
        let inner = unsafe { Box::from_raw(this.inner.as_ptr()) };
        inner.data
    }

    /// The engine it was made for.
    pub fn engine(&self) -> &Engine {
        // SAFETY: the store owns it, and is borrowed.
        unsafe { &(*self.inner.as_ptr()).core.engine }
    }

    /// Guests of this store trap with [`Trap::Interrupt`](crate::Trap::Interrupt) once the engine's epoch has advanced by
    /// `ticks` from now. Without a deadline they never do.
    pub fn set_epoch_deadline(&mut self, ticks: u64) {
        // SAFETY: the store owns it, and is borrowed exclusively.
        unsafe { &mut (*self.inner.as_ptr()).core }.set_epoch_deadline(ticks);
    }

    /// Releases every reference ([`ExternRef`](crate::ExternRef)) that no guest can reach and no handle is left of. This
    /// happens now and then by itself, when new ones are made.
    ///
    /// # Panics
    /// With the panic of a destructor of something released.
    pub fn gc(&mut self) {
        collect_all(self);
    }

    /// Helper functions that machine code of this store has called so far: compiling, allocating, growing memory, patchpoints.
    pub fn helper_calls(&self) -> u64 {
        // SAFETY: the store owns it, and is borrowed.
        let core = unsafe { &(*self.inner.as_ptr()).core };
        core.helper_calls()
    }

    pub(crate) fn core(&self) -> NonNull<StoreCore> {
        self.inner.cast()
    }

    pub(crate) fn core_id(&self) -> u64 {
        // SAFETY: the store owns it, and is borrowed.
        unsafe { (*self.inner.as_ptr()).core.id }
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: the store owns it.
        drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
    }
}

impl<T: fmt::Debug> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("data", self.data())
            .finish_non_exhaustive()
    }
}

impl Drop for StoreCore {
    fn drop(&mut self) {
        let cancelled = catch_unwind(AssertUnwindSafe(|| self.cancel_everything()));
        if self.has_deadline {
            self.engine.remove_deadline(self.id);
        }
        for &instance in &self.instances {
            // SAFETY: owned by this store; nothing runs in it.
            unsafe { InstanceInner::free(instance) };
        }
        let released = self.references.take().map_or(Ok(()), |references| {
            drop_payloads(references.into_payloads())
        });
        if let Err(panic) = cancelled.and(released)
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}

impl StoreCore {
    pub(crate) fn set_epoch_deadline(&mut self, ticks: u64) {
        self.has_deadline = true;
        for &instance in &self.instances {
            self.reset_checkpoint(instance);
        }
        self.engine.set_deadline(
            self.id,
            ticks,
            self.instances
                .iter()
                .map(|instance| instance.cast::<VmContext>()),
        );
    }

    /// The checkpoint word of an instance as it is without a deadline reached.
    pub(crate) fn reset_checkpoint(&self, instance: NonNull<InstanceInner>) {
        let stressed = u32::from(self.engine.inner.config.stress_suspend.is_some());
        // SAFETY: owned by this store.
        let checkpoint = unsafe { &(*instance.as_ptr()).context.checkpoint };
        checkpoint.store(stressed, Ordering::Relaxed);
    }

    pub(crate) fn helper_calls(&self) -> u64 {
        self.instances
            .iter()
            // SAFETY: owned by this store.
            .map(|instance| u64::from(unsafe { (*instance.as_ptr()).context.helper_calls }))
            .sum()
    }

    /// The stack limits in all contexts are those of another thread.
    pub(crate) fn forget_stack_limits(&mut self) {
        for &instance in &self.instances {
            // SAFETY: owned by this store.
            let context = unsafe { &mut (*instance.as_ptr()).context };
            context.stack_limit = usize::MAX;
            context.resume_floor = usize::MAX;
        }
    }

    /// Whether suspended frames take more than they may.
    pub(crate) fn continuations_exhausted(&mut self) -> bool {
        let lists = |count: fn(&midair_continuation::recycle::FreeLists) -> usize| {
            self.instances.iter().fold(0, |sum: usize, instance| {
                // SAFETY: owned by this store.
                sum.wrapping_add(count(unsafe { &(*instance.as_ptr()).context.free_lists }))
            })
        };
        let allocated = lists(|lists| lists.allocated);
        if allocated <= self.continuation_budget {
            return false;
        }
        let most = self.engine.inner.config.max_continuations;
        if allocated.saturating_sub(lists(|lists| lists.recycled_bytes())) > most {
            return true;
        }
        // the rest was in use before: not counted again before there are noticeably more
        self.continuation_budget = allocated + most / 4;
        false
    }

    /// Makes the transfer area at least that large.
    pub(crate) fn reserve_transfer(&mut self, words: u32) {
        if self.transfer.len() < words as usize {
            self.transfer = vec![0; words as usize].into();
            let area = self.transfer.as_mut_ptr();
            for &instance in &self.instances {
                // SAFETY: owned by this store; the area is empty between calls, and while a host function runs.
                unsafe { (*instance.as_ptr()).context.transfer = area };
            }
        }
    }

    /// A small fast random number (for stress only).
    pub(crate) fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Records why guest code is about to leave; the first reason counts.
    pub(crate) fn set_pending(&mut self, pending: Pending, backtrace: WasmBacktrace) {
        self.pending
            .get_or_insert_with(|| Box::new((pending, backtrace)));
    }

    /// Where guest code stands: from the frame register `frame`, whose code contains `pc`, outwards. `offset` is that of the
    /// first frame, where the table cannot know.
    pub(crate) fn trace(&self, pc: usize, frame: usize, offset: Option<u32>) -> WasmBacktrace {
        let table = &self.engine.inner.shared.pc_table;
        let mut frames = Vec::new();
        let mut first = offset;
        // SAFETY: called beneath guest frames of this thread.
        unsafe {
            trap::walk(table, pc, frame, |code, at| {
                let known = first.take().filter(|&offset| offset != 0);
                frames.push(FrameInfo {
                    func_index: code.func.0,
                    func_name: code.name.clone(),
                    module_name: code.module_name.clone(),
                    offset: known.or(at.map(|at| at.0)),
                });
            });
        }
        WasmBacktrace { frames }
    }

    /// The error that made guest code leave.
    pub(crate) fn take_error(&mut self) -> Result<Error, Box<dyn std::any::Any + Send>> {
        let (pending, backtrace) = *self
            .pending
            .take()
            .expect("guest code leaves with a reason");
        match pending {
            Pending::Error(error) => Ok(error.with_backtrace(backtrace)),
            Pending::Panic(panic) => Err(panic),
        }
    }
}

/// A store, or something that stands for one: `&Store<T>`, `&mut Store<T>`, `Caller<'_, T>`.
///
/// # Safety
/// Implementors give out the pointer of a live store that they borrow at least shared.
pub unsafe trait AsContext {
    /// The embedder's data.
    type Data: 'static;
    #[doc(hidden)]
    fn store_ptr(&self) -> StorePtr<Self::Data>;
}

/// A store, or something that stands for one, exclusively.
///
/// # Safety
/// Implementors borrow the store exclusively.
pub unsafe trait AsContextMut: AsContext {
    /// The host function that this borrows its store from, if it is one.
    #[doc(hidden)]
    fn host_function(&self) -> Option<&HostFunc>;
    /// The frame of that function's stub, or 0: guest frames above wait.
    #[doc(hidden)]
    fn host_frame(&self) -> usize;
}

/// The pointer of a store.
#[doc(hidden)]
#[derive(Debug)]
#[expect(unnameable_types, reason = "in the signature of a sealed trait")]
pub struct StorePtr<T>(pub(crate) NonNull<StoreInner<T>>);

/// The pointer of a store, whatever its data.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
#[expect(unnameable_types, reason = "in the signature of a sealed trait")]
pub struct CorePtr(pub(crate) NonNull<StoreCore>);

impl<T> fmt::Debug for StoreInner<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreInner").finish_non_exhaustive()
    }
}

// SAFETY: it owns the store.
unsafe impl<T> AsContext for Store<T> {
    type Data = T;
    fn store_ptr(&self) -> StorePtr<T> {
        StorePtr(self.inner)
    }
}

// SAFETY: it owns the store.
unsafe impl<T> AsContextMut for Store<T> {
    fn host_function(&self) -> Option<&HostFunc> {
        None
    }
    fn host_frame(&self) -> usize {
        0
    }
}

// SAFETY: it borrows what borrows the store.
unsafe impl<C: AsContext> AsContext for &C {
    type Data = C::Data;
    fn store_ptr(&self) -> StorePtr<C::Data> {
        C::store_ptr(self)
    }
}

// SAFETY: it borrows what borrows the store.
unsafe impl<C: AsContext> AsContext for &mut C {
    type Data = C::Data;
    fn store_ptr(&self) -> StorePtr<C::Data> {
        C::store_ptr(self)
    }
}

// SAFETY: it borrows exclusively what borrows the store exclusively.
unsafe impl<C: AsContextMut> AsContextMut for &mut C {
    fn host_function(&self) -> Option<&HostFunc> {
        C::host_function(self)
    }
    fn host_frame(&self) -> usize {
        C::host_frame(self)
    }
}

/// What a host function gets: the store of the guest that called it.
pub struct Caller<'a, T: 'static> {
    pub(crate) store: NonNull<StoreInner<T>>,
    pub(crate) borrow: PhantomData<&'a mut StoreInner<T>>,
    pub(crate) instance: NonNull<InstanceInner>,
    pub(crate) host: Option<&'a HostFunc>,
    /// Of the function's stub; 0 if guest frames above are known otherwise.
    pub(crate) frame: usize,
}

impl<T: fmt::Debug> fmt::Debug for Caller<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("data", self.data())
            .finish_non_exhaustive()
    }
}

impl<T> Caller<'_, T> {
    /// The embedder's data.
    pub fn data(&self) -> &T {
        // SAFETY: this borrows the store.
        unsafe { &(*self.store.as_ptr()).data }
    }

    /// The embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        // SAFETY: this borrows the store exclusively.
        unsafe { &mut (*self.store.as_ptr()).data }
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.core().engine
    }

    fn core(&self) -> &StoreCore {
        // SAFETY: this borrows the store.
        unsafe { &(*self.store.as_ptr()).core }
    }

    /// As [`Store::gc`].
    ///
    /// # Panics
    /// With the panic of a destructor of something released.
    pub fn gc(&mut self) {
        collect_all(self);
    }

    /// An export of the instance that called.
    pub fn get_export(&self, name: &str) -> Option<crate::Extern> {
        self.instance().get_export(self, name)
    }

    /// The instance that called.
    pub fn instance(&self) -> crate::Instance {
        crate::Instance {
            store: self.core().id,
            inner: self.instance,
        }
    }
}

// SAFETY: it borrows the store.
unsafe impl<T> AsContext for Caller<'_, T> {
    type Data = T;
    fn store_ptr(&self) -> StorePtr<T> {
        StorePtr(self.store)
    }
}

// SAFETY: it borrows the store exclusively.
unsafe impl<T> AsContextMut for Caller<'_, T> {
    fn host_function(&self) -> Option<&HostFunc> {
        self.host
    }
    fn host_frame(&self) -> usize {
        self.frame
    }
}
