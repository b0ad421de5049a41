//! What must hold after every event of a member, a grantor and an election, in sequences drawn at
//! random.
//!
//! `HAMESH_SEED=N` draws other sequences, `HAMESH_CASES=N` more of them. That each invariant can
//! fail is shown in `claims_mutations.rs`.

use hamesh_claims::Rules;
use hamesh_tests::properties::{Trial, election, failure, grantor, member};

/// Sequences tried for each machine.
const CASES: u32 = 20_000;

fn trial() -> Trial {
    let given = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let trial = Trial {
        cases: given("HAMESH_CASES").map_or(CASES, |cases: u64| cases as u32),
        seed: given("HAMESH_SEED").unwrap_or(1),
        shrinks: true,
    };
    println!("HAMESH_SEED={} HAMESH_CASES={}", trial.seed, trial.cases);
    trial
}

#[test]
fn invariant_a_member_holds_only_what_others_are_bound_to_and_keeps_its_word() {
    let found = failure(trial(), &member::cases(), |case| {
        member::check(Rules::all(), case)
    });
    assert!(found.is_none(), "{}", found.unwrap_or_default());
}

#[test]
fn invariant_a_grantor_hands_on_only_what_nobody_is_entitled_to() {
    let found = failure(trial(), &grantor::cases(), |case| {
        grantor::check(Rules::all(), case)
    });
    assert!(found.is_none(), "{}", found.unwrap_or_default());
}

#[test]
fn invariant_at_most_one_coordinator_leads_by_its_own_count_and_terms_rise() {
    let found = failure(trial(), &election::cases(), |case| {
        election::check(Rules::all(), case)
    });
    assert!(found.is_none(), "{}", found.unwrap_or_default());
}
