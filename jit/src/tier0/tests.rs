//! What tier-0 code looks like; that it computes the right thing is tested in `tests/tier0.rs`.
