//! Which coordinator leads: a record that the leader rewrites, and that others watch.
//!
//! ```text
//!              the record is free, this machine's own of before,
//!              or was seen unchanged for 1.03 ttl + 25 ms: written over
//!  following ----------------------------------------------------------> leading --+ rewritten:
//!      ^                                                                    |  ^   | until = send
//!      +-------- the record is another's, or gone: deposed -----------------+  +---+ + ttl
//! ```
//! Guarantees, for as long as clocks drift apart by no more than 3 %: at most one candidate leads
//! at any moment by its own count, whatever requests and answers are lost, delayed or repeated,
//! and whoever is stopped in between. A leader that hears nothing stops leading by its own count;
//! it leads on under the same term when a rewriting passes, since nobody can have led meanwhile.
//!
//! The idea: every write is a compare-and-set over the record as it was read. Beats make each
//! record differ from the one before, so that `unchanged` means that nobody renewed. The leader
//! counts from before it sent, the challenger from after its answer came.
//!
//! Absent: the store (the driver says what became of a request), and its leases: a stalled leader
//! of etcd 3.4 still answers keep-alives.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::NodeName;
use crate::lease;
use crate::rules::{Rule, Rules};
use crate::time::Moment;

/// Who may lead: one run of a coordinator's program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Candidate {
    /// Its node.
    pub name: NodeName,
    /// Drawn at random when the machine became a coordinator: a blank machine under the same name
    /// has another. Two runs of one instance are never alive together.
    pub instance: u64,
    /// Drawn at random at each start.
    pub run: u64,
}

/// The record of the leadership.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leadership {
    /// Rises by one from leader to leader.
    pub term: u64,
    /// Who leads.
    pub leader: Candidate,
    /// Rises with each rewriting.
    pub beat: u64,
    /// The leader has stopped and waits for nobody: anyone may take over at once.
    pub resigned: bool,
}

/// The times of an election: the same for all candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pace {
    /// How long a leadership lasts after a rewriting was sent.
    pub ttl: Duration,
    /// Between two rewritings.
    pub renew_every: Duration,
    /// Between two looks of those who follow.
    pub look_every: Duration,
}

impl Pace {
    /// What sites use: a leader that is lost is replaced after 2.3 s at the latest, and a request
    /// may go unanswered while the store elects a leader of its own.
    pub const SITE: Self = Self {
        ttl: Duration::from_millis(2000),
        renew_every: Duration::from_millis(500),
        look_every: Duration::from_millis(200),
    };
}

/// What happens to a candidate. One request is open at a time; each gets one of the last four.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Time passed: due at [`Election::next_wake`], harmless at any time.
    Tick,
    /// Whether the site has no other coordinator.
    Alone(bool),
    /// It shall stop leading, for good.
    Resign,
    /// The store holds this, and the last term that was ever minted is at least this.
    Read(Option<Leadership>, u64),
    /// The write was carried out.
    Written,
    /// The write was not carried out: the record was not as it was read.
    Refused,
    /// No answer came: a write may have been carried out, or may be yet.
    Unanswered,
}

/// What a candidate wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Read the record, linearizably.
    Read,
    /// Write the record if it still is as it was read.
    Write {
        /// As it was read; `None`: there is none.
        over: Option<Leadership>,
        /// What to write.
        next: Leadership,
    },
    /// It leads under this term, until then.
    Leads {
        /// The term.
        term: u64,
        /// Until when, by its own clock.
        until: Moment,
    },
    /// It leads until then.
    Extended(Moment),
    /// Its leadership is over for good; this is what the record says now.
    Deposed(Option<Leadership>),
}

/// One candidate's view of who leads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Election {
    rules: Rules,
    me: Candidate,
    pace: Pace,
    alone: bool,
    state: State,
    open: Option<Open>,
    wake: Moment,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum State {
    Following {
        /// The record, and since when it has been seen like this.
        seen: Option<(Leadership, Moment)>,
    },
    Leading {
        record: Leadership,
        /// Whether the store is known to hold exactly this.
        sure: bool,
        /// `None`: the record is its own, but no rewriting was confirmed yet.
        until: Option<Moment>,
    },
    Resigned,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Open {
    Read,
    Write { next: Leadership, sent: Moment },
}

impl Election {
    /// A candidate that has not looked yet.
    #[must_use]
    pub const fn new(me: Candidate, pace: Pace) -> Self {
        Self::with_rules(Rules::all(), me, pace)
    }

    /// [`Election::new`] with some rule broken: for the checks only.
    #[must_use]
    pub const fn with_rules(rules: Rules, me: Candidate, pace: Pace) -> Self {
        Self {
            rules,
            me,
            pace,
            alone: false,
            state: State::Following { seen: None },
            open: None,
            wake: Moment::ZERO,
        }
    }

    /// Takes note of `event` at `now`; what is to be done is added to `out`.
    pub fn handle(&mut self, event: Event, now: Moment, out: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Alone(alone) => self.alone = alone,
            Event::Resign => self.resign(out),
            Event::Read(found, last_term) => self.read(found, last_term, now, out),
            Event::Written => self.written(now, out),
            Event::Refused => self.unsure(),
            Event::Unanswered => {
                self.unsure();
                self.wake = self.wake.max(now.plus(self.pace.look_every));
            }
        }
        self.stay(now, out);
        if self.open.is_none() && now >= self.wake {
            self.go_on(now, out);
        }
    }

    /// When to say [`Event::Tick`] at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Moment {
        let turn = match (&self.open, &self.state) {
            (None, State::Following { .. } | State::Leading { .. }) => self.wake,
            (Some(_), _) | (None, State::Resigned) => Moment::END,
        };
        let stays = self.until().filter(|_| self.alone);
        stays.map_or(turn, |until| turn.min(self.stays_from(until)))
    }

    /// Whether it leads at `now`, by its own count.
    #[must_use]
    pub fn leads(&self, now: Moment) -> bool {
        self.until().is_some_and(|until| now < until)
    }

    /// Until when it leads; `None`: it does not, or does not know yet.
    #[must_use]
    pub const fn until(&self) -> Option<Moment> {
        match &self.state {
            State::Leading { until, .. } => *until,
            State::Following { .. } | State::Resigned => None,
        }
    }

    /// The record as it was last known; `None`: there was none, or nothing was read yet.
    #[must_use]
    pub fn known(&self) -> Option<&Leadership> {
        match &self.state {
            State::Leading { record, .. } => Some(record),
            State::Following { seen } => seen.as_ref().map(|(seen, _)| seen),
            State::Resigned => None,
        }
    }

    fn read(
        &mut self,
        found: Option<Leadership>,
        last_term: u64,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        if self.open.take() != Some(Open::Read) {
            return;
        }
        let own = found.as_ref().is_some_and(|found| found.leader == self.me);
        match (&mut self.state, found) {
            (State::Resigned, _) => {}
            (State::Leading { record, sure, .. }, Some(found)) if own => {
                (*record, *sure) = (found, true);
                self.wake = now;
            }
            (State::Leading { .. }, found) => {
                out.push(Action::Deposed(found.clone()));
                let seen = found.map(|found| (found, now));
                self.state = State::Following { seen };
                self.wake = now.plus(self.pace.look_every);
            }
            // A take-over whose answer was lost. It counts from its first rewriting.
            (State::Following { .. }, Some(record)) if own => {
                self.state = State::Leading {
                    record,
                    sure: true,
                    until: None,
                };
                self.wake = now;
            }
            (State::Following { seen }, found) => {
                let unchanged = seen.as_ref().map(|(seen, _)| seen) == found.as_ref();
                if !unchanged {
                    *seen = found.clone().map(|found| (found, now));
                }
                self.wake = now.plus(self.pace.look_every);
                self.challenge(found, last_term, now, out);
            }
        }
    }

    /// Takes over if that is due.
    fn challenge(
        &mut self,
        found: Option<Leadership>,
        last_term: u64,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        let State::Following { seen } = &self.state else {
            return;
        };
        let free = found.as_ref().is_none_or(|found| {
            let before = (&found.leader.name, found.leader.instance);
            found.resigned || before == (&self.me.name, self.me.instance)
        });
        let waits = self.rules.keeps(Rule::ChallengerWaits);
        let over = |(_, since): &(Leadership, Moment)| {
            !waits || now > lease::grantor_deadline(*since, self.pace.ttl, self.rules)
        };
        if !free && !seen.as_ref().is_some_and(over) {
            return;
        }
        let term = found.as_ref().map_or(0, |found| found.term).max(last_term) + 1;
        let next = Leadership {
            term,
            leader: self.me.clone(),
            beat: 0,
            resigned: false,
        };
        self.write(found, next, now, out);
    }

    fn written(&mut self, now: Moment, out: &mut Vec<Action>) {
        let Some(Open::Write { next, sent }) = self.open.take() else {
            return;
        };
        let counted = if self.rules.keeps(Rule::LeaderCountsFromSend) {
            sent
        } else {
            now
        };
        let before = match &self.state {
            State::Resigned => return,
            State::Following { .. } => None,
            State::Leading { until, .. } => *until,
        };
        let until = counted.plus(self.pace.ttl).max(before.unwrap_or_default());
        out.push(match before {
            None => Action::Leads {
                term: next.term,
                until,
            },
            Some(_) => Action::Extended(until),
        });
        self.state = State::Leading {
            record: next,
            sure: true,
            until: Some(until),
        };
        self.wake = sent.plus(self.pace.renew_every);
    }

    /// What became of the open request is not known, or not as hoped: look before anything else.
    fn unsure(&mut self) {
        self.open = None;
        if let State::Leading { sure, .. } = &mut self.state {
            *sure = false;
        }
    }

    /// Who is alone cannot be deposed: it leads on whether or not the store answers.
    fn stay(&mut self, now: Moment, out: &mut Vec<Action>) {
        let pace = self.pace;
        if let State::Leading {
            until: Some(until), ..
        } = &mut self.state
            && self.alone
            && now.plus(pace.ttl - pace.renew_every) >= *until
        {
            *until = now.plus(pace.ttl);
            out.push(Action::Extended(*until));
        }
    }

    /// From when on a leadership until then is extended by who is alone.
    fn stays_from(&self, until: Moment) -> Moment {
        let rest = Moment::ZERO.plus(self.pace.ttl - self.pace.renew_every);
        Moment::ZERO.plus(until.since(rest))
    }

    fn go_on(&mut self, now: Moment, out: &mut Vec<Action>) {
        match &self.state {
            State::Resigned => {}
            State::Leading {
                record, sure: true, ..
            } => {
                let next = Leadership {
                    beat: record.beat + 1,
                    ..record.clone()
                };
                self.write(Some(record.clone()), next, now, out);
            }
            State::Leading { sure: false, .. } | State::Following { .. } => {
                self.open = Some(Open::Read);
                out.push(Action::Read);
            }
        }
    }

    fn resign(&mut self, out: &mut Vec<Action>) {
        if let State::Leading {
            record, sure: true, ..
        } = &self.state
            && self.open.is_none()
        {
            let next = Leadership {
                beat: record.beat + 1,
                resigned: true,
                ..record.clone()
            };
            out.push(Action::Write {
                over: Some(record.clone()),
                next,
            });
        }
        self.state = State::Resigned;
        self.open = None;
    }

    fn write(
        &mut self,
        over: Option<Leadership>,
        next: Leadership,
        now: Moment,
        out: &mut Vec<Action>,
    ) {
        self.open = Some(Open::Write {
            next: next.clone(),
            sent: now,
        });
        out.push(Action::Write { over, next });
    }
}

#[cfg(test)]
mod tests;
