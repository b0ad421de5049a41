//! Invariants of every transition, under arbitrary sequences of events.
//!
//! A failing sequence is printed shrunk, with the seed that replays it.

// One harness, of which each test file uses a part.
#[allow(dead_code)]
mod duo;

use duo::{EPOCH, at, ms, names};
use hamesh_claims::grantor::{self, Spec};
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{Epoch, GrantId, GroupVersion, NodeName, RequestId, Session};
use hamesh_claims::lease::{Timing, grantor_deadline, holder_deadline};
use hamesh_claims::member::{Action, Event};
use hamesh_claims::message::{
    Answer, Ask, Health, Release, Request, Ruling, ToCoordinator, ToMember, ToPeer, Want,
};
use hamesh_claims::{Grantor, Member, Moment, Rules};
use proptest::prelude::{Strategy, any, prop_oneof, proptest};

/// What a member may meet. Answers name one of the last requests, or none.
#[derive(Clone, Debug)]
enum Input {
    Pass(u64),
    Granted { back: u64, term: u64, ttl: u64 },
    Freed { back: u64 },
    Ask { number: u64, ttl: u64 },
    Release { upto: u64 },
    FenceLost,
    Ill(bool),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => (0_u64..200).prop_map(Input::Pass),
        4 => (0_u64..6, 1_u64..3, 100_u64..600)
            .prop_map(|(back, term, ttl)| Input::Granted { back, term, ttl }),
        1 => (0_u64..4).prop_map(|back| Input::Freed { back }),
        2 => (1_u64..20, 100_u64..900).prop_map(|(number, ttl)| Input::Ask { number, ttl }),
        1 => (1_u64..20).prop_map(|upto| Input::Release { upto }),
        1 => any::<()>().prop_map(|()| Input::FenceLost),
        1 => any::<bool>().prop_map(Input::Ill),
    ]
}

fn event(input: &Input, last: u64) -> Event {
    let mine = |back: u64| RequestId {
        session: Session(1),
        number: last.saturating_sub(back),
    };
    let theirs = |number| RequestId {
        session: Session(9),
        number,
    };
    let answer = |back, term, ruling| {
        let epoch = Epoch {
            incarnation: 1,
            term,
        };
        let answer = Answer {
            id: mine(back),
            epoch,
            group: None,
            ruling,
        };
        Event::FromCoordinator(ToMember::Answer(answer))
    };
    match input {
        Input::Pass(_) => Event::Tick,
        Input::Granted { back, term, ttl } => {
            let epoch = Epoch {
                incarnation: 1,
                term: *term,
            };
            let grant = GrantId {
                epoch,
                number: last,
            };
            let ruling = Ruling::Granted {
                grant,
                ttl: ms(*ttl),
                yields: None,
            };
            answer(*back, *term, ruling)
        }
        Input::Freed { back } => answer(
            *back,
            2,
            Ruling::Freed(GrantId {
                epoch: EPOCH,
                number: 1,
            }),
        ),
        Input::Ask { number, ttl } => {
            let (from, group) = (NodeName::new("b"), GroupVersion(1));
            let ask = Ask {
                from,
                id: theirs(*number),
                group,
                ttl: ms(*ttl),
            };
            Event::FromPeer(ToPeer::Ask(ask))
        }
        Input::Release { upto } => {
            let release = Release {
                from: NodeName::new("b"),
                upto: theirs(*upto),
            };
            Event::FromPeer(ToPeer::Release(release))
        }
        Input::FenceLost => Event::FenceLost,
        Input::Ill(ill) => Event::Health(if *ill {
            Health::Failed
        } else {
            Health::Healthy
        }),
    }
}

/// What must hold after `member` handled `event`, whose actions are `out`.
fn check_member(
    member: &Member,
    event: &Event,
    sent: &[(u64, Moment)],
    now: Moment,
    out: &[Action],
) {
    let promised = member.promise_in_force(now).is_some();
    assert!(
        !(promised && member.holds().is_some()),
        "holds against its promise"
    );
    assert!(member.next_wake() > now, "would be woken at once again");
    if let Some((_, until)) = member.holds() {
        assert!(until > now, "holds past its fence");
    }
    let Some(Action::Open { until, .. }) = out.iter().find(|it| matches!(it, Action::Open { .. }))
    else {
        return;
    };
    // A lease that still stands opens its fence again, if no coordinator answers.
    let Event::FromCoordinator(ToMember::Answer(answer)) = event else {
        assert!(member.alone_since().is_some(), "{event:?} opens a fence");
        return;
    };
    let asked = sent.iter().find(|(number, _)| *number == answer.id.number);
    let Ruling::Granted { ttl, .. } = answer.ruling else {
        panic!("opened by {:?}", answer.ruling);
    };
    let asked = asked.expect("opened by an answer to nothing").1;
    assert_eq!(*until, holder_deadline(asked, now, ttl, Rules::all()));
}

/// What a node may ask of a grantor.
#[derive(Clone, Debug)]
enum Wish {
    Pass(u64),
    Acquire(usize),
    Renew(usize),
    GiveBack(usize),
    Leader,
}

fn wish() -> impl Strategy<Value = Wish> {
    prop_oneof![
        4 => (0_u64..200).prop_map(Wish::Pass),
        4 => (0_usize..3).prop_map(Wish::Acquire),
        4 => (0_usize..3).prop_map(Wish::Renew),
        1 => (0_usize..3).prop_map(Wish::GiveBack),
        1 => any::<()>().prop_map(|()| Wish::Leader),
    ]
}

/// What the nodes were told, and until when the grantors are bound to each.
#[derive(Default)]
struct Ledger {
    grants: [Option<GrantId>; 3],
    bound: [Moment; 3],
}

impl Ledger {
    fn granted(&mut self, node: usize, grant: GrantId, until: Moment, now: Moment) {
        for other in (0..3).filter(|other| *other != node) {
            assert!(
                self.bound[other] <= now,
                "granted {grant} under the lease of {other}"
            );
            assert!(
                self.grants[other].is_none_or(|theirs| theirs < grant),
                "an older number"
            );
        }
        self.grants[node] = Some(grant);
        self.bound[node] = self.bound[node].max(until);
    }
}

fn lead(term: u64, now: Moment) -> Grantor {
    let spec = Spec::new(Timing::new(ms(350)));
    let group = Group::exclusive(GroupVersion(1), names(&["a", "b", "c"]));
    let record = Record::new(group, spec.timing.ttl);
    let epoch = Epoch {
        incarnation: 1,
        term,
    };
    Grantor::lead(epoch, spec, record, now.plus(ms(1_000_000)), now)
}

proptest! {
    #[test]
    fn a_member_never_holds_against_its_word_nor_beyond_what_it_was_told(
        inputs in proptest::collection::vec(input(), 1..80)
    ) {
        let mut duo = duo::Duo::new(Rules::all());
        let (mut now, mut sent, mut last) = (at(1000), Vec::new(), 0);
        for input in inputs {
            if let Input::Pass(span) = input {
                now = now.plus(ms(span));
            }
            let event = event(&input, last);
            let out = duo.a_event(event.clone(), now);
            check_member(&duo.a, &event, &sent, now, &out);
            for action in &out {
                if let Action::Tell(ToCoordinator::Request(request)) = action {
                    last = request.id.number;
                    sent.push((last, now));
                }
            }
        }
    }

    #[test]
    fn a_grantor_hands_on_only_what_ran_out_or_was_given_back(
        wishes in proptest::collection::vec(wish(), 1..120)
    ) {
        let (mut now, mut term, mut ledger) = (at(1000), 1, Ledger::default());
        let mut grantor = lead(term, now);
        for (number, wish) in wishes.into_iter().enumerate() {
            let (node, want) = match wish {
                Wish::Pass(span) => {
                    now = now.plus(ms(span));
                    continue;
                }
                Wish::Leader => {
                    term += 1;
                    grantor = lead(term, now);
                    continue;
                }
                Wish::Acquire(node) => (node, Want::Acquire),
                // A holder renews, and gives back, only what it was told and still believes.
                Wish::Renew(node) => match ledger.grants[node].filter(|_| now < ledger.bound[node]) {
                    Some(grant) => (node, Want::Renew(grant)),
                    None => continue,
                },
                Wish::GiveBack(node) => match ledger.grants[node] {
                    Some(grant) => {
                        ledger.bound[node] = now;
                        (node, Want::GiveBack(grant))
                    }
                    None => continue,
                },
            };
            let id = RequestId { session: Session(1), number: number as u64 + 1 };
            let from = NodeName::new(["a", "b", "c"][node]);
            let seen = Epoch { incarnation: 1, term };
            let (group, health) = (GroupVersion(1), Health::Healthy);
            let request = Request { from, id, seen, group, health, want };
            let mut out = Vec::new();
            let message = ToCoordinator::Request(request);
            grantor.handle(grantor::Event::FromMember(message), now, &mut out);
            for action in out {
                if let grantor::Action::Tell(_, ToMember::Answer(answer)) = action
                    && let Ruling::Granted { grant, ttl, .. } = answer.ruling
                {
                    ledger.granted(node, grant, grantor_deadline(now, ttl, Rules::all()), now);
                }
            }
        }
    }
}
