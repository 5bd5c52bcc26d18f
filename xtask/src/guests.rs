//! Builds the guests of `tests/guests/` again, and says what tool is missing.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// What stands in a command for a folder of this run.
const TEMPORARY: &str = "{temporary}";

/// A tool that commands need, with how to get it.
struct Tool {
    name: &'static str,
    get: &'static str,
}

const TOOLS: [Tool; 5] = [
    Tool {
        name: "rustc",
        get: "rustup toolchain install stable",
    },
    Tool {
        name: "clang",
        get: "on Debian: apt install clang",
    },
    Tool {
        name: "wasm-ld",
        get: "on Debian: apt install lld",
    },
    Tool {
        name: "cc",
        get: "on Debian: apt install gcc",
    },
    Tool {
        name: "asc",
        get: "npm install --global assemblyscript",
    },
];

const TARGET: &str = "wasm32-unknown-unknown";

/// Builds those guests, or all; whether it could.
pub(crate) fn build(names: &[String]) -> bool {
    let guests = match find(names) {
        Ok(guests) => guests,
        Err(error) => {
            eprintln!("xtask: {error}");
            return false;
        }
    };
    let temporary = std::env::temp_dir().join(format!("midair-guests-{}", std::process::id()));
    if let Err(error) = fs::create_dir_all(&temporary) {
        eprintln!("xtask: {}: {error}", temporary.display());
        return false;
    }
    let mut failed = Vec::new();
    for guest in &guests {
        match build_one(guest, &temporary) {
            Ok(bytes) => eprintln!("xtask: {}: {bytes} bytes", guest.display()),
            Err(error) => {
                eprintln!("xtask: {}: {error}", guest.display());
                failed.push(guest);
            }
        }
    }
    // leftovers there are nobody's business
    let _ = fs::remove_dir_all(&temporary);
    failed.is_empty()
}

/// Folders with a `build.txt`.
fn find(names: &[String]) -> Result<Vec<PathBuf>, String> {
    let room = Path::new("tests/guests");
    let entries = fs::read_dir(room).map_err(|error| format!("{}: {error}", room.display()))?;
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("build.txt").exists())
        .collect();
    found.sort();
    if names.is_empty() {
        return Ok(found);
    }
    let wanted = names.iter().map(|name| {
        let path = room.join(name);
        let known = found.contains(&path);
        known
            .then_some(path)
            .ok_or_else(|| format!("there is no guest `{name}`"))
    });
    wanted.collect()
}

fn build_one(guest: &Path, temporary: &Path) -> Result<u64, String> {
    let commands =
        fs::read_to_string(guest.join("build.txt")).map_err(|error| error.to_string())?;
    let temporary = temporary.to_string_lossy();
    for line in commands.lines() {
        let words: Vec<String> = line
            .split_whitespace()
            .map(|word| word.replace(TEMPORARY, &temporary))
            .collect();
        let Some((program, arguments)) = words.split_first() else {
            continue;
        };
        if let Some(missing) = missing(program) {
            return Err(missing);
        }
        let status = Command::new(program)
            .args(arguments)
            .current_dir(guest)
            .status()
            .map_err(|error| format!("`{program}`: {error}"))?;
        if !status.success() {
            return Err(format!("`{line}` failed"));
        }
    }
    let made = fs::metadata(guest.join("guest.wasm")).map_err(|error| error.to_string())?;
    Ok(made.len())
}

/// What to say if a program, or what it needs to make Wasm, is not there.
fn missing(program: &str) -> Option<String> {
    let tool = TOOLS.iter().find(|tool| tool.name == program)?;
    let probe = Command::new(tool.name)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if probe.is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Some(format!("`{program}` is missing; {}", tool.get));
    }
    (program == "rustc" && !has_target())
        .then(|| format!("the target {TARGET} is missing; rustup target add {TARGET}"))
}

/// Whether the Rust compiler has the target's library.
fn has_target() -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    output.is_ok_and(|output| {
        let path = String::from_utf8_lossy(&output.stdout);
        output.status.success() && Path::new(path.trim()).exists()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guest_has_its_commands() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
        let room = root.expect("in the workspace").join("tests/guests");
        let mut guests = 0;
        for entry in fs::read_dir(room).expect("it is there") {
            let path = entry.expect("an entry").path();
            if !path.join("guest.wasm").exists() {
                continue;
            }
            guests += 1;
            let commands = fs::read_to_string(path.join("build.txt")).expect("its commands");
            assert!(commands.contains("guest.wasm"), "{}", path.display());
            for line in commands.lines() {
                let program = line.split_whitespace().next().expect("a program");
                let known = TOOLS.iter().any(|tool| tool.name == program);
                assert!(known || program.starts_with(TEMPORARY), "{program}");
            }
        }
        assert!(guests >= 6);
    }
}
