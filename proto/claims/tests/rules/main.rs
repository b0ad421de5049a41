//! Every safety rule in a case of its own: no harm with it, harm without it.
//!
//! A case is a function of the rules that says whether harm was done. The list below is complete by
//! construction: a rule without a case does not compile.

mod duo;
mod elections;
mod evictions;
mod leases;
mod placement;
mod promises;
mod restores;

use std::time::Duration;

use duo::{Duo, at, grant_of, ms};
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{GroupVersion, NodeName};
use hamesh_claims::member::{Action, Event};
use hamesh_claims::message::{ToCoordinator, Want};
use hamesh_claims::{Rule, Rules};

/// Whether harm was done under these rules.
type Case = fn(Rules) -> bool;

/// The case in which breaking `rule` does harm.
fn case(rule: Rule) -> Case {
    match rule {
        Rule::HolderCountsFromSend => leases::a_slow_answer_prolongs_beyond_the_grantors_word,
        Rule::GrantorAddsMargin => leases::a_late_fence_meets_the_next_holder,
        Rule::FreshAnswersOnly => leases::an_answer_is_believed_twice,
        Rule::LapsedAcquiresAfresh => leases::an_answer_to_a_lapsed_holder_revives_it,
        Rule::GiveBackDropsEarlier => leases::an_answer_on_its_way_revives_what_was_given_back,
        Rule::GiveBackNamesGrant => leases::a_late_give_back_frees_a_later_grant,
        Rule::StartUpWait => leases::a_new_leader_grants_under_its_predecessors_lease,
        Rule::LongestTtlPersisted => leases::a_new_leader_forgets_that_leases_were_longer,
        Rule::RestoredGathersAll => restores::a_restored_leader_grants_beside_one_of_before,
        Rule::KnownPersistedFirst => restores::a_member_says_what_it_may_forget,
        Rule::ClosedSaidByAll => restores::a_gathered_holder_is_taken_for_none,
        Rule::LastRunsFenceAwaited => restores::a_restarted_holder_says_that_it_is_closed,
        Rule::TtlPersistedFirst => leases::a_longer_lease_is_granted_before_the_store_knows,
        Rule::AdoptionIsNoProof => leases::a_dead_lease_shown_late_earns_a_new_grant,
        Rule::ActAfterExpiry => leases::a_silent_holder_is_succeeded,
        Rule::LeaderStopsInTime => leases::a_leader_answers_after_its_time,
        Rule::LeaderCountsFromSend => elections::a_leader_counts_from_a_late_answer,
        Rule::ChallengerWaits => elections::a_challenger_takes_over_at_first_sight,
        Rule::HigherEpochStops => leases::a_leader_goes_on_beside_a_higher_epoch,
        Rule::StaleEpochRefused => leases::a_member_believes_a_leader_that_was_succeeded,
        Rule::PromisesOfAll => promises::a_holder_lives_on_some_of_the_promises,
        Rule::PromisedRefusesGrants => promises::a_member_takes_against_its_promise,
        Rule::HolderPromisesNothing => promises::a_holder_promises_what_it_does_not_keep,
        Rule::PromiseNamesGroup => promises::a_member_promises_to_an_older_group,
        Rule::GroupPersistedFirst => promises::a_group_is_acknowledged_before_it_is_on_disk,
        Rule::JoinerNeedsAllOld => promises::a_joiner_holds_before_all_old_members_know,
        Rule::JoinerWaits => promises::a_joiner_holds_while_an_old_promise_lives,
        Rule::PromisePersistedFirst => promises::a_promise_is_sent_and_not_remembered,
        Rule::ForgetfulTakesNothing => promises::a_member_that_forgot_its_promise_takes,
        Rule::SameBootOnly => promises::a_memory_of_another_boot_is_believed,
        Rule::ReleaseNamesAsk => promises::an_old_release_ends_a_later_promise,
        Rule::ReleaseEndsReliance => promises::a_holder_relies_on_what_it_released,
        Rule::ReleaseDropsEarlier => promises::a_late_promise_revives_what_was_released,
        Rule::KeptForgottenFirst => promises::a_restarted_holder_relies_on_what_it_released,
        Rule::FenceClosesFirst => leases::the_grantor_hears_before_the_fence_is_closed,
        Rule::ConsentBinds => evictions::a_peer_promises_after_it_consented,
        Rule::ConsentAfterPromise => evictions::a_peer_consents_under_its_promise,
        Rule::FreshConsentsOnly => evictions::an_old_consent_counts_for_a_later_eviction,
        Rule::EvictionNeedsMajority => evictions::one_consent_evicts,
    }
}

#[test]
fn every_rule_prevents_a_harm_that_happens_without_it() {
    for rule in Rule::ALL {
        assert!(
            !case(rule)(Rules::all()),
            "{rule:?} is kept, and harm was done"
        );
        assert!(
            case(rule)(Rules::without(rule)),
            "{rule:?} is broken, and no harm was done"
        );
    }
}

fn renewals(actions: Vec<Action>) -> usize {
    let renews = |action: &&Action| matches!(action, Action::Tell(ToCoordinator::Request(_)));
    actions.iter().filter(renews).count()
}

#[test]
fn a_renewal_goes_along_with_another_claims_when_half_of_its_pause_is_over() {
    let mut duo = Duo::held_by_a(Rules::all());
    let along = |duo: &mut Duo, ms| renewals(duo.a_event(Event::Along, at(ms)));
    assert_eq!(along(&mut duo, 1043), 0, "just renewed");
    assert_eq!(along(&mut duo, 1044), 1, "nearly due");
    assert_eq!(renewals(duo.tick_a(at(1078))), 0, "it may be answered yet");
    assert_eq!(renewals(duo.tick_a(at(1079))), 1);
}

#[test]
fn a_renewal_that_nobody_answers_is_followed_sooner_than_one_that_is_answered() {
    let mut duo = Duo::held_by_a(Rules::all());
    assert_eq!(renewals(duo.tick_a(at(1087))), 0);
    duo.a_renews(at(1088));
    assert_eq!(renewals(duo.tick_a(at(1122))), 0);
    let renewal = duo.a_renews(at(1123));
    let (answer, _) = duo.grantor_hears(renewal, at(1124)).remove(0);
    duo.a_hears(answer, at(1125));
    assert_eq!(renewals(duo.tick_a(at(1210))), 0);
    assert_eq!(renewals(duo.tick_a(at(1211))), 1);
}

#[test]
fn a_grant_to_another_node_has_a_higher_number() {
    let mut duo = Duo::held_by_a(Rules::all());
    let first = duo.a.holds().expect("a holds").0;
    let second = duo.b_acquires(at(1500)).expect("b is granted");
    assert!(second > first);
    let answer = duo.a_wants(at(1510));
    assert!(matches!(&answer, ToCoordinator::Request(it) if it.want == Want::Acquire));
    assert!(grant_of(&duo.grantor_hears(answer, at(1511)).remove(0).0).is_none());
}

#[test]
fn a_holder_that_restarts_while_no_coordinator_answers_goes_on_holding() {
    let mut duo = Duo::held_by_a(Rules::all());
    let (_, ask) = duo.a_alone(at(1200)).remove(0);
    duo.b_promises(ask, at(1201));
    let held = duo.a.holds().expect("a holds by b's promise").0;
    // Longer than a lease, shorter than b's promise.
    duo.upgrade_a(at(3000));
    assert_eq!(duo.a.holds(), Some((held, at(3350))));
    promises::no_longer_alone(&mut duo, at(3050));
    assert_eq!(duo.b.promise_in_force(at(3051)), None, "released");
    let (_, ask) = duo.a_alone(at(3300)).remove(0);
    duo.b_promises(ask, at(3301));
    duo.upgrade_a(at(3300).plus(Duration::from_secs(30)));
    assert_eq!(duo.a.holds(), None, "b's promise has run out");
}

#[test]
fn a_move_to_where_the_claim_is_does_not_bring_it_back_later() {
    let mut duo = Duo::held_by_a(Rules::all());
    let mut out = Vec::new();
    duo.grantor
        .wish(Some(NodeName::new("a")), at(1001), &mut out);
    duo.b_acquires(at(1500)).expect("a fell silent");
    duo.a_wants(at(1510));
    let renewal = duo.a_wants(at(1511));
    duo.grantor_hears(renewal, at(1512));
    assert_eq!(duo.grantor.explain(at(1513)).moving, None);
}

#[test]
fn a_record_remembers_the_longest_lease() {
    let group = Group::exclusive(GroupVersion(1), duo::names(&["a"]));
    assert_eq!(Record::new(group, ms(900)).longest_ttl, ms(900));
}
