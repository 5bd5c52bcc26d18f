//! Golden listings: machine code that was read and accepted.
//!
//! A file of `tests/listings/` is a module, preceded by directives and followed by its listing:
//!
//! ```text
//! ;;! tier = osr            0 (the default), osr, 1, or stub: entry, host
//! ;;! func = sum            an export; the first one if there is none
//! ;;! resumption = direct   direct (the default), via-tier0, patchpoint
//! ;;! counters = off        tier-0 without patchpoints and call counter
//! ;;! guard = off           memories that are not guarded
//! ;;! sections = entry      only what stands behind these labels (`*`: any ending); `...` stands for the rest
//! (module …)
//!
//! ;; tier-0 sum: frame 48, code 123
//! ;; entry:
//! ```
//!
//! `MIDAIR_BLESS=1` writes what the compilers make now; a blessing is a commit of its own, after reading it.

use midair::{Config, Engine, Module, ResumptionPath};
use midair_jit::{
    arch::x86_64::stubs,
    observe::listing::{Listing, Sites},
    wasm::{module::Extern, types::FuncIndex},
};
use std::{
    collections::HashMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of listings")
        .flat_map(|entry| {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect();
    files.sort();
    files
}

/// A file in its two halves: directives and program, and the accepted listing.
fn halves(text: &str) -> (&str, &str) {
    // the listing begins at the last line behind which there are only comments
    let mut begin = text.len();
    for line in text.split_inclusive('\n').collect::<Vec<_>>().iter().rev() {
        if !line.starts_with(";;") || line.starts_with(";;!") {
            break;
        }
        begin -= line.len();
    }
    text.split_at(begin)
}

fn directives(program: &str) -> HashMap<&str, &str> {
    let lines = program.lines().filter_map(|line| line.strip_prefix(";;!"));
    lines
        .map(|line| {
            let (name, value) = line.split_once('=').expect("a directive is `name = value`");
            (name.trim(), value.trim())
        })
        .collect()
}

/// Only what stands behind these labels; a label without a name of its own (`L7`) belongs to what falls
/// into it.
fn sections(listing: &str, wanted: &[&str]) -> String {
    let unnamed = |label: &str| {
        label
            .strip_prefix('L')
            .is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut kept = String::new();
    let (mut keep, mut gap, mut ended) = (false, false, false);
    for line in listing.lines() {
        let label = line.strip_suffix(':');
        if let Some(label) = label.filter(|label| !unnamed(label)) {
            keep = wanted
                .iter()
                .any(|section| match section.strip_suffix('*') {
                    Some(prefix) => label.starts_with(prefix),
                    None => label == *section,
                });
        } else if label.is_some() && ended {
            keep = false;
        }
        ended = ["  jmp", "  ret", "  int3"]
            .iter()
            .any(|end| line.starts_with(end));
        if keep || line.starts_with(";;") {
            if gap {
                kept.push_str("...\n");
            }
            gap = false;
            kept.push_str(line);
            kept.push('\n');
        } else {
            gap = true;
        }
    }
    kept
}

/// What the compilers make of a program.
fn listing_of(program: &str) -> String {
    let directives = directives(program);
    let directive = |name: &str| directives.get(name).copied();
    for name in directives.keys() {
        let known = [
            "tier",
            "func",
            "resumption",
            "counters",
            "guard",
            "sections",
        ];
        assert!(known.contains(name), "`{name}` is no directive");
    }
    let mut config = Config::new();
    config.resumption(match directive("resumption") {
        None | Some("direct") => ResumptionPath::Direct,
        Some("via-tier0") => ResumptionPath::ViaTier0,
        Some("patchpoint") => ResumptionPath::Patchpoint,
        Some(other) => panic!("`{other}` is no way to resume"),
    });
    if directive("counters") == Some("off") {
        config.osr(false).tier_up_on_calls(None);
    }
    config.memory_guard(directive("guard") != Some("off"));
    let engine = Engine::new(&config);
    let module = Module::new(&engine, program).expect("a valid module");
    let code = module.code();
    let func = code
        .module
        .exports
        .iter()
        .find_map(|(name, item)| match item {
            Extern::Func(func) if directive("func").is_none_or(|wanted| wanted == name) => {
                Some(*func)
            }
            _ => None,
        })
        .expect("an exported function");
    let text = match directive("tier").unwrap_or("0") {
        "0" => {
            let version = code.tier0(func).expect("tier-0 takes every function");
            format!("{}{}", code.listing(&version), Sites(&version))
        }
        "1" => {
            let version = code.tier1(func).expect("it is optimized");
            format!("{}{}", code.listing(&version), Sites(&version))
        }
        "osr" => osr(code, func),
        "entry" => stub(
            "entry stub",
            &stubs::entry_stub(code.module.func_type(func)),
        ),
        "host" => stub("host stub", &stubs::host_stub(code.module.func_type(func))),
        other => panic!("`{other}` is no tier"),
    };
    match directive("sections") {
        None => text,
        Some(wanted) => sections(&text, &wanted.split(' ').collect::<Vec<_>>()),
    }
}

fn osr(code: &midair_jit::runtime::functions::CompiledModule, func: FuncIndex) -> String {
    let tier0 = code.tier0(func).expect("tier-0 takes every function");
    let mut text = String::new();
    for patchpoint in &tier0.patchpoints {
        let version = code.osr(func, patchpoint.offset).expect("it is optimized");
        let _ = write!(text, "{}{}", code.listing(&version), Sites(&version));
    }
    text
}

fn stub(title: &str, bytes: &[u8]) -> String {
    Listing::stub(title, bytes).to_string()
}

/// Every line a comment.
fn commented(listing: &str) -> String {
    let line = |line: &str| {
        if line.starts_with(";;") {
            format!("{line}\n")
        } else {
            format!(";; {line}\n")
        }
    };
    listing.lines().map(line).collect()
}

#[test]
fn machine_code_is_as_it_was_when_it_was_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/listings");
    let bless = std::env::var_os("MIDAIR_BLESS").is_some_and(|value| value != "0");
    let mut changed = Vec::new();
    let files = files(&folder);
    assert!(files.len() >= 10, "the listings are there");
    for path in files {
        let text = fs::read_to_string(&path).expect("a listing");
        let (program, accepted) = halves(&text);
        let made = commented(&listing_of(program));
        if made == accepted {
            continue;
        }
        if bless {
            let program = program.trim_end();
            fs::write(&path, format!("{program}\n\n{made}")).expect("the file can be written");
        } else {
            let differs = accepted
                .lines()
                .zip(made.lines())
                .position(|(old, new)| old != new);
            let at = differs.unwrap_or(accepted.lines().count().min(made.lines().count()));
            let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
            changed.push(format!(
                "{}: line {} of the listing\n  accepted: {}\n  now:      {}",
                path.display(),
                at + 1,
                line(accepted),
                line(&made)
            ));
        }
    }
    assert!(
        changed.is_empty(),
        "read the difference, then `cargo xtask bless`\n{}",
        changed.join("\n")
    );
}

#[test]
fn a_listing_holds_no_addresses() {
    let program = r#"(module (func (export "f") (param i32) (result i32)
        (loop $l (br_if $l (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
        (local.get 0)))"#;
    // compiled twice, at two places
    assert_eq!(listing_of(program), listing_of(program));
}
