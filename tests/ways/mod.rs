//! The ways: what each promises besides the right answers is required to have happened.

mod oracle;

mod corpus;

mod random;
