//! Modules of wasm-smith with everything that Midair supports, in random ways, against the wasmi interpreter: results, traps,
//! memories, globals and tables are equal after every call.
//!
//! One seed is one module, its calls and one way. `MIDAIR_FUZZ_SEED` is the first seed and `MIDAIR_FUZZ_SEEDS` how many are
//! tried; a failing one is printed with the command that runs it alone, and its module is written to the target folder.

#[path = "fuzz/module.rs"]
mod module;

#[path = "fuzz/oracle.rs"]
mod oracle;

#[path = "fuzz/subject.rs"]
mod subject;

use module::{Case, Random};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
};
use wasmparser::{BlockType, Operator, Parser, Payload};

/// A value, comparable across engines.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    /// A function, by its type.
    Func(Option<String>),
    /// A reference of the host's, by the number behind it.
    Extern(Option<i32>),
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    Values(Vec<Value>),
    Trap(String),
}

/// What can be seen of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Memory(Vec<u8>),
    Global(Value),
    Table(Vec<Value>),
}

/// A call, or the instantiation, with everything visible afterwards and every import called meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Step {
    ended: Ended,
    seen: Vec<(String, Seen)>,
    log: Vec<(usize, Vec<Value>)>,
}

impl Step {
    fn exhausted(&self) -> bool {
        self.ended == Ended::Trap(EXHAUSTED.to_owned())
    }
}

const EXHAUSTED: &str = "call stack exhausted";

/// The error of an import that fails.
#[derive(Clone, Copy, Debug)]
struct HostFailed;

impl fmt::Display for HostFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("host error")
    }
}

impl std::error::Error for HostFailed {}

/// A trap as both engines say it: the oracle has one for all that is outside a table.
fn trap(text: &str) -> Ended {
    let text = text.strip_prefix("wasm trap: ").unwrap_or(text);
    let class = match text {
        "undefined element" => "out of bounds table access",
        text => text,
    };
    Ended::Trap(class.to_owned())
}

/// One result of an import.
#[derive(Clone, Debug)]
enum Given {
    /// This value; a reference of the host's is made for it.
    Value(Value),
    /// The argument of that index.
    Argument(usize),
}

/// What an import answers: always the same to the same arguments.
fn answer(import: usize, arguments: &[Value], results: &[Kind]) -> Result<Vec<Given>, HostFailed> {
    let text = format!("{import} {arguments:?}");
    let seed = text.bytes().fold(7u64, |hash, byte| {
        hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(byte)
    });
    let mut random = Random::new(seed);
    if random.one_in(30) {
        return Err(HostFailed);
    }
    let result = |kind: &Kind| {
        let same = arguments.iter().position(|value| value.kind() == *kind);
        match same {
            Some(index) if kind.is_reference() && !random.one_in(3) => Given::Argument(index),
            _ => Given::Value(random.value(*kind)),
        }
    };
    Ok(results.iter().map(result).collect())
}

/// A type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    I32,
    I64,
    F32,
    F64,
    Func,
    Extern,
}

impl Kind {
    fn is_reference(self) -> bool {
        matches!(self, Self::Func | Self::Extern)
    }
}

impl Value {
    fn kind(&self) -> Kind {
        match self {
            Self::I32(_) => Kind::I32,
            Self::I64(_) => Kind::I64,
            Self::F32(_) => Kind::F32,
            Self::F64(_) => Kind::F64,
            Self::Func(_) => Kind::Func,
            Self::Extern(_) => Kind::Extern,
        }
    }
}

/// The first difference between two runs; none if both ran out of stack, whose size is nobody's promise.
fn difference(subject: &[Step], oracle: &[Step]) -> Option<String> {
    for (n, (a, b)) in subject.iter().zip(oracle).enumerate() {
        if a.exhausted() || b.exhausted() {
            return None;
        }
        if a.ended != b.ended {
            return Some(format!("step {n}: {:?}, but {:?}", a.ended, b.ended));
        }
        if a.log != b.log {
            return Some(format!("step {n}: calls {:?}, but {:?}", a.log, b.log));
        }
        for ((name, a), (_, b)) in a.seen.iter().zip(&b.seen) {
            if let (Seen::Memory(a), Seen::Memory(b)) = (a, b)
                && let Some(at) = (0..a.len().max(b.len())).find(|at| a.get(*at) != b.get(*at))
            {
                let (a, b) = (a.get(at), b.get(at));
                return Some(format!("step {n}: {name} at {at}: {a:?}, but {b:?}"));
            }
            if a != b {
                return Some(format!("step {n}: {name}: {a:?}, but {b:?}"));
            }
        }
        if a.seen.len() != b.seen.len() {
            return Some(format!("step {n}: another number of exports"));
        }
    }
    (subject.len() != oracle.len()).then(|| "another number of steps".to_owned())
}

/// So many seeds are a long run, which goes on where the oracle is alone.
const LONG: u64 = 1000;

#[derive(Debug, Default)]
struct Tally {
    agreed: u64,
    /// The oracle is known to be wrong.
    gaps: u64,
    /// The oracle is alone against two ways, for no known reason. Their modules are kept.
    doubtful: u64,
    returned: u64,
    trapped: u64,
    suspended: u64,
}

fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Where failing modules go.
fn folder() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("fuzz");
    std::fs::create_dir_all(&folder).expect("a folder in the target folder can be made");
    folder
}

/// Writes a module, and beside it what was called and what is the matter; gives where the module is.
fn keep(case: &Case, kind: &str, what: &str) -> PathBuf {
    let stem = folder().join(format!("{kind}-{}", case.seed));
    std::fs::write(
        stem.with_extension("txt"),
        format!("{what}\n{:?}\n", case.calls),
    )
    .expect("the folder was just made");
    let module = stem.with_extension("wasm");
    std::fs::write(&module, &case.wasm).expect("the folder was just made");
    module
}

#[track_caller]
fn fail(case: &Case, what: &str) -> ! {
    let path = keep(case, "seed", what);
    panic!(
        "{what}\nmodule: {}\nagain: cargo xtask fuzz --seed {} --seeds 1",
        path.display(),
        case.seed
    );
}

/// Whether the oracle is known to get it wrong: `if`s with parameters, and divisors that a `select` has made anything but zero,
/// as the generator does where instructions must not trap.
fn has_known_gap(case: &Case, oracle: Result<&[Step], &String>) -> bool {
    let divides = |step: &Step| {
        let traps = ["integer divide by zero", "integer overflow"];
        matches!(&step.ended, Ended::Trap(trap) if traps.contains(&trap.as_str()))
    };
    if !case.may_trap && oracle.is_ok_and(|steps| steps.iter().any(divides)) {
        return true;
    }
    has_if_with_parameters(&case.wasm)
}

fn has_if_with_parameters(wasm: &[u8]) -> bool {
    let mut types = Vec::new();
    for payload in Parser::new(0).parse_all(wasm).map_while(Result::ok) {
        match payload {
            Payload::TypeSection(section) => {
                let functions = section.into_iter_err_on_gc_types().map_while(Result::ok);
                types = functions.map(|ty| !ty.params().is_empty()).collect();
            }
            Payload::CodeSectionEntry(body) => {
                let operators = body.get_operators_reader().into_iter().flatten();
                let found = operators.map_while(Result::ok).any(|operator| {
                    matches!(operator, Operator::If { blockty: BlockType::FuncType(ty) }
                        if types.get(ty as usize).is_some_and(|params| *params))
                });
                if found {
                    return true;
                }
            }
            _ => (),
        }
    }
    false
}

fn run(seed: u64, long: bool, tally: &mut Tally) {
    let case = match Case::new(seed) {
        Ok(case) => case,
        Err(error) => panic!("seed {seed}: {error}"),
    };
    let ours = |way: &subject::Way| {
        catch_unwind(AssertUnwindSafe(|| subject::run(&case, way)))
            .unwrap_or_else(|_| fail(&case, &format!("{}: panicked", way.name())))
            .unwrap_or_else(|error| fail(&case, &format!("{}: {error}", way.name())))
    };
    let way = subject::Way::random(&case);
    let (given, suspended) = ours(&way);
    tally.suspended += suspended;
    for step in &given {
        match step.ended {
            Ended::Values(_) => tally.returned += 1,
            Ended::Trap(_) => tally.trapped += 1,
        }
    }
    let expected = catch_unwind(AssertUnwindSafe(|| oracle::run(&case)))
        .unwrap_or_else(|_| Err("the oracle panicked".to_owned()));
    let different = match &expected {
        Ok(expected) => difference(&given, expected),
        Err(error) => Some(error.clone()),
    };
    let Some(different) = different else {
        tally.agreed += 1;
        return;
    };
    let (baseline, _) = ours(&subject::Way::baseline());
    let among_ours = difference(&given, &baseline);
    if has_known_gap(&case, expected.as_deref()) && among_ours.is_none() {
        tally.gaps += 1;
        return;
    }
    let what = format!(
        "{}: {different}; against tier-0: {}",
        way.name(),
        among_ours.as_deref().unwrap_or("equal")
    );
    if long && among_ours.is_none() {
        keep(&case, "doubtful", &what);
        tally.doubtful += 1;
        return;
    }
    fail(&case, &what);
}

#[test]
fn random_modules_with_tables_and_references_agree() {
    let first = number("MIDAIR_FUZZ_SEED", 0);
    let seeds = number("MIDAIR_FUZZ_SEEDS", 200);
    let mut tally = Tally::default();
    for seed in first..first.saturating_add(seeds) {
        if seeds >= LONG {
            // what was being tried when the process died
            std::fs::write(folder().join("current"), seed.to_string())
                .expect("the folder was just made");
        }
        run(seed, seeds >= LONG, &mut tally);
    }
    // about one module in 10,000 meets a bug of the oracle's that has no name yet; V8 agreed with Midair about those looked at
    assert!(
        tally.doubtful <= seeds / LONG,
        "{tally:?}: see {}",
        folder().display()
    );
    if seeds >= 200 {
        assert!(tally.agreed > 7 * tally.gaps, "{tally:?}");
        assert!(tally.returned > seeds, "{tally:?}");
        assert!(tally.trapped > seeds / 4, "{tally:?}");
        assert!(tally.suspended > seeds, "{tally:?}");
    }
}
