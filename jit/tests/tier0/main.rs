//! Tier-0 code, run and compared with wasmi.

mod hostile;
mod machine;
mod numeric;
mod oracle;
mod programs;
mod random;
