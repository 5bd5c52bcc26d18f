//! Runs specification scripts (`.wast`): what held, what failed, and what was skipped, by the name of what is not supported.
//!
//! The command `midair wast` and the test `spec` share it.

#![forbid(unsafe_code)]

use midair::{
    AsyncCaller, CodeKind, CompileError, Config, Engine, Error, Event, Extern, ExternRef, Global,
    Instance, LinkError, Linker, Memory, Module, Store, Table, TableType, Tiers, Val, ValType,
};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    future::Future,
    num::NonZeroU32,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
};
use wast::{
    QuoteWat, QuoteWatTest, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet, Wat,
    core::{AbstractHeapType, HeapType, NanPattern, WastArgCore, WastRetCore},
    lexer::Lexer,
    parser::{self, ParseBuffer},
    token::Id,
};

/// The way scripts are run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    pub(crate) tier: Tier,
    /// Suspend at every function entry, loop header and host call.
    pub(crate) suspend: bool,
    /// Normalize one of two suspended frames, chosen at random.
    pub(crate) normalize: bool,
}

/// Which code the scripts' functions run in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tier {
    /// The baseline compiler's only.
    Zero,
    /// The optimizing compiler's from the first call.
    One,
    /// Replaced at the first pass of every loop header.
    Osr,
    /// From tier to tier, after so few passes, calls and resumptions that scripts get there.
    #[default]
    Tiered,
}

/// What became of a script.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) passed: u64,
    /// Each with its line.
    pub(crate) failures: Vec<(usize, String)>,
    /// How many directives, by the name of what they need that is not supported.
    pub(crate) skipped: BTreeMap<String, u64>,
    /// Calls of exported functions.
    pub(crate) calls: u64,
    pub(crate) suspensions: u64,
    pub(crate) normalizations: u64,
    pub(crate) osr_entries: u64,
    /// Functions whose tier-1 code was entered by a call, and activations that moved there.
    pub(crate) tier1_entries: u64,
    /// Functions and loops that were to be optimized and stayed in tier-0.
    pub(crate) not_optimized: u64,
}

impl Report {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures);
        for (what, count) in other.skipped {
            *self.skipped.entry(what).or_default() += count;
        }
        self.calls += other.calls;
        self.suspensions += other.suspensions;
        self.normalizations += other.normalizations;
        self.osr_entries += other.osr_entries;
        self.tier1_entries += other.tier1_entries;
        self.not_optimized += other.not_optimized;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let skipped: u64 = self.skipped.values().sum();
        write!(
            f,
            "{} passed, {} failed, {skipped} skipped; {} suspensions, {} normalizations, {} OSR entries, {} tier-1 entries",
            self.passed,
            self.failures.len(),
            self.suspensions,
            self.normalizations,
            self.osr_entries,
            self.tier1_entries
        )?;
        if self.not_optimized > 0 {
            write!(f, ", {} not optimized", self.not_optimized)?;
        }
        Ok(())
    }
}

/// Runs a script.
pub(crate) fn run(text: &str, options: Options) -> Report {
    let mut lexer = Lexer::new(text);
    // names of exports may be anything
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer);
    let parsed = buffer
        .as_ref()
        .map_err(|error| (error.span(), error.message()))
        .and_then(|buffer| {
            parser::parse::<Wast<'_>>(buffer).map_err(|error| (error.span(), error.message()))
        });
    match parsed {
        Ok(script) => Runner::new(options).run(text, script),
        Err((span, message)) => Report {
            failures: vec![(span.linecol_in(text).0 + 1, message)],
            ..Report::default()
        },
    }
}

/// What happened, as the engine told of it.
#[derive(Debug, Default)]
struct Counters {
    suspensions: AtomicU64,
    normalizations: AtomicU64,
    osr_entries: AtomicU64,
    tier1_entries: AtomicU64,
    not_optimized: AtomicU64,
}

impl Counters {
    fn record(&self, event: Event) {
        let counter = match event {
            Event::Suspend { .. } => &self.suspensions,
            Event::Normalize { .. } => &self.normalizations,
            Event::Transition { .. } => &self.osr_entries,
            // functions are compiled when they are called
            Event::Publish {
                kind: CodeKind::Tier1,
                ..
            }
            | Event::TierUp { .. } => &self.tier1_entries,
            Event::NotOptimized { .. } => &self.not_optimized,
            _ => return,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Why a directive has not passed.
enum Stop {
    Failed(String),
    /// It needs what is not supported.
    Skipped(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.downcast_ref() {
            Some(CompileError::Unsupported { what, .. }) => Self::Skipped(what.clone()),
            _ => Self::Failed(error.to_string()),
        }
    }
}

fn failed<T>(message: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Failed(message.into()))
}

fn skipped<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Skipped(what.into()))
}

/// What a name stands for.
#[derive(Clone, Debug)]
enum Named<T> {
    Made(T),
    /// It could not be made: its module failed.
    Failed,
    /// It could not be made: its module needs what is not supported.
    Skipped(String),
}

impl<T: Clone> Named<T> {
    fn of(made: &Result<T, Stop>) -> Self {
        match made {
            Ok(made) => Self::Made(made.clone()),
            Err(Stop::Failed(_)) => Self::Failed,
            Err(Stop::Skipped(what)) => Self::Skipped(what.clone()),
        }
    }

    fn get(&self) -> Result<T, Stop> {
        match self {
            Self::Made(made) => Ok(made.clone()),
            Self::Failed => failed("the module before has failed"),
            Self::Skipped(what) => skipped(what.clone()),
        }
    }
}

/// Names to what they stand for, and what stands without a name: the latest.
struct Names<T> {
    named: HashMap<String, Named<T>>,
    latest: Option<Named<T>>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            named: HashMap::new(),
            latest: None,
        }
    }
}

impl<T: Clone> Names<T> {
    fn set(&mut self, id: Option<Id<'_>>, made: &Result<T, Stop>) {
        let made = Named::of(made);
        if let Some(id) = id {
            self.named.insert(id.name().to_owned(), made.clone());
        }
        self.latest = Some(made);
    }

    fn get(&self, id: Option<Id<'_>>) -> Result<T, Stop> {
        let found = match id {
            Some(id) => self.named.get(id.name()),
            None => self.latest.as_ref(),
        };
        match found {
            Some(found) => found.get(),
            None => failed("there is no such module"),
        }
    }
}

struct Runner {
    options: Options,
    store: Store<()>,
    /// Has the functions of the module `spectest`.
    linker: Linker<()>,
    definitions: Names<Module>,
    instances: Names<Instance>,
    /// What modules can import, by its module name.
    registered: HashMap<String, Named<Instance>>,
    /// What is not a function in the module `spectest`.
    spectest: HashMap<&'static str, Extern>,
    counters: Arc<Counters>,
    report: Report,
}

impl Runner {
    fn new(options: Options) -> Self {
        let counters = Arc::new(Counters::default());
        let engine = Engine::new(&config(options, &counters));
        let mut store = Store::new(&engine, ());
        let suspend = options.suspend || options.normalize;
        Self {
            options,
            linker: functions(&engine, suspend).expect("the names differ"),
            definitions: Names::default(),
            instances: Names::default(),
            registered: HashMap::new(),
            spectest: spectest(&mut store).expect("a small memory"),
            store,
            counters,
            report: Report::default(),
        }
    }

    fn run(mut self, text: &str, script: Wast<'_>) -> Report {
        for directive in script.directives {
            let line = directive.span().linecol_in(text).0 + 1;
            match self.directive(directive) {
                Ok(()) => self.report.passed += 1,
                Err(Stop::Failed(message)) => self.report.failures.push((line, message)),
                Err(Stop::Skipped(what)) => *self.report.skipped.entry(what).or_default() += 1,
            }
        }
        let counter = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        self.report.suspensions = counter(&self.counters.suspensions);
        self.report.normalizations = counter(&self.counters.normalizations);
        self.report.osr_entries = counter(&self.counters.osr_entries);
        self.report.tier1_entries = counter(&self.counters.tier1_entries);
        self.report.not_optimized = counter(&self.counters.not_optimized);
        if self.suspends() && self.report.calls > 0 && self.report.suspensions == 0 {
            let message = format!("{} calls, and none was suspended", self.report.calls);
            self.report.failures.push((1, message));
        }
        self.report
    }

    fn suspends(&self) -> bool {
        self.options.suspend || self.options.normalize
    }

    fn directive(&mut self, directive: WastDirective<'_>) -> Result<(), Stop> {
        match directive {
            WastDirective::Module(mut module) => {
                let id = module.name();
                let made = self
                    .compile(&mut module)
                    .and_then(|module| Ok(self.instantiate(&module)??));
                self.instances.set(id, &made);
                made.map(drop)
            }
            WastDirective::ModuleDefinition(mut module) => {
                let id = module.name();
                let made = self.compile(&mut module);
                self.definitions.set(id, &made);
                made.map(drop)
            }
            WastDirective::ModuleInstance {
                instance, module, ..
            } => {
                let made = self
                    .definitions
                    .get(module)
                    .and_then(|module| Ok(self.instantiate(&module)??));
                self.instances.set(instance, &made);
                made.map(drop)
            }
            WastDirective::Register { name, module, .. } => {
                let instance = self.instances.get(module);
                self.registered
                    .insert(name.to_owned(), Named::of(&instance));
                instance.map(drop)
            }
            WastDirective::Invoke(invoke) => {
                self.invoke(&invoke)??;
                Ok(())
            }
            WastDirective::AssertReturn { exec, results, .. } => {
                let values = self.execute(exec)??;
                self.fits(&values, &results)
            }
            WastDirective::AssertTrap { exec, message, .. } => traps(self.execute(exec)?, message),
            WastDirective::AssertExhaustion { call, message, .. } => {
                traps(self.invoke(&call)?, message)
            }
            WastDirective::AssertUnlinkable {
                module, message, ..
            } => {
                let module = self.compile(&mut QuoteWat::Wat(module))?;
                match self.instantiate(&module)? {
                    Ok(_) => failed(format!("was linked; expected: {message}")),
                    Err(error) if error.is::<LinkError>() => says(&error, message),
                    Err(error) => failed(format!("{error}; expected: {message}")),
                }
            }
            WastDirective::AssertInvalid {
                mut module,
                message,
                ..
            } => self.refuses(&mut module, message),
            WastDirective::AssertMalformed {
                mut module,
                message,
                ..
            } => self.refuses(&mut module, message),
            WastDirective::AssertInvalidCustom { .. }
            | WastDirective::AssertMalformedCustom { .. } => skipped("contents of custom sections"),
            WastDirective::AssertException { .. } => skipped("exceptions"),
            WastDirective::AssertSuspension { .. } => skipped("stack switching"),
            WastDirective::Thread(_) | WastDirective::Wait { .. } => skipped("threads"),
        }
    }

    /// Compiles a module that is expected to be valid, or says why not.
    fn compile(&self, module: &mut QuoteWat<'_>) -> Result<Module, Stop> {
        Ok(self.load(module)??)
    }

    /// The module, or the engine's reason to refuse it.
    fn load(&self, module: &mut QuoteWat<'_>) -> Result<Result<Module, Error>, Stop> {
        if let QuoteWat::Wat(Wat::Component(_)) | QuoteWat::QuoteComponent(..) = module {
            return skipped("components");
        }
        let engine = self.store.engine();
        Ok(match module.to_test() {
            Ok(QuoteWatTest::Binary(bytes)) => Module::from_binary(engine, &bytes),
            Ok(QuoteWatTest::Text(text)) => Module::new(engine, text),
            Err(error) => Err(Error::msg(error.message())),
        })
    }

    fn refuses(&self, module: &mut QuoteWat<'_>, message: &str) -> Result<(), Stop> {
        let Err(error) = self.load(module)? else {
            return failed(format!("was accepted; expected: {message}"));
        };
        let of_text = !error.is::<CompileError>();
        if of_text && OF_TEXT.iter().any(|words| message.starts_with(words)) {
            return Ok(());
        }
        match says(&error, message) {
            Ok(()) => Ok(()),
            Err(stop) => match Stop::from(error) {
                skipped @ Stop::Skipped(_) => Err(skipped),
                Stop::Failed(_) => Err(stop),
            },
        }
    }

    /// Instantiates a module, whose imports come from what was registered, and from `spectest`.
    fn instantiate(&mut self, module: &Module) -> Result<Result<Instance, Error>, Stop> {
        let mut linker = self.linker.clone();
        let mut seen = HashSet::new();
        for import in module.imports() {
            let (from, name) = (import.module(), import.name());
            if !seen.insert((from, name)) {
                continue;
            }
            let item = match self.registered.get(from) {
                Some(instance) => instance.get()?.get_export(&self.store, name),
                None if from == "spectest" => self.spectest.get(name).copied(),
                None => None,
            };
            if let Some(item) = item {
                linker.define(from, name, item)?;
            }
        }
        Ok(if self.suspends() {
            finish(linker.instantiate_async(&mut self.store, module))
        } else {
            linker.instantiate(&mut self.store, module)
        })
    }

    fn execute(&mut self, exec: WastExecute<'_>) -> Result<Result<Vec<Val>, Error>, Stop> {
        match exec {
            WastExecute::Invoke(invoke) => self.invoke(&invoke),
            WastExecute::Wat(module) => {
                let module = self.compile(&mut QuoteWat::Wat(module))?;
                Ok(self.instantiate(&module)?.map(|_| Vec::new()))
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instances.get(module)?;
                match instance.get_global(&self.store, global) {
                    Some(global) => Ok(Ok(vec![global.get(&self.store)])),
                    None => failed(format!("there is no global `{global}`")),
                }
            }
        }
    }

    fn invoke(&mut self, invoke: &WastInvoke<'_>) -> Result<Result<Vec<Val>, Error>, Stop> {
        let instance = self.instances.get(invoke.module)?;
        let Some(func) = instance.get_func(&self.store, invoke.name) else {
            return failed(format!("there is no function `{}`", invoke.name));
        };
        let mut arguments = Vec::new();
        for given in &invoke.args {
            arguments.push(self.argument(given)?);
        }
        self.report.calls += 1;
        Ok(if self.suspends() {
            finish(func.call_async(&mut self.store, &arguments)?)
        } else {
            func.call(&mut self.store, &arguments)
        })
    }

    fn argument(&mut self, argument: &WastArg<'_>) -> Result<Val, Stop> {
        let WastArg::Core(argument) = argument else {
            return skipped("components");
        };
        Ok(match argument {
            WastArgCore::I32(value) => Val::I32(*value),
            WastArgCore::I64(value) => Val::I64(*value),
            WastArgCore::F32(value) => Val::F32(value.bits),
            WastArgCore::F64(value) => Val::F64(value.bits),
            WastArgCore::RefExtern(n) => Val::ExternRef(Some(ExternRef::new(&mut self.store, *n))),
            WastArgCore::RefNull(ty) => match null(ty) {
                Some(null) => null,
                None => return skipped("references of other types than funcref and externref"),
            },
            WastArgCore::RefHost(_) => return skipped("anyref"),
            WastArgCore::V128(_) => return skipped("v128 (SIMD)"),
        })
    }

    /// Whether results are as the script says.
    fn fits(&self, values: &[Val], expected: &[WastRet<'_>]) -> Result<(), Stop> {
        let mut all = values.len() == expected.len();
        for (value, expected) in values.iter().zip(expected) {
            let WastRet::Core(expected) = expected else {
                return skipped("components");
            };
            all &= self.fit(value, expected)?;
        }
        if all {
            return Ok(());
        }
        failed(format!("gave {}; expected: {expected:?}", list(values)))
    }

    fn fit(&self, value: &Val, expected: &WastRetCore<'_>) -> Result<bool, Stop> {
        Ok(match (value, expected) {
            (_, WastRetCore::Either(cases)) => {
                for case in cases {
                    if self.fit(value, case)? {
                        return Ok(true);
                    }
                }
                false
            }
            (Val::I32(value), WastRetCore::I32(expected)) => value == expected,
            (Val::I64(value), WastRetCore::I64(expected)) => value == expected,
            (Val::F32(bits), WastRetCore::F32(expected)) => match expected {
                NanPattern::CanonicalNan => bits & 0x7fff_ffff == 0x7fc0_0000,
                NanPattern::ArithmeticNan => bits & 0x7fc0_0000 == 0x7fc0_0000,
                NanPattern::Value(expected) => *bits == expected.bits,
            },
            (Val::F64(bits), WastRetCore::F64(expected)) => match expected {
                NanPattern::CanonicalNan => bits & (u64::MAX >> 1) == 0x7ff8 << 48,
                NanPattern::ArithmeticNan => bits & (0x7ff8 << 48) == 0x7ff8 << 48,
                NanPattern::Value(expected) => *bits == expected.bits,
            },
            (Val::FuncRef(None) | Val::ExternRef(None), WastRetCore::RefNull(None)) => true,
            (Val::FuncRef(None) | Val::ExternRef(None), WastRetCore::RefNull(Some(ty))) => {
                null(ty).is_some_and(|null| null.ty() == value.ty())
            }
            (Val::FuncRef(Some(_)), WastRetCore::RefFunc(None)) => true,
            (Val::ExternRef(Some(_)), WastRetCore::RefExtern(None)) => true,
            (Val::ExternRef(Some(reference)), WastRetCore::RefExtern(Some(n))) => {
                reference.data(&self.store)?.downcast_ref() == Some(n)
            }
            (_, WastRetCore::V128(_)) => return skipped("v128 (SIMD)"),
            _ => false,
        })
    }
}

/// The null reference of a type, if there are references of that type.
fn null(ty: &HeapType<'_>) -> Option<Val> {
    match ty {
        HeapType::Abstract {
            shared: false,
            ty: AbstractHeapType::Func,
        } => Some(Val::FuncRef(None)),
        HeapType::Abstract {
            shared: false,
            ty: AbstractHeapType::Extern,
        } => Some(Val::ExternRef(None)),
        _ => None,
    }
}

fn config(options: Options, counters: &Arc<Counters>) -> Config {
    let mut config = Config::new();
    // recursions without end are to end soon, on the stack and off it
    config.max_wasm_stack(256 << 10).max_continuations(1 << 18);
    match options.tier {
        Tier::Zero => config.tiers(Tiers::Tier0),
        Tier::One => config.tiers(Tiers::Tier1),
        Tier::Osr => config
            .osr_after(1, 1, 1)
            .tier_up_on_calls(None)
            .tier_up_on_resumption(None),
        Tier::Tiered => config
            .osr_after(1, 1, 2)
            .tier_up_on_calls(Some(3))
            .tier_up_on_resumption(Some(20)),
    };
    if options.suspend || options.normalize {
        config.stress_suspend(NonZeroU32::new(1));
    }
    if options.normalize {
        config.stress_normalize(NonZeroU32::new(2));
    }
    let counters = Arc::clone(counters);
    config.on_event(move |event| counters.record(event));
    config
}

/// The functions of the module `spectest`; they print nothing.
fn functions(engine: &Engine, suspend: bool) -> Result<Linker<()>, Error> {
    let mut linker = Linker::new(engine);
    macro_rules! define {
        ($($name:literal: $($params:ty),*;)*) => {$(
            if suspend {
                linker.func_wrap_async(
                    "spectest",
                    $name,
                    |_: AsyncCaller<()>, _: ($($params,)*)| pending_once(),
                )?;
            } else {
                linker.func_wrap("spectest", $name, |$(_: $params),*| ())?;
            }
        )*};
    }
    define! {
        "print":;
        "print_i32": i32;
        "print_i64": i64;
        "print_f32": f32;
        "print_f64": f64;
        "print_i32_f32": i32, f32;
        "print_f64_f64": f64, f64;
    }
    Ok(linker)
}

async fn pending_once() {
    let mut waited = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What is not a function in the module `spectest`.
fn spectest(store: &mut Store<()>) -> Result<HashMap<&'static str, Extern>, Error> {
    let ty = TableType {
        element: ValType::FuncRef,
        min: 10,
        max: Some(20),
    };
    let table = Table::new(&mut *store, ty, Val::FuncRef(None))?;
    let memory = Memory::new(&mut *store, 1, Some(2))?;
    let mut global = |value: Val| Extern::Global(Global::new(&mut *store, value, false));
    Ok(HashMap::from([
        ("global_i32", global(Val::I32(666))),
        ("global_i64", global(Val::I64(666))),
        ("global_f32", global(Val::from(666.6f32))),
        ("global_f64", global(Val::from(666.6f64))),
        ("table", Extern::Table(table)),
        ("memory", Extern::Memory(memory)),
    ]))
}

/// Polls until it is ready: whatever these futures wait for has happened at their next poll.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

/// Whether a call trapped as the script says.
fn traps(result: Result<Vec<Val>, Error>, message: &str) -> Result<(), Stop> {
    match result {
        Ok(values) => failed(format!("gave {}; expected: {message}", list(&values))),
        Err(error) => says(&error, message),
    }
}

fn list(values: &[Val]) -> String {
    let values: Vec<_> = values.iter().map(|value| format!("{value:?}")).collect();
    format!("({})", values.join(", "))
}

/// Where the reference interpreter's words are others than ours: how its message begins, and what ours contains one of.
/// Most often one of the two notices something else first.
const REWORDED: &[(&str, &[&str])] = &[
    ("END opcode expected", &["control frames remain"]),
    (
        "data count and data section have inconsistent lengths",
        &["data count is non-zero"],
    ),
    (
        "function and code section have inconsistent lengths",
        &[
            "function section is absent",
            "function section has non-zero",
        ],
    ),
    ("i32 constant", &["integer too large"]),
    ("illegal opcode", &["unexpected end-of-file"]),
    (
        "integer representation too long",
        &[
            "invalid leading byte",
            "limits flags",
            "malformed section id",
            "unexpected end-of-file",
        ],
    ),
    (
        "integer too large",
        &["limits flags", "unexpected end-of-file"],
    ),
    (
        "length out of bounds",
        &["expected section", "unexpected end-of-file"],
    ),
    (
        "malformed import kind",
        &["for external kind", "unexpected end-of-file"],
    ),
    (
        "malformed memop flags",
        &["invalid memop", "malformed memop"],
    ),
    (
        "malformed mutability",
        &["malformed global flags", "shared globals"],
    ),
    (
        "memory size must be at most 65536 pages (4GiB)",
        &["memory size must be at most 0x10000"],
    ),
    ("multiple memories", &["second memory"]),
    ("multiple start sections", &["section out of order"]),
    ("section size mismatch", &["control frames remain"]),
    (
        "unexpected content after last section",
        &["function and code section", "section out of order"],
    ),
    (
        "unexpected end",
        &["control frames remain", "unexpected end-of-file"],
    ),
];

/// What the reference interpreter says of text: a parser by another grammar notices other things.
const OF_TEXT: [&str; 2] = ["unexpected token", "unknown operator"];

/// Whether an error says what the script expects; one of the two may say more.
fn says(error: &Error, message: &str) -> Result<(), Stop> {
    let text = error.to_string();
    let ours = match error.downcast_ref() {
        Some(CompileError::Invalid { message, .. }) => message,
        Some(CompileError::Unsupported { what, .. }) => what,
        _ => text.strip_prefix("wasm trap: ").unwrap_or(&text),
    };
    let reworded = || {
        REWORDED.iter().any(|(theirs, words)| {
            message.starts_with(theirs) && words.iter().any(|words| ours.contains(words))
        })
    };
    if ours.contains(message) || message.starts_with(ours) || reworded() {
        return Ok(());
    }
    failed(format!("{text}; expected: {message}"))
}
