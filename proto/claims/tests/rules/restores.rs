//! Without these rules a restored site and a coordinator of before make two holders.

use hamesh_claims::group::Group;
use hamesh_claims::ids::{Epoch, GrantId, GroupVersion, NodeName};
use hamesh_claims::member::{Action, Durable, Event};
use hamesh_claims::message::{Answer, Knows, Ruling, ToCoordinator, ToMember};
use hamesh_claims::reason::Refusal;
use hamesh_claims::{Grantor, Moment, Rules, grantor};

use crate::duo::{Duo, at, ms, names};

/// Above every version that a group had before.
const RESTORED: GroupVersion = GroupVersion(1000);
const RESTORED_EPOCH: Epoch = Epoch {
    incarnation: 2,
    term: 1,
};

/// `a` stays with the coordinator of before, which extends its lease; `b` moved on.
pub fn a_restored_leader_grants_beside_one_of_before(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    let mut before = duo.restored(at(1000));
    for now in (1050..1500).step_by(50) {
        renewed_by(&mut before, &mut duo, at(now));
    }
    let taken = b_taught_acquires(&mut duo, at(1490)).is_some();
    taken && duo.a.holds().is_some()
}

/// `b` says that it left the coordinators of before while its disk does not say so yet.
pub fn a_member_says_what_it_may_forget(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    duo.restored(at(1000));
    let wanted = duo.b_wants(at(1500));
    let (answer, _) = duo.grantor_hears(wanted, at(1501)).remove(0);
    let out = duo.b_event(Event::FromCoordinator(answer), at(1502));
    knows(&out).is_some()
}

/// `a` has left the coordinators of before, and holds by its lease of then.
pub fn a_gathered_holder_is_taken_for_none(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    duo.restored(at(1000));
    tells(&mut duo, "b", true, at(1100));
    tells(&mut duo, "a", false, at(1100));
    duo.grantor_tick(at(1101));
    let taken = b_taught_acquires(&mut duo, at(1110)).is_some();
    taken && duo.a.holds().is_some()
}

/// `a` starts anew under a lease that its last run has left in the kernel.
pub fn a_restarted_holder_says_that_it_is_closed(rules: Rules) -> bool {
    let mut duo = Duo::held_by_a(rules);
    duo.restored(at(1000));
    duo.restart_a(at(1050));
    a_knows(&mut duo, at(1060)).closed
}

/// The coordinator of before extends the lease of `a`.
fn renewed_by(before: &mut Grantor, duo: &mut Duo, now: Moment) {
    for action in duo.tick_a(now) {
        let Action::Tell(message) = action else {
            continue;
        };
        let mut out = Vec::new();
        before.handle(grantor::Event::FromMember(message), now, &mut out);
        for action in out {
            if let grantor::Action::Tell(_, answer @ ToMember::Answer(_)) = action {
                duo.a_hears(answer, now);
            }
        }
    }
}

fn knows(out: &[Action]) -> Option<Knows> {
    out.iter().find_map(|action| match action {
        Action::Tell(ToCoordinator::Knows(knows)) => Some(knows.clone()),
        _ => None,
    })
}

fn refused_as_gathered(answer: &ToMember) -> bool {
    matches!(
        answer,
        ToMember::Answer(Answer {
            ruling: Ruling::Refused(Refusal::Gathering),
            ..
        })
    )
}

/// As by a leader that gathers: no group is taught meanwhile.
fn refused_since_it_gathers(answer: &ToMember) -> bool {
    let taught = |it: &ToMember| matches!(it, ToMember::Answer(it) if it.group.is_some());
    refused_as_gathered(answer) && !taught(answer)
}

/// `a` asks, hears that it is gathered, writes it down, and says so when it hears it again.
fn a_knows(duo: &mut Duo, now: Moment) -> Knows {
    let written = Durable {
        group: Some(duo.record().group),
        seen: RESTORED_EPOCH,
    };
    a_hears_that_it_is_gathered(duo, now);
    duo.a_event(Event::Stored(written), now);
    let out = a_hears_that_it_is_gathered(duo, now);
    knows(&out).expect("it is on the disk of a")
}

fn a_hears_that_it_is_gathered(duo: &mut Duo, now: Moment) -> Vec<Action> {
    let wanted = duo.a_wants(now);
    let (answer, _) = duo.grantor_hears(wanted, now).remove(0);
    assert!(refused_as_gathered(&answer), "{answer:?}");
    duo.a_hears(answer, now)
}

/// The restored leader hears that `name` left the coordinators of before, and holds or does not.
fn tells(duo: &mut Duo, name: &str, closed: bool, now: Moment) {
    let ToCoordinator::Knows(knows) = told(duo, name, &["a", "b"]) else {
        unreachable!()
    };
    duo.grantor_hears(ToCoordinator::Knows(Knows { closed, ..knows }), now);
}

/// What `name` tells the restored leader: that it left the coordinators of before.
fn told(duo: &Duo, name: &str, candidates: &[&str]) -> ToCoordinator {
    let mut group = duo.record().group;
    (group.version, group.candidates) = (GroupVersion(3), names(candidates));
    ToCoordinator::Knows(Knows {
        from: NodeName::new(name),
        seen: RESTORED_EPOCH,
        group: Some(group),
        closed: false,
    })
}

/// `b` learns the group in force, and asks a moment later.
fn b_taught_acquires(duo: &mut Duo, now: Moment) -> Option<GrantId> {
    let group = duo.record().group;
    duo.b_learns(group, now);
    duo.b_acquires(now.plus(ms(10)))
}

/// Both ask, hear that they are gathered, write it down, and say so.
fn both_tell(duo: &mut Duo, now: Moment) {
    let wanted = duo.b_wants(now);
    let (answer, _) = duo.grantor_hears(wanted, now).remove(0);
    assert!(refused_since_it_gathers(&answer), "{answer:?}");
    duo.b_event(Event::FromCoordinator(answer), now);
    let written = Durable {
        group: Some(Group::exclusive(GroupVersion(1), names(&["a", "b"]))),
        seen: RESTORED_EPOCH,
    };
    duo.b_event(Event::Stored(written), now);
    let again = duo.b_wants(now);
    let (answer, _) = duo.grantor_hears(again, now).remove(0);
    let out = duo.b_event(Event::FromCoordinator(answer), now);
    let knows_b = knows(&out).expect("it is on the disk of b");
    duo.grantor_hears(ToCoordinator::Knows(knows_b), now);
    let knows_a = told(duo, "a", &["a", "b"]);
    duo.grantor_hears(knows_a, now);
    duo.grantor_tick(now);
}

#[test]
fn a_holder_that_was_refused_while_others_were_awaited_is_adopted_when_they_are_there() {
    let mut duo = Duo::held_by_a(Rules::all());
    duo.restored(at(1000));
    both_tell(&mut duo, at(1100));
    let renewal = duo.a_renews(at(1150));
    let (answer, _) = duo.grantor_hears(renewal, at(1151)).remove(0);
    duo.a_hears(answer, at(1152));
    assert!(
        duo.a
            .holds()
            .is_some_and(|(grant, until)| { grant.epoch.incarnation == 2 && until > at(1350) })
    );
}

#[test]
fn a_node_of_a_later_group_than_the_backups_is_awaited_until_it_is_confirmed_off() {
    let mut duo = Duo::new(Rules::all());
    duo.restored(at(1000));
    for name in ["a", "b"] {
        let knows = told(&duo, name, &["a", "b", "c"]);
        duo.grantor_hears(knows, at(2000));
    }
    duo.grantor_tick(at(2000));
    let c = NodeName::new("c");
    let explained = duo.grantor.explain(at(2001));
    assert!(explained.gathering);
    assert_eq!(explained.awaited, std::slice::from_ref(&c));
    assert_eq!(duo.b_acquires(at(9000)), None);
    duo.confirm_fenced(&c, at(9001));
    assert_eq!(duo.record().gathering, None);
    b_taught_acquires(&mut duo, at(41_000)).expect("b is granted");
}

#[test]
fn the_wait_after_all_have_told_outlasts_every_lease_of_before() {
    let mut duo = Duo::new(Rules::all());
    duo.restored(at(1000));
    both_tell(&mut duo, at(2000));
    assert_eq!(b_taught_acquires(&mut duo, at(30_900)), None);
    b_taught_acquires(&mut duo, at(33_000)).expect("b is granted");
    duo.grantor_tick(at(33_001));
    assert_eq!(duo.record().longest_ttl, ms(350));
}

#[test]
fn the_members_of_a_restored_claim_learn_its_group_only_once_all_are_there() {
    let mut duo = Duo::held_by_a(Rules::all());
    duo.restored(at(1000));
    both_tell(&mut duo, at(1100));
    let wanted = duo.b_wants(at(1101));
    let (answer, _) = duo.grantor_hears(wanted, at(1102)).remove(0);
    let ToMember::Answer(answer) = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(answer.group.map(|group| group.version), Some(RESTORED));
}

#[test]
fn a_word_of_before_the_restore_counts_for_nothing() {
    let mut duo = Duo::new(Rules::all());
    duo.restored(at(1000));
    for name in ["a", "b"] {
        let ToCoordinator::Knows(mut knows) = told(&duo, name, &["a", "b"]) else {
            unreachable!()
        };
        knows.seen.incarnation = 1;
        duo.grantor_hears(ToCoordinator::Knows(knows), at(2000));
    }
    duo.grantor_tick(at(2000));
    assert!(duo.record().gathering.is_some());
}

#[test]
fn a_claim_that_all_say_is_held_by_none_is_granted_as_soon_as_they_are_there() {
    let mut duo = Duo::new(Rules::all());
    duo.restored(at(1000));
    for name in ["a", "b"] {
        tells(&mut duo, name, true, at(2000));
    }
    assert_eq!(duo.b_acquires(at(2001)), None, "not persisted yet");
    duo.grantor_tick(at(2002));
    b_taught_acquires(&mut duo, at(2003)).expect("b is granted");
    // A later leader has a lease to wait for, not a promise.
    assert_eq!(duo.record().longest_ttl, ms(350));
}

#[test]
fn a_holder_that_lapses_while_its_lease_is_waited_for_ends_the_wait() {
    let mut duo = Duo::held_by_a(Rules::all());
    duo.restored(at(1000));
    tells(&mut duo, "b", true, at(1100));
    tells(&mut duo, "a", false, at(1100));
    duo.grantor_tick(at(1101));
    let renewal = duo.a_renews(at(1340));
    duo.grantor_hears(renewal, at(1341));
    // The answer is lost, and the lease of `a` runs out.
    duo.tick_a(at(1350));
    assert_eq!(b_taught_acquires(&mut duo, at(1400)), None);
    tells(&mut duo, "a", true, at(1401));
    b_taught_acquires(&mut duo, at(1402)).expect("b is granted");
}

#[test]
fn a_member_is_asked_again_until_it_says_that_its_fence_is_closed() {
    let mut duo = Duo::new(Rules::all());
    duo.restored(at(1000));
    tells(&mut duo, "b", true, at(1100));
    assert!(!a_knows(&mut duo, at(1100)).closed, "its last run may hold");
    tells(&mut duo, "a", false, at(1100));
    duo.grantor_tick(at(1101));
    let out = a_hears_that_it_is_gathered(&mut duo, at(30_900));
    assert!(knows(&out).is_some_and(|it| !it.closed));
    let out = a_hears_that_it_is_gathered(&mut duo, at(30_950));
    assert!(knows(&out).is_some_and(|it| it.closed));
}

#[test]
fn a_node_that_was_confirmed_off_has_not_said_that_its_fence_is_closed() {
    let mut duo = Duo::new(Rules::all());
    duo.restored(at(1000));
    tells(&mut duo, "b", true, at(2000));
    duo.confirm_fenced(&NodeName::new("a"), at(2001));
    assert_eq!(b_taught_acquires(&mut duo, at(32_900)), None);
    b_taught_acquires(&mut duo, at(32_930)).expect("b is granted");
}

#[test]
fn a_leader_that_finds_all_gathered_counts_no_word_of_before() {
    let mut duo = Duo::new(Rules::all());
    duo.restored(at(1000));
    for name in ["a", "b"] {
        tells(&mut duo, name, true, at(2000));
    }
    duo.grantor_tick(at(2001));
    let record = duo.record();
    duo.new_leader(at(2002), record);
    for name in ["a", "b"] {
        tells(&mut duo, name, true, at(2003));
    }
    assert_eq!(b_taught_acquires(&mut duo, at(2300)), None);
    b_taught_acquires(&mut duo, at(2400)).expect("b is granted");
}
