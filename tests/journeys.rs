//! Journeys: what happened, in order, from the first pass of a loop to its jump back into optimized code. The logs are in
//! `tests/journeys`; `MIDAIR_BLESS=1` writes them anew.

use midair::{Awaiter, Config, Engine, Linker, Module, Resumption, ResumptionPath, Store, Tiers};
use std::{
    num::NonZeroU32,
    path::Path,
    sync::{Arc, Mutex},
};

#[derive(Clone)]
struct Inline;

impl Awaiter for Inline {
    type Output = i32;
    fn is_completed(&self) -> bool {
        false
    }
    fn on_completed(self, resumption: Resumption) {
        resumption.resume();
    }
    fn get_result(self) -> i32 {
        7
    }
}

/// Runs `run(6)` of a loop that awaits in each pass; the log, one event a line.
fn journey(configure: impl FnOnce(&mut Config)) -> String {
    let log = Arc::new(Mutex::new(String::new()));
    let lines = Arc::clone(&log);
    let mut config = Config::new();
    config
        .osr_after(2, 1, 2)
        .tier_up_on_calls(None)
        .tier_up_on_resumption(None);
    configure(&mut config);
    config.on_event(move |event| {
        let mut lines = lines.lock().unwrap();
        *lines += &event.to_string();
        lines.push('\n');
    });
    let engine = Engine::new(&config);
    let module = Module::new(
        &engine,
        r#"(module
        (import "host" "next" (func $next (result i32)))
        (func (export "run") (param $n i32) (result i32) (local $sum i32)
            (loop $l
                (local.set $sum (i32.add (local.get $sum) (call $next)))
                (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (local.get $sum)))"#,
    )
    .unwrap();
    let mut linker = Linker::new(&engine);
    linker.func_awaiter("host", "next", |_, ()| Inline).unwrap();
    let mut store = Store::new(&engine, ());
    let run = linker
        .instantiate(&mut store, &module)
        .unwrap()
        .get_typed_func::<i32, i32>(&store, "run")
        .unwrap();
    assert_eq!(run.start(store, 6).finish().unwrap().1.unwrap(), 42);
    let log = log.lock().unwrap();
    log.clone()
}

/// Compares with the file of that name, and requires that lines with these beginnings come in this order.
#[track_caller]
fn check(name: &str, log: &str, order: &[&str]) {
    let mut lines = log.lines();
    for step in order {
        assert!(
            lines.any(|line| line.starts_with(step)),
            "{name}: no `{step}` where it belongs:\n{log}"
        );
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/journeys")
        .join(name);
    if std::env::var_os("MIDAIR_BLESS").is_some_and(|value| value != "0") {
        std::fs::write(&path, log).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(
        log, expected,
        "{name} has changed; MIDAIR_BLESS=1 accepts it"
    );
}

const IN_OSR: [&str; 8] = [
    "publish",
    "suspend",
    "resume",
    "hit",
    "trigger",
    "publish",
    "transition",
    "suspend",
];

fn to_osr_then(path: ResumptionPath, name: &str) {
    let log = journey(|config| {
        config.resumption(path);
    });
    let mut order = IN_OSR.to_vec();
    order.extend(["jump", "suspend", "jump", "return"]);
    check(name, &log, &order);
}

#[test]
fn hit_trigger_transition_suspend_jump() {
    to_osr_then(ResumptionPath::Direct, "direct.txt");
}

#[test]
fn the_same_through_tier0() {
    to_osr_then(ResumptionPath::ViaTier0, "via_tier0.txt");
}

#[test]
fn the_same_through_the_patchpoint() {
    to_osr_then(ResumptionPath::Patchpoint, "patchpoint.txt");
}

#[test]
fn the_same_through_the_patchpoint_by_frame_pointers() {
    to_osr_then(ResumptionPath::PatchpointFp, "patchpoint_fp.txt");
}

#[test]
fn normalized_in_osr_code_it_goes_on_in_tier0_and_is_replaced_again() {
    let log = journey(|config| {
        config.stress_normalize(NonZeroU32::new(1));
    });
    check(
        "normalized.txt",
        &log,
        &[
            "transition",
            "suspend",
            "normalize",
            "resume",
            "transition",
            "suspend",
        ],
    );
    assert!(!log.contains("jump"), "{log}");
}

#[test]
fn a_resumption_moves_it_to_tier1() {
    let log = journey(|config| {
        config.tier_up_on_resumption(Some(4));
    });
    check(
        "tier_up.txt",
        &log,
        &[
            "transition",
            "suspend",
            "publish func1 tier1",
            "tier-up",
            "jump",
            "suspend",
            "return",
        ],
    );
}

#[test]
fn tier0_alone() {
    let log = journey(|config| {
        config.tiers(Tiers::Tier0);
    });
    check(
        "tier0.txt",
        &log,
        &["publish", "suspend", "resume", "return"],
    );
    assert!(!log.contains("hit") && !log.contains("jump"), "{log}");
}
