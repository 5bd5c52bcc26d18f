//! A suspended call as a chain of small heap objects.

pub mod header;

pub mod recycle;

pub use header::Header;
