//! Random programs, each in a random way, against the oracle.

use crate::harness::{
    Outcome, Program, Wasmi, Way,
    midair::{Drive, Hosts, Midair, of},
    random::{self, Random},
};
use midair::{ResumptionPath, Tiers};
use std::{num::NonZeroU32, ops::Range, panic::catch_unwind};

/// The first seed, and how many.
fn seeds(default: u64) -> Range<u64> {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let first = number("MIDAIR_FIRST_SEED", 0);
    first..first.saturating_add(number("MIDAIR_SEEDS", default))
}

/// A way chosen by `seed`.
fn random_way(seed: u64, suspends: bool) -> Midair {
    let mut random = Random::new(seed);
    let hosts = match random.below(4) {
        0 => Hosts::Futures(0),
        1 => Hosts::Futures(1),
        _ => Hosts::Awaiters,
    };
    let drive = match random.below(6) {
        0 => Drive::PollThenResume,
        1 => Drive::PollNormalized(2),
        2 => Drive::OwnedNormalized(3),
        3 => Drive::OwnedOnThreads,
        4 => Drive::Owned,
        _ => Drive::Poll,
    };
    Midair::random(
        &format!("way {seed}, {drive:?}, {hosts:?}"),
        move |config, _| {
            let mut random = Random::new(seed ^ 0xabcd);
            let mut small = |n| u32::try_from(1 + random.below(n)).expect("small");
            config.tiers(
                [
                    Tiers::Tier0,
                    Tiers::Tier1,
                    Tiers::Tiered,
                    Tiers::Tiered,
                    Tiers::Tiered,
                ][small(5) as usize - 1],
            );
            config.memory_guard(small(2) == 1);
            config.osr_after(small(6), small(4), small(2));
            config.tier_up_on_calls([None, Some(1), Some(3)][small(3) as usize - 1]);
            config.tier_up_on_resumption([None, Some(1), Some(4)][small(3) as usize - 1]);
            config.resumption(
                [
                    ResumptionPath::Direct,
                    ResumptionPath::ViaTier0,
                    ResumptionPath::Patchpoint,
                    ResumptionPath::PatchpointFp,
                ][small(4) as usize - 1],
            );
            if suspends && small(2) == 1 {
                config.stress_suspend(NonZeroU32::new(small(40)));
            }
            if small(3) == 1 {
                config.stress_normalize(NonZeroU32::new(small(4)));
            }
        },
    )
    .hosts(hosts)
    .drive(drive)
}

#[derive(Default)]
struct Tally {
    agreed: u64,
    known_gaps: u64,
    suspended: u64,
    jumps: u64,
    transitions: u64,
}

/// The oracle has bugs of its own, in `if`s with parameters: where it panics, or is alone against two ways of Midair that agree,
/// the program is a known gap.
fn run(generate: fn(u64) -> Result<Program, String>, seeds: Range<u64>, suspends: bool) -> Tally {
    let mut tally = Tally::default();
    for seed in seeds {
        let program = generate(seed).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let way = random_way(seed, suspends);
        let given = way
            .run(&program)
            .unwrap_or_else(|e| panic!("{}: {}: {e}", way.name(), program.name));
        let oracle = catch_unwind(|| Wasmi.run(&program))
            .unwrap_or_else(|_| Err("the oracle panicked".to_owned()));
        let exhausted = |outcome: &Outcome| format!("{outcome:?}").contains("call stack exhausted");
        match oracle.and_then(|oracle| {
            if exhausted(&oracle) {
                Ok(())
            } else {
                given.agrees_with(&oracle)
            }
        }) {
            Ok(()) => tally.agreed += 1,
            Err(difference) => {
                let baseline = Midair::new("tier0", |config| {
                    config.tiers(Tiers::Tier0);
                });
                let second = baseline
                    .run(&program)
                    .unwrap_or_else(|e| panic!("{}: {e}", program.name));
                if let Err(among_ours) = given.agrees_with(&second) {
                    panic!(
                        "{}: {}: {difference}; against tier-0: {among_ours}\n{}",
                        way.name(),
                        program.name,
                        program.text
                    );
                }
                tally.known_gaps += 1;
            }
        }
        for counter in [
            &way.seen.suspended_in_tier0,
            &way.seen.suspended_in_osr,
            &way.seen.suspended_in_tier1,
        ] {
            tally.suspended += of(counter);
        }
        tally.jumps += of(&way.seen.jumps);
        tally.transitions += of(&way.seen.transitions);
    }
    assert!(
        tally.agreed > 7 * tally.known_gaps,
        "{} agreed, {} did not",
        tally.agreed,
        tally.known_gaps
    );
    assert!(tally.transitions > 0);
    tally
}

#[test]
fn programs_of_our_own_agree_in_random_ways() {
    let tally = run(random::own, seeds(150), true);
    assert!(tally.suspended > 1000, "{}", tally.suspended);
    assert!(tally.jumps > 100, "{}", tally.jumps);
}

#[test]
fn smith_modules_agree_in_random_ways() {
    run(random::smith, seeds(150), true);
}
