//! The claims core in the simulated site: safe and live in every seed tried.
//!
//! That this can fail is shown in `claims_mutations.rs`.
//! `./tests/sim --seeds N` tries more seeds; `./tests/sim --seed S` replays one with its trace.

use hamesh_claims::Rules;
use hamesh_tests::sim::{Options, run, run_outage};

/// Seeds tried with every rule kept.
const SEEDS: u64 = 300;
/// Seeds of an outage of all coordinators.
const OUTAGES: u64 = 100;

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
fn nothing_moves_when_agents_restart_while_no_coordinator_answers() {
    let options = Options {
        rules: Rules::all(),
        traced: false,
    };
    let mut alone = 0;
    for seed in 1..=OUTAGES {
        let outcome = run_outage(seed, options);
        assert_eq!(outcome.violation, None, "seed {seed} of the outage");
        alone += outcome.alone;
    }
    println!("{OUTAGES} outages: {alone} times alone");
    assert!(alone >= 3 * OUTAGES, "every claim was kept by promises");
}
