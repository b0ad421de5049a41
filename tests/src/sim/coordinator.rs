//! A simulated coordinator: the real election over the store, and the real grantors.
//!
//! The driver does not stop the grantors by itself when the leadership ends: that is the grantors'
//! own rule. It asks the store for one thing of the election at a time, and gives up waiting for an
//! answer as a real driver does; what it asked may be carried out all the same, whenever.

mod grants;

use std::time::Duration;

use fastrand::Rng;
use hamesh_claims::election::{self, Candidate, Pace};
use hamesh_claims::grantor::{Event, Spec};
use hamesh_claims::group::Record;
use hamesh_claims::ids::Epoch;
use hamesh_claims::{Election, Grantor, Moment, Rules};

use super::clock::{Clock, MS};
use super::site::{CLAIMS, name, spec};
use super::store::{Op, Reply, Write};
use super::world::{What, World};

/// The times of the election: shorter than a site's, so that runs are short.
const PACE: Pace = Pace {
    ttl: Duration::from_millis(1000),
    renew_every: Duration::from_millis(400),
    look_every: Duration::from_millis(150),
};
/// How long the driver waits for an answer of the store.
const PATIENCE: u64 = 600 * MS;
/// How often records are written again that the store did not confirm.
const AGAIN: u64 = 250 * MS;

/// What an operator does to a claim.
#[derive(Clone, Debug)]
pub enum Command {
    /// Moves it.
    Move(usize),
    /// Changes its group to these members.
    Group(Vec<usize>),
    /// Confirms that a node is off.
    Fenced(usize),
    /// Evicts the worker, or stops trying to.
    Evict(bool),
    /// Readmits the worker.
    Readmit,
}

/// How well a coordinator and the store hear each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// Both ways.
    Whole,
    /// Nothing that is asked arrives.
    Mute,
    /// What is asked arrives, and no answer comes back.
    Deaf,
}

/// A coordinator.
pub struct Coordinator {
    pub clock: Clock,
    pub up: bool,
    run: u64,
    /// Of its machine: another one after it was replaced by a blank one.
    instance: u64,
    /// Which store is its own: a restored site has another.
    pub home: usize,
    pub busy_until: u64,
    pub line: Line,
    pub grantors: Vec<Grantor>,
    wakes: Vec<u64>,
    /// Records that the store has not confirmed yet: written again until it does.
    unwritten: Vec<Option<Record>>,
    /// What the store has of each claim, as far as it said.
    revisions: Vec<u64>,
    pub election: Election,
    /// When its timer goes off next.
    clockwork: u64,
    term: Option<u64>,
    /// Numbers what is asked for the election: only the newest is waited for.
    asked: u64,
    waiting: bool,
    pub specs: Vec<Spec>,
}

impl Coordinator {
    /// One that is about to start.
    pub fn new(rng: &mut Rng, rules: Rules) -> Self {
        Self {
            clock: Clock::boot(0, rng),
            up: false,
            run: 0,
            instance: rng.u64(..),
            home: 0,
            busy_until: 0,
            line: Line::Whole,
            grantors: Vec::new(),
            wakes: vec![u64::MAX; CLAIMS],
            unwritten: vec![None; CLAIMS],
            revisions: vec![0; CLAIMS],
            election: Election::with_rules(rules, nobody(), PACE),
            clockwork: 0,
            term: None,
            asked: 0,
            waiting: false,
            specs: (0..CLAIMS).map(spec).collect(),
        }
    }
}

/// Until it starts.
fn nobody() -> Candidate {
    Candidate {
        name: name(0),
        instance: 0,
        run: 0,
    }
}

impl World {
    pub(super) fn start_coordinator(&mut self, who: usize) {
        let run = self.rng.u64(..);
        let rules = self.options.rules;
        let coordinator = &mut self.coordinators[who];
        if coordinator.up {
            return;
        }
        coordinator.up = true;
        coordinator.run += 1;
        coordinator.busy_until = self.now;
        coordinator.waiting = false;
        coordinator.clockwork = 0;
        let me = Candidate {
            name: hamesh_claims::ids::NodeName::new(&format!("control-{who}")),
            instance: coordinator.instance,
            run,
        };
        coordinator.election = Election::with_rules(rules, me, PACE);
        let run = coordinator.run;
        self.trace(|| format!("control-{who} starts"));
        let soon = self.now + self.rng.u64(0..250) * MS;
        self.at(soon, What::Clockwork(who, run));
        self.at(soon, What::Again(who, run));
    }

    pub(super) fn kill_coordinator(&mut self, who: usize) {
        let coordinator = &mut self.coordinators[who];
        coordinator.up = false;
        coordinator.grantors.clear();
        coordinator.term = None;
        coordinator.election = Election::new(nobody(), PACE);
        self.trace(|| format!("control-{who} is killed"));
    }

    /// A blank machine takes the place of one that was lost, under its name.
    pub(super) fn blank_coordinator(&mut self, who: usize) {
        self.kill_coordinator(who);
        self.coordinators[who].instance = self.rng.u64(..);
    }

    /// The election's timer.
    pub(super) fn clockwork(&mut self, who: usize, run: u64) {
        self.elect_when_free(who, run, What::Clockwork(who, run), election::Event::Tick);
    }

    /// Nothing came of what was asked in time.
    pub(super) fn out_of_patience(&mut self, who: usize, run: u64, asked: u64) {
        let coordinator = &self.coordinators[who];
        if coordinator.waiting && coordinator.asked == asked {
            let again = What::Patience(who, run, asked);
            self.elect_when_free(who, run, again, election::Event::Unanswered);
        }
    }

    fn elect_when_free(&mut self, who: usize, run: u64, again: What, event: election::Event) {
        let coordinator = &self.coordinators[who];
        if !coordinator.up || coordinator.run != run {
            return;
        }
        if coordinator.busy_until > self.now {
            self.at(coordinator.busy_until, again);
            return;
        }
        self.elect(who, event, Vec::new());
    }

    fn elect(&mut self, who: usize, event: election::Event, records: Vec<(Record, u64)>) {
        let coordinator = &mut self.coordinators[who];
        if !matches!(event, election::Event::Tick) {
            coordinator.waiting = false;
        }
        let now = coordinator.clock.read(self.now);
        let mut out = Vec::new();
        coordinator.election.handle(event, now, &mut out);
        for action in out {
            self.trace(|| format!("control-{who} -> {action:?}"));
            match action {
                election::Action::Read => self.ask_for_election(who, Op::Read),
                election::Action::Write { over, next } => {
                    self.ask_for_election(who, Op::Lead { over, next });
                }
                election::Action::Leads { term, until } => {
                    self.lead(who, term, until, records.clone(), now);
                }
                election::Action::Extended(until) => {
                    self.each_grantor(who, &Event::Leading(until));
                }
                election::Action::Deposed(_) => {
                    self.coordinators[who].grantors.clear();
                    self.coordinators[who].term = None;
                }
            }
        }
        self.check_one_leader(who);
        self.wake_election(who);
    }

    fn wake_election(&mut self, who: usize) {
        let coordinator = &mut self.coordinators[who];
        let wake = coordinator.election.next_wake();
        let due = coordinator.clock.when(wake).max(self.now + 1);
        let before = coordinator.clockwork;
        if wake < Moment::END && (due < before || before <= self.now) {
            coordinator.clockwork = due;
            let run = coordinator.run;
            self.at(due, What::Clockwork(who, run));
        }
    }

    fn lead(
        &mut self,
        who: usize,
        term: u64,
        until: Moment,
        records: Vec<(Record, u64)>,
        now: Moment,
    ) {
        let rules = self.options.rules;
        let coordinator = &mut self.coordinators[who];
        let epoch = Epoch {
            incarnation: 1 + coordinator.home as u64,
            term,
        };
        coordinator.term = Some(term);
        let (records, revisions): (Vec<_>, _) = records.into_iter().unzip();
        coordinator.revisions = revisions;
        let specs = coordinator.specs.clone().into_iter().zip(records);
        let lead = |(spec, record)| Grantor::lead_with(rules, epoch, spec, record, until, now);
        coordinator.grantors = specs.map(lead).collect();
        coordinator.wakes = vec![u64::MAX; CLAIMS];
        coordinator.unwritten = vec![None; CLAIMS];
        self.outcome.leaders += 1;
        self.each_grantor(who, &Event::Tick);
    }

    /// By their own counts at most one of them leads, of those with one store.
    fn check_one_leader(&mut self, who: usize) {
        let home = self.coordinators[who].home;
        let leads = |coordinator: &Coordinator| {
            let contends = coordinator.up && coordinator.home == home;
            contends && coordinator.election.leads(coordinator.clock.read(self.now))
        };
        let leading = self.coordinators.iter().filter(|it| leads(it)).count();
        if leading > 1 {
            self.violation(format!("control-{who} leads, and another one does too"));
        }
    }

    fn ask_for_election(&mut self, who: usize, op: Op) {
        let coordinator = &mut self.coordinators[who];
        coordinator.asked += 1;
        coordinator.waiting = true;
        let (run, asked) = (coordinator.run, coordinator.asked);
        self.ask_store(who, asked, op);
        self.at(self.now + PATIENCE, What::Patience(who, run, asked));
    }

    fn ask_store(&mut self, who: usize, asked: u64, op: Op) {
        let coordinator = &self.coordinators[who];
        let (run, home) = (coordinator.run, coordinator.home);
        if coordinator.line != Line::Mute {
            // A request may be on its way for longer than a leadership.
            let slow = self.stalls && self.now < super::world::STORM && self.rng.u32(0..50) == 0;
            let most = if slow { 3000 } else { 20 };
            let delay = self.rng.u64(1..most) * MS;
            self.at(self.now + delay, What::Store(who, run, asked, home, op));
        }
    }

    /// A request reaches the store, which answers when its disk lets it.
    pub(super) fn store(&mut self, who: usize, run: u64, asked: u64, home: usize, op: Op) {
        if self.stores[home].stalled_until > self.now {
            let later = self.stores[home].stalled_until + self.rng.u64(1..50) * MS;
            self.at(later, What::Store(who, run, asked, home, op));
            return;
        }
        let reply = self.stores[home].serve(op);
        let delay = self.rng.u64(MS..4 * MS);
        if self.coordinators[who].line != Line::Deaf {
            self.at(self.now + delay, What::Reply(who, run, asked, reply));
        }
    }

    /// Writes again what the store did not confirm.
    pub(super) fn write_again(&mut self, who: usize, run: u64) {
        let coordinator = &self.coordinators[who];
        if !coordinator.up || coordinator.run != run {
            return;
        }
        if coordinator.busy_until <= self.now {
            for claim in 0..CLAIMS {
                self.write(who, claim);
            }
        }
        self.at(self.now + AGAIN, What::Again(who, run));
    }

    fn write(&mut self, who: usize, claim: usize) {
        let coordinator = &self.coordinators[who];
        let record = coordinator.unwritten[claim].clone();
        if let (Some(term), Some(record)) = (coordinator.term, record) {
            let over = coordinator.revisions[claim];
            let write = Write {
                term,
                claim,
                over,
                record,
            };
            self.ask_store(who, 0, Op::Write(write));
        }
    }

    pub(super) fn replied(&mut self, who: usize, run: u64, asked: u64, reply: Reply) {
        let coordinator = &mut self.coordinators[who];
        if !coordinator.up || coordinator.run != run {
            return;
        }
        if coordinator.busy_until > self.now {
            let later = coordinator.busy_until;
            self.at(later, What::Reply(who, run, asked, reply));
            return;
        }
        let awaited = coordinator.waiting && coordinator.asked == asked;
        match reply {
            Reply::Leadership(found) if awaited => {
                let term = found.as_ref().map_or(0, |found| found.term);
                self.elect(who, election::Event::Read(found, term), Vec::new());
            }
            Reply::Led(records) if awaited => self.elect(who, election::Event::Written, records),
            Reply::Refused if awaited => self.elect(who, election::Event::Refused, Vec::new()),
            Reply::Written(claim, record, revision) => {
                if coordinator.unwritten[claim].as_ref() == Some(&record) {
                    coordinator.unwritten[claim] = None;
                    coordinator.revisions[claim] = revision;
                    self.grant(who, claim, Event::Persisted(record));
                }
            }
            Reply::Leadership(_)
            | Reply::Led(_)
            | Reply::Refused
            | Reply::Outdated
            | Reply::Succeeded => {}
        }
    }
}
