//! Reuse of finished continuations: one free list per size class, no atomics.

use crate::header::{HEADER_SIZE, Header};

/// Block sizes in bytes, header included.
pub const SIZE_CLASSES: [usize; 8] = [64, 96, 128, 192, 256, 512, 1024, 4096];

/// The class byte of a block that has no free list.
pub const NO_CLASS: u8 = 0xff;

/// The smallest class whose blocks have room for that many image words; `None` if it is too large for any.
pub fn class_for_words(words: u32) -> Option<u8> {
    let size = HEADER_SIZE + 8 * words as usize;
    SIZE_CLASSES
        .iter()
        .position(|&class| size <= class)
        .map(|class| class as u8)
}

/// Heads of the free lists. Machine code pops and pushes them by offset.
#[repr(C)]
#[derive(Debug)]
pub struct FreeLists {
    /// One per size class.
    pub heads: [*mut Header; SIZE_CLASSES.len()],
}
