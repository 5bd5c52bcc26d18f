//! Every program of the corpus, one test a way.

use crate::harness::{
    check, corpus,
    midair::{Drive, Hosts, Midair, Seen, of},
};
use midair::{Config, ResumptionPath, Tiers};
use std::num::NonZeroU32;

/// Runs the corpus; answers what happened.
fn run(way: &Midair) -> &Seen {
    let programs = corpus().unwrap_or_else(|e| panic!("{e}"));
    let ran = check(way, &programs).unwrap_or_else(|e| panic!("{e}"));
    assert!(ran >= 130, "only {ran} programs were found");
    &way.seen
}

#[track_caller]
fn some(of_what: &std::sync::atomic::AtomicU64) {
    assert!(of(of_what) > 0, "what this way is about never happened");
}

#[track_caller]
fn none(of_what: &std::sync::atomic::AtomicU64) {
    assert_eq!(of(of_what), 0, "what this way excludes happened");
}

fn every(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

/// Replaced at the first pass of every loop header.
fn osr_everywhere(config: &mut Config) {
    config
        .osr_after(1, 1, 1)
        .tier_up_on_calls(None)
        .tier_up_on_resumption(None);
}

fn suspends(seen: &Seen) {
    assert!(
        of(&seen.suspended_in_tier0) + of(&seen.suspended_in_osr) + of(&seen.suspended_in_tier1)
            > 1000
    );
}

#[test]
fn tier0() {
    let way = Midair::new("tier0", |config| {
        config.tiers(Tiers::Tier0);
    });
    let seen = run(&way);
    suspends(seen);
    some(&seen.resumes);
    none(&seen.jumps);
    none(&seen.osr_published);
    none(&seen.tier1_published);
}

#[test]
fn tier1() {
    let way = Midair::new("tier1", |config| {
        config.tiers(Tiers::Tier1);
    });
    let seen = run(&way);
    some(&seen.suspended_in_tier1);
    some(&seen.jumps);
    none(&seen.osr_published);
    none(&seen.not_optimized);
    none(&seen.tier0_published);
}

#[test]
fn explicit_bounds_checks_in_tier0() {
    let way = Midair::new("tier0, explicit checks", |config| {
        config.tiers(Tiers::Tier0).memory_guard(false);
    });
    none(&run(&way).tier1_published);
}

#[test]
fn explicit_bounds_checks_in_tier1() {
    let way = Midair::new("tier1, explicit checks", |config| {
        config.tiers(Tiers::Tier1).memory_guard(false);
    });
    none(&run(&way).tier0_published);
}

#[test]
fn explicit_bounds_checks_in_osr_code() {
    let way = Midair::new("osr at every patchpoint, explicit checks", |config| {
        osr_everywhere(config);
        config.memory_guard(false);
    });
    some(&run(&way).transitions);
}

#[test]
fn as_it_comes() {
    let way = Midair::new("defaults", |_| ());
    suspends(run(&way));
}

#[test]
fn osr_at_every_patchpoint() {
    let way = Midair::new("osr at every patchpoint", osr_everywhere);
    let seen = run(&way);
    some(&seen.transitions);
    some(&seen.suspended_in_osr);
    some(&seen.jumps);
    none(&seen.tier1_published);
}

#[test]
fn osr_at_random_patchpoints() {
    for seed in 0..3u64 {
        let way = Midair::random(
            &format!("osr at random patchpoints, seed {seed}"),
            move |config, random| {
                let mut small = |n| u32::try_from(1 + (random.next() ^ seed) % n).expect("small");
                config
                    .osr_after(small(9), small(5), small(3))
                    .tier_up_on_calls(None)
                    .tier_up_on_resumption(None);
            },
        );
        let seen = run(&way);
        some(&seen.transitions);
        some(&seen.suspended_in_osr);
        some(&seen.suspended_in_tier0);
    }
}

#[test]
fn suspend_at_every_await_twice() {
    let way = Midair::new("futures pending twice", |_| ()).hosts(Hosts::Futures(2));
    suspends(run(&way));
}

#[test]
fn futures_that_are_ready_at_once() {
    let way = Midair::new("ready futures", osr_everywhere).hosts(Hosts::Futures(0));
    let seen = run(&way);
    some(&seen.transitions);
    none(&seen.suspended_in_tier0);
    none(&seen.suspended_in_osr);
}

#[test]
fn awaiters() {
    let way = Midair::new("awaiters", osr_everywhere).hosts(Hosts::Awaiters);
    suspends(run(&way));
}

#[test]
fn awaiters_whose_tokens_come_later() {
    let way = Midair::new("tokens after the poll", osr_everywhere)
        .hosts(Hosts::Awaiters)
        .drive(Drive::PollThenResume);
    some(&run(&way).tokens);
}

#[test]
fn suspend_at_every_nth_checkpoint_in_tier0() {
    for n in [1, 2, 7] {
        let way = Midair::new(
            &format!("tier-0, suspend at every {n}th checkpoint"),
            move |config| {
                config.tiers(Tiers::Tier0).stress_suspend(every(n));
            },
        );
        suspends(run(&way));
    }
}

#[test]
fn suspend_at_every_nth_checkpoint_in_tier1() {
    for n in [1, 3] {
        let way = Midair::new(
            &format!("tier-1, suspend at every {n}th checkpoint"),
            move |config| {
                config.tiers(Tiers::Tier1).stress_suspend(every(n));
            },
        );
        let seen = run(&way);
        assert!(of(&seen.suspended_in_tier1) > 1000);
    }
}

#[test]
fn osr_then_suspend() {
    for n in [1, 2, 5] {
        let way = Midair::new(
            &format!("osr, then suspend at every {n}th checkpoint"),
            move |config| {
                osr_everywhere(config);
                config.stress_suspend(every(n));
            },
        );
        let seen = run(&way);
        assert!(of(&seen.suspended_in_osr) > 1000);
        some(&seen.transitions);
    }
}

#[test]
fn suspend_then_osr() {
    for n in [1, 3] {
        let way = Midair::new(
            &format!("suspend at every {n}th checkpoint, then osr"),
            move |config| {
                osr_everywhere(config);
                config.osr_after(4, 2, 2).stress_suspend(every(n));
            },
        );
        let seen = run(&way);
        some(&seen.suspended_in_tier0);
        some(&seen.transitions);
        some(&seen.suspended_in_osr);
    }
}

#[test]
fn resume_in_tier0_then_osr() {
    let way = Midair::new("normalize everything, stress, then osr", |config| {
        osr_everywhere(config);
        config.stress_normalize(every(1)).stress_suspend(every(2));
    });
    let seen = run(&way);
    some(&seen.normalized);
    some(&seen.transitions);
    some(&seen.suspended_in_osr);
    none(&seen.jumps);
}

#[test]
fn normalize_at_random() {
    for n in [2, 3] {
        let way = Midair::new(&format!("normalize one in {n}, stress"), move |config| {
            config
                .osr_after(2, 2, 1)
                .tier_up_on_calls(Some(2))
                .stress_normalize(every(n))
                .stress_suspend(every(3));
        });
        let seen = run(&way);
        some(&seen.normalized);
        some(&seen.jumps);
        some(&seen.resumes);
    }
}

#[test]
fn normalize_tier1() {
    let way = Midair::new("normalize tier-1", |config| {
        config.tiers(Tiers::Tier1).stress_normalize(every(1));
    });
    let seen = run(&way);
    some(&seen.normalized);
    some(&seen.suspended_in_tier1);
    none(&seen.jumps);
}

#[test]
fn normalize_by_hand() {
    for (hosts, drive) in [
        (Hosts::Futures(1), Drive::PollNormalized(2)),
        (Hosts::Awaiters, Drive::PollNormalized(1)),
        (Hosts::Futures(1), Drive::OwnedNormalized(2)),
        (Hosts::Awaiters, Drive::OwnedNormalized(2)),
    ] {
        let way = Midair::new(&format!("{drive:?}, {hosts:?}"), |config| {
            config.osr_after(2, 2, 1).tier_up_on_calls(Some(2));
        });
        let way = way.hosts(hosts).drive(drive);
        some(&run(&way).normalized);
    }
}

#[test]
fn every_path_of_resumption() {
    use ResumptionPath::{Direct, Patchpoint, PatchpointFp, ViaTier0};
    for path in [Patchpoint, PatchpointFp, ViaTier0, Direct] {
        for n in [None, every(2)] {
            let way = Midair::new(&format!("{path:?}, stress {n:?}"), move |config| {
                osr_everywhere(config);
                config.resumption(path).stress_suspend(n);
            });
            let seen = run(&way);
            some(&seen.suspended_in_osr);
            some(&seen.transitions);
        }
    }
}

#[test]
fn tier_up_on_resumption() {
    for resumptions in 1..=3 {
        let way = Midair::new(
            &format!("tier-1 after {resumptions} resumptions, stress"),
            move |config| {
                config
                    .osr_after(1, 1, 1)
                    .tier_up_on_calls(None)
                    .tier_up_on_resumption(Some(resumptions))
                    .stress_suspend(every(2));
            },
        );
        let seen = run(&way);
        some(&seen.tier_ups);
        some(&seen.suspended_in_tier1);
    }
}

#[test]
fn tier_up_on_calls() {
    let way = Midair::new("tier-1 at the second call", |config| {
        config
            .osr(false)
            .tier_up_on_calls(Some(1))
            .tier_up_on_resumption(None);
    });
    let seen = run(&way);
    some(&seen.tier1_published);
    some(&seen.tier0_published);
    some(&seen.suspended_in_tier1);
}

#[test]
fn polled_by_two_threads() {
    for hosts in [Hosts::Futures(1), Hosts::Futures(2)] {
        let way = Midair::new(&format!("two threads poll, {hosts:?}"), osr_everywhere)
            .hosts(hosts)
            .drive(Drive::PollOnThreads);
        some(&run(&way).polls_elsewhere);
    }
}

#[test]
fn resumed_on_another_thread() {
    let way = Midair::new("tokens on two threads", osr_everywhere)
        .hosts(Hosts::Awaiters)
        .drive(Drive::OwnedOnThreads);
    let seen = run(&way);
    some(&seen.tokens);
    some(&seen.tokens_elsewhere);
}

#[test]
fn dropped_while_suspended() {
    for (hosts, drive) in [
        (Hosts::Futures(1), Drive::DropAndPoll),
        (Hosts::Awaiters, Drive::DropAndPoll),
        (Hosts::Futures(1), Drive::DropAndOwn),
        (Hosts::Awaiters, Drive::DropAndOwn),
    ] {
        let way = Midair::new(&format!("{drive:?}, {hosts:?}"), osr_everywhere)
            .hosts(hosts)
            .drive(drive);
        let seen = run(&way);
        assert!(of(&seen.dropped_calls) > 50, "{drive:?}");
    }
}

#[test]
fn owned() {
    for hosts in [Hosts::Futures(1), Hosts::Awaiters] {
        let way = Midair::new(&format!("owned, {hosts:?}"), osr_everywhere)
            .hosts(hosts)
            .drive(Drive::Owned);
        suspends(run(&way));
    }
}

#[test]
fn scheduled() {
    let way = Midair::new("scheduled", osr_everywhere)
        .hosts(Hosts::Awaiters)
        .drive(Drive::Scheduled);
    suspends(run(&way));
}
