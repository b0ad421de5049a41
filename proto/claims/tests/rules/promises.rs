//! Without these rules a promise is relied on that does not bind, or does not cover everyone.

use std::time::Duration;

use hamesh_claims::group::Group;
use hamesh_claims::ids::{GroupVersion, NodeName, RequestId, Session};
use hamesh_claims::member::{Action, Event};
use hamesh_claims::message::{Hint, HintKind, Release, ToCoordinator, ToMember, ToPeer};
use hamesh_claims::{Moment, Rules};

use crate::duo::{self, Duo, at, ms};

pub fn a_holder_lives_on_some_of_the_promises(rules: Rules) -> bool {
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

pub fn a_member_takes_against_its_promise(rules: Rules) -> bool {
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

pub fn a_holder_promises_what_it_does_not_keep(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let ask = duo.ask("b", 1, GroupVersion(1), ms(350));
    duo.a_event(Event::FromPeer(ToPeer::Ask(ask)), at(1010));
    duo.a.promise_in_force(at(1011)).is_some() && duo.a.holds().is_some()
}

pub fn a_member_promises_to_an_older_group(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let newer = Group::exclusive(GroupVersion(2), duo::names(&["a", "b", "c"]));
    duo.b_learns(newer, at(900));
    let ask = duo.ask("a", 1, GroupVersion(1), ms(350));
    duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1000));
    duo.b.promise_in_force(at(1001)).is_some()
}

pub fn a_group_is_acknowledged_before_it_is_on_disk(rules: Rules) -> bool {
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
pub fn joined(rules: Rules, a_knows: bool, after: Duration) -> bool {
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

pub fn a_joiner_holds_before_all_old_members_know(rules: Rules) -> bool {
    joined(rules, false, Duration::from_secs(60))
}

pub fn a_joiner_holds_while_an_old_promise_lives(rules: Rules) -> bool {
    joined(rules, true, Duration::from_secs(30))
}

pub fn a_promise_is_sent_and_not_remembered(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let ask = duo.ask("a", 1, GroupVersion(1), ms(350));
    let out = duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1000));
    let told = out
        .iter()
        .position(|it| matches!(it, Action::TellPeer(_, ToPeer::Promise(_))));
    let kept = out.iter().position(|it| matches!(it, Action::Remember(_)));
    kept.is_none() || kept > told
}

pub fn a_member_that_forgot_its_promise_takes(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    for (_, ask) in duo.a_alone(at(1200)) {
        duo.b_promises(ask, at(1201));
    }
    duo.restart_b(at(1210), None);
    duo.b_acquires(at(1450)).is_some()
}

pub fn a_memory_of_another_boot_is_believed(rules: Rules) -> bool {
    let mut duo = Duo::new(rules);
    let memory = duo.memory_of_another_boot();
    duo.restart_b(at(1210), Some(memory));
    duo.b_acquires(at(1450)).is_some()
}

pub fn an_old_release_ends_a_later_promise(rules: Rules) -> bool {
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

pub fn a_holder_relies_on_what_it_released(rules: Rules) -> bool {
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
pub fn no_longer_alone(duo: &mut Duo, now: Moment) {
    let renewal = duo.a_renews(now);
    let (answer, _) = duo.grantor_hears(renewal, now).remove(0);
    for action in duo.a_hears(answer, now) {
        if let Action::TellPeer(_, release @ ToPeer::Release(_)) = action {
            duo.b_event(Event::FromPeer(release), now);
        }
    }
}

pub fn a_late_promise_revives_what_was_released(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let (_, ask) = duo.a_alone(at(1200)).remove(0);
    let late = duo.b_event(Event::FromPeer(ToPeer::Ask(ask)), at(1201));
    no_longer_alone(&mut duo, at(1250));
    duo.a_alone(at(1450));
    for action in late {
        if let Action::TellPeer(_, promise) = action {
            duo.a_event(Event::FromPeer(promise), at(1451));
        }
    }
    duo.tick_a(at(1590));
    let bound = duo.grantor_bound();
    let free = duo.b.promise_in_force(bound).is_none();
    free && duo.a.holds().is_some_and(|(_, until)| until > bound)
}

pub fn a_restarted_holder_relies_on_what_it_released(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let (_, ask) = duo.a_alone(at(1200)).remove(0);
    duo.b_promises(ask, at(1201));
    no_longer_alone(&mut duo, at(1250));
    duo.upgrade_a(at(1260));
    duo.a.holds().is_some() && duo.b.promise_in_force(at(1260)).is_none()
}
