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
    error::{Error, Pending, Trap, WasmBacktrace},
    host::context_of,
    store::StoreCore,
    task_context,
};
use midair_continuation::{
    Header,
    header::{FLAG_COUNT_RESUMES, FLAG_STRAIGHT, FLAG_SWITCH, nobody},
    recycle::leave_spare,
};
use midair_jit::{
    arch::x86_64::{
        cross_instance::switch_target,
        enter::{Exit, enter},
    },
    frame::abi::{EXIT_RETURNED, EXIT_SUSPENDED, EXIT_SUSPENDED_AGAIN},
    observe::events::Event,
    runtime::{context::VmContext, migrate},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
    sync::atomic::Ordering,
};

/// How guest code left that was entered at a continuation.
enum Left {
    /// Its frame returned; its results are in this context, and these wait for them.
    Returned(*mut VmContext, *mut Header),
    /// There is no more to go on with.
    Otherwise(Outcome),
}

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
        unsafe { (*this.as_ptr()).activations.entered = context };
        // SAFETY: (1), (2).
        unsafe { (*context).kept = nobody() };
        // SAFETY: (1).
        let exit = unsafe { enter(context, target, argument) };
        // guest code above a nested entry goes on with its own limit
        // SAFETY: (1), (2).
        unsafe { (*context).stack_limit = before };
        // whoever resumed calls here meanwhile has set a floor for a limit that is no more
        // SAFETY: (1), (2).
        unsafe { (*context).resume_floor = usize::MAX };
        if exit.word == EXIT_RETURNED {
            // SAFETY: (2).
            unsafe { exit.keep_results() };
            // SAFETY: (2).
            unsafe { &*this.as_ptr() }.observe(|| Event::Return);
            return Outcome::Returned(exit.context);
        }
        if exit.word == EXIT_SUSPENDED {
            // SAFETY: (2).
            return unsafe { Self::left_suspended::<true>(this, exit.context, ptr::null_mut()) };
        }
        // SAFETY: (2).
        unsafe { &mut *this.as_ptr() }.trapped(exit.context, ptr::null_mut());
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
        // SAFETY: the caller's.
        unsafe { Self::parked::<WATCHED>(this, context) }
    }

    /// Guest code left suspended, and the chain is linked.
    ///
    /// # Safety
    /// As for `left_suspended`.
    #[inline(always)]
    unsafe fn parked<const WATCHED: bool>(this: NonNull<Self>, context: &VmContext) -> Outcome {
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
            // SAFETY: (2).
            if WATCHED && unsafe { (*this.as_ptr()).watched } {
                // SAFETY: (1), (2).
                unsafe { record_resume(&*this.as_ptr(), link) };
            }
            // SAFETY: (2).
            if here() < unsafe { (*context).stack_limit } {
                // SAFETY: (1), (2).
                return unsafe { Self::no_stack(this, context, link) };
            }
            // SAFETY: (1), (2).
            let exit = unsafe { Self::enter_link(this, context, link) };
            if exit.word == EXIT_RETURNED {
                // SAFETY: (2).
                unsafe { exit.keep_results() };
            }
            // SAFETY: (1), (2).
            match unsafe { Self::left::<WATCHED>(this, context, link, exit.word, exit.context) } {
                Left::Returned(left, rest) => {
                    context = left;
                    head = rest;
                }
                Left::Otherwise(outcome) => return outcome,
            }
        }
        if WATCHED {
            // SAFETY: (2).
            unsafe { &*this.as_ptr() }.observe(|| Event::Return);
        }
        Outcome::Returned(context)
    }

    /// Enters guest code at a continuation, which is kept meanwhile.
    ///
    /// # Safety
    /// As for `resume`, of this link; the stack limit allows it.
    #[inline(always)]
    unsafe fn enter_link(
        this: NonNull<Self>,
        context: *mut VmContext,
        link: NonNull<Header>,
    ) -> Exit {
        // SAFETY: the caller's.
        unsafe { (*this.as_ptr()).activations.entered = context };
        // SAFETY: the caller's.
        unsafe { (*context).kept = link.as_ptr() };
        // SAFETY: the caller's.
        let target = unsafe { link.as_ref() }.resume;
        // SAFETY: the caller's; `resume` is a way into the code that made this continuation.
        unsafe { enter(context, target, link.as_ptr().expose_provenance()) }
    }

    /// Guest code that was entered at `link`, in `context`, has left with this exit word, in the context `left`.
    ///
    /// # Safety
    /// As for `resume`, of this link.
    #[inline(always)]
    unsafe fn left<const WATCHED: bool>(
        this: NonNull<Self>,
        context: *mut VmContext,
        link: NonNull<Header>,
        word: u32,
        left: *mut VmContext,
    ) -> Left {
        // nothing is kept for whom nobody resumed
        // SAFETY: the caller's.
        unsafe { (*context).kept = nobody() };
        if word == EXIT_SUSPENDED_AGAIN {
            // SAFETY: the caller's; the frame has hung its continuation behind its callee's, and its caller's behind it.
            return Left::Otherwise(unsafe { Self::parked::<WATCHED>(this, &*left) });
        }
        // SAFETY: the caller's.
        let rest = unsafe { link.as_ref() }.next;
        // SAFETY: the caller's.
        let lists = unsafe { &mut (*context).free_lists };
        // SAFETY: its frame is gone, and it was taken from the lists of the context it is entered in.
        unsafe { lists.give(link) };
        match word {
            EXIT_RETURNED => Left::Returned(left, rest),
            EXIT_SUSPENDED => {
                // SAFETY: the caller's.
                Left::Otherwise(unsafe { Self::left_suspended::<WATCHED>(this, left, rest) })
            }
            _ => {
                // SAFETY: the caller's.
                unsafe { &mut *this.as_ptr() }.trapped(left, rest);
                Left::Otherwise(Outcome::Trapped)
            }
        }
    }

    /// There is no room on the stack to resume `link`: it traps, as its own code would.
    ///
    /// # Safety
    /// As for `resume`, of this link.
    #[cold]
    unsafe fn no_stack(
        this: NonNull<Self>,
        context: *mut VmContext,
        link: NonNull<Header>,
    ) -> Outcome {
        // SAFETY: the caller's.
        let core = unsafe { &mut *this.as_ptr() };
        let error = Error::new(Trap::StackOverflow);
        core.set_pending(Pending::Error(error), WasmBacktrace::default());
        core.trapped(context, link.as_ptr());
        Outcome::Trapped
    }

    /// Goes on with a parked call whose token takes no further questions: its leaf is [straight](FLAG_STRAIGHT), and its
    /// payload gone. The common way, which a call that awaits in a loop takes at each turn; `Err` is the outcome of any other.
    /// `Ok` is a leaf that is straight again.
    ///
    /// # Safety
    /// 1. The caller owns the chain, gives it up, and uses the store exclusively, which is not watched.
    /// 2. The stack pointer is not below the resume floor of the leaf's context.
    #[inline(always)]
    pub(crate) unsafe fn resume_straight(
        this: NonNull<Self>,
        leaf: NonNull<Header>,
    ) -> Result<NonNull<Header>, Outcome> {
        // SAFETY: (1).
        let context = unsafe { context_of(leaf) };
        // SAFETY: (1): a straight leaf is the spare one, and there is a continuation behind it.
        let link = unsafe {
            leave_spare(leaf);
            NonNull::new_unchecked(leaf.as_ref().next)
        };
        // SAFETY: (1), (2); whoever marked the leaf has said where guest code is about to be entered.
        let exit = unsafe {
            (*context).kept = link.as_ptr();
            enter(
                context,
                link.as_ref().resume,
                link.as_ptr().expose_provenance(),
            )
        };
        if exit.word == EXIT_SUSPENDED_AGAIN {
            // SAFETY: (1): a suspension begins with a leaf.
            let leaf = unsafe { NonNull::new_unchecked((*exit.context).chain_head) };
            // SAFETY: (1).
            if unsafe { leaf.as_ref() }.flags & FLAG_STRAIGHT != 0 {
                return Ok(leaf);
            }
        }
        if exit.word == EXIT_RETURNED {
            // SAFETY: (1).
            unsafe { exit.keep_results() };
        }
        // SAFETY: (1).
        Err(unsafe { Self::left_straight(this, exit.word, exit.context) })
    }

    /// # Safety
    /// As for `resume_straight`; guest code has left so. Results are kept.
    #[cold]
    #[inline(never)]
    unsafe fn left_straight(this: NonNull<Self>, word: u32, left: *mut VmContext) -> Outcome {
        // what a turn holds across the guest's is loaded again at each; these are where they were left
        // SAFETY: the caller's: the context guest code was entered in, and the continuation kept there.
        let (context, link) = unsafe {
            let context = this.as_ref().activations.entered;
            (context, NonNull::new_unchecked((*context).kept))
        };
        debug_assert_eq!(
            context, left,
            "the outermost frame leaves as it was entered"
        );
        debug_assert_ne!(link.as_ptr(), nobody(), "it was resumed");
        // SAFETY: the caller's.
        match unsafe { Self::left::<false>(this, context, link, word, left) } {
            // SAFETY: the caller's; the limit of the context that was left was set beneath this one's.
            Left::Returned(context, rest) => unsafe { Self::resume::<false>(this, context, rest) },
            Left::Otherwise(outcome) => outcome,
        }
    }

    /// Marks the leaf of a chain that is about to wait for its token, if it is [straight](FLAG_STRAIGHT), or takes the mark away.
    ///
    /// # Safety
    /// The caller owns the chain and uses the store exclusively, and nobody else enters guest code of it while the chain waits.
    pub(crate) unsafe fn mark_straight(this: NonNull<Self>, mut leaf: NonNull<Header>) {
        // SAFETY: the caller's.
        let core = unsafe { &mut *this.as_ptr() };
        // SAFETY: the caller's.
        let context = unsafe { context_of(leaf) };
        // SAFETY: the caller's; alive as long as the store.
        let is_spare = unsafe { &*context }.free_lists.is_spare(leaf);
        // SAFETY: the caller's.
        let header = unsafe { leaf.as_mut() };
        // SAFETY: the caller's.
        let next = NonNull::new(header.next).map(|next| unsafe { next.as_ref() }.flags);
        let plain = next.is_some_and(|flags| flags & (FLAG_COUNT_RESUMES | FLAG_SWITCH) == 0);
        if plain && is_spare && !core.watched {
            header.flags |= FLAG_STRAIGHT;
            core.activations.entered = context;
        } else {
            header.flags &= !FLAG_STRAIGHT;
        }
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
                let context_ref = unsafe { &mut *context };
                context_ref.stack_limit = stack_limit(max);
                context_ref.resume_floor = usize::MAX;
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
        unsafe { context_ref.free_lists.give(leaf) };
        // the limit set before will do if there is room enough above it
        if here() < context_ref.resume_floor {
            // SAFETY: the caller's.
            let core = unsafe { this.as_ref() };
            context_ref.stack_limit = stack_limit(core.max_wasm_stack);
            context_ref.resume_floor = context_ref.stack_limit.saturating_add(core.enough_stack);
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
        unsafe { free_lists.give(leaf) };
        // SAFETY: the caller's.
        let core = unsafe { &mut *this.as_ptr() };
        core.set_pending(pending, WasmBacktrace::default());
        core.trapped(context, next);
        Outcome::Trapped
    }

    /// Guest code left `context` without results: whoever waits for them goes too.
    #[cold]
    fn trapped(&mut self, context: *mut VmContext, rest: *mut Header) {
        self.observe(|| Event::Trap);
        if let Some(rest) = NonNull::new(rest) {
            self.extend_trace(rest);
            self.release_from(context, rest);
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
