//! Seeing what happens.

pub mod events;

pub mod listing;

pub mod dump;

pub mod perf_map;
