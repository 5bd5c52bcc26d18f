//! A parked chain, from the leaf to the outermost caller: walking it and dropping it.

use crate::header::{FLAG_HOST_LEAF, Header, LeafType};
use std::ptr::NonNull;

/// A parked chain: the one value that owns it (see the table in the crate's documentation).
///
/// It has no destructor, because its blocks go back to the free lists of their store: see [`Chain::release`].
#[must_use = "a chain that is forgotten keeps its futures and blocks for ever"]
#[repr(transparent)]
#[derive(Debug)]
pub struct Chain {
    leaf: NonNull<Header>,
}

impl Chain {
    /// Takes ownership of the chain that begins at `leaf`.
    ///
    /// # Safety
    /// 1. `leaf` and every block linked behind it are live, initialized and owned by the caller, who gives them up.
    /// 2. The links end in null.
    pub unsafe fn from_leaf(leaf: NonNull<Header>) -> Self {
        Self { leaf }
    }

    /// The first link.
    #[inline]
    pub fn leaf(&self) -> NonNull<Header> {
        self.leaf
    }

    /// Gives the ownership up; the caller has it now.
    #[inline]
    pub fn into_leaf(self) -> NonNull<Header> {
        self.leaf
    }

    /// Every link, from the leaf outwards.
    pub fn links(&self) -> Links<'_> {
        Links {
            next: Some(self.leaf),
            chain: std::marker::PhantomData,
        }
    }

    /// Drops the whole chain, innermost first: payloads of host leaves once each; then `give` gets each block, unused, to
    /// [give it back](crate::recycle::FreeLists::give). A loop, not a recursion, so the depth of the call does not matter.
    ///
    /// It asks for no lists, because a payload's destructor may use them: nothing is borrowed while one runs.
    ///
    /// A payload whose destructor panics does not keep the rest from being released; the first panic goes on afterwards.
    pub fn release(self, mut give: impl FnMut(NonNull<Header>)) {
        let mut panic = None;
        let mut next = Some(self.leaf);
        while let Some(block) = next {
            // SAFETY: owned and live until given back below.
            let header = unsafe { block.as_ref() };
            next = NonNull::new(header.next);
            if header.flags & FLAG_HOST_LEAF != 0 {
                let leaf_type = header.site.cast::<LeafType>();
                // SAFETY: a host leaf's site begins with a `LeafType`.
                let drop_payload = unsafe { (*leaf_type).drop_payload };
                let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    // SAFETY: a leaf in a chain has an initialized payload, and this is its only drop.
                    unsafe { drop_payload(block) }
                }));
                panic = panic.or(dropped.err());
            }
            // its payload is gone, and nothing else owns it
            give(block);
        }
        if let Some(panic) = panic {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Links of a chain, from the leaf outwards.
#[derive(Debug)]
pub struct Links<'a> {
    next: Option<NonNull<Header>>,
    chain: std::marker::PhantomData<&'a Chain>,
}

impl Iterator for Links<'_> {
    type Item = NonNull<Header>;

    fn next(&mut self) -> Option<Self::Item> {
        let link = self.next?;
        // SAFETY: the chain is borrowed, so all its links are live.
        self.next = NonNull::new(unsafe { link.as_ref() }.next);
        Some(link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::payload;
    use crate::recycle::FreeLists;
    use std::{cell::Cell, rc::Rc};

    type Payload = Rc<Cell<u32>>;

    static COUNTED: LeafType = LeafType {
        drop_payload: |leaf| {
            // SAFETY: `leaf` wrote one there.
            let counter = unsafe { payload(leaf).cast::<Payload>().read() };
            counter.set(counter.get() + 1);
        },
    };

    static PANICKING: LeafType = LeafType {
        drop_payload: |_| panic!("dropped"),
    };

    fn leaf(lists: &mut FreeLists, ty: &'static LeafType, counter: &Payload) -> NonNull<Header> {
        let mut block = lists.take(size_of::<Payload>());
        // SAFETY: just taken.
        let header = unsafe { block.as_mut() };
        header.site = std::ptr::from_ref(ty).cast();
        header.flags |= FLAG_HOST_LEAF;
        // SAFETY: room for it was asked for.
        unsafe { payload(block).cast::<Payload>().write(Rc::clone(counter)) };
        block
    }

    fn guest(lists: &mut FreeLists, mut behind: NonNull<Header>) -> NonNull<Header> {
        let block = lists.take(8 * 3);
        // SAFETY: live.
        unsafe { behind.as_mut() }.next = block.as_ptr();
        block
    }

    #[test]
    fn a_released_chain_drops_its_leaf_once_and_gives_every_block_back() {
        let counter = Payload::default();
        let mut lists = FreeLists::default();
        let first = leaf(&mut lists, &COUNTED, &counter);
        let mut last = first;
        for _ in 0..10_000 {
            last = guest(&mut lists, last);
        }
        // SAFETY: made here, ends in null.
        let chain = unsafe { Chain::from_leaf(first) };
        assert_eq!(chain.links().count(), 10_001);
        // SAFETY: unused, and from these lists.
        chain.release(|block| unsafe { lists.give(block) });
        assert_eq!(counter.get(), 1);
        assert_eq!(lists.recycled(), 10_001);
    }

    #[test]
    fn a_panicking_payload_does_not_keep_the_rest() {
        let counter = Payload::default();
        let mut lists = FreeLists::default();
        let first = leaf(&mut lists, &PANICKING, &counter);
        guest(&mut lists, first);
        // SAFETY: made here, ends in null.
        let chain = unsafe { Chain::from_leaf(first) };
        let released = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            // SAFETY: unused, and from these lists.
            chain.release(|block| unsafe { lists.give(block) });
        }));
        assert!(released.is_err());
        assert_eq!(lists.recycled(), 2);
        // the payload that panicked was not dropped: take its count back by hand
        // SAFETY: still initialized, its block lies unused on a free list.
        drop(unsafe { payload(first).cast::<Payload>().read() });
    }
}
