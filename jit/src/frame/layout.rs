//! The tier-0 frame: every slot by name and offset, fixed before the first instruction is emitted.
//!
//! ```text
//! [rbp + 8]                    return address
//! [rbp]                        caller's frame register
//! [rbp - 8]                    patchpoint counter (u32)
//! [rbp - 16 - 8*i]             home of local i
//! [rbp - 16 - 8*(locals + j)]  home of operand-stack entry j (0 is the bottom)
//! ```
//!
//! An OSR frame is this frame plus an extension below it (`tier1` adds it); tier-1 frames have no tier-0 part.

use crate::wasm::types::{FrameOffset, LocalIndex};

/// Bytes from the frame register to the patchpoint counter.
pub const COUNTER_OFFSET: FrameOffset = FrameOffset(-8);

/// Layout of one function's tier-0 frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameLayout {
    locals: u32,
    max_stack: u32,
}

impl FrameLayout {
    /// A frame for that many locals (parameters included) and that deep an operand stack.
    pub fn new(locals: u32, max_stack: u32) -> Self {
        Self { locals, max_stack }
    }

    /// Home of a local.
    pub fn local(&self, local: LocalIndex) -> FrameOffset {
        debug_assert!(local.0 < self.locals);
        FrameOffset(-16 - 8 * local.0.cast_signed())
    }

    /// Home of an operand-stack entry, 0 being the bottom.
    pub fn stack(&self, entry: u32) -> FrameOffset {
        debug_assert!(entry < self.max_stack);
        FrameOffset(-16 - 8 * (self.locals + entry).cast_signed())
    }

    /// Number of locals, parameters included.
    pub fn locals(&self) -> u32 {
        self.locals
    }

    /// Bytes below the frame register, a multiple of 16.
    pub fn size(&self) -> u32 {
        (8 + 8 * (self.locals + self.max_stack)).next_multiple_of(16)
    }
}
