//! Parked chains: read, normalized and released.

use super::with_current;
use crate::{
    error::{Error, FrameInfo},
    host::context_of,
    store::StoreCore,
    task_context,
};
use midair_continuation::{
    Chain, Header,
    header::{FLAG_HOST_LEAF, FLAG_STRAIGHT, FLAG_SWITCH},
};
use midair_jit::{
    arch::x86_64::cross_instance::switch_target,
    code::{draft::CodeKind, published::Site},
    runtime::{context::VmContext, migrate},
};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
};

impl StoreCore {
    /// Adds the parked callers to the pending backtrace.
    pub(super) fn extend_trace(&mut self, from: NonNull<Header>) {
        let frames = logical_frames(from);
        if let Some(pending) = &mut self.pending {
            let trace = &mut pending.1.frames;
            let room = midair_jit::runtime::trap::MAX_TRACE.saturating_sub(trace.len());
            trace.extend(frames.into_iter().take(room));
        }
    }

    /// Releases the chain that begins at `leaf`: host futures and awaiters are dropped, blocks recycled.
    pub(crate) fn release(&mut self, leaf: NonNull<Header>) {
        // SAFETY: the caller owns the chain, as everybody who has its leaf.
        let context = unsafe { context_of(leaf) };
        self.release_from(context, leaf);
    }

    /// As `release`, from a link on whose callee ran in `context`.
    ///
    /// Each block goes back to the instance it came from: in others' lists it would only pile up.
    pub(super) fn release_from(&mut self, mut context: *mut VmContext, link: NonNull<Header>) {
        let core = NonNull::from(&mut *self);
        // SAFETY: the caller owns the chain, as everybody who has its leaf.
        unsafe { task_context::release(link) };
        // SAFETY: the same.
        let chain = unsafe { Chain::from_leaf(link) };
        let give = |block: NonNull<Header>| {
            // SAFETY: alive as long as the store, and nobody uses its lists just now.
            let lists = unsafe { &mut (*context).free_lists };
            // SAFETY: not given back yet.
            if unsafe { block.as_ref() }.flags & FLAG_SWITCH != 0 {
                // SAFETY: the same; it is one of those.
                context = unsafe { *switch_target(block) };
            }
            // SAFETY: unused, and of a store whose lists have the same classes.
            unsafe { lists.give(block) };
        };
        with_current(core, 0, || chain.release(give));
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

    pub(super) fn instance_of_code(
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
    pub(super) unsafe fn normalize_first(
        &mut self,
        most: usize,
        leaf: NonNull<Header>,
        mut choose: impl FnMut(&mut Self, usize) -> bool,
    ) -> Result<usize, Error> {
        // what comes behind the leaf may change, and have flags
        // SAFETY: the caller's.
        unsafe { (*leaf.as_ptr()).flags &= !FLAG_STRAIGHT };
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
