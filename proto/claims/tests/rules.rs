//! Every safety rule in a case of its own: no harm with it, harm without it.
//!
//! A case is a function of the rules that says whether harm was done. The list below is complete by
//! construction: a rule without a case does not compile.

#[allow(dead_code, reason = "a harness, of which a test file uses a part")]
mod duo;

use std::time::Duration;

use duo::{Duo, at, grant_of, granted, ms};
use hamesh_claims::grantor;
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{Epoch, GroupVersion, NodeName, RequestId, Session};
use hamesh_claims::member::{Action, Event};
use hamesh_claims::message::{
    Ask, ConsentAsk, Hint, HintKind, Release, ToCoordinator, ToMember, ToPeer, Want,
};
use hamesh_claims::{Moment, Rule, Rules};

/// Whether harm was done under these rules.
type Case = fn(Rules) -> bool;

/// The case in which breaking `rule` does harm.
fn case(rule: Rule) -> Case {
    match rule {
        Rule::HolderCountsFromSend => a_slow_answer_prolongs_beyond_the_grantors_word,
        Rule::GrantorAddsMargin => a_late_fence_meets_the_next_holder,
        Rule::FreshAnswersOnly => an_answer_is_believed_twice,
        Rule::LapsedAcquiresAfresh => an_answer_to_a_lapsed_holder_revives_it,
        Rule::GiveBackDropsEarlier => an_answer_on_its_way_revives_what_was_given_back,
        Rule::GiveBackNamesGrant => a_late_give_back_frees_a_later_grant,
        Rule::StartUpWait => a_new_leader_grants_under_its_predecessors_lease,
        Rule::LongestTtlPersisted => a_new_leader_forgets_that_leases_were_longer,
        Rule::TtlPersistedFirst => a_longer_lease_is_granted_before_the_store_knows,
        Rule::AdoptionIsNoProof => a_dead_lease_shown_late_earns_a_new_grant,
        Rule::ActAfterExpiry => a_silent_holder_is_succeeded,
        Rule::LeaderStopsInTime => a_leader_answers_after_its_time,
        Rule::HigherEpochStops => a_leader_goes_on_beside_a_higher_epoch,
        Rule::StaleEpochRefused => a_member_believes_a_leader_that_was_succeeded,
        Rule::PromisesOfAll => a_holder_lives_on_some_of_the_promises,
        Rule::PromisedRefusesGrants => a_member_takes_against_its_promise,
        Rule::HolderPromisesNothing => a_holder_promises_what_it_does_not_keep,
        Rule::PromiseNamesGroup => a_member_promises_to_an_older_group,
        Rule::GroupPersistedFirst => a_group_is_acknowledged_before_it_is_on_disk,
        Rule::JoinerNeedsAllOld => a_joiner_holds_before_all_old_members_know,
        Rule::JoinerWaits => a_joiner_holds_while_an_old_promise_lives,
        Rule::PromisePersistedFirst => a_promise_is_sent_and_not_remembered,
        Rule::ForgetfulTakesNothing => a_member_that_forgot_its_promise_takes,
        Rule::SameBootOnly => a_memory_of_another_boot_is_believed,
        Rule::ReleaseNamesAsk => an_old_release_ends_a_later_promise,
        Rule::ReleaseEndsReliance => a_holder_relies_on_what_it_released,
        Rule::ReleaseDropsEarlier => a_late_promise_revives_what_was_released,
        Rule::KeptForgottenFirst => a_restarted_holder_relies_on_what_it_released,
        Rule::FenceClosesFirst => the_grantor_hears_before_the_fence_is_closed,
        Rule::ConsentBinds => a_peer_promises_after_it_consented,
        Rule::ConsentAfterPromise => a_peer_consents_under_its_promise,
        Rule::FreshConsentsOnly => an_old_consent_counts_for_a_later_eviction,
        Rule::EvictionNeedsMajority => one_consent_evicts,
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

fn a_slow_answer_prolongs_beyond_the_grantors_word(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let renewal = duo.a_renews(at(1050));
    let (answer, _) = duo.grantor_hears(renewal, at(1051)).remove(0);
    duo.a_hears(answer, at(1300));
    let bound = duo.grantor_bound();
    duo.a.holds().is_some_and(|(_, until)| until > bound)
}

fn a_late_fence_meets_the_next_holder(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let (_, until) = duo.a.holds().expect("a holds");
    let latest = until.plus(hamesh_claims::lease::FENCE_LATE).plus(ms(10));
    duo.b_acquires(latest).is_some()
}

fn an_answer_is_believed_twice(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let (answer, _) = duo.a_takes(at(1000));
    duo.tick_a(at(1400));
    let taken = duo.b_acquires(at(1450)).is_some();
    duo.restart_a(at(1451));
    duo.a_hears(answer, at(1452));
    taken && duo.a.holds().is_some()
}

fn an_answer_to_a_lapsed_holder_revives_it(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let renewal = duo.a_renews(at(1340));
    let (answer, _) = duo.grantor_hears(renewal, at(1341)).remove(0);
    duo.tick_a(at(1360));
    let lapsed = duo.a.holds().is_none();
    duo.a_hears(answer, at(1370));
    lapsed && duo.a.holds().is_some()
}

fn an_answer_on_its_way_revives_what_was_given_back(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let renewal = duo.a_renews(at(1050));
    let (late, _) = duo.grantor_hears(renewal, at(1051)).remove(0);
    let gave = duo.a_gives_back(at(1052));
    let (freed, _) = duo.grantor_hears(gave, at(1053)).remove(0);
    duo.a_hears(freed, at(1054));
    let taken = duo.b_acquires(at(1055)).is_some();
    duo.a_hears(late, at(1056));
    taken && duo.a.holds().is_some()
}

fn a_late_give_back_frees_a_later_grant(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let late = duo.a_gives_back(at(1050));
    duo.restart_a(at(1060));
    duo.a_takes(at(1061));
    duo.grantor_hears(late, at(1070));
    duo.a.holds().is_some() && duo.b_acquires(at(1071)).is_some()
}

fn a_new_leader_grants_under_its_predecessors_lease(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    duo.new_leader(at(1010), duo.record());
    duo.b_acquires(at(1020)).is_some()
}

fn a_new_leader_forgets_that_leases_were_longer(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let mut record = duo.record();
    record.longest_ttl = ms(900);
    duo.new_leader(at(1010), record);
    duo.b_acquires(at(1010).plus(ms(600))).is_some()
}

fn a_longer_lease_is_granted_before_the_store_knows(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    duo.configure(|spec| spec.timing.ttl = ms(900), at(999));
    let known = duo.record().longest_ttl;
    let (answer, _) = duo.a_takes(at(1000));
    granted(&answer).is_some_and(|ttl| ttl > known)
}

fn a_dead_lease_shown_late_earns_a_new_grant(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let late = duo.a_renews(at(1050));
    duo.tick_a(at(1400));
    let taken = duo.b_acquires(at(1500)).is_some();
    duo.new_leader(at(1510), duo.record());
    duo.grantor_hears(late, at(1511));
    duo.a_takes(at(1512));
    taken && duo.b.holds().is_some() && duo.a.holds().is_some()
}

fn a_silent_holder_is_succeeded(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    duo.b_acquires(at(1250)).is_some() && duo.a.holds().is_some()
}

fn a_leader_answers_after_its_time(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let renewal = duo.a_renews(at(1050));
    let end = duo.leading_until();
    !duo.grantor_hears(renewal, end).is_empty()
}

fn a_leader_goes_on_beside_a_higher_epoch(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let restored = Epoch {
        incarnation: 2,
        term: 1,
    };
    let hint = ToMember::Hint(Hint {
        epoch: restored,
        what: HintKind::Ask,
    });
    let out = duo.b_event(Event::FromCoordinator(hint), at(1010));
    duo.grantor_hears(duo::request(out, |_| true), at(1012));
    let renewal = duo.a_renews(at(1050));
    !duo.grantor_hears(renewal, at(1051)).is_empty()
}

fn a_member_believes_a_leader_that_was_succeeded(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let request = duo.a_wants(at(1000));
    let (answer, _) = duo.grantor_hears(request, at(1001)).remove(0);
    let hint = Hint {
        epoch: Epoch {
            incarnation: 1,
            term: 9,
        },
        what: HintKind::Ask,
    };
    duo.a_hears(ToMember::Hint(hint), at(1002));
    duo.a_hears(answer, at(1003));
    duo.a.holds().is_some()
}

fn a_holder_lives_on_some_of_the_promises(rules: Rules) -> bool {
    let mut duo = Duo::with_members(rules, &["a", "b", "c"]);
    duo.a_takes(at(1000));
    let asks = duo.a_alone(at(1200));
    for (to, ask) in asks {
        if to == NodeName::new("b") {
            duo.b_promises(ask, at(1201));
        }
    }
    duo.tick_a(at(1351));
    duo.a.holds().is_some()
}

fn a_member_takes_against_its_promise(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let request = duo.b_wants(at(1100));
    for (_, ask) in duo.a_alone(at(1200)) {
        duo.b_promises(ask, at(1201));
    }
    // Of a leader for which the lease has run out: only the promise still keeps it.
    let answer = duo.foreign_grant(&request);
    duo.b_event(Event::FromCoordinator(answer), at(1202));
    duo.a.holds().is_some() && duo.b.holds().is_some()
}

fn a_holder_promises_what_it_does_not_keep(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let ask = duo.ask("b", 1, GroupVersion(1), ms(350));
    duo.a_event(Event::FromPeer(ToPeer::Ask(ask)), at(1010));
    duo.a.promise_in_force(at(1011)).is_some() && duo.a.holds().is_some()
}

fn a_member_promises_to_an_older_group(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let newer = Group::exclusive(GroupVersion(2), duo::names(&["a", "b", "c"]));
    duo.b_learns(newer, at(900));
    let ask = duo.ask("a", 1, GroupVersion(1), ms(350));
    duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1000));
    duo.b.promise_in_force(at(1001)).is_some()
}

fn a_group_is_acknowledged_before_it_is_on_disk(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let newer = Group::exclusive(GroupVersion(2), duo::names(&["a", "b", "c"]));
    let hint = Hint {
        epoch: duo::EPOCH,
        what: HintKind::Learn(newer),
    };
    duo.b_event(Event::FromCoordinator(ToMember::Hint(hint)), at(900));
    let ToCoordinator::Request(request) = duo.b_wants(at(1000)) else {
        return false;
    };
    request.group == GroupVersion(2)
}

/// The group changes from a and b to a, b and c; `a_knows` says whether a acknowledges it.
fn joined(rules: Rules, a_knows: bool, after: Duration) -> bool {
    let mut duo = Duo::new(rules);
    duo.change_group(&["a", "b", "c"], at(1000));
    let group = duo.record().newest().clone();
    duo.b_learns(group.clone(), at(1001));
    let request = duo.b_wants(at(1002));
    duo.grantor_hears(request, at(1002));
    if a_knows {
        duo.a_learns(group, at(1001));
        let request = duo.a_wants(at(1003));
        duo.grantor_hears(request, at(1003));
    }
    duo.grantor_tick(at(1003).plus(after));
    duo.record().group.version == GroupVersion(2)
}

fn a_joiner_holds_before_all_old_members_know(rules: Rules) -> bool {
    joined(rules, false, Duration::from_secs(60))
}

fn a_joiner_holds_while_an_old_promise_lives(rules: Rules) -> bool {
    joined(rules, true, Duration::from_secs(30))
}

fn a_promise_is_sent_and_not_remembered(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let ask = duo.ask("a", 1, GroupVersion(1), ms(350));
    let out = duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1000));
    let told = out
        .iter()
        .position(|it| matches!(it, Action::TellPeer(_, ToPeer::Promise(_))));
    let kept = out.iter().position(|it| matches!(it, Action::Remember(_)));
    kept.is_none() || kept > told
}

fn a_member_that_forgot_its_promise_takes(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    for (_, ask) in duo.a_alone(at(1200)) {
        duo.b_promises(ask, at(1201));
    }
    duo.restart_b(at(1210), None);
    duo.b_acquires(at(1450)).is_some()
}

fn a_memory_of_another_boot_is_believed(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let memory = duo.memory_of_another_boot();
    duo.restart_b(at(1210), Some(memory));
    duo.b_acquires(at(1450)).is_some()
}

fn an_old_release_ends_a_later_promise(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let ask = duo.ask("a", 5, GroupVersion(1), ms(350));
    duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1000));
    let upto = RequestId {
        session: Session(1),
        number: 4,
    };
    let release = Release {
        from: NodeName::new("a"),
        upto,
    };
    duo.b_event(Event::FromPeer(ToPeer::Release(release)), at(1001));
    duo.b.promise_in_force(at(1002)).is_none()
}

fn a_holder_relies_on_what_it_released(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    for (_, ask) in duo.a_alone(at(1200)) {
        duo.b_promises(ask, at(1201));
    }
    let renewal = duo.a_renews(at(1250));
    let (answer, _) = duo.grantor_hears(renewal, at(1251)).remove(0);
    duo.a_hears(answer, at(1252));
    duo.tick_a(at(1590));
    let bound = duo.grantor_bound();
    duo.a.holds().is_some_and(|(_, until)| until > bound)
}

/// `a`, alone, is answered by a coordinator again, and frees `b`, which hears of it.
fn no_longer_alone(duo: &mut Duo, now: Moment) {
    let renewal = duo.a_renews(now);
    let (answer, _) = duo.grantor_hears(renewal, now).remove(0);
    for action in duo.a_hears(answer, now) {
        if let Action::TellPeer(_, release @ ToPeer::Release(_)) = action {
            duo.b_event(Event::FromPeer(release), now);
        }
    }
}

fn a_late_promise_revives_what_was_released(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let (_, ask) = duo.a_alone(at(1200)).remove(0);
    let late = duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1201));
    no_longer_alone(&mut duo, at(1250));
    duo.a_alone(at(1400));
    for action in late {
        if let Action::TellPeer(_, promise) = action {
            duo.a_event(Event::FromPeer(promise), at(1401));
        }
    }
    duo.tick_a(at(1590));
    let bound = duo.grantor_bound();
    let free = duo.b.promise_in_force(bound).is_none();
    free && duo.a.holds().is_some_and(|(_, until)| until > bound)
}

fn a_restarted_holder_relies_on_what_it_released(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let (_, ask) = duo.a_alone(at(1200)).remove(0);
    duo.b_promises(ask, at(1201));
    no_longer_alone(&mut duo, at(1250));
    duo.upgrade_a(at(1260));
    duo.a.holds().is_some() && duo.b.promise_in_force(at(1260)).is_none()
}

fn the_grantor_hears_before_the_fence_is_closed(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let out = duo.a_event(Event::Stop, at(1010));
    let told = out.iter().position(|it| matches!(it, Action::Tell(_)));
    let closed = out.iter().position(|it| matches!(it, Action::Close(_)));
    closed > told
}

fn a_peer_promises_after_it_consented(rules: Rules) -> bool {
    let mut duo = Duo::worker(rules);
    duo.b_event(
        Event::FromCoordinator(ToMember::ConsentAsk(consent(1))),
        at(1000),
    );
    let ask = duo.ask("w", 1, GroupVersion(1), ms(350));
    duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1001));
    duo.b.promise_in_force(at(1002)).is_some()
}

fn a_peer_consents_under_its_promise(rules: Rules) -> bool {
    let mut duo = Duo::worker(rules);
    let ask: Ask = duo.ask("w", 1, GroupVersion(1), ms(350));
    duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1000));
    let out = duo.b_event(
        Event::FromCoordinator(ToMember::ConsentAsk(consent(1))),
        at(1001),
    );
    out.iter().any(
        |it| matches!(it, Action::Tell(ToCoordinator::Consent(consent)) if consent.ruling.is_ok()),
    )
}

fn consent(number: u64) -> ConsentAsk {
    ConsentAsk {
        epoch: duo::EPOCH,
        number,
        group: GroupVersion(1),
        ttl: ms(350),
    }
}

fn an_old_consent_counts_for_a_later_eviction(rules: Rules) -> bool {
    let mut duo = Duo::worker(rules);
    duo.grantor.evict(true, at(1000), &mut Vec::new());
    let ask = ToMember::ConsentAsk(consent(1));
    let mut late = duo.a_event(Event::FromCoordinator(ask.clone()), at(1001));
    late.extend(duo.b_event(Event::FromCoordinator(ask), at(1001)));
    duo.grantor.evict(false, at(1010), &mut Vec::new());
    duo.grantor.evict(true, at(1500), &mut Vec::new());
    for action in late {
        if let Action::Tell(consent @ ToCoordinator::Consent(_)) = action {
            duo.grantor_hears(consent, at(1501));
        }
    }
    duo.grantor_tick(at(1502));
    duo.record().evicted.is_some()
}

fn one_consent_evicts(rules: Rules) -> bool {
    let mut duo = Duo::worker(rules);
    let mut out = Vec::new();
    duo.grantor.evict(true, at(1000), &mut out);
    let asked = out.iter().find_map(|it| match it {
        grantor::Action::Tell(to, ask @ ToMember::ConsentAsk(_)) if to.as_ref() == "b" => {
            Some(ask.clone())
        }
        _ => None,
    });
    let told = duo.b_event(Event::FromCoordinator(asked.expect("b is asked")), at(1001));
    let consent = told.into_iter().find_map(|it| match it {
        Action::Tell(message @ ToCoordinator::Consent(_)) => Some(message),
        _ => None,
    });
    duo.grantor_hears(consent.expect("b consents"), at(1002));
    duo.grantor_tick(at(1003));
    duo.record().evicted.is_some()
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
    assert!(
        !duo.a_alone(at(3000)).is_empty(),
        "its own asks can be released"
    );
    duo.upgrade_a(at(1200).plus(Duration::from_secs(30)));
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
