//! The fixed front of every continuation.
//!
//! ```text
//! offset  field
//!  0      next             the logical caller's continuation, or null
//!  8      resume           resume stub: how to enter the code that goes on
//! 16      resume_address   native address in optimized code, or null: go on in tier-0
//! 24      site             static description of the suspension point
//! 32      flags            size class, kind
//! 36      counter          the patchpoint counter, carried across the suspension
//! 40      context          task-local context captured at suspension
//! 48..    image            the live slots, 8 bytes each
//! ```
//!
//! Machine code knows these offsets (through `offset_of!`); the layout is `repr(C)` and fixed.

use std::{num::NonZeroUsize, ptr::NonNull};

/// The fixed front of every continuation.
#[repr(C)]
#[derive(Debug)]
pub struct Header {
    /// The logical caller's continuation, or null. On a free list: the next free block.
    pub next: *mut Self,
    /// Machine code that makes the frame again and goes on. Null for a host leaf.
    pub resume: usize,
    /// Native address in optimized code, or `None`: go on in tier-0.
    pub resume_address: Option<NonZeroUsize>,
    /// Static description: of a suspension point for a guest frame; a [`LeafType`] for a host leaf.
    pub site: *const (),
    /// Size class in the low byte, then the `FLAG_` bits.
    pub flags: u32,
    /// The patchpoint counter of a tier-0 frame.
    pub counter: u32,
    /// Task-local context captured at suspension.
    pub context: *mut (),
}

/// Bytes of the header; the image begins there.
pub const HEADER_SIZE: usize = size_of::<Header>();

const _: () = assert!(HEADER_SIZE == 48, "machine code and documentation say 48");

/// In `flags`: a host leaf, not a guest frame.
pub const FLAG_HOST_LEAF: u32 = 1 << 8;

/// In `flags`: tell the runtime of each resumption (tier-up by resumption count).
pub const FLAG_COUNT_RESUMES: u32 = 1 << 9;

/// In `flags`, of a host leaf: it is the spare one of its lists, and waits for a token before a guest's continuation without
/// flags, so that its token takes no further questions.
pub const FLAG_STRAIGHT: u32 = 1 << 11;

/// In `flags`, of a host leaf: completing it failed, and the store has the reason.
pub const FLAG_FAILED: u32 = 1 << 12;

/// What every host leaf's `site` points to begins with this.
#[repr(C)]
#[derive(Debug)]
pub struct LeafType {
    /// Drops the payload behind the header, not the block.
    ///
    /// # Safety
    /// The argument is a live leaf of this type whose payload is initialized; afterwards it is not.
    pub drop_payload: unsafe fn(NonNull<Header>),
}

/// A continuation that is nobody's, for places that must point to one: its site is null, which no other's is.
///
/// Never written to.
pub fn nobody() -> *mut Header {
    struct Nobody(Header);
    // SAFETY: read only.
    unsafe impl Sync for Nobody {}
    static NOBODY: Nobody = Nobody(Header {
        next: std::ptr::null_mut(),
        resume: 0,
        resume_address: None,
        site: std::ptr::null(),
        flags: 0,
        counter: 0,
        context: std::ptr::null_mut(),
    });
    (&raw const NOBODY.0).cast_mut()
}

impl Header {
    /// Whether this is a host leaf.
    #[inline]
    pub fn is_host_leaf(&self) -> bool {
        self.flags & FLAG_HOST_LEAF != 0
    }
}

/// The payload or image behind a header.
#[inline]
pub fn payload(header: NonNull<Header>) -> NonNull<u8> {
    // SAFETY: every block is larger than its header, so this stays within it.
    unsafe { header.cast::<u8>().add(HEADER_SIZE) }
}

/// In `flags`: neither a guest frame nor a leaf, but a stub's note of a context to return to. It has no site.
pub const FLAG_SWITCH: u32 = 1 << 10;
