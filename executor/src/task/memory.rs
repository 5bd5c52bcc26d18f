//! Memory of task cells: blocks that a thread has freed are kept for its next tasks of that size.
//!
//! At most [`KEPT`] bytes for each thread. Models and Miri take every block from the allocator, to see its life.

use std::alloc::{Layout, handle_alloc_error};
use std::cell::{Cell, UnsafeCell};
use std::ptr::{self, NonNull};

/// Bytes that a thread keeps at most.
const KEPT: usize = 16 * 1024 * 1024;

/// Larger blocks are not kept.
const LARGEST: usize = 512;

const CLASSES: usize = LARGEST / 8 + 1;

struct Kept {
    /// Heads of lists of free blocks, linked through their first word; by size in words.
    heads: UnsafeCell<[*mut Block; CLASSES]>,
    bytes: Cell<usize>,
}

struct Block {
    next: *mut Self,
}

thread_local! {
    static FREE: Kept = const {
        Kept {
            heads: UnsafeCell::new([ptr::null_mut(); CLASSES]),
            bytes: Cell::new(0),
        }
    };
}

/// The class of a layout; `None` if its blocks are not kept.
const fn class(layout: Layout) -> Option<usize> {
    let size = layout.size();
    if cfg!(any(loom, miri))
        || size > LARGEST
        || size < 8
        || !size.is_multiple_of(8)
        || layout.align() != 8
    {
        return None;
    }
    Some(size / 8)
}

/// A block of memory for a `T`.
#[inline]
pub(crate) fn allocate<T>() -> NonNull<T> {
    const { assert!(size_of::<T>() != 0, "a cell has a header") };
    let layout = Layout::new::<T>();
    if let Some(class) = const { class(Layout::new::<T>()) }
        && let Ok(Some(block)) = FREE.try_with(|kept| kept.pop(class))
    {
        return block.cast();
    }
    // SAFETY: the size is not zero.
    let block = unsafe { std::alloc::alloc(layout) };
    NonNull::new(block.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Gives a block back.
///
/// # Safety
///
/// 1. `block` came from [`allocate`] of the same type, and is used no more.
#[inline]
pub(crate) unsafe fn free<T>(block: NonNull<T>) {
    if let Some(class) = const { class(Layout::new::<T>()) }
        && FREE.try_with(|kept| kept.push(class, block.cast())) == Ok(true)
    {
        return;
    }
    // SAFETY: (1).
    unsafe { std::alloc::dealloc(block.as_ptr().cast(), Layout::new::<T>()) };
}

impl Kept {
    #[inline]
    fn pop(&self, class: usize) -> Option<NonNull<Block>> {
        // SAFETY: of this thread only, and no reference is kept.
        let head = unsafe { &mut (*self.heads.get())[class] };
        let block = NonNull::new(*head)?;
        // SAFETY: a block on the list is free memory of ours, and begins with its link.
        *head = unsafe { block.as_ref() }.next;
        self.bytes.set(self.bytes.get() - class * 8);
        Some(block)
    }

    #[inline]
    fn push(&self, class: usize, block: NonNull<Block>) -> bool {
        let bytes = self.bytes.get() + class * 8;
        if bytes > KEPT {
            return false;
        }
        self.bytes.set(bytes);
        // SAFETY: of this thread only, and no reference is kept.
        let head = unsafe { &mut (*self.heads.get())[class] };
        // SAFETY: the block is free memory of at least a word.
        unsafe { block.write(Block { next: *head }) };
        *head = block.as_ptr();
        true
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for class in 1..CLASSES {
            let layout = Layout::from_size_align(class * 8, 8).expect("a small size");
            while let Some(block) = self.pop(class) {
                // SAFETY: a block of this class was allocated with this layout.
                unsafe { std::alloc::dealloc(block.as_ptr().cast(), layout) };
            }
        }
    }
}
