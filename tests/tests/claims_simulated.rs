//! The claims core in the simulated site: safe and live in every seed tried, and not by luck.
//!
//! `./tests/sim --seeds N` tries more seeds; `./tests/sim --seed S` replays one with its trace.

use hamesh_claims::{Rule, Rules};
use hamesh_tests::sim::{Options, first_violation, run};

/// Seeds tried with every rule kept.
const SEEDS: u64 = 300;
/// Seeds in which a broken rule must show. It takes the first that does.
const SEARCHED: u64 = 1500;

#[test]
fn no_seed_shows_two_holders_or_a_mended_site_without_a_holder() {
    let (mut takes, mut alone, mut changes, mut evictions) = (0, 0, 0, 0);
    for seed in 1..=SEEDS {
        let outcome = run(
            seed,
            Options {
                rules: Rules::all(),
                traced: false,
            },
        );
        let replay = format!("replay: ./tests/sim --seed {seed}");
        assert_eq!(outcome.violation, None, "seed {seed}; {replay}");
        takes += outcome.takes;
        alone += outcome.alone;
        changes += outcome.changes;
        evictions += outcome.evictions;
    }
    println!("{SEEDS} seeds: {takes} takes, {alone} times alone, {changes} group changes");
    assert!(
        takes > SEEDS && alone > SEEDS,
        "{takes} takes, {alone} times alone"
    );
    assert!(
        changes > SEEDS / 10 && evictions > SEEDS / 30,
        "{changes}, {evictions}"
    );
}

#[test]
fn one_seed_is_one_run() {
    let options = Options {
        rules: Rules::all(),
        traced: true,
    };
    assert_eq!(run(7, options).trace, run(7, options).trace);
    assert_ne!(run(7, options).trace, run(8, options).trace);
}

#[test]
fn the_simulation_shows_the_harm_of_breaking_a_rule() {
    for rule in [
        Rule::HolderCountsFromSend,
        Rule::GrantorAddsMargin,
        Rule::FreshAnswersOnly,
        Rule::GiveBackDropsEarlier,
        Rule::StartUpWait,
        Rule::ActAfterExpiry,
        Rule::LeaderStopsInTime,
        Rule::PromisesOfAll,
        Rule::PromisedRefusesGrants,
        Rule::PromisePersistedFirst,
        Rule::ReleaseEndsReliance,
        Rule::FenceClosesFirst,
        Rule::ConsentAfterPromise,
        Rule::EvictionNeedsMajority,
    ] {
        let found = first_violation(Rules::without(rule), 1..SEARCHED);
        let (seed, what) = found.unwrap_or_else(|| panic!("{rule:?} can be broken unseen"));
        println!("without {rule:?}, seed {seed}: {what}");
    }
}
