//! A simulated coordinator: contends for leadership over the store, and drives the real grantors.
//!
//! A leader counts its leadership from sending; a challenger takes over only after it saw the
//! leadership unchanged for that time and the margin on its own clock. The driver does not stop the
//! grantors by itself when the leadership ends: that is the grantors' own rule.

use fastrand::Rng;
use hamesh_claims::grantor::{Action, Event, Note, Spec};
use hamesh_claims::group::Record;
use hamesh_claims::message::ToCoordinator;
use hamesh_claims::{Grantor, Moment, Rules, lease, member};

use super::clock::{Clock, MS};
use super::site::{CLAIMS, NODES, index, spec, title};
use super::store::{Leadership, Op, Reply};
use super::world::{What, World};

/// How long a leadership lasts after its last renewal was sent.
const LEADERSHIP: std::time::Duration = std::time::Duration::from_millis(1000);
/// How often the store is asked.
const ROUND: u64 = 250 * MS;

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

/// A coordinator.
pub struct Coordinator {
    pub clock: Clock,
    pub up: bool,
    run: u64,
    pub busy_until: u64,
    pub store_cut: bool,
    pub grantors: Vec<Grantor>,
    wakes: Vec<u64>,
    /// Records that the store has not confirmed yet: written again until it does.
    unwritten: Vec<Option<Record>>,
    epoch: Option<hamesh_claims::ids::Epoch>,
    seen: Option<(Leadership, Moment)>,
    pub specs: Vec<Spec>,
}

impl Coordinator {
    /// One that is about to start.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            clock: Clock::boot(0, rng),
            up: false,
            run: 0,
            busy_until: 0,
            store_cut: false,
            grantors: Vec::new(),
            wakes: vec![u64::MAX; CLAIMS],
            unwritten: vec![None; CLAIMS],
            epoch: None,
            seen: None,
            specs: (0..CLAIMS).map(spec).collect(),
        }
    }
}

impl World {
    pub(super) fn start_coordinator(&mut self, who: usize) {
        let coordinator = &mut self.coordinators[who];
        if coordinator.up {
            return;
        }
        coordinator.up = true;
        coordinator.run += 1;
        coordinator.busy_until = self.now;
        let run = coordinator.run;
        self.trace(|| format!("control-{who} starts"));
        let soon = self.now + self.rng.u64(0..ROUND);
        self.at(soon, What::Clockwork(who, run));
    }

    pub(super) fn kill_coordinator(&mut self, who: usize) {
        let coordinator = &mut self.coordinators[who];
        coordinator.up = false;
        coordinator.grantors.clear();
        (coordinator.epoch, coordinator.seen) = (None, None);
        self.trace(|| format!("control-{who} is killed"));
    }

    /// Asks the store who leads, or renews; and wakes the grantors that are due.
    pub(super) fn clockwork(&mut self, who: usize, run: u64) {
        let coordinator = &self.coordinators[who];
        if !coordinator.up || coordinator.run != run {
            return;
        }
        if coordinator.busy_until > self.now {
            self.at(coordinator.busy_until, What::Clockwork(who, run));
            return;
        }
        let op = coordinator.epoch.map_or(Op::Read, Op::Renew);
        self.ask_store(who, op);
        for claim in 0..CLAIMS {
            self.write(who, claim);
        }
        self.at(self.now + ROUND, What::Clockwork(who, run));
    }

    fn ask_store(&mut self, who: usize, op: Op) {
        let coordinator = &self.coordinators[who];
        let (run, sent) = (coordinator.run, coordinator.clock.read(self.now));
        if !coordinator.store_cut {
            let delay = self.rng.u64(MS..20 * MS);
            self.at(self.now + delay, What::Store(who, run, sent, op));
        }
    }

    fn write(&mut self, who: usize, claim: usize) {
        let coordinator = &self.coordinators[who];
        let record = coordinator.unwritten[claim].clone();
        if let (Some(epoch), Some(record)) = (coordinator.epoch, record) {
            self.ask_store(who, Op::Write(epoch, claim, record));
        }
    }

    pub(super) fn replied(&mut self, who: usize, run: u64, sent: Moment, reply: Reply) {
        let coordinator = &mut self.coordinators[who];
        if !coordinator.up || coordinator.run != run {
            return;
        }
        if coordinator.busy_until > self.now {
            let later = coordinator.busy_until;
            self.at(later, What::Reply(who, run, sent, reply));
            return;
        }
        let now = coordinator.clock.read(self.now);
        match reply {
            Reply::Leadership(read) => self.challenge(who, read, now),
            Reply::Taken(epoch, records) => {
                coordinator.epoch = Some(epoch);
                let rules = self.options.rules;
                let specs = coordinator.specs.clone().into_iter().zip(records);
                let until = sent.plus(LEADERSHIP);
                let lead =
                    |(spec, record)| Grantor::lead_with(rules, epoch, spec, record, until, now);
                coordinator.grantors = specs.map(lead).collect();
                coordinator.wakes = vec![u64::MAX; CLAIMS];
                coordinator.unwritten = vec![None; CLAIMS];
                self.outcome.leaders += 1;
                self.trace(|| format!("control-{who} leads as {epoch}"));
                self.each_grantor(who, &Event::Tick);
            }
            Reply::Renewed => self.each_grantor(who, &Event::Leading(sent.plus(LEADERSHIP))),
            Reply::Lost => {
                (coordinator.epoch, coordinator.seen) = (None, None);
                coordinator.grantors.clear();
            }
            Reply::Written(claim, record) => {
                if coordinator.unwritten[claim].as_ref() == Some(&record) {
                    coordinator.unwritten[claim] = None;
                    self.grant(who, claim, Event::Persisted(record));
                }
            }
        }
    }

    fn challenge(&mut self, who: usize, read: Leadership, now: Moment) {
        let coordinator = &mut self.coordinators[who];
        match coordinator.seen {
            Some((seen, since)) if seen == read => {
                if now > lease::grantor_deadline(since, LEADERSHIP, Rules::all()) {
                    self.ask_store(who, Op::Take(read));
                }
            }
            Some(_) | None => coordinator.seen = Some((read, now)),
        }
    }

    fn each_grantor(&mut self, who: usize, event: &Event) {
        for claim in 0..self.coordinators[who].grantors.len() {
            self.grant(who, claim, event.clone());
        }
    }

    pub(super) fn grantor(&mut self, who: usize, claim: usize, message: ToCoordinator) {
        let coordinator = &self.coordinators[who];
        if coordinator.busy_until > self.now {
            let later = coordinator.busy_until;
            self.at(later, What::Grantor(who, claim, message));
            return;
        }
        self.grant(who, claim, Event::FromMember(message));
    }

    fn grant(&mut self, who: usize, claim: usize, event: Event) {
        let now = self.coordinators[who].clock.read(self.now);
        let Some(grantor) = self.coordinators[who].grantors.get_mut(claim) else {
            return;
        };
        let mut out = Vec::new();
        grantor.handle(event, now, &mut out);
        self.carry_out(who, claim, out);
    }

    /// An operator's command, to whichever coordinator leads.
    pub(super) fn command(&mut self, claim: usize, command: &Command) {
        for who in 0..self.coordinators.len() {
            let coordinator = &mut self.coordinators[who];
            let now = coordinator.clock.read(self.now);
            let Some(grantor) = coordinator.grantors.get_mut(claim) else {
                continue;
            };
            if !grantor.leads(now) {
                continue;
            }
            let mut out = Vec::new();
            match command {
                Command::Move(to) => grantor.wish(Some(super::site::name(*to)), now, &mut out),
                Command::Group(members) => {
                    let group = super::site::group(claim, 0, members);
                    // A change may be under way: the operator is told so, and gives up.
                    drop(grantor.change_group(group, now, &mut out));
                }
                Command::Fenced(node) => {
                    drop(grantor.confirm_fenced(&super::site::name(*node), now, &mut out));
                }
                Command::Evict(wanted) => grantor.evict(*wanted, now, &mut out),
                Command::Readmit => {
                    self.evicted[claim] = false;
                    grantor.readmit(now, &mut out);
                }
            }
            self.trace(|| format!("control-{who} {} <- {command:?}", title(claim)));
            self.carry_out(who, claim, out);
        }
    }

    /// Both coordinators read the same wishes of the site.
    pub(super) fn configure(&mut self, claim: usize, change: impl Fn(&mut Spec)) {
        for who in 0..self.coordinators.len() {
            change(&mut self.coordinators[who].specs[claim]);
            let spec = self.coordinators[who].specs[claim].clone();
            self.grant(who, claim, Event::Configure(spec));
        }
    }

    fn carry_out(&mut self, who: usize, claim: usize, actions: Vec<Action>) {
        let mut at = self.now;
        for action in actions {
            self.trace(|| format!("control-{who} {}   -> {action:?}", title(claim)));
            let stalls = self.stalls && self.now < super::world::STORM;
            if stalls && self.rng.u32(0..5000) == 0 {
                at += self.rng.u64(0..2500) * MS;
            }
            match action {
                Action::Tell(to, message) => {
                    let to = index(&to);
                    let event = member::Event::FromCoordinator(message);
                    let what = What::Member(to, claim, None, event);
                    self.send(at, NODES + who, to, &what);
                }
                Action::Persist(record) => {
                    self.coordinators[who].unwritten[claim] = Some(record);
                    self.write(who, claim);
                }
                Action::Evicted(node) => {
                    self.outcome.evictions += 1;
                    self.evicted[claim] = true;
                    if self.fences[claim].open_after(index(&node), self.now) {
                        self.violation(format!("{node} serves {} and is evicted", title(claim)));
                    }
                }
                Action::StepDown(_) => self.coordinators[who].grantors.clear(),
                Action::Note(Note::GroupInForce(_)) => self.outcome.changes += 1,
                Action::Note(_) => {}
            }
        }
        let coordinator = &mut self.coordinators[who];
        coordinator.busy_until = coordinator.busy_until.max(at);
        self.wake_grantor(who, claim);
    }

    fn wake_grantor(&mut self, who: usize, claim: usize) {
        let coordinator = &mut self.coordinators[who];
        let now = coordinator.clock.read(self.now);
        let Some(grantor) = coordinator.grantors.get(claim) else {
            return;
        };
        let due = coordinator
            .clock
            .when(grantor.next_wake(now))
            .max(self.now + 1);
        if due < coordinator.wakes[claim] || coordinator.wakes[claim] <= self.now {
            coordinator.wakes[claim] = due;
            let run = coordinator.run;
            self.at(due, What::Wake(who, claim, run));
        }
    }

    pub(super) fn woken(&mut self, who: usize, claim: usize, run: u64) {
        let coordinator = &self.coordinators[who];
        if !coordinator.up || coordinator.run != run {
            return;
        }
        if coordinator.busy_until > self.now {
            self.at(coordinator.busy_until, What::Wake(who, claim, run));
            return;
        }
        self.grant(who, claim, Event::Tick);
    }
}
