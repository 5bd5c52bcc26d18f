//! The command `midair`: its argument layer on its own, and the built binary.

#[path = "../src/cli/args.rs"]
mod args;

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

/// A folder of a test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("midair-{}-{test}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder for the test");
        Self(folder)
    }

    fn file(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, contents).expect("a file for the test");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn midair() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midair"));
    for knob in ["EVENTS", "STRESS", "DUMP", "ONLY", "PERF"] {
        command.env_remove(format!("MIDAIR_{knob}"));
    }
    command
}

fn run(arguments: &[&OsStr]) -> Output {
    midair()
        .args(arguments)
        .output()
        .expect("the command starts")
}

fn line<'a>(words: &'a [&'a str], file: &'a Path, rest: &'a [&'a str]) -> Vec<&'a OsStr> {
    let words = words.iter().map(OsStr::new);
    let rest = rest.iter().map(OsStr::new);
    words.chain([file.as_os_str()]).chain(rest).collect()
}

#[track_caller]
fn refused(output: &Output, says: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(output.stdout.is_empty(), "{output:?}");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    assert!(
        text.starts_with("midair: ") && text.contains(says),
        "{text}"
    );
}

#[track_caller]
fn printed(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    assert!(error.is_empty(), "{error}");
    String::from_utf8(output.stdout.clone()).expect("text")
}

const PROGRAM: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "sum") (param i64) (result i64) (local i64)
        (loop $again
            (local.set 1 (i64.add (local.get 1) (local.get 0)))
            (br_if $again (i64.ne (local.tee 0 (i64.sub (local.get 0) (i64.const 1))) (i64.const 0))))
        (local.get 1))
    (func (export "swap") (param i32 f64) (result f64 i32) (local.get 1) (local.get 0))
    (func $divide (param i32 i32) (result i32) (i32.div_s (local.get 0) (local.get 1)))
    (func (export "outer") (param i32) (result i32) (call $divide (i32.const 1) (local.get 0))))"#;

#[test]
fn results_are_printed_one_a_line() {
    let folder = Folder::new("results");
    let file = folder.file("a.wat", PROGRAM);
    let sum = run(&line(&["run"], &file, &["--invoke", "sum", "100000"]));
    assert_eq!(printed(&sum), "5000050000\n");
    let swap = run(&line(
        &["run"],
        &file,
        &["--invoke", "swap", "0xffffffff", "-nan:0x1"],
    ));
    assert_eq!(printed(&swap), "-nan:0x1\n-1\n");
}

#[test]
fn a_binary_module_runs_too() {
    let folder = Folder::new("binary");
    let binary = wat::parse_str(PROGRAM).expect("valid text");
    let file = folder.file("a.wasm", binary);
    let sum = run(&line(&["run"], &file, &["--invoke", "sum", "4"]));
    assert_eq!(printed(&sum), "10\n");
}

#[test]
fn without_an_export_the_module_is_started() {
    let folder = Folder::new("start");
    let start = folder.file("start.wat", "(module (func $f) (start $f))");
    assert_eq!(printed(&run(&line(&["run"], &start, &[]))), "");
    let export = folder.file(
        "export.wat",
        r#"(module (func (export "_start") (result i32) (i32.const 7)))"#,
    );
    assert_eq!(printed(&run(&line(&["run"], &export, &[]))), "7\n");
    let trap = folder.file("trap.wat", "(module (func $f unreachable) (start $f))");
    assert_eq!(run(&line(&["run"], &trap, &[])).status.code(), Some(134));
}

#[test]
fn a_trap_prints_its_code_and_who_called_whom() {
    let folder = Folder::new("trap");
    let file = folder.file("a.wat", PROGRAM);
    let output = run(&line(&["run"], &file, &["--invoke", "outer", "0"]));
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(134), "{text}");
    assert!(output.stdout.is_empty());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 4, "{text}");
    assert_eq!(lines[0], "midair: wasm trap: integer divide by zero");
    assert!(
        lines[2].ends_with("- divide") && lines[3].ends_with("- outer"),
        "{text}"
    );
}

#[test]
fn whatever_is_wrong_is_one_line_and_exit_code_two() {
    let folder = Folder::new("wrong");
    let file = folder.file("a.wat", PROGRAM);
    let invoke = |arguments: &[&str]| run(&line(&["run"], &file, arguments));
    refused(
        &run(&line(&["run"], &folder.0.join("none.wat"), &[])),
        "cannot read",
    );
    refused(&run(&line(&["run"], &folder.0, &[])), "directory");
    refused(
        &run(&line(&["run"], &folder.file("empty.wat", ""), &[])),
        "is empty",
    );
    refused(
        &run(&line(
            &["run"],
            &folder.file("cut.wasm", b"\0asm\x01\0"),
            &[],
        )),
        "cut.wasm",
    );
    refused(
        &run(&line(
            &["run"],
            &folder.file("text.wat", "(module\n(func\n"),
            &[],
        )),
        "text.wat",
    );
    refused(
        &run(&line(
            &["run"],
            &folder.file("bytes.wat", b"\xff\xfe\n\n"),
            &[],
        )),
        "bytes.wat",
    );
    refused(
        &run(&line(
            &["run"],
            &folder.file(
                "import.wat",
                r#"(module (func $f (import "a" "b")) (start $f))"#,
            ),
            &[],
        )),
        "a::b",
    );
    refused(&invoke(&[]), "`sum` (i64) -> (i64)");
    refused(
        &invoke(&["--invoke", "none"]),
        "no function is exported as `none`",
    );
    refused(&invoke(&["--invoke", "memory"]), "not a function");
    refused(
        &invoke(&["--invoke", "sum"]),
        "takes 1 argument (i64), not 0",
    );
    refused(&invoke(&["--invoke", "sum", "1", "2"]), "not 2");
    refused(&invoke(&["--invoke", "sum", "ten"]), "not an integer");
    refused(
        &invoke(&["--invoke", "sum", "99999999999999999999"]),
        "does not fit i64",
    );
    let huge = "9".repeat(100_000);
    refused(&invoke(&["--invoke", "sum", &huge]), "not an integer");
    refused(&run(&[]), "a command is missing");
    refused(
        &run(&line(&["wast"], &folder.0.join("none.wast"), &[])),
        "cannot read",
    );
    refused(&run(&line(&["wast"], &file, &["--tier", "2"])), "'2'");
}

#[test]
fn names_need_not_be_text() {
    let folder = Folder::new("names");
    let strange = OsStr::from_bytes(b"caf\xe9\n.wat");
    let file = folder.file(Path::new(strange), PROGRAM);
    let sum = run(&line(&["run"], &file, &["--invoke", "sum", "3"]));
    assert_eq!(printed(&sum), "6\n");
    refused(
        &run(&line(
            &["run"],
            &folder.0.join(OsStr::from_bytes(b"\xff\n")),
            &[],
        )),
        "cannot read",
    );
    let mut arguments = line(&["run"], &file, &["--invoke"]);
    arguments.push(strange);
    refused(&run(&arguments), "UTF-8");
}

#[test]
fn a_listing_shows_each_tier() {
    let folder = Folder::new("listing");
    let file = folder.file("a.wat", PROGRAM);
    let listing = |arguments: &[&str]| run(&line(&["listing"], &file, arguments));
    let tier0 = printed(&listing(&["--func", "sum"]));
    assert!(tier0.starts_with(";; tier-0 sum: frame "), "{tier0}");
    assert!(
        tier0.contains("dec dword ptr [rbp+patchpoint_counter]"),
        "{tier0}"
    );
    let osr = printed(&listing(&["--func", "sum", "--tier", "osr"]));
    assert!(
        osr.starts_with(";; osr@") && osr.contains("door0.tier0:"),
        "{osr}"
    );
    assert_eq!(
        printed(&listing(&["--func", "sum", "--tier", "osr", "--loop", "0"])),
        osr
    );
    let tier1 = printed(&listing(&["--func", "$divide", "--tier", "1"]));
    assert!(
        tier1.starts_with(";; tier-1 divide: ") && tier1.contains("idiv"),
        "{tier1}"
    );
    assert_eq!(printed(&listing(&["--func", "2", "--tier", "1"])), tier1);
}

#[test]
fn a_listing_of_nothing_is_refused() {
    let folder = Folder::new("nothing");
    let file = folder.file("a.wat", PROGRAM);
    let listing = |arguments: &[&str]| run(&line(&["listing"], &file, arguments));
    refused(&listing(&["--func", "none"]), "`sum`");
    refused(&listing(&["--func", "99"]), "no function `99`");
    refused(&listing(&["--func", "swap", "--tier", "osr"]), "no loop");
    refused(
        &listing(&["--func", "sum", "--tier", "osr", "--loop", "1"]),
        "one loop",
    );
    refused(&listing(&["--func", "sum", "--loop", "0"]), "--tier osr");
}

#[test]
fn stages_are_dumped_when_asked_for() {
    let folder = Folder::new("dump");
    let file = folder.file("a.wat", PROGRAM);
    let dump = |only: &str| {
        let mut command = midair();
        command.args(line(&["run"], &file, &["--invoke", "sum", "100000"]));
        command
            .env("MIDAIR_DUMP", "ir,regalloc,listing")
            .env("MIDAIR_ONLY", only);
        let output = command.output().expect("the command starts");
        assert_eq!(output.stdout, b"5000050000\n");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = dump("sum");
    for stage in [
        ";; ir sum behind build",
        ";; regalloc osr@",
        ";; tier-0 sum",
        ";; osr@",
    ] {
        assert!(text.contains(stage), "{stage}: {text}");
    }
    assert_eq!(dump("swap"), "");
}

const SCRIPT: &str = r#"(module
    (func $print (import "spectest" "print_i32") (param i32))
    (func (export "count") (param i32) (result i32) (local i32)
        (loop $again
            (call $print (local.get 1))
            (local.set 1 (i32.add (local.get 1) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get 1) (local.get 0))))
        (local.get 1))
    (func (export "nan") (result f32) (f32.div (f32.const 0) (f32.const 0))))
(assert_return (invoke "count" (i32.const 10)) (i32.const 10))
(assert_return (invoke "nan") (f32.const nan:canonical))
(assert_invalid (module (func (result i32))) "type mismatch")
(assert_malformed (module quote "(fun)") "unexpected token")
(assert_unlinkable (module (import "spectest" "none" (func))) "unknown import")
"#;

#[test]
fn a_script_whose_directives_hold_is_counted() {
    let folder = Folder::new("script");
    let file = folder.file("a.wast", SCRIPT);
    let wast = |arguments: &[&str]| printed(&run(&line(&["wast"], &file, arguments)));
    let plain = wast(&[]);
    let all = plain.lines().last().expect("a sum");
    assert!(
        all.starts_with("in all: 6 passed, 0 failed, 0 skipped; 0 suspensions, 0 normalizations, "),
        "{plain}"
    );
    assert!(
        plain
            .lines()
            .next()
            .expect("the file")
            .contains("a.wast: 6 passed")
    );
    for tier in ["0", "1", "osr", "tiered"] {
        let text = wast(&["--tier", tier, "--suspend", "--normalize"]);
        assert!(text.contains("6 passed, 0 failed"), "{tier}: {text}");
        for (what, some) in [
            (" 0 suspensions", true),
            (" 0 normalizations", true),
            (" 0 OSR entries", tier == "osr"),
            (" 0 tier-1 entries", tier == "1"),
        ] {
            assert!(!some || !text.contains(what), "{tier}: {text}");
        }
    }
}

#[test]
fn a_directive_that_does_not_hold_is_exit_code_one() {
    let folder = Folder::new("failing");
    let good = folder.file("good.wast", SCRIPT);
    let bad = folder.file(
        "bad.wast",
        "(module (func (export \"f\") (result i32) (i32.const 1)))
         (assert_return (invoke \"f\") (i32.const 2))
         (assert_trap (invoke \"f\") \"unreachable\")
         (assert_malformed (module quote \"\") \"\")
         (module (memory 1) (memory 1))
         (invoke \"f\")",
    );
    let text = folder.file("text.wast", "(assert_return");
    let output = midair()
        .arg("wast")
        .args([&bad, &good, &text])
        .output()
        .expect("the command starts");
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{out}");
    for says in [
        "bad.wast:2: gave (I32(1)); expected",
        "bad.wast:3: gave (I32(1)); expected: unreachable",
        "bad.wast: 2 skipped: second memory",
        "good.wast: 6 passed, 0 failed, 0 skipped",
        "text.wast:1: ",
        "in all: 8 passed, 3 failed, 2 skipped; ",
    ] {
        assert!(out.contains(says), "{says}: {out}");
    }
}

#[test]
fn a_closed_output_is_no_panic() {
    let folder = Folder::new("closed");
    let file = folder.file("a.wat", PROGRAM);
    let mut command = midair();
    command.args(line(&["listing"], &file, &["--func", "sum"]));
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[test]
fn an_output_that_is_full_is_said() {
    let full = fs::File::options()
        .write(true)
        .open("/dev/full")
        .expect("the full device");
    let output = midair()
        .arg("--help")
        .stdout(full)
        .output()
        .expect("the command starts");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("cannot write"),
        "{output:?}"
    );
}
