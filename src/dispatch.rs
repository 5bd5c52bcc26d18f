//! The dispatch loop: runs a chain until it suspends again or ends, and polls what it waits for.
//!
//! [essay: dispatch]
//!
//! ```text
//!   leaf is ready ─▶ its results go to the context, its block to the free list
//!   loop: take the next continuation ─▶ enter its resume stub ─▶ returned: next one, with the results
//!                                                             ─▶ suspended: a new chain, the rest behind it
//!                                                             ─▶ trapped: the rest is released
//! ```
//!
//! Only the leaf's caller is touched by an await, however deep the call is: the rest of the chain is one pointer.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{
    error::{Error, FrameInfo, NotCurrent, Pending, WasmBacktrace},
    host::{HostFunc, LeafKind, LeafVtable, context_of, vtable_of},
    instance::Func,
    resumption::{Resumption, Ticket, TicketState},
    store::StoreCore,
    task_context::{self, Inside},
};
use midair_continuation::{
    Chain, Header,
    header::{FLAG_COUNT_RESUMES, FLAG_HOST_LEAF, FLAG_SWITCH, LeafType},
};
use midair_jit::{
    arch::x86_64::{cross_instance::switch_target, enter::enter},
    code::{draft::CodeKind, published::Site},
    frame::abi::{EXIT_RETURNED, EXIT_SUSPENDED},
    observe::events::Event,
    runtime::{context::VmContext, helpers::HELPER_STACK, migrate},
};
use std::{
    cell::Cell,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
};

/// Under stress, so many of the innermost links may be normalized: those farther out had their turn when they were new, and a
/// deep recursion that suspends at every level takes no time squared.
const STRESSED: usize = 64;

/// How guest code left.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// The outermost frame returned; its results are in this context.
    Returned(*mut VmContext),
    /// The chain that begins at this leaf is parked.
    Suspended(NonNull<Header>),
    /// The reason is pending in the store; no frame is left.
    Trapped,
}

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
    /// Those above this frame, of a host function's stub, and the continuations that wait for them.
    Frames(usize, *mut Header),
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
    unsafe fn new(core: NonNull<StoreCore>, waiting: Waiting) -> Self {
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
            let rest = (*core.as_ptr()).activations.rest;
            Self::new(core, Waiting::Frames(frame, rest))
        })
    }
}

impl Drop for WaitingGuard {
    fn drop(&mut self) {
        // SAFETY: as in `new`.
        let activations = unsafe { &mut (*self.core.as_ptr()).activations };
        // guest code that ran meanwhile has left its own there
        if let Some(Waiting::Frames(_, rest)) = activations.waiting.pop() {
            activations.rest = rest;
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
    /// The continuations that wait for the guest code that runs now, if it was resumed; what is here otherwise means nothing.
    pub(crate) rest: *mut Header,
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
            rest: ptr::null_mut(),
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

// --- The thread ---------------------------------------------------------------------------------------------------------

/// Which leaf is polled on this thread right now.
#[derive(Clone, Copy)]
struct Current {
    core: NonNull<StoreCore>,
    store: u64,
    /// 0: none of its leaves, but it is being used here.
    number: u64,
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
    /// Lowest address guest code may use on this thread's stack; 0: not known yet.
    static STACK_LOW: Cell<usize> = const { Cell::new(0) };
}

/// Runs `body` while leaf `number` of a store is the one that is polled on this thread.
pub(crate) fn with_current<R>(
    core: NonNull<StoreCore>,
    number: u64,
    body: impl FnOnce() -> R,
) -> R {
    struct Restore(Option<Current>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    // SAFETY: the caller uses the store.
    let store = unsafe { (*core.as_ptr()).id };
    let _restore = Restore(CURRENT.replace(Some(Current {
        core,
        store,
        number,
    })));
    body()
}

/// The store of leaf `number`, if that leaf is being polled on this thread; it is not current while the guard lives.
pub(crate) fn current(store: u64, number: u64) -> Result<NonNull<StoreCore>, NotCurrent> {
    match CURRENT.get() {
        Some(current) if current.store == store && current.number == number => Ok(current.core),
        _ => Err(NotCurrent::AsyncCaller),
    }
}

/// A store, if it is being used on this thread.
pub(crate) fn current_store(store: u64) -> Option<NonNull<StoreCore>> {
    CURRENT
        .get()
        .filter(|current| current.store == store)
        .map(|current| current.core)
}

/// The lowest address guest code may use: set for this thread, and no more than `max` bytes from here.
#[inline(always)]
pub(crate) fn stack_limit(max: usize) -> usize {
    let here = here();
    let mut low = STACK_LOW.get();
    if low == 0 {
        low = thread_stack_low();
        STACK_LOW.set(low);
    }
    low.max(here.saturating_sub(max))
}

/// Whether a poll of a host future beneath another one has no more room on this thread's stack than guest code may use.
pub(crate) fn stack_is_short() -> bool {
    here() < stack_limit(usize::MAX)
}

/// About where the stack pointer is.
#[inline(always)]
fn here() -> usize {
    let here: usize;
    // SAFETY: reads a register.
    unsafe {
        std::arch::asm!("mov {}, rsp", out(reg) here, options(nomem, nostack, preserves_flags));
    };
    here
}

/// The end of this thread's stack, and room for helpers.
#[cold]
fn thread_stack_low() -> usize {
    // SAFETY: all zeros is a valid value to be overwritten.
    let mut attributes = unsafe { std::mem::zeroed::<libc::pthread_attr_t>() };
    // SAFETY: this thread.
    let found = unsafe { libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes) };
    if found != 0 {
        // unknown: only the distance from here counts
        return 1;
    }
    let mut low = ptr::null_mut();
    let mut size = 0;
    // SAFETY: initialized above.
    unsafe { libc::pthread_attr_getstack(&raw const attributes, &raw mut low, &raw mut size) };
    // SAFETY: initialized above, used no longer.
    unsafe { libc::pthread_attr_destroy(&raw mut attributes) };
    low.addr() + HELPER_STACK + 4 * 4096
}

// --- Running ------------------------------------------------------------------------------------------------------------

impl StoreCore {
    /// Starts guest code.
    ///
    /// # Safety
    /// 1. `target` and `argument` fit `context`, as [`enter`] says.
    /// 2. The mode says who runs it, and the caller uses the store exclusively.
    pub(crate) unsafe fn start(
        this: NonNull<Self>,
        context: *mut VmContext,
        target: usize,
        argument: usize,
    ) -> Outcome {
        // SAFETY: (2).
        let max = unsafe { (*this.as_ptr()).max_wasm_stack };
        // SAFETY: (1), (2).
        let before = unsafe { (*context).stack_limit };
        // SAFETY: (1), (2).
        unsafe { (*context).stack_limit = stack_limit(max) };
        // SAFETY: (2).
        unsafe { (*this.as_ptr()).activations.rest = ptr::null_mut() };
        // SAFETY: (1).
        let exit = unsafe { enter(context, target, argument) };
        // guest code above a nested entry goes on with its own limit
        // SAFETY: (1), (2).
        unsafe { (*context).stack_limit = before };
        if exit.word == EXIT_RETURNED {
            // SAFETY: (2).
            unsafe { &*this.as_ptr() }.observe(|| Event::Return);
            return Outcome::Returned(exit.context);
        }
        if exit.word == EXIT_SUSPENDED {
            // SAFETY: (2).
            return unsafe { Self::left_suspended::<true>(this, exit.context, ptr::null_mut()) };
        }
        // SAFETY: (2).
        unsafe { &mut *this.as_ptr() }.trapped(ptr::null_mut());
        Outcome::Trapped
    }

    /// Guest code left suspended, and `rest` waits for its results.
    ///
    /// # Safety
    /// The caller uses the store exclusively and owns `rest`; guest code left in `context`. `WATCHED` may be false only if
    /// the store is not.
    #[inline(always)]
    unsafe fn left_suspended<const WATCHED: bool>(
        this: NonNull<Self>,
        context: *mut VmContext,
        rest: *mut Header,
    ) -> Outcome {
        // SAFETY: the context that guest code left with.
        let context = unsafe { &mut *context };
        // SAFETY: the last continuation linked, or the leaf.
        let tail = unsafe { &mut *context.chain_tail };
        tail.next = rest;
        if tail.flags & FLAG_SWITCH != 0 && !rest.is_null() {
            // SAFETY: the caller owns both.
            unsafe { shorten_way_back(context) };
        }
        // SAFETY: a suspension begins with a leaf.
        let leaf = unsafe { NonNull::new_unchecked(context.chain_head) };
        if WATCHED {
            // SAFETY: the caller's.
            let core = unsafe { &mut *this.as_ptr() };
            if core.watched {
                core.suspended(leaf);
            }
        }
        Outcome::Suspended(leaf)
    }

    /// Goes on with the continuations from `head` on, whose callee's results are in `context`.
    ///
    /// # Safety
    /// 1. The caller owns the chain from `head` on and gives it up; its leaf is gone.
    /// 2. The caller uses the store exclusively, and the context's stack limit is set for this thread.
    /// 3. `WATCHED` may be false only if the store is not.
    #[inline(always)]
    unsafe fn resume<const WATCHED: bool>(
        this: NonNull<Self>,
        mut context: *mut VmContext,
        mut head: *mut Header,
    ) -> Outcome {
        while let Some(link) = NonNull::new(head) {
            // SAFETY: (1).
            let header = unsafe { link.as_ref() };
            let mut link = link;
            if header.flags & FLAG_COUNT_RESUMES != 0 {
                // SAFETY: (1), (2).
                link = unsafe { Self::count_resume(this, context, link) };
            }
            // SAFETY: (1).
            let header = unsafe { link.as_ref() };
            head = header.next;
            // SAFETY: (2).
            if WATCHED && unsafe { (*this.as_ptr()).watched } {
                // SAFETY: (1), (2).
                unsafe { record_resume(&*this.as_ptr(), link) };
            }
            // SAFETY: (2).
            unsafe { (*this.as_ptr()).activations.rest = head };
            // SAFETY: (1), (2); `resume` is a way into the code that made this continuation.
            let exit = unsafe { enter(context, header.resume, link.as_ptr().expose_provenance()) };
            context = exit.context;
            if exit.word == EXIT_SUSPENDED {
                // SAFETY: (2), (3).
                return unsafe { Self::left_suspended::<WATCHED>(this, context, head) };
            }
            if exit.word != EXIT_RETURNED {
                // SAFETY: (2).
                unsafe { &mut *this.as_ptr() }.trapped(head);
                return Outcome::Trapped;
            }
        }
        if WATCHED {
            // SAFETY: (2).
            unsafe { &*this.as_ptr() }.observe(|| Event::Return);
        }
        Outcome::Returned(context)
    }

    /// Tells of an event, if anybody listens.
    #[inline]
    fn observe(&self, event: impl FnOnce() -> Event) {
        if self.watched {
            self.engine.inner.shared.observer.record(event);
        }
    }

    /// A call was suspended: what stress and observers want.
    #[cold]
    fn suspended(&mut self, leaf: NonNull<Header>) {
        self.record_suspend(leaf);
        if let Some(n) = self.engine.inner.config.stress_normalize {
            // SAFETY: the chain was just parked, and is owned by the dispatch loop.
            let normalized = unsafe {
                self.normalize_first(STRESSED, leaf, |core, _| {
                    core.random().is_multiple_of(u64::from(n.get()))
                })
            };
            // stress goes on without what could not be normalized
            drop(normalized);
        }
    }

    #[cold]
    fn record_suspend(&self, leaf: NonNull<Header>) {
        // SAFETY: a parked chain.
        let chain = unsafe { Chain::from_leaf(leaf) };
        for link in chain.links() {
            // SAFETY: a link of a parked chain.
            let header = unsafe { link.as_ref() };
            if header.flags & (FLAG_HOST_LEAF | FLAG_SWITCH) == 0 {
                // SAFETY: a guest continuation.
                let site = unsafe { migrate::site_of(link) };
                self.observe(|| Event::Suspend {
                    func: site.layout.func,
                    offset: site.layout.offset,
                    kind: site.kind,
                    live: site.image_words,
                });
                break;
            }
        }
        let _ = chain.into_leaf();
    }

    /// Guest code left without results: whoever waits for them goes too.
    #[cold]
    fn trapped(&mut self, rest: *mut Header) {
        self.observe(|| Event::Trap);
        if let Some(rest) = NonNull::new(rest) {
            self.extend_trace(rest);
            self.release(rest);
        }
    }

    /// Adds the parked callers to the pending backtrace.
    fn extend_trace(&mut self, from: NonNull<Header>) {
        let frames = logical_frames(from);
        if let Some(pending) = &mut self.pending {
            let trace = &mut pending.1.frames;
            let room = midair_jit::runtime::trap::MAX_TRACE.saturating_sub(trace.len());
            trace.extend(frames.into_iter().take(room));
        }
    }

    /// Releases the chain from `leaf` on: host futures and awaiters are dropped, blocks recycled.
    pub(crate) fn release(&mut self, leaf: NonNull<Header>) {
        let core = NonNull::from(&mut *self);
        // SAFETY: the caller owns the chain, as everybody who has its leaf.
        unsafe { task_context::release(leaf) };
        let Some(&instance) = self.instances.last() else {
            return;
        };
        // SAFETY: owned by this store. Any instance's lists will do.
        let lists = unsafe { &mut (*instance.as_ptr()).context.free_lists };
        // SAFETY: the caller owns the chain, as everybody who has its leaf.
        let chain = unsafe { Chain::from_leaf(leaf) };
        with_current(core, 0, || chain.release(lists));
    }

    /// Releases the chain that an owned call is parked at, if there is one. The panic, if a payload's destructor does.
    pub(crate) fn release_call(&mut self) -> Result<(), crate::host::Panic> {
        match NonNull::new(std::mem::replace(&mut self.call.leaf, ptr::null_mut())) {
            Some(leaf) => catch_unwind(AssertUnwindSafe(|| self.release(leaf))),
            None => Ok(()),
        }
    }

    /// Releases whatever is parked here.
    pub(crate) fn cancel_everything(&mut self) {
        if let Some(parked) = self.activations.root.take() {
            if let Some(ticket) = &parked.ticket {
                ticket.cancel();
            }
            self.release(parked.leaf);
        }
        while let Some((_, parked)) = self.activations.nested.pop() {
            if let Some(parked) = parked {
                if let Some(ticket) = &parked.ticket {
                    ticket.cancel();
                }
                self.release(parked.leaf);
            }
        }
    }

    /// Tier-up by resumption count: one more; if that is enough, the continuation moves to tier-1.
    ///
    /// # Safety
    /// As for [`resume`](Self::resume), of this link.
    #[cold]
    unsafe fn count_resume(
        this: NonNull<Self>,
        context: *mut VmContext,
        link: NonNull<Header>,
    ) -> NonNull<Header> {
        // SAFETY: flagged links are guest continuations.
        let site = unsafe { migrate::site_of(link) };
        // The module of a context is kept by its instance. A chain may cross instances: this link may belong to
        // another module than the context, so go by its code.
        let Some(code) = site.code.upgrade() else {
            return link;
        };
        // SAFETY: the caller's.
        let core = unsafe { &mut *this.as_ptr() };
        let Some(instance) = core.instance_of_code(&code) else {
            return link;
        };
        // SAFETY: owned by this store.
        let module = &unsafe { instance.as_ref() }.module.inner.code;
        let entry = &module.entries()[site.layout.func.index()];
        if !module.has_tier1(site.layout.func) {
            let left = entry.resume_counter.load(Ordering::Relaxed);
            if left > 1 {
                entry.resume_counter.store(left - 1, Ordering::Relaxed);
                return link;
            }
            entry.resume_counter.store(u32::MAX, Ordering::Relaxed);
            // a compiler bug is a panic: the function stays where it is, and the message was printed
            drop(catch_unwind(AssertUnwindSafe(|| {
                module.request_tier1(site.layout.func);
            })));
        }
        // SAFETY: the context's store is used exclusively.
        let lists = unsafe { &mut (*context).free_lists };
        // SAFETY: the caller owns the link; the lists are those of its store.
        unsafe { migrate::tier_up(module, lists, link) }.unwrap_or(link)
    }

    fn instance_of_code(
        &self,
        code: &midair_jit::code::published::PublishedCode,
    ) -> Option<NonNull<crate::instance::InstanceInner>> {
        self.instances.iter().copied().find(|instance| {
            // SAFETY: owned by this store.
            unsafe { &instance.as_ref().module.inner.code }.owns(code)
        })
    }

    /// Normalizes the guest continuations of a parked chain that `choose` picks by position (the innermost guest frame is 0).
    ///
    /// # Errors
    /// What tier-0's compiler says; those before are normalized then, the rest is as it was.
    ///
    /// # Safety
    /// The caller owns the chain that begins at `leaf`, a host leaf.
    pub(crate) unsafe fn normalize_links(
        &mut self,
        leaf: NonNull<Header>,
        choose: impl FnMut(&mut Self, usize) -> bool,
    ) -> Result<usize, Error> {
        // SAFETY: the caller's.
        unsafe { self.normalize_first(usize::MAX, leaf, choose) }
    }

    /// As `normalize_links`, until there was no frame of optimized code to normalize among `most` links in a row.
    ///
    /// # Safety
    /// The same.
    unsafe fn normalize_first(
        &mut self,
        most: usize,
        leaf: NonNull<Header>,
        mut choose: impl FnMut(&mut Self, usize) -> bool,
    ) -> Result<usize, Error> {
        let mut position = 0;
        let mut normalized = 0;
        let mut in_vain = 0;
        let mut before = leaf;
        while in_vain < most
            // SAFETY: the caller's.
            && let Some(link) = NonNull::new(unsafe { before.as_ref() }.next)
        {
            // SAFETY: the caller's.
            let flags = unsafe { link.as_ref() }.flags;
            let mut predecessor = std::mem::replace(&mut before, link);
            if flags & FLAG_SWITCH != 0 {
                continue;
            }
            // SAFETY: a guest continuation.
            let site = unsafe { migrate::site_of(link) };
            in_vain += 1;
            if choose(self, position)
                && let Some(code) = site.code.upgrade()
                && let Some(instance) = self.instance_of_code(&code)
            {
                // SAFETY: owned by this store.
                let instance = unsafe { &mut *instance.as_ptr() };
                // SAFETY: the caller's; the lists are of this store.
                let block = unsafe {
                    migrate::normalize(
                        &instance.module.inner.code,
                        &mut instance.context.free_lists,
                        link,
                    )
                }?;
                // SAFETY: the link before, live.
                unsafe { predecessor.as_mut() }.next = block.as_ptr();
                before = block;
                normalized += 1;
                if site.kind != CodeKind::Tier0 {
                    in_vain = 0;
                }
            }
            position += 1;
        }
        Ok(normalized)
    }
}

/// The guest frames of a parked chain, innermost first.
pub(crate) fn logical_frames(from: NonNull<Header>) -> Vec<FrameInfo> {
    let mut frames = Vec::new();
    let mut next = Some(from);
    while let Some(link) = next {
        // SAFETY: callers own or borrow the chain.
        let header = unsafe { link.as_ref() };
        if header.flags & (FLAG_HOST_LEAF | FLAG_SWITCH) == 0 {
            // SAFETY: a guest continuation.
            let site: &Site = unsafe { migrate::site_of(link) };
            let (func_name, module_name) = site.code.upgrade().map_or_else(
                || (String::new(), None),
                |code| (code.name.clone(), code.module_name.clone()),
            );
            frames.push(FrameInfo {
                func_index: site.layout.func.0,
                func_name,
                module_name,
                offset: Some(site.layout.offset.0),
            });
        }
        next = NonNull::new(header.next);
    }
    frames
}

/// Which code each guest frame of a parked chain is in, innermost first.
pub(crate) fn code_kinds(from: NonNull<Header>) -> Vec<CodeKind> {
    let mut kinds = Vec::new();
    let mut next = Some(from);
    while let Some(link) = next {
        // SAFETY: callers own or borrow the chain.
        let header = unsafe { link.as_ref() };
        if header.flags & (FLAG_HOST_LEAF | FLAG_SWITCH) == 0 {
            // SAFETY: a guest continuation.
            kinds.push(unsafe { migrate::site_of(link) }.kind);
        }
        next = NonNull::new(header.next);
    }
    kinds
}

/// Of continuations in a row that only lead back to another instance, the last one counts. Tail calls between instances
/// that are resumed in turn would make that row longer for ever.
///
/// # Safety
/// The chain's tail in `context` is such a continuation, and the caller owns it and what follows.
#[cold]
unsafe fn shorten_way_back(context: &mut VmContext) {
    let Some(mut tail) = NonNull::new(context.chain_tail) else {
        return;
    };
    // SAFETY: the caller's.
    while let Some(mut next) = NonNull::new(unsafe { tail.as_ref() }.next)
        && unsafe { next.as_ref() }.flags & FLAG_SWITCH != 0
    {
        // SAFETY: the caller's, as are the next three.
        let target = unsafe { *switch_target(next) };
        unsafe { *switch_target(tail) = target };
        unsafe { tail.as_mut() }.next = unsafe { next.as_mut() }.next;
        // SAFETY: out of the chain, and of the size that every list of that class has.
        unsafe { context.free_lists.give(next) };
    }
}

/// # Safety
/// `link` is live.
#[cold]
unsafe fn record_resume(core: &StoreCore, link: NonNull<Header>) {
    // SAFETY: the caller's.
    let header = unsafe { link.as_ref() };
    if header.flags & FLAG_SWITCH != 0 {
        return;
    }
    // SAFETY: a guest continuation.
    let site = unsafe { migrate::site_of(link) };
    let (func, offset) = (site.layout.func, site.layout.offset);
    core.observe(|| match header.resume_address {
        Some(_) => Event::Jump {
            func,
            offset,
            kind: site.kind,
        },
        None => Event::Resume { func, offset },
    });
}

// --- Polling ------------------------------------------------------------------------------------------------------------

/// How far a poll came.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Results are in this context.
    Done(*mut VmContext),
    /// Still waiting.
    Pending(Parked),
    /// The reason is pending in the store.
    Trapped,
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

/// Polls a call: first `outcome` is what just happened in this same poll, or `parked` what it waited for since the last.
///
/// If `fresh`, the call's task-locals are current. Afterwards nobody's are: the caller has an [`Outside`].
///
/// # Safety
/// The caller uses the store exclusively, owns the chain, and has set the mode to `Poll` with this context.
pub(crate) unsafe fn poll(
    core: NonNull<StoreCore>,
    cx: &mut Context<'_>,
    parked: Parked,
    fresh: bool,
) -> Progress {
    let mut parked = parked;
    let mut fresh = fresh;
    loop {
        let leaf = parked.leaf;
        // SAFETY: the leaf of a chain the caller owns.
        let context = unsafe { context_of(leaf) };
        // SAFETY: the same.
        let ready = match unsafe { poll_leaf(core, cx, &mut parked, fresh) } {
            Poll::Pending => {
                if fresh {
                    // SAFETY: the same.
                    unsafe { task_context::park(leaf) };
                }
                return Progress::Pending(parked);
            }
            Poll::Ready(ready) => ready,
        };
        // SAFETY: the same; its payload is gone.
        let outcome = unsafe { StoreCore::leaf_done(core, context, leaf, ready) };
        match outcome {
            Outcome::Returned(context) => return Progress::Done(context),
            Outcome::Trapped => return Progress::Trapped,
            Outcome::Suspended(leaf) => {
                parked = Parked { leaf, ticket: None };
                fresh = true;
            }
        }
    }
}

/// Polls the leaf of an owned call once, and runs the guest if it is ready.
///
/// # Safety
/// As for [`poll`], except for the mode, which is `mode` while the guest or the future runs and `Owned` afterwards.
pub(crate) unsafe fn poll_once(
    core: NonNull<StoreCore>,
    cx: &mut Context<'_>,
    mode: Mode,
    leaf: NonNull<Header>,
    fresh: bool,
) -> Poll<Outcome> {
    let mut parked = Parked { leaf, ticket: None };
    // SAFETY: the caller's.
    let _mode = unsafe { ModeGuard::new(core, mode) };
    // SAFETY: the leaf of a chain the caller owns.
    let context = unsafe { context_of(leaf) };
    // SAFETY: the caller's.
    match unsafe { poll_leaf(core, cx, &mut parked, fresh) } {
        Poll::Pending => {
            if fresh {
                // SAFETY: the caller's.
                unsafe { task_context::park(leaf) };
            }
            Poll::Pending
        }
        Poll::Ready(ready) => {
            // SAFETY: the caller's; the payload is gone.
            Poll::Ready(unsafe { StoreCore::leaf_done(core, context, leaf, ready) })
        }
    }
}

impl StoreCore {
    /// A leaf's payload is gone: goes on behind it, with its results or without.
    ///
    /// # Safety
    /// As for `leaf_ready`.
    pub(crate) unsafe fn leaf_done(
        this: NonNull<Self>,
        context: *mut VmContext,
        leaf: NonNull<Header>,
        ready: Result<(), Pending>,
    ) -> Outcome {
        match ready {
            Ok(()) => {
                // The limit there may be another thread's. A lower one is no harm to guest code of this context that runs
                // above: it is this thread's, too.
                // SAFETY: the caller's.
                let max = unsafe { (*this.as_ptr()).max_wasm_stack };
                // SAFETY: alive as long as the store.
                unsafe { (*context).stack_limit = stack_limit(max) };
                // SAFETY: the caller's.
                unsafe { Self::leaf_ready::<true>(this, context, leaf) }
            }
            // SAFETY: the caller's.
            Err(pending) => unsafe { Self::leaf_failed(this, context, leaf, pending) },
        }
    }

    /// A leaf's results are in its context and its payload is gone: recycles its block and goes on behind it.
    ///
    /// # Safety
    /// The caller owns the chain and uses the store exclusively. The context's stack limit was set on this thread, or is out
    /// of reach (see [`forget_stack_limits`](Self::forget_stack_limits)). `WATCHED` may be false only if the store is not.
    #[inline(always)]
    pub(crate) unsafe fn leaf_ready<const WATCHED: bool>(
        this: NonNull<Self>,
        context: *mut VmContext,
        leaf: NonNull<Header>,
    ) -> Outcome {
        // SAFETY: the caller's.
        let next = unsafe { leaf.as_ref() }.next;
        // SAFETY: the leaf's context is alive as long as the store.
        let context_ref = unsafe { &mut *context };
        // SAFETY: the payload is gone, the block out of the chain.
        unsafe { context_ref.free_lists.give_leaf(leaf) };
        // the limit set before will do if there is room enough above it
        // SAFETY: the caller's.
        let wanted = here().wrapping_sub(unsafe { (*this.as_ptr()).enough_stack });
        if context_ref.stack_limit > wanted {
            // SAFETY: the caller's.
            context_ref.stack_limit = stack_limit(unsafe { (*this.as_ptr()).max_wasm_stack });
        }
        // SAFETY: the caller's.
        unsafe { Self::resume::<WATCHED>(this, context, next) }
    }

    /// A leaf failed and its payload is gone: whoever waits for it goes too.
    ///
    /// # Safety
    /// As for `leaf_ready`.
    #[cold]
    pub(crate) unsafe fn leaf_failed(
        this: NonNull<Self>,
        context: *mut VmContext,
        leaf: NonNull<Header>,
        pending: Pending,
    ) -> Outcome {
        // SAFETY: the caller's.
        unsafe { task_context::release(leaf) };
        // SAFETY: the caller's.
        let next = unsafe { leaf.as_ref() }.next;
        // SAFETY: the leaf's context is alive as long as the store.
        let free_lists = unsafe { &mut (*context).free_lists };
        // SAFETY: the payload is gone, the block out of the chain.
        unsafe { free_lists.give_leaf(leaf) };
        // SAFETY: the caller's.
        let core = unsafe { &mut *this.as_ptr() };
        core.set_pending(pending, WasmBacktrace::default());
        core.trapped(next);
        Outcome::Trapped
    }
}

/// Polls a leaf. Ready: its payload is gone, and its results, if any, are in its context.
///
/// # Safety
/// As for [`poll`].
unsafe fn poll_leaf(
    core: NonNull<StoreCore>,
    cx: &mut Context<'_>,
    parked: &mut Parked,
    fresh: bool,
) -> Poll<Result<(), Pending>> {
    let leaf = parked.leaf;
    // SAFETY: the leaf of a chain the caller owns.
    let vtable = unsafe { vtable_of(leaf) };
    // SAFETY: alive as long as the store.
    let context = unsafe { &mut *context_of(leaf) };
    match vtable.kind {
        LeafKind::Yield => Poll::Ready(Ok(())),
        LeafKind::Future if fresh => Poll::Pending,
        LeafKind::Future => {
            // SAFETY: the same.
            let number = unsafe { leaf.as_ref() }
                .resume_address
                .map_or(0, |number| number.get() as u64);
            // SAFETY: a live future leaf.
            let inside = unsafe { Inside::again(leaf) };
            let polled = catch_unwind(AssertUnwindSafe(|| {
                // SAFETY: the chain waits for this poll.
                let _waiting = unsafe { WaitingGuard::new(core, Waiting::Chain(leaf)) };
                with_current(core, number, || {
                    // SAFETY: a live future leaf.
                    unsafe { (vtable.poll)(leaf, cx, context) }
                })
            }));
            let ready = match polled {
                Ok(Poll::Pending) => {
                    // SAFETY: the same leaf.
                    unsafe { inside.pending(leaf) };
                    return Poll::Pending;
                }
                Ok(Poll::Ready(result)) => result.map_err(Pending::Error),
                Err(panic) => Err(Pending::Panic(panic)),
            };
            let ready = and_drop(core, leaf, vtable, ready);
            drop(inside);
            // SAFETY: the caller's; the guest goes on.
            unsafe { task_context::unpark(leaf) };
            Poll::Ready(ready)
        }
        LeafKind::Awaiter => {
            let ticket = match &parked.ticket {
                Some(ticket) => {
                    ticket.register(cx.waker());
                    Arc::clone(ticket)
                }
                None => {
                    let ticket = Arc::new(Ticket::default());
                    ticket.register(cx.waker());
                    parked.ticket = Some(Arc::clone(&ticket));
                    let token = Resumption::borrowed(Arc::clone(&ticket));
                    // what it sets is nobody's
                    let inside = Inside::begin();
                    // SAFETY: a live awaiter leaf.
                    let told = catch_unwind(AssertUnwindSafe(|| unsafe {
                        (vtable.on_completed)(leaf, token);
                    }));
                    drop(inside);
                    if let Err(panic) = told {
                        ticket.cancel();
                        return Poll::Ready(and_drop(
                            core,
                            leaf,
                            vtable,
                            Err(Pending::Panic(panic)),
                        ));
                    }
                    ticket
                }
            };
            let state = ticket.state();
            if !fresh && state != TicketState::Waiting {
                // SAFETY: the caller's; the guest goes on, or ends.
                unsafe { task_context::unpark(leaf) };
            }
            match state {
                TicketState::Waiting => Poll::Pending,
                TicketState::Dropped => {
                    let error = Error::new(NotCurrent::ResumptionDropped);
                    Poll::Ready(and_drop(core, leaf, vtable, Err(Pending::Error(error))))
                }
                // SAFETY: a live awaiter leaf, completed once.
                TicketState::Resumed => Poll::Ready(unsafe { complete(vtable, leaf, context) }),
            }
        }
    }
}

/// Takes an awaiter's result; the payload is gone afterwards.
///
/// # Safety
/// `leaf` is a live awaiter leaf of this type.
#[inline]
pub(crate) unsafe fn complete(
    vtable: &LeafVtable,
    leaf: NonNull<Header>,
    context: &mut VmContext,
) -> Result<(), Pending> {
    // SAFETY: the caller's.
    match catch_unwind(AssertUnwindSafe(|| unsafe {
        (vtable.complete)(leaf, context)
    })) {
        Ok(result) => result.map_err(Pending::Error),
        Err(panic) => Err(Pending::Panic(panic)),
    }
}

/// Drops a leaf's payload; a panic in it is the result, unless there was an error before.
fn and_drop(
    core: NonNull<StoreCore>,
    leaf: NonNull<Header>,
    vtable: &LeafVtable,
    ready: Result<(), Pending>,
) -> Result<(), Pending> {
    let drop_payload: unsafe fn(NonNull<Header>) = vtable.drop_payload();
    let dropped = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: the payload of a live leaf, dropped once.
        with_current(core, 0, || unsafe { drop_payload(leaf) });
    }));
    match (ready, dropped) {
        (Ok(()), Err(panic)) => Err(Pending::Panic(panic)),
        (ready, _) => ready,
    }
}

const _: () = assert!(
    std::mem::offset_of!(LeafType, drop_payload) == 0,
    "a leaf's site begins with its LeafType"
);
