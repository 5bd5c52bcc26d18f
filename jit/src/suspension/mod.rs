//! A suspension point is a call that returns late.

pub mod point;
