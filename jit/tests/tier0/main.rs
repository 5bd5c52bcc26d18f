//! Tier-0 code, run and compared with wasmi.

#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "the test machine plays the whole runtime; one argument covers a step of it"
)]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "bits are cut and reinterpreted on purpose"
)]

mod hostile;
mod machine;
mod numeric;
mod oracle;
mod programs;
mod random;
