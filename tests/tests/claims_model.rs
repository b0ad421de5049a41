//! Every run of the claims core within stated bounds: never two holders, and held in the end.
//!
//! The bounds, and how many states they come to, are printed. `HAMESH_MODEL=large` explores more:
//! tens of minutes. That each property can fail is shown in `claims_mutations.rs`.

use hamesh_tests::model::{Bounds, explore};

/// Any two things go wrong while a third node joins a pair and leaders change.
const TWO_OF_ANY: Bounds = Bounds {
    ticks: 14,
    calm: 8,
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

fn large() -> bool {
    std::env::var("HAMESH_MODEL").is_ok_and(|size| size == "large")
}

fn holds_within(name: &str, bounds: Bounds) {
    println!("{name}: {bounds:?}");
    let explored = explore(bounds);
    println!(
        "{name}: {} states, no longer row of choices than {}",
        explored.states, explored.depth
    );
    assert_eq!(explored.violation, None, "{name}");
    assert!(
        explored.states > 1000,
        "{name}: hardly anything was explored"
    );
}

#[test]
fn a_pair_that_becomes_a_trio_is_safe_and_live_whatever_two_things_go_wrong() {
    holds_within("a pair becomes a trio", TWO_OF_ANY);
}

#[test]
fn a_trio_is_safe_and_live_whatever_three_things_go_wrong() {
    let bounds = Bounds {
        members: 3,
        ticks: 13,
        faults: 3,
        late: 3,
        give_backs: 0,
        group_changes: 0,
        ..TWO_OF_ANY
    };
    let larger = Bounds {
        ticks: 15,
        faults: 4,
        pauses: 2,
        crashes: 2,
        depositions: 2,
        leaders: 3,
        ..bounds
    };
    holds_within("a trio", if large() { larger } else { bounds });
}

#[test]
fn a_pair_is_safe_and_live_whatever_three_things_go_wrong() {
    let bounds = Bounds {
        ticks: 13,
        faults: 3,
        late: 3,
        ..TWO_OF_ANY
    };
    let larger = Bounds {
        ticks: 16,
        faults: 4,
        ..bounds
    };
    holds_within("a pair", if large() { larger } else { bounds });
}

#[test]
fn a_pair_is_safe_and_live_when_it_is_restored_beside_its_leader_and_two_more_things_go_wrong() {
    let bounds = Bounds {
        calm: 9,
        faults: 3,
        late: 2,
        depositions: 0,
        group_changes: 0,
        restores: 1,
        ..TWO_OF_ANY
    };
    let larger = Bounds {
        ticks: 18,
        faults: 4,
        depositions: 1,
        group_changes: 1,
        ..bounds
    };
    holds_within("restored", if large() { larger } else { bounds });
}
