//! A suspension point is a call that returns late.

pub mod point;

pub mod suspend;

pub mod resume;
