//! The calls of a store: who runs its guests, what is parked, and what waits for the host.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{host::HostFunc, instance::Func, resumption::Ticket, store::StoreCore};
use midair_continuation::Header;
use midair_jit::runtime::context::VmContext;
use std::{
    fmt,
    ptr::{self, NonNull},
    sync::Arc,
    task::Context,
};

/// Who runs the guest code that runs now.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Mode {
    /// Nobody.
    #[default]
    Idle,
    /// Something that cannot wait.
    Sync(Beneath),
    /// A future's `poll`, with its context.
    Poll(NonNull<()>),
    /// An owned call.
    Owned,
}

/// What is in the way of a suspension.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beneath {
    /// A synchronous call of this function by the embedder.
    Call(Func),
    /// A synchronous call by this host function.
    Host(NonNull<HostFunc>),
    /// An instantiation.
    Instantiate,
}

/// A chain that waits, and the token it waits for, if its leaf is an awaiter.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) leaf: NonNull<Header>,
    pub(crate) ticket: Option<Arc<Ticket>>,
}

/// Guest frames that wait for host code which can reach the store meanwhile: what they hold is alive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waiting {
    /// Those above this frame, of a host function's stub; where the outermost was entered; and the continuation that is kept
    /// for it, which the rest wait behind.
    Frames(usize, *mut VmContext, *mut Header),
    /// Those of the chain whose leaf this is, which is being polled.
    Chain(NonNull<Header>),
}

/// Says for as long as it lives that something waits.
pub(crate) struct WaitingGuard {
    core: NonNull<StoreCore>,
}

impl WaitingGuard {
    /// # Safety
    /// The store outlives the guard, and what waits waits as long.
    pub(super) unsafe fn new(core: NonNull<StoreCore>, waiting: Waiting) -> Self {
        // SAFETY: the caller's.
        unsafe { &mut (*core.as_ptr()).activations.waiting }.push(waiting);
        Self { core }
    }

    /// Of a host function's stub; nothing if it is 0. To be there whenever guest code may be entered beneath it.
    ///
    /// # Safety
    /// The store outlives the guard, and the frame is alive as long.
    pub(crate) unsafe fn frames(core: NonNull<StoreCore>, frame: usize) -> Option<Self> {
        // SAFETY: the caller's.
        (frame != 0).then(|| unsafe {
            let entered = (*core.as_ptr()).activations.entered;
            Self::new(core, Waiting::Frames(frame, entered, (*entered).kept))
        })
    }
}

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        // SAFETY: as in `new`.
        let activations = unsafe { &mut (*self.core.as_ptr()).activations };
        // guest code that ran meanwhile has left its own there
        if let Some(Waiting::Frames(_, entered, kept)) = activations.waiting.pop() {
            activations.entered = entered;
            // SAFETY: a context of the store, alive as long.
            unsafe { (*entered).kept = kept };
        }
    }
}

/// The calls of a store.
pub(crate) struct Activations {
    pub(crate) mode: Mode,
    numbers: u64,
    /// Host futures that were too large for a leaf.
    pub(crate) boxed_futures: u64,
    /// The chain of the call that borrows the store, kept here so that a leaked future leaves nothing behind.
    pub(crate) root: Option<Parked>,
    /// Where guest code was entered last; what is here while none runs means nothing.
    pub(crate) entered: *mut VmContext,
    /// What waits for the host code that runs now and uses the store, outermost first.
    pub(crate) waiting: Vec<Waiting>,
    /// Chains of calls made by host futures of this store.
    pub(crate) nested: Vec<(u64, Option<Parked>)>,
}

impl Default for Activations {
    fn default() -> Self {
        Self {
            mode: Mode::default(),
            numbers: 0,
            boxed_futures: 0,
            root: None,
            entered: ptr::null_mut(),
            waiting: Vec::new(),
            nested: Vec::new(),
        }
    }
}

impl Activations {
    /// Whether a chain is parked here.
    pub(crate) fn is_parked(&self) -> bool {
        self.root.is_some() || !self.nested.is_empty()
    }

    /// A number no leaf or nested call of this store had before.
    pub(crate) fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// The context of the poll that runs the guest, if one does.
    ///
    /// # Safety
    /// Called beneath that poll, which lends its context to nobody else meanwhile.
    pub(crate) unsafe fn waker_context<'a>(&self) -> Option<&'a mut Context<'a>> {
        match self.mode {
            // SAFETY: the caller's.
            Mode::Poll(context) => Some(unsafe { &mut *context.cast::<Context<'a>>().as_ptr() }),
            Mode::Idle | Mode::Sync(_) | Mode::Owned => None,
        }
    }

    /// The continuations that wait for the guest code that runs now.
    ///
    /// # Safety
    /// Some does.
    pub(crate) unsafe fn rest(&self) -> *mut Header {
        // SAFETY: the caller's: the context it was entered in, and what is kept there.
        unsafe { (*(*self.entered).kept).next }
    }

    /// Whether something that cannot wait runs the guest.
    #[inline]
    pub(crate) fn is_sync(&self) -> bool {
        matches!(self.mode, Mode::Sync(_))
    }

    /// What is in the way of a suspension, in words.
    pub(crate) fn beneath(&self) -> String {
        let Mode::Sync(beneath) = self.mode else {
            return "nothing".to_owned();
        };
        match beneath {
            Beneath::Call(func) => {
                // SAFETY: the function is of this store, which is running it.
                let module = unsafe { &func.instance.as_ref().module.inner.code.module };
                format!("a synchronous `call` of `{}`", module.name(func.index))
            }
            Beneath::Host(host) => {
                // SAFETY: it is running.
                let host = unsafe { host.as_ref() };
                format!(
                    "the synchronous host function `{}::{}`",
                    host.module, host.name
                )
            }
            Beneath::Instantiate => "an `instantiate`".to_owned(),
        }
    }
}

impl fmt::Debug for Activations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Activations")
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// Sets a mode for as long as it lives.
pub(crate) struct ModeGuard {
    core: NonNull<StoreCore>,
    before: Mode,
}

impl ModeGuard {
    /// # Safety
    /// The store outlives the guard.
    pub(crate) unsafe fn new(core: NonNull<StoreCore>, mode: Mode) -> Self {
        // SAFETY: the caller's.
        let before = std::mem::replace(unsafe { &mut (*core.as_ptr()).activations.mode }, mode);
        Self { core, before }
    }
}

impl Drop for ModeGuard {
    fn drop(&mut self) {
        // SAFETY: as in `new`.
        unsafe { (*self.core.as_ptr()).activations.mode = self.before };
    }
}
