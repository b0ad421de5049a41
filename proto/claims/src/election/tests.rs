//! One candidate, told by hand what the store says.

use super::*;

const PACE: Pace = Pace {
    ttl: ms(1000),
    renew_every: ms(250),
    look_every: ms(100),
};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(n: u64) -> Moment {
    Moment::ZERO.plus(ms(n))
}

fn candidate(name: &str, instance: u64, run: u64) -> Candidate {
    let name = NodeName::new(name);
    Candidate {
        name,
        instance,
        run,
    }
}

fn record(term: u64, leader: Candidate, beat: u64) -> Leadership {
    Leadership {
        term,
        leader,
        beat,
        resigned: false,
    }
}

/// A candidate, and what it wanted last.
struct Told(Election);

impl Told {
    fn new() -> Self {
        Self(Election::new(candidate("a", 1, 10), PACE))
    }

    fn hear(&mut self, now: u64, event: Event) -> Vec<Action> {
        let mut out = Vec::new();
        self.0.handle(event, at(now), &mut out);
        out
    }

    /// One that took over the empty store at `now`.
    fn leading(now: u64) -> Self {
        let mut told = Self::new();
        assert_eq!(told.hear(now, Event::Tick), [Action::Read]);
        let next = record(1, candidate("a", 1, 10), 0);
        let write = Action::Write { over: None, next };
        assert_eq!(told.hear(now, Event::Read(None, 0)), [write]);
        let leads = Action::Leads {
            term: 1,
            until: at(now + 1000),
        };
        assert_eq!(told.hear(now + 40, Event::Written), [leads]);
        told
    }
}

#[test]
fn a_leader_counts_from_the_moment_it_sent() {
    let mut told = Told::leading(0);
    assert!(told.0.leads(at(999)) && !told.0.leads(at(1000)));
    assert_eq!(told.0.next_wake(), at(250));
    let own = |beat| record(1, candidate("a", 1, 10), beat);
    let write = Action::Write {
        over: Some(own(0)),
        next: own(1),
    };
    assert_eq!(told.hear(250, Event::Tick), [write]);
    assert_eq!(
        told.hear(900, Event::Written),
        [
            Action::Extended(at(1250)),
            Action::Write {
                over: Some(own(1)),
                next: own(2)
            }
        ]
    );
}

#[test]
fn a_challenger_takes_over_what_it_saw_unchanged_for_longer_than_a_leadership() {
    let mut told = Told::new();
    let other = |beat| record(7, candidate("b", 2, 20), beat);
    told.hear(0, Event::Tick);
    assert_eq!(told.hear(50, Event::Read(Some(other(3)), 7)), []);
    // A beat: the count begins anew.
    told.hear(150, Event::Tick);
    assert_eq!(told.hear(160, Event::Read(Some(other(4)), 7)), []);
    for now in [260, 600, 1000, 1210] {
        assert_eq!(told.hear(now, Event::Tick), [Action::Read], "at {now} ms");
        assert_eq!(told.hear(now + 5, Event::Read(Some(other(4)), 7)), []);
    }
    told.hear(1315, Event::Tick);
    let next = record(8, candidate("a", 1, 10), 0);
    let over = Some(other(4));
    assert_eq!(
        told.hear(1316, Event::Read(Some(other(4)), 7)),
        [Action::Write { over, next }]
    );
}

#[test]
fn the_record_of_an_earlier_run_of_the_same_machine_is_taken_at_once_a_blank_machines_is_not() {
    for (instance, taken) in [(1, true), (2, false)] {
        let mut told = Told::new();
        told.hear(0, Event::Tick);
        let before = record(4, candidate("a", instance, 9), 6);
        let wanted = told.hear(1, Event::Read(Some(before), 4));
        assert_eq!(!wanted.is_empty(), taken, "instance {instance}: {wanted:?}");
    }
}

#[test]
fn a_resigned_leadership_is_taken_at_once() {
    let mut told = Told::new();
    told.hear(0, Event::Tick);
    let resigned = Leadership {
        resigned: true,
        ..record(4, candidate("b", 2, 9), 6)
    };
    let wanted = told.hear(1, Event::Read(Some(resigned), 4));
    assert!(matches!(&wanted[..], [Action::Write { next, .. }] if next.term == 5));
}

#[test]
fn a_leader_without_an_answer_stops_by_its_own_count_and_leads_on_if_nobody_took_over() {
    let mut told = Told::leading(0);
    told.hear(250, Event::Tick);
    assert_eq!(told.hear(600, Event::Unanswered), []);
    assert!(!told.0.leads(at(1000)));
    assert_eq!(told.hear(5000, Event::Tick), [Action::Read]);
    // The first rewriting was carried out, and its answer lost.
    let own = record(1, candidate("a", 1, 10), 1);
    let wanted = told.hear(5010, Event::Read(Some(own), 1));
    assert!(matches!(&wanted[..], [Action::Write { next, .. }] if next.beat == 2));
    assert!(!told.0.leads(at(5010)), "a reading proves nothing");
    assert_eq!(
        told.hear(5030, Event::Written),
        [Action::Extended(at(6010))]
    );
}

#[test]
fn a_leader_that_finds_anothers_record_is_deposed_and_follows() {
    let mut told = Told::leading(0);
    told.hear(250, Event::Tick);
    assert_eq!(told.hear(260, Event::Refused), [Action::Read]);
    let other = record(2, candidate("b", 2, 20), 0);
    assert_eq!(
        told.hear(270, Event::Read(Some(other.clone()), 2)),
        [Action::Deposed(Some(other.clone()))]
    );
    assert_eq!(told.0.known(), Some(&other));
    assert!(!told.0.leads(at(270)));
}

#[test]
fn a_take_over_whose_answer_was_lost_counts_from_its_first_rewriting() {
    let mut told = Told::new();
    told.hear(0, Event::Tick);
    told.hear(1, Event::Read(None, 3));
    assert_eq!(told.hear(500, Event::Unanswered), []);
    assert_eq!(told.hear(599, Event::Tick), []);
    assert_eq!(told.hear(600, Event::Tick), [Action::Read]);
    let own = record(4, candidate("a", 1, 10), 0);
    told.hear(760, Event::Read(Some(own), 4));
    assert!(!told.0.leads(at(760)));
    let leads = Action::Leads {
        term: 4,
        until: at(1760),
    };
    assert_eq!(told.hear(800, Event::Written), [leads]);
}

#[test]
fn who_is_alone_leads_on_while_the_store_is_silent_and_no_longer_when_it_is_not() {
    let mut told = Told::leading(0);
    assert_eq!(told.hear(100, Event::Alone(true)), []);
    // The rewriting is sent, and no answer comes.
    let sent = told.hear(250, Event::Tick);
    assert!(matches!(
        &sent[..],
        [Action::Extended(until), Action::Write { .. }] if *until == at(1250)
    ));
    assert_eq!(told.0.next_wake(), at(500));
    assert_eq!(told.hear(500, Event::Tick), [Action::Extended(at(1500))]);
    told.hear(600, Event::Alone(false));
    assert_eq!(told.hear(1400, Event::Tick), []);
    assert!(!told.0.leads(at(1500)));
}

#[test]
fn who_resigns_leads_no_more() {
    let mut told = Told::leading(0);
    let wanted = told.hear(100, Event::Resign);
    assert!(matches!(&wanted[..], [Action::Write { next, .. }] if next.resigned));
    assert!(!told.0.leads(at(100)));
    assert_eq!(told.0.next_wake(), Moment::END);
    assert_eq!(told.hear(200, Event::Written), []);
}
