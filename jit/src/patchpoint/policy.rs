//! Hit, trigger, transition: when each happens.
//!
//! A frame's counter runs out after `patchpoint_counter` passes of loop headers: a **hit**. After `hit_limit` hits of one
//! patchpoint, by any frames, one thread **triggers** the compilation that starts there; the rest go on in tier-0 with
//! their counters at `patchpoint_bump`. Once the code is published, the next hit is the **transition**: the helper
//! returns the OSR entry and tier-0 jumps there. With the defaults a loop is replaced after 10,000 iterations.

/// When code is replaced by better code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A frame's counter after a hit that did not lead to a transition.
    pub patchpoint_bump: u32,
    /// Hits of one patchpoint until it triggers.
    pub hit_limit: u32,
    /// Calls of a function's tier-0 code until its tier-1 code is made.
    pub call_threshold: u32,
    /// Resumptions of a function's tier-0 and OSR code until they move to tier-1.
    pub resume_threshold: u32,
    /// Functions start in tier-1.
    pub tier1_first: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            patchpoint_bump: 1000,
            hit_limit: 10,
            call_threshold: 1000,
            resume_threshold: 1000,
            tier1_first: false,
        }
    }
}
