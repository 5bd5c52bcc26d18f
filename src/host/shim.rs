//! What a guest calls: a shim, one per closure type, between the words of a stub and the closure.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use super::HostFunc;
use crate::{
    error::{CannotSuspend, Error, Pending},
    instance::InstanceInner,
    store::{Caller, CorePtr, StoreCore, StoreInner},
    values::WasmParams,
};
use midair_continuation::Header;
use midair_jit::{
    frame::abi::{EXIT_SUSPENDED, EXIT_TRAPPED, HostExit},
    runtime::context::VmContext,
};
use std::{
    marker::PhantomData,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::NonNull,
};

pub(crate) type Shim = unsafe extern "C" fn(*mut VmContext, *const HostFunc, *mut u64) -> HostExit;

/// The frame register of the host stub that passed these words.
#[inline]
fn stub_frame(words: *mut u64, count: usize) -> usize {
    words.addr() + 8 * count.next_multiple_of(2)
}

/// The words of a host stub: one per parameter or result.
pub(super) const fn words_of<P: WasmParams, R: WasmParams>() -> usize {
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
    pub(crate) fn leave(&self, body: impl FnOnce() -> Result<u32, Error>) -> HostExit {
        let word = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(exit)) => exit,
            Ok(Err(error)) => self.trapped(Pending::Error(error)),
            Err(panic) => self.trapped(Pending::Panic(panic)),
        };
        word.into()
    }

    #[cold]
    pub(super) fn trapped(&self, pending: Pending) -> u32 {
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
        cannot_suspend(self.core(), self.host)
    }
}

/// Something that cannot wait runs the guest, and is in the way of a host function's suspension.
pub(crate) fn cannot_suspend(core: &StoreCore, host: &HostFunc) -> Error {
    let awaiting = format!("{}::{}", host.module, host.name);
    let beneath = core.activations.beneath();
    CannotSuspend { awaiting, beneath }.into()
}

/// Hangs a leaf at the front of the chain; the frames above link themselves behind it.
#[inline]
pub(super) fn suspend(context: &mut VmContext, leaf: NonNull<Header>) -> u32 {
    context.chain_head = leaf.as_ptr();
    context.chain_tail = leaf.as_ptr();
    EXIT_SUSPENDED
}
