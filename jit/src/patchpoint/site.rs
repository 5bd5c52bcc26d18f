//! One patchpoint's shared state: how often it was hit, and the OSR code once there is some.
//!
//! ```text
//!   Counting ──trigger (one thread wins)──▶ Triggered ──▶ Ready(osr entry)
//!                                               └───────▶ Invalid (not optimized, reason counted)
//! ```

use crate::{
    code::draft::PatchpointDraft,
    wasm::types::{FuncIndex, ValType, WasmOffset},
};
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};

const COUNTING: u8 = 0;
const TRIGGERED: u8 = 1;
const INVALID: u8 = 2;

/// One patchpoint's shared state; its address is in tier-0 code.
#[repr(C)]
#[derive(Debug)]
pub struct Patchpoint {
    /// Address of the OSR entry, or 0. Stored with Release after the code is published.
    entry: AtomicUsize,
    /// Frame size of the OSR code, to check for room before going there; valid when `entry` is not 0.
    frame_size: AtomicU32,
    hits: AtomicU32,
    state: AtomicU8,
    /// The function.
    pub func: FuncIndex,
    /// Offset of the `loop` operator.
    pub offset: WasmOffset,
    /// Types of the operand stack at the header.
    pub stack: Box<[ValType]>,
}

/// What a hit leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hit {
    /// Go on in tier-0 for a while.
    Stay,
    /// Go on in tier-0 for good: this header is not optimized.
    Never,
    /// This thread triggers the compilation.
    Trigger,
    /// OSR code is there.
    Transition {
        /// Where to jump.
        entry: usize,
        /// How much room its frame needs.
        frame_size: u32,
    },
}

impl Patchpoint {
    /// A patchpoint that nobody has hit.
    pub fn new(func: FuncIndex, draft: PatchpointDraft) -> Self {
        Self {
            entry: AtomicUsize::new(0),
            frame_size: AtomicU32::new(0),
            hits: AtomicU32::new(0),
            state: AtomicU8::new(COUNTING),
            func,
            offset: draft.offset,
            stack: draft.stack,
        }
    }

    /// Counts a hit and says what follows. The compilation is triggered by exactly one caller, at the `limit`-th hit.
    pub fn hit(&self, limit: u32) -> Hit {
        if let Some(transition) = self.transition() {
            return transition;
        }
        match self.state.load(Ordering::Relaxed) {
            INVALID => return Hit::Never,
            TRIGGERED => return Hit::Stay,
            _ => (),
        }
        let hits = self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if hits < limit {
            return Hit::Stay;
        }
        match self
            .state
            .compare_exchange(COUNTING, TRIGGERED, Ordering::Relaxed, Ordering::Relaxed)
        {
            Ok(_) => Hit::Trigger,
            Err(_) => Hit::Stay,
        }
    }

    /// The OSR code, if it is there.
    pub fn transition(&self) -> Option<Hit> {
        let entry = self.entry.load(Ordering::Acquire);
        (entry != 0).then(|| Hit::Transition {
            entry,
            frame_size: self.frame_size.load(Ordering::Relaxed),
        })
    }

    /// The compilation this patchpoint triggered succeeded.
    pub fn publish(&self, entry: usize, frame_size: u32) {
        self.frame_size.store(frame_size, Ordering::Relaxed);
        self.entry.store(entry, Ordering::Release);
    }

    /// The compilation this patchpoint triggered failed; it is not tried again.
    pub fn invalidate(&self) {
        self.state.store(INVALID, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patchpoint() -> Patchpoint {
        Patchpoint::new(
            FuncIndex(0),
            PatchpointDraft {
                offset: WasmOffset(7),
                stack: Box::default(),
            },
        )
    }

    #[test]
    fn one_hit_triggers_and_later_ones_go_on_until_code_is_there() {
        let patchpoint = patchpoint();
        assert_eq!(patchpoint.hit(2), Hit::Stay);
        assert_eq!(patchpoint.hit(2), Hit::Trigger);
        assert_eq!(patchpoint.hit(2), Hit::Stay);
        patchpoint.publish(64, 48);
        assert_eq!(
            patchpoint.hit(2),
            Hit::Transition {
                entry: 64,
                frame_size: 48
            }
        );
    }

    #[test]
    fn exactly_one_of_many_threads_triggers() {
        let patchpoint = patchpoint();
        let triggers = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        if patchpoint.hit(50) == Hit::Trigger {
                            triggers.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(triggers.into_inner(), 1);
    }

    #[test]
    fn a_failed_compilation_is_not_tried_again() {
        let patchpoint = patchpoint();
        assert_eq!(patchpoint.hit(1), Hit::Trigger);
        patchpoint.invalidate();
        assert_eq!(patchpoint.hit(1), Hit::Never);
    }
}
