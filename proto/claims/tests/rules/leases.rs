//! Without these rules a lease outlives the word that it rests on.

use hamesh_claims::Rules;
use hamesh_claims::ids::Epoch;
use hamesh_claims::member::{Action, Event};
use hamesh_claims::message::{Hint, HintKind, ToMember};

use crate::duo::{self, Duo, at, granted, ms};

pub fn a_slow_answer_prolongs_beyond_the_grantors_word(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let renewal = duo.a_renews(at(1090));
    let (answer, _) = duo.grantor_hears(renewal, at(1091)).remove(0);
    duo.a_hears(answer, at(1300));
    let bound = duo.grantor_bound();
    duo.a.holds().is_some_and(|(_, until)| until > bound)
}

pub fn a_late_fence_meets_the_next_holder(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let (_, until) = duo.a.holds().expect("a holds");
    let latest = until.plus(hamesh_claims::lease::FENCE_LATE).plus(ms(10));
    duo.b_acquires(latest).is_some()
}

pub fn an_answer_is_believed_twice(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let (answer, _) = duo.a_takes(at(1000));
    duo.tick_a(at(1400));
    let taken = duo.b_acquires(at(1450)).is_some();
    duo.restart_a(at(1451));
    duo.a_hears(answer, at(1452));
    taken && duo.a.holds().is_some()
}

pub fn an_answer_to_a_lapsed_holder_revives_it(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let renewal = duo.a_renews(at(1340));
    let (answer, _) = duo.grantor_hears(renewal, at(1341)).remove(0);
    duo.tick_a(at(1360));
    let lapsed = duo.a.holds().is_none();
    duo.a_hears(answer, at(1370));
    lapsed && duo.a.holds().is_some()
}

pub fn an_answer_on_its_way_revives_what_was_given_back(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let renewal = duo.a_renews(at(1090));
    let (late, _) = duo.grantor_hears(renewal, at(1091)).remove(0);
    let gave = duo.a_gives_back(at(1092));
    let (freed, _) = duo.grantor_hears(gave, at(1093)).remove(0);
    duo.a_hears(freed, at(1094));
    let taken = duo.b_acquires(at(1095)).is_some();
    duo.a_hears(late, at(1096));
    taken && duo.a.holds().is_some()
}

pub fn a_late_give_back_frees_a_later_grant(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let late = duo.a_gives_back(at(1050));
    duo.restart_a(at(1060));
    duo.a_takes(at(1061));
    duo.grantor_hears(late, at(1070));
    duo.a.holds().is_some() && duo.b_acquires(at(1071)).is_some()
}

pub fn a_new_leader_grants_under_its_predecessors_lease(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    duo.new_leader(at(1010), duo.record());
    duo.b_acquires(at(1020)).is_some()
}

pub fn a_new_leader_forgets_that_leases_were_longer(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let mut record = duo.record();
    record.longest_ttl = ms(900);
    duo.new_leader(at(1010), record);
    duo.b_acquires(at(1010).plus(ms(600))).is_some()
}

pub fn a_longer_lease_is_granted_before_the_store_knows(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    duo.configure(|spec| spec.timing.ttl = ms(900), at(999));
    let known = duo.record().longest_ttl;
    let (answer, _) = duo.a_takes(at(1000));
    granted(&answer).is_some_and(|ttl| ttl > known)
}

pub fn a_dead_lease_shown_late_earns_a_new_grant(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let late = duo.a_renews(at(1090));
    duo.tick_a(at(1400));
    let taken = duo.b_acquires(at(1500)).is_some();
    duo.new_leader(at(1510), duo.record());
    duo.grantor_hears(late, at(1511));
    duo.a_takes(at(1512));
    taken && duo.b.holds().is_some() && duo.a.holds().is_some()
}

pub fn a_silent_holder_is_succeeded(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    duo.b_acquires(at(1250)).is_some() && duo.a.holds().is_some()
}

pub fn a_leader_answers_after_its_time(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let renewal = duo.a_renews(at(1090));
    let end = duo.leading_until();
    !duo.grantor_hears(renewal, end).is_empty()
}

pub fn a_leader_goes_on_beside_a_higher_epoch(rules: Rules) -> bool {
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
    let renewal = duo.a_renews(at(1090));
    !duo.grantor_hears(renewal, at(1091)).is_empty()
}

pub fn a_member_believes_a_leader_that_was_succeeded(rules: Rules) -> bool {
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

pub fn the_grantor_hears_before_the_fence_is_closed(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let out = duo.a_event(Event::Stop, at(1010));
    let told = out.iter().position(|it| matches!(it, Action::Tell(_)));
    let closed = out.iter().position(|it| matches!(it, Action::Close(_)));
    closed > told
}
