//! Every safety rule broken, one at a time: which of the checks sees the harm.
//!
//! A check that cannot fail shows nothing. So each rule of the claims core is broken alone, and at
//! least one of the three checks must see it: the properties of transitions, the simulated site,
//! the model. The table that is printed says which did. A dash says that a check was not asked: the
//! rule's harm lies outside of its world or needs more than its bounds here, as
//! `docs/decisions/0010-claims-core.md` says.

use hamesh_claims::{Rule, Rules};
use hamesh_tests::model::{Bounds, explore};
use hamesh_tests::properties::{Trial, election, failure, grantor, member};
use hamesh_tests::sim::first_violation;

/// Sequences of events that are tried for each machine.
const TRIAL: Trial = Trial {
    cases: 20_000,
    seed: 1,
    shrinks: false,
};
/// Seeds in which the simulator must see a rule's harm. It takes the first that does.
const SEEDS: u64 = 600;

/// Any two things go wrong with a pair that may become a trio.
const PAIR: Bounds = Bounds {
    ticks: 14,
    faults: 2,
    late: 2,
    pauses: 1,
    cuts: 1,
    crashes: 1,
    depositions: 1,
    leaders: 2,
    give_backs: 1,
    group_changes: 1,
    ..Bounds::CALM
};

/// Whether the simulator is to see the harm of breaking `rule`.
fn simulated(rule: Rule) -> bool {
    matches!(
        rule,
        Rule::HolderCountsFromSend
            | Rule::GrantorAddsMargin
            | Rule::FreshAnswersOnly
            | Rule::GiveBackDropsEarlier
            | Rule::RestoredGathersAll
            | Rule::ClosedSaidByAll
            | Rule::ActAfterExpiry
            | Rule::LeaderStopsInTime
            | Rule::LeaderCountsFromSend
            | Rule::ChallengerWaits
            | Rule::PromisesOfAll
            | Rule::PromisedRefusesGrants
            | Rule::PromisePersistedFirst
            | Rule::ReleaseEndsReliance
            | Rule::FenceClosesFirst
            | Rule::ConsentAfterPromise
            | Rule::EvictionNeedsMajority
    )
}

/// The bounds within which the model is to see the harm of breaking `rule`.
fn modelled(rule: Rule) -> Option<Bounds> {
    let trio = Bounds {
        members: 3,
        group_changes: 0,
        ..PAIR
    };
    let lonely = Bounds {
        ticks: 13,
        faults: 3,
        give_backs: 0,
        group_changes: 0,
        ..PAIR
    };
    let restored = Bounds {
        ticks: 15,
        calm: 9,
        give_backs: 0,
        group_changes: 0,
        restores: 1,
        ..PAIR
    };
    let bounds = match rule {
        Rule::GrantorAddsMargin
        | Rule::FreshAnswersOnly
        | Rule::StartUpWait
        | Rule::ActAfterExpiry
        | Rule::PromisedRefusesGrants => PAIR,
        Rule::GiveBackDropsEarlier => Bounds { faults: 3, ..PAIR },
        Rule::PromisesOfAll => trio,
        Rule::RestoredGathersAll | Rule::ClosedSaidByAll => restored,
        Rule::LastRunsFenceAwaited => Bounds {
            faults: 3,
            ..restored
        },
        Rule::HolderCountsFromSend
        | Rule::LeaderStopsInTime
        | Rule::PromisePersistedFirst
        | Rule::ForgetfulTakesNothing
        | Rule::ReleaseNamesAsk
        | Rule::ReleaseEndsReliance => lonely,
        _ => return None,
    };
    Some(bounds)
}

fn by_properties(rules: Rules) -> Option<String> {
    let seen = failure(TRIAL, &member::cases(), |case| member::check(rules, case));
    let seen =
        seen.or_else(|| failure(TRIAL, &grantor::cases(), |case| grantor::check(rules, case)));
    let seen = seen.or_else(|| {
        failure(TRIAL, &election::cases(), |case| {
            election::check(rules, case)
        })
    });
    seen.map(|seen| first_clause(&seen))
}

fn by_model(bounds: Bounds, rules: Rules) -> Option<String> {
    let explored = explore(Bounds { rules, ..bounds });
    explored
        .violation
        .map(|violation| format!("{}, {} states", first_clause(&violation), explored.states))
}

fn first_clause(text: &str) -> String {
    let end = text.find(", by").or_else(|| text.find(": ["));
    text[..end.unwrap_or(text.len())].to_owned()
}

#[test]
fn each_rule_when_broken_is_caught_by_at_least_one_check() {
    println!("| rule | properties | simulator | model |\n|---|---|---|---|");
    let mut unseen = Vec::new();
    for rule in Rule::ALL {
        let rules = Rules::without(rule);
        let properties = by_properties(rules);
        let simulator = simulated(rule).then(|| {
            first_violation(rules, 1..SEEDS).map(|(seed, what)| format!("seed {seed}: {what}"))
        });
        let model = modelled(rule).map(|bounds| by_model(bounds, rules));
        let asked = [Some(&properties), simulator.as_ref(), model.as_ref()];
        let cells = asked.map(|cell| match cell {
            None => "-",
            Some(None) => "NOT SEEN",
            Some(Some(seen)) => seen.as_str(),
        });
        println!("| {rule:?} | {} |", cells.join(" | "));
        if cells.contains(&"NOT SEEN") {
            unseen.push(rule);
        }
    }
    assert!(
        unseen.is_empty(),
        "can be broken without being seen by a check that is to see it: {unseen:?}"
    );
}
