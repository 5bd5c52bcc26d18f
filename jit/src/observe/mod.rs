//! Seeing what happens.

pub mod events;
