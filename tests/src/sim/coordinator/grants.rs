//! The grantors of a simulated coordinator: what they are told, and what they want done.

use hamesh_claims::grantor::{Action, Event, Note, Spec};
use hamesh_claims::member;
use hamesh_claims::message::ToCoordinator;

use super::Command;
use crate::sim::clock::MS;
use crate::sim::site::{NODES, group, index, name, title};
use crate::sim::world::{STORM, What, World};

impl World {
    pub(super) fn each_grantor(&mut self, who: usize, event: &Event) {
        for claim in 0..self.coordinators[who].grantors.len() {
            self.grant(who, claim, event.clone());
        }
    }

    pub(in crate::sim) fn grantor(&mut self, who: usize, claim: usize, message: ToCoordinator) {
        let coordinator = &self.coordinators[who];
        if coordinator.busy_until > self.now {
            let later = coordinator.busy_until;
            self.at(later, What::Grantor(who, claim, message));
            return;
        }
        self.grant(who, claim, Event::FromMember(message));
    }

    pub(super) fn grant(&mut self, who: usize, claim: usize, event: Event) {
        let now = self.coordinators[who].clock.read(self.now);
        let Some(grantor) = self.coordinators[who].grantors.get_mut(claim) else {
            return;
        };
        let mut out = Vec::new();
        grantor.handle(event, now, &mut out);
        self.carry_out(who, claim, out);
    }

    /// An operator's command, to whichever coordinator leads.
    pub(in crate::sim) fn command(&mut self, claim: usize, command: &Command) {
        for who in 0..self.coordinators.len() {
            let coordinator = &mut self.coordinators[who];
            let now = coordinator.clock.read(self.now);
            let Some(grantor) = coordinator.grantors.get_mut(claim) else {
                continue;
            };
            // Whoever says of a node that comes back that it is off makes two holders after a
            // restore: nobody does so here.
            let off = matches!(command, Command::Fenced(_) | Command::Evict(_));
            if !grantor.leads(now) || (off && self.restores) {
                continue;
            }
            let mut out = Vec::new();
            match command {
                Command::Move(to) => grantor.wish(Some(name(*to)), now, &mut out),
                Command::Group(members) => {
                    let group = group(claim, 0, members);
                    // A change may be under way: the operator is told so, and gives up.
                    drop(grantor.change_group(group, now, &mut out));
                }
                Command::Fenced(node) => {
                    drop(grantor.confirm_fenced(&name(*node), now, &mut out));
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

    /// All coordinators read the same wishes of the site.
    pub(in crate::sim) fn configure(&mut self, claim: usize, change: impl Fn(&mut Spec)) {
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
            let stalls = self.stalls && self.now < STORM;
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

    pub(in crate::sim) fn woken(&mut self, who: usize, claim: usize, run: u64) {
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
