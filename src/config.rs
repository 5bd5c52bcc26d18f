//! Every knob of an engine, and the environment variables that turn some of them.

use midair_jit::{
    observe::events::{Event, Observer},
    options::CompileOptions,
    patchpoint::policy::Policy,
    runtime::functions::Job,
};
use std::{fmt, io::Write as _, num::NonZeroU32, sync::Arc};

pub use midair_jit::options::ResumptionPath;

/// Which tiers guest code runs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Tiers {
    /// Baseline code only.
    Tier0,
    /// Optimized code from the first call; a function that cannot be optimized stays in tier-0.
    Tier1,
    /// Start in tier-0; replace hot loops while they run and hot functions when they are called.
    #[default]
    Tiered,
}

/// Every environment variable that is read: how it is set, and what that does. CONTRIBUTING.md has the same table.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "documentation that a test compares")
)]
const KNOBS: [(&str, &str); 5] = [
    (
        "MIDAIR_EVENTS=1",
        "print every event to standard error: hit, trigger, publish, transition, suspend, resume, jump",
    ),
    (
        "MIDAIR_STRESS=suspend:N,normalize:N,osr",
        "suspend at every Nth checkpoint; normalize one of N continuations; replace every loop at its first pass",
    ),
    (
        "MIDAIR_DUMP=ir,regalloc,listing",
        "print these stages of each compilation to standard error",
    ),
    (
        "MIDAIR_ONLY=NAME",
        "optimize, and dump, only the function of that name; the others stay in tier-0",
    ),
    (
        "MIDAIR_PERF=map",
        "write `/tmp/perf-PID.map`, by which `perf` names guest functions",
    ),
];

/// Tells whoever looks at the process. A closed standard error is nobody's business.
fn say(line: &str) {
    let _ = std::io::stderr()
        .lock()
        .write_all(format!("midair: {line}\n").as_bytes());
}

/// What an [`Engine`](crate::Engine) is made from.
///
/// Environment variables, read once by [`Config::new`], turn some of its knobs: `MIDAIR_EVENTS=1` prints every event, and
/// `MIDAIR_STRESS=suspend:N,normalize:N,osr` sets [`Config::stress_suspend`] and [`Config::stress_normalize`] and replaces
/// every loop at its first pass. CONTRIBUTING.md lists all of them.
///
/// # Examples
/// ```
/// use midair::{Config, Engine, ResumptionPath};
/// let mut config = Config::new();
/// config.resumption(ResumptionPath::ViaTier0).osr_after(100, 100, 2);
/// let engine = Engine::new(&config);
/// # let _ = engine;
/// ```
#[derive(Clone)]
pub struct Config {
    pub(crate) tiers: Tiers,
    pub(crate) compile: CompileOptions,
    pub(crate) policy: Policy,
    pub(crate) tier_up_on_resumption: Option<u32>,
    pub(crate) stress_suspend: Option<NonZeroU32>,
    pub(crate) stress_normalize: Option<NonZeroU32>,
    pub(crate) max_wasm_stack: usize,
    pub(crate) max_continuations: usize,
    pub(crate) max_table_elements: usize,
    pub(crate) events: Option<Arc<dyn Fn(Event) + Send + Sync>>,
    pub(crate) compile_with: Option<Arc<dyn Fn(Job) + Send + Sync>>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("tiers", &self.tiers)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

impl Config {
    /// The defaults, changed by what the environment says.
    pub fn new() -> Self {
        let mut config = Self {
            tiers: Tiers::default(),
            compile: CompileOptions {
                memory_guard: true,
                ..CompileOptions::default()
            },
            policy: Policy::default(),
            tier_up_on_resumption: Some(10_000),
            stress_suspend: None,
            stress_normalize: None,
            max_wasm_stack: 512 << 10,
            max_continuations: 64 << 20,
            max_table_elements: 16 << 20,
            events: None,
            compile_with: None,
        };
        config.read_environment(|name| std::env::var(name).ok());
        config
    }

    /// Reads the [`KNOBS`].
    fn read_environment(&mut self, variable: impl Fn(&str) -> Option<String>) {
        if variable("MIDAIR_EVENTS").is_some_and(|value| value != "0") {
            self.on_event(|event| say(&event.to_string()));
        }
        let items = |name: &str| -> Vec<String> {
            let value = variable(name).unwrap_or_default();
            let items = value.split(',').map(|item| item.trim().to_owned());
            items.filter(|item| !item.is_empty()).collect()
        };
        for item in items("MIDAIR_STRESS") {
            let (name, number) = item.split_once(':').unwrap_or((&item, "1"));
            match (name, number.parse::<NonZeroU32>()) {
                ("suspend", Ok(n)) => drop(self.stress_suspend(Some(n))),
                ("normalize", Ok(n)) => drop(self.stress_normalize(Some(n))),
                ("osr", Ok(_)) => drop(self.osr_after(1, 1, 1)),
                _ => say(&format!(
                    "MIDAIR_STRESS: `{item}` is not one of suspend:N, normalize:N, osr"
                )),
            }
        }
        for stage in items("MIDAIR_DUMP") {
            if let Err(why) = self.compile.dump.add(&stage) {
                say(&format!("MIDAIR_DUMP: {why}"));
            }
        }
        self.compile.only = variable("MIDAIR_ONLY").map(Into::into);
        match variable("MIDAIR_PERF").as_deref() {
            None | Some("") => (),
            Some("map") => self.compile.perf_map = true,
            Some(other) => say(&format!("MIDAIR_PERF: `{other}` is not map")),
        }
    }

    /// Which tiers guest code runs in.
    pub fn tiers(&mut self, tiers: Tiers) -> &mut Self {
        self.tiers = tiers;
        self
    }

    /// How continuations made by OSR code are resumed.
    pub fn resumption(&mut self, path: ResumptionPath) -> &mut Self {
        self.compile.resumption = path;
        self
    }

    /// When a loop is replaced: after `initial` passes of loop headers by one activation, then every `bump` passes, a
    /// patchpoint is *hit*; the `hits`-th hit of one patchpoint makes its OSR code. Each is at least 1.
    pub fn osr_after(&mut self, initial: u32, bump: u32, hits: u32) -> &mut Self {
        let limit = i32::MAX.cast_unsigned();
        self.compile.patchpoint_counter = initial.clamp(1, limit);
        self.policy.patchpoint_bump = bump.clamp(1, limit);
        self.policy.hit_limit = hits.max(1);
        self
    }

    /// Whether loops are replaced while they run.
    pub fn osr(&mut self, osr: bool) -> &mut Self {
        self.compile.patchpoints = osr;
        self
    }

    /// Make a function's tier-1 code after that many calls of its tier-0 code; `None`: never.
    pub fn tier_up_on_calls(&mut self, calls: Option<u32>) -> &mut Self {
        self.compile.count_calls = calls.is_some();
        self.policy.call_threshold = calls.unwrap_or(1).clamp(1, i32::MAX.cast_unsigned());
        self
    }

    /// Move an activation to tier-1 when its function's tier-0 and OSR code has been resumed that many times; `None`: never.
    pub fn tier_up_on_resumption(&mut self, resumptions: Option<u32>) -> &mut Self {
        self.tier_up_on_resumption = resumptions;
        self
    }

    /// Suspend and resume the call at every `n`-th checkpoint (loop headers and function entries).
    pub fn stress_suspend(&mut self, n: Option<NonZeroU32>) -> &mut Self {
        self.stress_suspend = n;
        self.compile.entry_checkpoints = n.is_some();
        self
    }

    /// Normalize one of `n` continuations, chosen at random, whenever a call is suspended.
    pub fn stress_normalize(&mut self, n: Option<NonZeroU32>) -> &mut Self {
        self.stress_normalize = n;
        self
    }

    /// Most bytes of stack that one entry into guest code may use; beyond, the guest traps. The thread's own limit holds
    /// as well.
    pub fn max_wasm_stack(&mut self, bytes: usize) -> &mut Self {
        self.max_wasm_stack = bytes.min(1 << 40);
        self
    }

    /// Most bytes that the suspended frames of one store may take, about; beyond, its guest traps as when the stack is
    /// exhausted. (A recursion that awaits at every level leaves its frames on the heap.)
    pub fn max_continuations(&mut self, bytes: usize) -> &mut Self {
        self.max_continuations = bytes.min(1 << 40);
        self
    }

    /// Whether memories are guarded (the default): 8 GiB of address space are reserved for each, and a signal handler for
    /// `SIGSEGV` turns the fault of an access beyond the memory into a trap. Every other fault is passed on to whoever had
    /// the signal before the first such memory was made. Without, each access tests its bounds, and no handler is installed.
    ///
    /// Where the system limits address space (`RLIMIT_AS`), instantiating a module with a memory is an error that names this
    /// option.
    pub fn memory_guard(&mut self, guard: bool) -> &mut Self {
        self.compile.memory_guard = guard;
        self
    }

    /// Most elements that the tables of one store may have together; beyond, `table.grow` gives -1, and a module whose tables
    /// need more is not instantiated.
    pub fn max_table_elements(&mut self, elements: usize) -> &mut Self {
        self.max_table_elements = elements;
        self
    }

    /// Verify the IR after each pass and check each register allocation. On in debug builds.
    pub fn compiler_checks(&mut self, checks: bool) -> &mut Self {
        self.compile.checkers = checks;
        self
    }

    /// Tell `sink` of every event, on the thread where it happens.
    pub fn on_event(&mut self, sink: impl Fn(Event) + Send + Sync + 'static) -> &mut Self {
        self.events = Some(Arc::new(sink));
        self
    }

    /// Hand compilations that were triggered to `run`, which may run them at once (the default) or on another thread, while
    /// guest code goes on in tier-0.
    pub fn compile_with(&mut self, run: impl Fn(Job) + Send + Sync + 'static) -> &mut Self {
        self.compile_with = Some(Arc::new(run));
        self
    }

    pub(crate) fn observer(&self) -> Observer {
        match self.events.clone() {
            Some(sink) => Observer::new(move |event| sink(event)),
            None => Observer::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Config {
        let mut config = Config::new();
        config.read_environment(|name| {
            let known = KNOBS
                .iter()
                .any(|(knob, _)| knob.split('=').next() == Some(name));
            assert!(known, "{name} is missing in the table");
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        });
        config
    }

    #[test]
    fn contributing_lists_every_knob_as_the_code_does() {
        let text = include_str!("../CONTRIBUTING.md");
        let begin = text.find("<!-- knobs -->").expect("the table begins");
        let end = text.find("<!-- /knobs -->").expect("the table ends");
        let rows = text[begin..end]
            .lines()
            .filter(|line| line.starts_with("| `"));
        let expected = KNOBS.map(|(set, does)| format!("| `{set}` | {does} |"));
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn knobs_are_read_into_options() {
        let config = read(&[
            ("MIDAIR_DUMP", "ir, listing"),
            ("MIDAIR_ONLY", "sum"),
            ("MIDAIR_PERF", "map"),
            ("MIDAIR_STRESS", "suspend:3,osr"),
        ]);
        let dump = config.compile.dump;
        assert!(dump.ir && dump.listing && !dump.regalloc);
        assert_eq!(config.compile.only.as_deref(), Some("sum"));
        assert!(config.compile.perf_map);
        assert_eq!(config.stress_suspend, NonZeroU32::new(3));
        assert_eq!(config.compile.patchpoint_counter, 1);
    }

    #[test]
    fn a_wrong_value_changes_nothing() {
        let config = read(&[("MIDAIR_DUMP", "everything"), ("MIDAIR_PERF", "jitdump")]);
        assert_eq!(
            config.compile.dump,
            midair_jit::observe::dump::Dump::default()
        );
        assert!(!config.compile.perf_map);
    }
}
