//! What a host function leaves in the chain when it must wait.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the store is followed from its pointer: finding a part of it and using it are argued together"
)]

use crate::{
    error::Error,
    instance::InstanceInner,
    resumption::{Parking, Resumption},
};
use midair_continuation::{
    Header,
    header::{FLAG_HOST_LEAF, HEADER_SIZE, LeafType},
    recycle::SIZE_CLASSES,
};
use midair_jit::runtime::context::VmContext;
use std::{
    num::NonZeroUsize,
    ptr::NonNull,
    task::{Context, Poll},
};

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
    pub(super) leaf_type: LeafType,
    pub(crate) kind: LeafKind,
    /// Futures: polls the payload; ready: results are in the context.
    pub(crate) poll: PollLeaf,
    /// Awaiters: hands the token over.
    pub(crate) on_completed: unsafe fn(NonNull<Header>, Resumption, Parking<'_>),
    /// Awaiters: puts the result in the context and drops the payload. An error is left in the store, and the leaf flagged.
    /// (It returns nothing, so that an awaiter's own function can be its tail.)
    pub(crate) complete: unsafe fn(NonNull<Header>, &mut VmContext),
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

pub(super) unsafe fn never_poll(
    _: NonNull<Header>,
    _: &mut Context<'_>,
    _: &mut VmContext,
) -> Poll<Result<(), Error>> {
    unreachable!("only futures are polled")
}

pub(super) unsafe fn never_on_completed(_: NonNull<Header>, _: Resumption, _: Parking<'_>) {
    unreachable!("only awaiters get a token")
}

pub(super) unsafe fn never_complete(_: NonNull<Header>, _: &mut VmContext) {
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

/// Futures up to this size lie in their leaf; larger or over-aligned ones are boxed.
pub(super) const MAX_INLINE: usize = SIZE_CLASSES[SIZE_CLASSES.len() - 1] - HEADER_SIZE;

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

const _: () = assert!(
    std::mem::offset_of!(LeafType, drop_payload) == 0,
    "a leaf's site begins with its LeafType"
);
