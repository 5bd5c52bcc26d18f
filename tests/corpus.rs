//! One corpus, in every way: against what each program states, and against the oracle.

mod harness;

mod ways;
