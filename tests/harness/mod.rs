//! One corpus, many ways to run it: what a way is, what the host offers, and the comparison with the oracle.

pub(crate) mod directives;

pub(crate) mod midair;

pub(crate) mod oracle;

pub(crate) mod random;

pub(crate) use directives::{Action, Answer, Expected, Outcome, Program, Step, Value, corpus};

pub(crate) use oracle::Wasmi;

/// What every way offers the guest, as the imports of module `host`.
///
/// | name | suspends | what it does |
/// |---|---|---|
/// | `add1` | no | one more, wrapping |
/// | `log` | no | appends to the log of the run |
/// | `fail` | no | fails with `host error N` |
/// | `ready` | no, though asynchronous | its argument, at once |
/// | `await_i32` … `await_f64` | yes | its argument |
/// | `yield` | yes | nothing |
/// | `await_two` | yes | its arguments, swapped |
/// | `await_mix8` | yes | its arguments, last first |
/// | `await_fail` | yes | then fails with `host error N` |
/// | `grow` | yes | meanwhile grows the caller's `memory` by N pages; the old size, or -1 |
/// | `poke` | yes | meanwhile writes an `i32` into the caller's `memory`; outside of it: `host error ADDRESS` |
/// | `reenter` | asynchronous; as its callee does | calls the caller's `callback` and adds 1, wrapping |
/// | `reenter_sync` | no | the same, synchronously |
/// | `ref` | no | a reference that stands for the number |
/// | `unref` | no | the number it stands for; -1 for null; what nobody can reach is released |
/// | `await_ref`, `await_func` | yes | the argument; what nobody can reach is released |
///
/// Besides functions, module `host` offers each run, afresh: `memory`, 1 page of at most 4, its first bytes 1, 2, 3, 4; and the globals `counter`, a
/// mutable `i32` of 7, `base`, an `i32` of 16, `limit`, an `i64` of 2^40, `ratio`, an `f64` of 0.5, and `bias`, a mutable `f32` of -1.
///
/// `Outcome::awaits` counts the calls of functions marked *yes*, failing ones included.
pub(crate) const HOST: [(&str, &str); 20] = [
    ("add1", "(param i32) (result i32)"),
    ("log", "(param i32)"),
    ("fail", "(param i32)"),
    ("ready", "(param i32) (result i32)"),
    ("await_i32", "(param i32) (result i32)"),
    ("await_i64", "(param i64) (result i64)"),
    ("await_f32", "(param f32) (result f32)"),
    ("await_f64", "(param f64) (result f64)"),
    ("yield", ""),
    ("await_two", "(param i32 i64) (result i64 i32)"),
    (
        "await_mix8",
        "(param i32 i64 f32 f64 i32 i64 f32 f64) (result f64 f32 i64 i32 f64 f32 i64 i32)",
    ),
    ("await_fail", "(param i32)"),
    ("grow", "(param i32) (result i32)"),
    ("poke", "(param i32 i32)"),
    ("reenter", "(param i32) (result i32)"),
    ("reenter_sync", "(param i32) (result i32)"),
    ("ref", "(param i32) (result externref)"),
    ("unref", "(param externref) (result i32)"),
    ("await_ref", "(param externref) (result externref)"),
    ("await_func", "(param funcref) (result funcref)"),
];

/// The text of the imports of those host functions, each under its name.
pub(crate) fn host_imports(wanted: impl Fn(&str) -> bool) -> String {
    HOST.iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, ty)| format!("  (import \"host\" \"{name}\" (func ${name} {ty}))\n"))
        .collect()
}

/// A way to run a program.
pub(crate) trait Way {
    /// For messages: `tier0`, `osr at every patchpoint`, …
    fn name(&self) -> String;

    /// Instantiates the program and takes its steps in order; `Err` where it could not be run at all.
    fn run(&self, program: &Program) -> Result<Outcome, String>;
}

/// Runs every program in one way and compares with what each states and with what the oracle says; returns how many there were.
pub(crate) fn check(way: &dyn Way, programs: &[Program]) -> Result<usize, String> {
    let mut failures = Vec::new();
    for program in programs {
        let compared = way.run(program).and_then(|outcome| {
            program.check(&outcome)?;
            let oracle = Wasmi.run(program)?;
            outcome.agrees_with(&oracle)
        });
        if let Err(difference) = compared {
            failures.push(format!(
                "{}: {}:\n    {difference}",
                way.name(),
                program.name
            ));
        }
    }
    if failures.is_empty() {
        Ok(programs.len())
    } else {
        Err(format!(
            "{} of {} programs fail:\n{}",
            failures.len(),
            programs.len(),
            failures.join("\n")
        ))
    }
}
