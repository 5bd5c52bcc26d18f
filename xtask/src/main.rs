//! The tasks of this repository: `cargo xtask --help`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stderr, reason = "a tool for people")]

mod guests;

use clap::Parser;
use std::{
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

/// The tasks of this repository.
#[derive(Debug, Parser)]
#[command(name = "xtask")]
enum Task {
    /// Accept the golden listings and journeys as they are now. Read them first; commit them apart from everything else
    Bless,
    /// Print the machine code of a function: the arguments of `midair listing`
    Listing {
        /// FILE --func NAME [--tier 0|osr|1]
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<OsString>,
    },
    /// Run the tests of `continuation` and `executor` under Miri
    Miri,
    /// Run the executor's models under loom
    Loom,
    /// Run random programs against the oracle, optimized, seed after seed. What fails says how it is run alone
    Fuzz {
        /// The first seed
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// For about how long
        #[arg(long, default_value_t = 1)]
        minutes: u32,
        /// So many seeds, instead of a time
        #[arg(long, conflicts_with = "minutes")]
        seeds: Option<u64>,
    },
    /// Build the guests in `tests/guests/` again, each by the commands in its `build.txt`
    Guests {
        /// Only these
        names: Vec<String>,
    },
    /// What a change must pass
    Ci,
}

/// What to type where the nightly toolchain or Miri is missing.
const MIRI_NEEDS: &str = "Miri is missing. It comes with the nightly toolchain:
    rustup toolchain install nightly --component miri,rust-src
    cargo +nightly miri setup";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("in the workspace");
    if let Err(error) = std::env::set_current_dir(root) {
        eprintln!("xtask: {}: {error}", root.display());
        return ExitCode::FAILURE;
    }
    let done = match Task::parse() {
        Task::Bless => run(cargo([
            "test", "--quiet", "--test", "listings", "--test", "journeys",
        ])
        .env("MIDAIR_BLESS", "1")),
        Task::Listing { arguments } => run(cargo([
            "run",
            "--quiet",
            "--package",
            "midair",
            "--bin",
            "midair",
            "--",
            "listing",
        ])
        .args(arguments)),
        Task::Miri => miri(),
        Task::Loom => run(cargo([
            "test",
            "--package",
            "midair-executor",
            "--test",
            "loom",
            "--release",
        ])
        .env("RUSTFLAGS", "--cfg loom")
        // other flags would compile everything again, here and at the next ordinary build
        .env("CARGO_TARGET_DIR", "target/loom")),
        Task::Fuzz {
            seed,
            minutes,
            seeds,
        } => fuzz(seed, MINUTE * minutes, seeds),
        Task::Guests { names } => guests::build(&names),
        Task::Ci => run(&mut Command::new(".ci/run")),
    };
    if done {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn cargo<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments);
    command
}

/// Whether the command could be run and succeeded.
fn run(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            let program = command.get_program().to_string_lossy();
            eprintln!("xtask: {program}: {error}");
            false
        }
    }
}

fn miri() -> bool {
    let there = cargo(["+nightly", "miri", "--version"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        eprintln!("{MIRI_NEEDS}");
        return false;
    }
    let flags = "-Zmiri-strict-provenance -Zmiri-symbolic-alignment-check";
    let test = |which: &str, skip: &[&str], flags: String| {
        let packages = ["-p", "midair-continuation", "-p", "midair-executor"];
        run(cargo(["+nightly", "miri", "test", which])
            .args(packages)
            .arg("--")
            .args(skip)
            .env("MIRIFLAGS", flags))
    };
    // the threads of the global executor never end, which is what examples use, and Miri knows no sockets
    test("--tests", &[], flags.to_owned())
        && test(
            "--doc",
            &["--skip", "pages::io"],
            format!("{flags} -Zmiri-ignore-leaks"),
        )
}

/// Seeds of modules against the oracle, per run of the test.
const CHUNK: u64 = 2000;

const MINUTE: Duration = Duration::from_secs(60);

/// Runs the tests of random modules, and of hostile ones, until the time is up; with a number of seeds, those only.
fn fuzz(first: u64, limit: Duration, seeds: Option<u64>) -> bool {
    let modules = |first: u64, seeds: u64| {
        eprintln!("xtask: seeds {first}..{}", first.saturating_add(seeds));
        run(cargo(["test", "--quiet", "--release", "--test", "fuzz"])
            .env("MIDAIR_FUZZ_SEED", first.to_string())
            .env("MIDAIR_FUZZ_SEEDS", seeds.to_string()))
    };
    if let Some(seeds) = seeds {
        return modules(first, seeds);
    }
    // what compiling takes does not count
    if !run(&mut cargo([
        "test",
        "--quiet",
        "--release",
        "--test",
        "fuzz",
        "--test",
        "corpus",
        "--no-run",
    ])) {
        return false;
    }
    let start = Instant::now();
    let mut seed = first;
    while start.elapsed() < limit {
        if !modules(seed, CHUNK) {
            return false;
        }
        // programs dense in loops and awaits
        let random = run(
            cargo(["test", "--quiet", "--release", "--test", "corpus", "random"])
                .env("MIDAIR_FIRST_SEED", seed.to_string())
                .env("MIDAIR_SEEDS", (CHUNK / 10).to_string()),
        );
        if !random {
            return false;
        }
        // what belongs to one compiler alone; building it takes minutes of its own
        let compilers = limit <= MINUTE
            || run(
                cargo(["test", "--quiet", "--package", "midair-jit", "random"])
                    .env("MIDAIR_RANDOM_SEED", seed.to_string())
                    .env("MIDAIR_RANDOM_MODULES", CHUNK.to_string())
                    .env("MIDAIR_SEEDS", CHUNK.to_string()),
            );
        if !compilers {
            return false;
        }
        seed = seed.saturating_add(CHUNK);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        Task::command().debug_assert();
    }
}
