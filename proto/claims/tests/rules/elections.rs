//! Without these rules two coordinators lead at one moment.

use hamesh_claims::Rules;
use hamesh_claims::election::{Action, Candidate, Election, Event, Leadership, Pace};
use hamesh_claims::ids::NodeName;

use crate::duo::{at, ms};

const PACE: Pace = Pace {
    ttl: ms(1000),
    renew_every: ms(250),
    look_every: ms(100),
};

pub fn a_leader_counts_from_a_late_answer(rules: Rules) -> bool {
    let (mut a, mut b) = (candidate("a", rules), candidate("b", rules));
    let record = takes_over(&mut a, 0);
    looks(&mut b, &record, 10);
    // The rewritings that follow are lost.
    tell(&mut a, Event::Written, 900);
    looks(&mut b, &record, 1100);
    tell(&mut b, Event::Written, 1100);
    both_lead(&a, &b, 1150)
}

pub fn a_challenger_takes_over_at_first_sight(rules: Rules) -> bool {
    let (mut a, mut b) = (candidate("a", rules), candidate("b", rules));
    let record = takes_over(&mut a, 0);
    tell(&mut a, Event::Written, 5);
    looks(&mut b, &record, 10);
    tell(&mut b, Event::Written, 15);
    both_lead(&a, &b, 20)
}

fn candidate(name: &str, rules: Rules) -> Election {
    let me = Candidate {
        name: NodeName::new(name),
        instance: 1,
        run: 1,
    };
    Election::with_rules(rules, me, PACE)
}

fn both_lead(a: &Election, b: &Election, now: u64) -> bool {
    a.leads(at(now)) && b.leads(at(now))
}

/// Finds the store empty: the record that it writes.
fn takes_over(election: &mut Election, now: u64) -> Leadership {
    tell(election, Event::Tick, now);
    let wanted = tell(election, Event::Read(None, 0), now);
    let written = wanted.into_iter().find_map(|action| match action {
        Action::Write { next, .. } => Some(next),
        Action::Read | Action::Leads { .. } | Action::Extended(_) | Action::Deposed(_) => None,
    });
    written.expect("it takes over an empty store")
}

/// Reads the record as it was found before.
fn looks(election: &mut Election, record: &Leadership, now: u64) {
    tell(election, Event::Tick, now);
    tell(
        election,
        Event::Read(Some(record.clone()), record.term),
        now,
    );
}

fn tell(election: &mut Election, event: Event, now: u64) -> Vec<Action> {
    let mut out = Vec::new();
    election.handle(event, at(now), &mut out);
    out
}
