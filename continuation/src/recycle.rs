//! Reuse of finished continuations: one free list per size class, no atomics.
//!
//! Machine code pops and pushes these lists itself, by the offsets of [`FreeLists::heads`]; an awaiting loop in steady
//! state takes the block it has just given back, and nothing is allocated.
//!
//! Blocks too large for any class have [`NO_CLASS`] in their flags and are allocated and freed one by one; their size lies in
//! a word of its own in front of the header:
//!
//! Host leaves of one kind take turns in one block, the *spare leaf*: its header stays as it is, and a mark in it says
//! whether it is in use. Which leaf may take it is told by its [`key`](leaf_key).
//!
//! ```text
//!   [ size in bytes | unused ][ Header | image ... ]
//!                              ^ the block
//! ```

use crate::header::{HEADER_SIZE, Header, nobody};
use std::{
    alloc::{Layout, alloc, dealloc, handle_alloc_error},
    num::NonZeroUsize,
    ptr::{self, NonNull},
};

/// Block sizes in bytes, header included.
pub const SIZE_CLASSES: [usize; 8] = [64, 96, 128, 192, 256, 512, 1024, 4096];

/// The class byte of a block that has no free list.
pub const NO_CLASS: u8 = 0xff;

/// Alignment of every block, and so of a leaf's payload.
pub const BLOCK_ALIGN: usize = 16;

/// Bytes in front of a block without class.
const PREFIX: usize = 16;

/// The smallest class whose blocks have room for that many image words; `None` if it is too large for any.
pub const fn class_for_words(words: u32) -> Option<u8> {
    class_for_payload(8 * words as usize)
}

/// The smallest class whose blocks have room for that many bytes behind the header.
#[expect(clippy::cast_possible_truncation, reason = "there are eight classes")]
pub const fn class_for_payload(bytes: usize) -> Option<u8> {
    let mut class = 0;
    while class < SIZE_CLASSES.len() {
        if HEADER_SIZE + bytes <= SIZE_CLASSES[class] {
            return Some(class as u8);
        }
        class += 1;
    }
    None
}

/// Heads of the free lists. Machine code pops and pushes them by offset.
#[repr(C)]
#[derive(Debug)]
pub struct FreeLists {
    /// One per size class; linked through [`Header::next`].
    pub heads: [*mut Header; SIZE_CLASSES.len()],
    /// The spare leaf, in use or not; [`nobody`] until there is one.
    pub spare_leaf: *mut Header,
    /// Bytes of the blocks allocated for these lists: those with a class for ever, those without until they are given back.
    /// A block may be given to other lists than it came from, so only the sum of a store's is meaningful; it wraps.
    pub allocated: usize,
}

impl Default for FreeLists {
    fn default() -> Self {
        Self {
            heads: [ptr::null_mut(); SIZE_CLASSES.len()],
            spare_leaf: nobody(),
            allocated: 0,
        }
    }
}

impl FreeLists {
    /// A block with room for `bytes` behind the header: a recycled one if there is any. Its header says nothing yet but the
    /// size class.
    pub fn take(&mut self, bytes: usize) -> NonNull<Header> {
        match class_for_payload(bytes) {
            Some(class) => {
                let head = &mut self.heads[usize::from(class)];
                match NonNull::new(*head) {
                    Some(block) => {
                        // SAFETY: **Invariant (a free list holds blocks of its class, unused).**
                        *head = unsafe { block.as_ref() }.next;
                        // SAFETY: the same.
                        unsafe { write_header(block, class) };
                        block
                    }
                    None => {
                        let size = SIZE_CLASSES[usize::from(class)];
                        self.allocated = self.allocated.wrapping_add(size);
                        allocate(class, bytes)
                    }
                }
            }
            None => {
                self.allocated = self.allocated.wrapping_add(PREFIX + HEADER_SIZE + bytes);
                allocate(NO_CLASS, bytes)
            }
        }
    }

    /// Gives a block back.
    ///
    /// # Safety
    /// 1. `block` came from [`FreeLists::take`] or from machine code's popping of such a list, and its flags still hold its
    ///    size class.
    /// 2. Nothing uses it any more, and its payload has been dropped.
    #[inline]
    pub unsafe fn give(&mut self, mut block: NonNull<Header>) {
        if block.as_ptr() == self.spare_leaf {
            // SAFETY: (2).
            return unsafe { leave_spare(block) };
        }
        // SAFETY: (1), (2).
        let header = unsafe { block.as_mut() };
        let class = header.flags.to_le_bytes()[0];
        if class == NO_CLASS {
            // SAFETY: (1), (2).
            let size = unsafe { free(block, NO_CLASS) };
            self.allocated = self.allocated.wrapping_sub(size);
        } else {
            let head = &mut self.heads[usize::from(class)];
            header.next = *head;
            *head = block.as_ptr();
        }
    }

    /// The spare leaf, if it is free and was of this key: all its header says is right, but for `next`.
    #[inline(always)]
    pub fn take_spare_leaf(&mut self, key: NonZeroUsize) -> Option<NonNull<Header>> {
        // SAFETY: never null.
        let leaf = unsafe { NonNull::new_unchecked(self.spare_leaf) };
        let place = key_of(leaf);
        // SAFETY: **Invariant (a free list holds blocks of its class, unused)**: so is the spare leaf, or it is `nobody`.
        if unsafe { *place } != Some(key) {
            return None;
        }
        // SAFETY: the same, and it has a key, so it is not `nobody`.
        unsafe { *place = key.checked_add(IN_USE) };
        Some(leaf)
    }

    /// Makes a leaf, just taken, the spare one, in use; unless there is one in use.
    ///
    /// # Safety
    /// `leaf` was taken from these lists, and nobody uses it yet.
    pub unsafe fn adopt_leaf(&mut self, leaf: NonNull<Header>, key: NonZeroUsize) {
        // SAFETY: the caller's.
        unsafe { *key_of(leaf) = key.checked_add(IN_USE) };
        // SAFETY: never null.
        let before = unsafe { NonNull::new_unchecked(self.spare_leaf) };
        // SAFETY: live, or `nobody`, which has no key.
        let taken = unsafe { *key_of(before) }.map_or(0, |key| key.get() & IN_USE);
        if taken == 0 {
            self.spare_leaf = leaf.as_ptr();
            if before.as_ptr() != nobody() {
                // SAFETY: **Invariant (a free list holds blocks of its class, unused)**: so was the spare leaf.
                unsafe { self.give(before) };
            }
        }
    }

    /// Whether that is the spare leaf.
    pub fn is_spare(&self, leaf: NonNull<Header>) -> bool {
        leaf.as_ptr() == self.spare_leaf
    }

    /// Blocks that wait for reuse.
    pub fn recycled(&self) -> usize {
        self.free_blocks().0
    }

    /// Bytes of the blocks that wait for reuse.
    pub fn recycled_bytes(&self) -> usize {
        self.free_blocks().1
    }

    fn free_blocks(&self) -> (usize, usize) {
        let (mut count, mut bytes) = (0, 0);
        // SAFETY: **Invariant (a free list holds blocks of its class, unused)**, or it is in use, or `nobody`.
        let leaf = unsafe { &*self.spare_leaf };
        if leaf
            .resume_address
            .is_some_and(|key| key.get() & IN_USE == 0)
        {
            let class = leaf.flags.to_le_bytes()[0];
            count += 1;
            bytes += SIZE_CLASSES.get(usize::from(class)).copied().unwrap_or(0);
        }
        for (&head, size) in self.heads.iter().zip(SIZE_CLASSES) {
            let mut block = head;
            while let Some(free) = NonNull::new(block) {
                count += 1;
                bytes += size;
                // SAFETY: **Invariant (a free list holds blocks of its class, unused).**
                block = unsafe { free.as_ref() }.next;
            }
        }
        (count, bytes)
    }
}

impl Drop for FreeLists {
    fn drop(&mut self) {
        let leaf = std::mem::replace(&mut self.spare_leaf, nobody());
        if let Some(leaf) = NonNull::new(leaf).filter(|leaf| leaf.as_ptr() != nobody()) {
            // SAFETY: unused; a leaf's flags hold its size class.
            unsafe { self.give(leaf) };
        }
        for (class, head) in (0u8..).zip(&mut self.heads) {
            while let Some(block) = NonNull::new(*head) {
                // SAFETY: **Invariant (a free list holds blocks of its class, unused).**
                *head = unsafe { block.as_ref() }.next;
                // SAFETY: it is off the list now.
                let _size = unsafe { free(block, class) };
            }
        }
    }
}

/// In a leaf's key: it is in use.
const IN_USE: usize = 1;

/// Where a leaf's key is: what it is made by and for, an address of something that is aligned, and the mark. It lies where a
/// guest's continuation has its resume address.
#[inline(always)]
fn key_of(leaf: NonNull<Header>) -> *mut Option<NonZeroUsize> {
    // SAFETY: a field of a header.
    unsafe { &raw mut (*leaf.as_ptr()).resume_address }
}

/// What a leaf that was [taken as the spare one](FreeLists::take_spare_leaf), or [adopted](FreeLists::adopt_leaf), is made by.
///
/// # Safety
/// `leaf` is such a leaf.
pub unsafe fn leaf_key(leaf: NonNull<Header>) -> usize {
    // SAFETY: the caller's.
    unsafe { *key_of(leaf) }.map_or(0, |key| key.get() & !IN_USE)
}

/// Gives the spare leaf back.
///
/// # Safety
/// `leaf` is the spare leaf, in use, and nobody uses it any more: its payload is gone.
#[inline(always)]
pub unsafe fn leave_spare(leaf: NonNull<Header>) {
    // SAFETY: the caller's: a key with its mark, which is an address without it. (An optional address is a word.)
    unsafe { *key_of(leaf).cast::<usize>() -= IN_USE };
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, BLOCK_ALIGN)
        .expect("a continuation is smaller than the address space")
}

/// A fresh block.
#[cold]
fn allocate(class: u8, bytes: usize) -> NonNull<Header> {
    let (layout, prefix) = if class == NO_CLASS {
        (layout(PREFIX + HEADER_SIZE + bytes), PREFIX)
    } else {
        (layout(SIZE_CLASSES[usize::from(class)]), 0)
    };
    // SAFETY: the size is not zero.
    let memory = unsafe { alloc(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    if class == NO_CLASS {
        // SAFETY: the prefix lies at the start of the allocation, which is 16-aligned.
        unsafe { memory.cast::<usize>().write(layout.size()) };
    }
    // SAFETY: within the allocation.
    let block = unsafe { memory.add(prefix) }.cast::<Header>();
    // SAFETY: `alloc` succeeded, so no part of it is null.
    let block = unsafe { NonNull::new_unchecked(block) };
    // SAFETY: fresh, and large enough for a header.
    unsafe { write_header(block, class) };
    block
}

/// # Safety
/// `block` is an unused block.
unsafe fn write_header(block: NonNull<Header>, class: u8) {
    // SAFETY: the caller's.
    unsafe {
        block.write(Header {
            next: ptr::null_mut(),
            resume: 0,
            resume_address: None::<NonZeroUsize>,
            site: ptr::null(),
            flags: u32::from(class),
            counter: 0,
            context: ptr::null_mut(),
        });
    }
}

/// Gives a block back to the system; its size.
///
/// # Safety
/// `block` is unused, of that class, and on no list.
unsafe fn free(block: NonNull<Header>, class: u8) -> usize {
    if class == NO_CLASS {
        // SAFETY: such a block has a prefix.
        let memory = unsafe { block.cast::<u8>().sub(PREFIX) };
        // SAFETY: `allocate` wrote the size there.
        let size = unsafe { memory.cast::<usize>().read() };
        // SAFETY: allocated with this layout.
        unsafe { dealloc(memory.as_ptr(), layout(size)) };
        size
    } else {
        // SAFETY: allocated with this layout.
        unsafe {
            dealloc(
                block.cast::<u8>().as_ptr(),
                layout(SIZE_CLASSES[usize::from(class)]),
            );
        };
        SIZE_CLASSES[usize::from(class)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_given_back_is_the_next_one_taken() {
        let mut lists = FreeLists::default();
        let first = lists.take(24);
        // SAFETY: just taken, not used.
        unsafe { lists.give(first) };
        assert_eq!(lists.recycled(), 1);
        let second = lists.take(16 + 8);
        assert_eq!(first, second);
        assert_eq!(lists.recycled(), 0);
        // SAFETY: just taken, not used.
        unsafe { lists.give(second) };
    }

    #[test]
    fn classes_are_the_smallest_that_fit() {
        assert_eq!(class_for_words(2), Some(0));
        assert_eq!(class_for_words(3), Some(1));
        assert_eq!(class_for_words(506), Some(7));
        assert_eq!(class_for_words(507), None);
    }

    #[test]
    fn a_block_without_class_is_freed_at_once() {
        let mut lists = FreeLists::default();
        let block = lists.take(100_000);
        // SAFETY: fresh; the last byte of the payload is inside it.
        let last = unsafe { block.cast::<u8>().add(HEADER_SIZE + 99_999) };
        // SAFETY: the same.
        unsafe { last.write(1) };
        // SAFETY: just taken, not used.
        unsafe { lists.give(block) };
        assert_eq!(lists.recycled(), 0);
    }

    const KEY: NonZeroUsize = NonZeroUsize::new(64).unwrap();

    fn adopted(lists: &mut FreeLists) -> NonNull<Header> {
        let leaf = lists.take(16);
        // SAFETY: just taken.
        unsafe { lists.adopt_leaf(leaf, KEY) };
        leaf
    }

    #[test]
    fn the_spare_leaf_is_taken_by_its_key_and_only_when_it_is_free() {
        let mut lists = FreeLists::default();
        assert_eq!(lists.take_spare_leaf(KEY), None, "there is none yet");
        let leaf = adopted(&mut lists);
        assert!(lists.is_spare(leaf));
        // SAFETY: just adopted.
        assert_eq!(unsafe { leaf_key(leaf) }, KEY.get());
        assert_eq!(lists.take_spare_leaf(KEY), None, "it is in use");
        assert_eq!(lists.recycled(), 0);
        // SAFETY: in use, and not used any more.
        unsafe { lists.give(leaf) };
        assert_eq!(lists.recycled(), 1);
        let other = NonZeroUsize::new(128).unwrap();
        assert_eq!(lists.take_spare_leaf(other), None, "another's");
        assert_eq!(lists.take_spare_leaf(KEY), Some(leaf));
        // SAFETY: the same.
        unsafe { leave_spare(leaf) };
        assert_eq!(lists.take_spare_leaf(KEY), Some(leaf));
        // SAFETY: the same.
        unsafe { lists.give(leaf) };
    }

    #[test]
    fn a_second_leaf_is_spare_only_if_the_first_is_free() {
        let mut lists = FreeLists::default();
        let first = adopted(&mut lists);
        let second = adopted(&mut lists);
        assert!(lists.is_spare(first), "it is in use");
        // SAFETY: in use, and not used any more.
        unsafe { lists.give(second) };
        // SAFETY: the same.
        unsafe { lists.give(first) };
        assert_eq!(lists.recycled(), 2);
        // the second one's block, for another
        let third = adopted(&mut lists);
        assert_eq!(third, second);
        assert!(lists.is_spare(third), "the first one was free");
        assert_eq!(lists.recycled(), 1, "and has gone to the list");
        // SAFETY: the same.
        unsafe { lists.give(third) };
    }
}
