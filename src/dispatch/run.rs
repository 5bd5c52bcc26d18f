//! Running a chain until it suspends again or ends.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use super::{
    Outcome,
    observe::record_resume,
    thread::{here, stack_limit},
};
use crate::{
    error::{Pending, WasmBacktrace},
    store::StoreCore,
    task_context,
};
use midair_continuation::{
    Header,
    header::{FLAG_COUNT_RESUMES, FLAG_SWITCH},
};
use midair_jit::{
    arch::x86_64::{cross_instance::switch_target, enter::enter},
    frame::abi::{EXIT_RETURNED, EXIT_SUSPENDED},
    observe::events::Event,
    runtime::{context::VmContext, migrate},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
    sync::atomic::Ordering,
};

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
        if tail.flags & FLAG_SWITCH != 0 {
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

    /// Guest code left without results: whoever waits for them goes too.
    #[cold]
    fn trapped(&mut self, rest: *mut Header) {
        self.observe(|| Event::Trap);
        if let Some(rest) = NonNull::new(rest) {
            self.extend_trace(rest);
            self.release(rest);
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
    while let Some(next) = NonNull::new(unsafe { tail.as_ref() }.next) {
        // SAFETY: the caller's.
        let header = unsafe { next.as_ref() };
        if header.flags & FLAG_SWITCH == 0 {
            return;
        }
        // SAFETY: the caller's; flagged as one.
        let target = unsafe { *switch_target(next) };
        // SAFETY: the same.
        unsafe { *switch_target(tail) = target };
        // SAFETY: the caller's.
        unsafe { tail.as_mut() }.next = header.next;
        // SAFETY: out of the chain, and of the size that every list of that class has.
        unsafe { context.free_lists.give(next) };
    }
}
