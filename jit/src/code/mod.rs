//! Code being written, published and found again.

pub mod draft;

pub mod published;

pub mod cache;

pub mod pc_table;

pub mod cfi;

pub mod faults;
