//! The argument layer of the command, tested on its own.

#[path = "../src/cli/args.rs"]
mod args;
