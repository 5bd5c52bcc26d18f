//! The command `midair`: runs a module, or shows the machine code that a function of it becomes.

#![forbid(unsafe_code)]

#[path = "../cli/args.rs"]
mod args;

#[path = "../cli/script.rs"]
mod script;

use args::{
    Argument, Command, EXIT_TRAP, EXIT_USAGE, Listing, Refused, Run, ScriptTier, Tier, Wast,
};
use midair::{Engine, Error, Linker, Module, Store, Trap, Val};
use midair_jit::{
    code::published::PublishedCode,
    observe::listing::Sites,
    runtime::functions::CompiledModule,
    wasm::{module::Extern, types::FuncIndex},
};
use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

/// At most that many names are offered when one is wrong.
const OFFERED: usize = 8;

fn main() -> ExitCode {
    let done = args::parse(std::env::args_os())
        .map_err(Ending::Refused)
        .and_then(|command| match command {
            Command::Listing(listing) => show(&listing),
            Command::Run(run) => call(&run),
            Command::Wast(wast) => scripts(&wast),
        });
    let (text, code) = match done {
        Ok(text) => return print(&text),
        Err(Ending::Refused(refused @ Refused::Asked(_))) => return print(&format!("{refused}\n")),
        Err(Ending::Refused(refused)) => (refused.to_string(), refused.exit_code()),
        Err(Ending::Unmet(text)) => {
            print(&text);
            return ExitCode::FAILURE;
        }
        Err(Ending::Failed(error)) => {
            let code = if error.is::<Trap>() {
                EXIT_TRAP
            } else {
                EXIT_USAGE
            };
            let mut text = format!("midair: {}", one_line(&error.to_string()));
            if let Some(backtrace) = error.backtrace() {
                let _ = write!(text, "\n{backtrace}");
            }
            (text, code)
        }
    };
    // nobody is left to be told of a closed error output
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::from(code)
}

/// Why there is no output.
enum Ending {
    /// The command line cannot be followed.
    Refused(Refused),
    /// The guest, or what it is linked with, failed.
    Failed(Error),
    /// Scripts were run, and something in them failed: text for the standard output, exit code 1.
    Unmet(String),
}

impl From<Error> for Ending {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

fn wrong(line: impl AsRef<str>) -> Ending {
    Ending::Refused(Refused::Wrong(one_line(line.as_ref())))
}

/// Messages of parsers may have several lines, and names of guests may hold anything.
fn one_line(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").replace(char::is_control, "\u{fffd}")
}

/// Writes to the standard output. Whoever closed it has read enough.
fn print(text: &str) -> ExitCode {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "midair: cannot write: {error}");
            ExitCode::FAILURE
        }
    }
}

fn load(engine: &Engine, file: &Path) -> Result<Module, Ending> {
    let bytes = std::fs::read(file)
        .map_err(|error| wrong(format!("cannot read `{}`: {error}", file.display())))?;
    // as text this would be a module without contents; it is a mistake far more often
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(wrong(format!("`{}` is empty", file.display())));
    }
    Module::new(engine, bytes).map_err(|error| wrong(format!("`{}`: {error}", file.display())))
}

/// Runs a module and gives what to print.
fn call(run: &Run) -> Result<String, Ending> {
    let engine = Engine::default();
    let module = load(&engine, &run.file)?;
    let started = module.code().module.start.is_some();
    let name = run.invoke.as_deref().unwrap_or("_start");
    let exported = module.get_export(name).map(|ty| ty.func().cloned());
    let ty = match (exported, &run.invoke) {
        (Some(Some(ty)), _) => Some(ty),
        (Some(None), Some(_)) => return Err(wrong(format!("`{name}` is not a function"))),
        (None, Some(_)) => {
            return Err(wrong(format!(
                "no function is exported as `{name}`; {}",
                offer(&module)
            )));
        }
        (_, None) if started => None,
        (_, None) => {
            return Err(wrong(format!(
                "nothing to start, name an export with --invoke: {}",
                offer(&module)
            )));
        }
    };
    let arguments = match &ty {
        Some(ty) => args::parse_arguments(name, &ty.params, &run.args).map_err(Ending::Refused)?,
        None => Vec::new(),
    };
    let mut store = Store::new(&engine, ());
    let instance = Linker::new(&engine).instantiate(&mut store, &module)?;
    let mut text = String::new();
    if ty.is_some() {
        let func = instance.get_func(&store, name).expect("its type was found");
        let arguments: Vec<Val> = arguments.into_iter().map(value).collect();
        for result in func.call(&mut store, &arguments)? {
            let _ = writeln!(text, "{}", printed(&result));
        }
    }
    Ok(text)
}

fn value(argument: Argument) -> Val {
    match argument {
        Argument::I32(value) => Val::I32(value),
        Argument::I64(value) => Val::I64(value),
        Argument::F32(bits) => Val::F32(bits),
        Argument::F64(bits) => Val::F64(bits),
        Argument::Null(ty) => Val::null(ty).expect("a reference type"),
    }
}

fn printed(value: &Val) -> String {
    let argument = match value {
        Val::I32(value) => Argument::I32(*value),
        Val::I64(value) => Argument::I64(*value),
        Val::F32(bits) => Argument::F32(*bits),
        Val::F64(bits) => Argument::F64(*bits),
        Val::FuncRef(_) | Val::ExternRef(_) => return value.to_string(),
    };
    argument.to_string()
}

/// Runs specification scripts and gives what to print.
fn scripts(wast: &Wast) -> Result<String, Ending> {
    let options = script::Options {
        tier: match wast.tier {
            ScriptTier::Zero => script::Tier::Zero,
            ScriptTier::One => script::Tier::One,
            ScriptTier::Osr => script::Tier::Osr,
            ScriptTier::Tiered => script::Tier::Tiered,
        },
        suspend: wast.suspend,
        normalize: wast.normalize,
    };
    let mut texts = Vec::new();
    for file in &wast.files {
        let name = file.display();
        let text = std::fs::read_to_string(file)
            .map_err(|error| wrong(format!("cannot read `{name}`: {error}")))?;
        texts.push((name, text));
    }
    let mut text = String::new();
    let mut all = script::Report::default();
    for (name, script) in texts {
        let report = script::run(&script, options);
        for (line, message) in &report.failures {
            let _ = writeln!(text, "{name}:{line}: {}", one_line(message));
        }
        for (what, count) in &report.skipped {
            let _ = writeln!(text, "{name}: {count} skipped: {}", one_line(what));
        }
        let _ = writeln!(text, "{name}: {report}");
        all.add(report);
    }
    let _ = writeln!(text, "in all: {all}");
    if all.failures.is_empty() {
        Ok(text)
    } else {
        Err(Ending::Unmet(text))
    }
}

/// The exported functions.
fn offer(module: &Module) -> String {
    let functions: Vec<_> = module
        .exports()
        .filter_map(|export| Some(format!("`{}` {}", export.name(), export.ty().func()?)))
        .collect();
    list(functions, "it exports no function", "it exports ")
}

fn list(mut names: Vec<String>, none: &str, some: &str) -> String {
    if names.is_empty() {
        return none.to_owned();
    }
    let more = names.len().saturating_sub(OFFERED);
    names.truncate(OFFERED);
    let and = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    format!("{some}{}{and}", names.join(", "))
}

/// The machine code of a function, as text.
fn show(listing: &Listing) -> Result<String, Ending> {
    let engine = Engine::default();
    let module = load(&engine, &listing.file)?;
    let code = module.code();
    let func = find(code, &listing.function)?;
    let name = code.module.name(func);
    if listing.nth_loop.is_some() && listing.tier != Tier::Osr {
        return Err(wrong("`--loop` goes with `--tier osr`"));
    }
    let tier0 = || {
        code.tier0(func)
            .map_err(|error| wrong(format!("`{name}`: {error}")))
    };
    let kept = |reason| wrong(format!("`{name}` is not optimized: {reason:?}"));
    let versions: Vec<Arc<PublishedCode>> = match listing.tier {
        Tier::Zero => vec![tier0()?],
        Tier::One => vec![code.tier1(func).map_err(kept)?],
        Tier::Osr => {
            let mut loops: Vec<_> = tier0()?
                .patchpoints
                .iter()
                .map(|patchpoint| patchpoint.offset)
                .collect();
            loops.sort();
            let count = loops.len();
            if let Some(n) = listing.nth_loop {
                loops = loops.into_iter().skip(n).take(1).collect();
            }
            if loops.is_empty() {
                let has = match count {
                    0 => "no loop".to_owned(),
                    1 => "one loop".to_owned(),
                    n => format!("{n} loops"),
                };
                return Err(wrong(format!("`{name}` has {has}")));
            }
            loops
                .into_iter()
                .map(|at| code.osr(func, at))
                .collect::<Result<_, _>>()
                .map_err(kept)?
        }
    };
    let texts: Vec<_> = versions
        .iter()
        .map(|version| format!("{}{}", code.listing(version), Sites(version)))
        .collect();
    Ok(texts.join("\n"))
}

/// A function by its export, its name, or its index.
fn find(code: &CompiledModule, name: &str) -> Result<FuncIndex, Ending> {
    let module = &code.module;
    let count = module.functions.len();
    let export = module.exports.iter().find_map(|(export, item)| match item {
        Extern::Func(func) if export == name => Some(*func),
        _ => None,
    });
    let plain = name.strip_prefix('$').unwrap_or(name);
    let functions = || (0..).map(FuncIndex).take(count);
    let named = || functions().find(|&func| module.name(func) == plain);
    let index = || {
        name.parse()
            .ok()
            .filter(|&n: &u32| (n as usize) < count)
            .map(FuncIndex)
    };
    let Some(func) = export.or_else(named).or_else(index) else {
        let own = functions().filter(|&func| !module.is_imported(func));
        let names = own.map(|func| format!("`{}`", module.name(func))).collect();
        return Err(wrong(format!(
            "there is no function `{name}`; {}",
            list(names, "there is none at all", "there are ")
        )));
    };
    if module.is_imported(func) {
        return Err(wrong(format!(
            "`{name}` is imported, its code is elsewhere"
        )));
    }
    Ok(func)
}
