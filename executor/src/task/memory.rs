//! Memory of task cells: freed blocks are kept for the next tasks of that size.
//!
//! A thread keeps up to two *magazines* of blocks of a size, 64 KiB each; full ones in excess go to a depot that all
//! threads share, up to [`KEPT`] bytes. So blocks that one worker takes and another frees come back: otherwise the
//! allocator returns their memory to the system, and faults it in again. Models and Miri take every block from the
//! allocator, to see its life.

use std::alloc::{Layout, handle_alloc_error};
use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};
use std::sync::LazyLock;

use crate::sync::Mutex;

/// Bytes that the depot keeps at most.
const KEPT: usize = 32 * 1024 * 1024;

/// Bytes of a full magazine.
const MAGAZINE: usize = 64 * 1024;

/// Larger blocks are not kept.
const LARGEST: usize = 512;

const CLASSES: usize = LARGEST / 8 + 1;

/// A free block: its first words.
struct Block {
    /// The next in its magazine.
    next: *mut Self,
    /// Of the first block of a full magazine: the next full one in the depot.
    below: *mut Self,
}

/// What a thread keeps of one size.
#[derive(Clone, Copy)]
struct Blocks {
    head: *mut Block,
    count: usize,
    /// A full magazine, or null.
    spare: *mut Block,
}

struct Kept(UnsafeCell<[Blocks; CLASSES]>);

/// Full magazines, by size in words.
struct Depot {
    tops: [*mut Block; CLASSES],
    bytes: usize,
}

// SAFETY: it owns its blocks, which are free memory of no thread in particular.
unsafe impl Send for Depot {}

static DEPOT: LazyLock<Mutex<Depot>> = LazyLock::new(|| {
    Mutex::new(Depot {
        tops: [ptr::null_mut(); CLASSES],
        bytes: 0,
    })
});

thread_local! {
    static FREE: Kept = const {
        Kept(UnsafeCell::new(
            [Blocks {
                head: ptr::null_mut(),
                count: 0,
                spare: ptr::null_mut(),
            }; CLASSES],
        ))
    };
}

/// The class of a layout; `None` if its blocks are not kept.
const fn class(layout: Layout) -> Option<usize> {
    let size = layout.size();
    if cfg!(any(loom, miri))
        || size > LARGEST
        || size < size_of::<Block>()
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
        && FREE.try_with(|kept| kept.push(class, block.cast())).is_ok()
    {
        return;
    }
    // SAFETY: (1).
    unsafe { std::alloc::dealloc(block.as_ptr().cast(), Layout::new::<T>()) };
}

/// Blocks of a full magazine.
const fn capacity(class: usize) -> usize {
    MAGAZINE / (class * 8)
}

impl Kept {
    #[inline]
    fn pop(&self, class: usize) -> Option<NonNull<Block>> {
        // SAFETY: of this thread only, and no reference is kept.
        let blocks = unsafe { &mut (*self.0.get())[class] };
        if blocks.head.is_null() {
            blocks.restock(class);
        }
        let block = NonNull::new(blocks.head)?;
        // SAFETY: a block on the list is free memory of ours, and begins with its link.
        blocks.head = unsafe { block.as_ref() }.next;
        blocks.count -= 1;
        Some(block)
    }

    #[inline]
    fn push(&self, class: usize, block: NonNull<Block>) {
        // SAFETY: of this thread only, and no reference is kept.
        let blocks = unsafe { &mut (*self.0.get())[class] };
        if blocks.count == capacity(class) {
            blocks.put_aside(class);
        }
        let free = Block {
            next: blocks.head,
            below: ptr::null_mut(),
        };
        // SAFETY: the block is free memory of at least that size.
        unsafe { block.write(free) };
        blocks.head = block.as_ptr();
        blocks.count += 1;
    }
}

impl Blocks {
    /// Takes in a full magazine, if there is one.
    #[cold]
    fn restock(&mut self, class: usize) {
        let spare = std::mem::replace(&mut self.spare, ptr::null_mut());
        self.head = if spare.is_null() {
            DEPOT.lock().take(class)
        } else {
            spare
        };
        if !self.head.is_null() {
            self.count = capacity(class);
        }
    }

    /// Makes room: what is here is a full magazine.
    #[cold]
    fn put_aside(&mut self, class: usize) {
        let full = std::mem::replace(&mut self.head, ptr::null_mut());
        self.count = 0;
        let older = std::mem::replace(&mut self.spare, full);
        let Some(older) = NonNull::new(older) else {
            return;
        };
        // SAFETY: a full magazine of this class, and ours.
        let kept = unsafe { DEPOT.lock().give(class, older) };
        if !kept {
            // SAFETY: as above; the depot did not want it.
            unsafe { release(class, older.as_ptr()) };
        }
    }
}

impl Depot {
    /// A full magazine, or null.
    fn take(&mut self, class: usize) -> *mut Block {
        let Some(top) = NonNull::new(self.tops[class]) else {
            return ptr::null_mut();
        };
        // SAFETY: what is in the depot is its own.
        self.tops[class] = unsafe { top.as_ref() }.below;
        self.bytes -= MAGAZINE;
        top.as_ptr()
    }

    /// Keeps a full magazine. `false`: there are enough, it is still the caller's.
    ///
    /// # Safety
    ///
    /// 1. It is one of this class, and the caller's to give.
    unsafe fn give(&mut self, class: usize, mut magazine: NonNull<Block>) -> bool {
        if self.bytes + MAGAZINE > KEPT {
            return false;
        }
        self.bytes += MAGAZINE;
        // SAFETY: (1).
        unsafe { magazine.as_mut() }.below = self.tops[class];
        self.tops[class] = magazine.as_ptr();
        true
    }
}

/// Gives a list of blocks back to the allocator.
///
/// # Safety
///
/// 1. They are blocks of this class, or there is none, and the caller's to give.
unsafe fn release(class: usize, mut head: *mut Block) {
    let layout = Layout::from_size_align(class * 8, 8).expect("a small size");
    while let Some(block) = NonNull::new(head) {
        // SAFETY: (1) it begins with its link.
        head = unsafe { block.as_ref() }.next;
        // SAFETY: (1) it was allocated with this layout.
        unsafe { std::alloc::dealloc(block.as_ptr().cast(), layout) };
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        for (class, blocks) in self.0.get_mut().iter().enumerate() {
            // SAFETY: this thread's, and it ends.
            unsafe { release(class, blocks.head) };
            // SAFETY: as above.
            unsafe { release(class, blocks.spare) };
        }
    }
}
