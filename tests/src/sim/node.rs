//! A simulated node: its clock, its kernel, its disk, and an agent that drives the real members.
//!
//! The agent may be stopped between reading the clock and doing what the core wants. It follows the
//! rule for fences ([`lease::after_commit`]) as a real driver must.

use fastrand::Rng;
use hamesh_claims::ids::{BootId, Session};
use hamesh_claims::lease::{self, Commit};
use hamesh_claims::member::{Action, Durable, Event, Note, RunMemory, Start};
use hamesh_claims::message::Health;
use hamesh_claims::{Member, Moment};

use super::clock::{Clock, MS};
use super::fence::LATE;
use super::site::{CLAIMS, COORDINATORS, NODES, WORKER, WORKER_NODE, index, name, timing, title};
use super::world::{QUIET, REST, STORM, What, World};

/// A node.
pub struct Machine {
    pub clock: Clock,
    pub up: bool,
    /// The run of its agent.
    pub run: u64,
    boot: u128,
    /// Until when its agent does nothing: it is stopped, or busy with earlier actions.
    pub busy_until: u64,
    pub health: Health,
    members: Vec<Option<Member>>,
    disks: Vec<Durable>,
    memories: Vec<Option<RunMemory>>,
    /// When the last write to each disk is done: they are done one after the other.
    written: Vec<u64>,
    wakes: Vec<u64>,
}

impl Machine {
    /// A machine that has just booted for the first time, at the beginning.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            clock: Clock::boot(0, rng),
            up: false,
            run: 0,
            boot: 1,
            busy_until: 0,
            health: Health::Healthy,
            members: vec![None; CLAIMS],
            disks: vec![Durable::default(); CLAIMS],
            memories: vec![None; CLAIMS],
            written: vec![0; CLAIMS],
            wakes: vec![u64::MAX; CLAIMS],
        }
    }
}

impl World {
    /// Starts the agent of `node` with whatever is on disk and in `/run`.
    pub(super) fn start_agent(&mut self, node: usize) {
        if self.machines[node].up {
            return;
        }
        let (now, rules) = (self.now, self.options.rules);
        let machine = &mut self.machines[node];
        machine.up = true;
        machine.run += 1;
        machine.busy_until = now;
        self.trace(|| format!("node-{node} starts"));
        for claim in 0..CLAIMS {
            let machine = &mut self.machines[node];
            let start = Start {
                me: name(node),
                session: Session(machine.run * 100 + node as u64),
                boot: BootId(machine.boot),
                timing: timing(350),
                disk: machine.disks[claim].clone(),
                run: machine.memories[claim].clone(),
                health: machine.health,
            };
            let mut out = Vec::new();
            let at = machine.clock.read(now);
            machine.members[claim] = Some(Member::start_with(rules, start, at, &mut out));
            machine.wakes[claim] = u64::MAX;
            self.act(node, claim, at, out);
            self.wake(node, claim);
        }
    }

    /// Kills the agent of `node`; its fences close by themselves, in the kernel.
    pub(super) fn kill_agent(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        machine.up = false;
        machine.members = vec![None; CLAIMS];
        self.trace(|| format!("node-{node} is killed"));
    }

    /// Cuts the power of `node`: fences and `/run` are gone, the clock starts anew.
    pub(super) fn power_off(&mut self, node: usize) {
        self.kill_agent(node);
        let machine = &mut self.machines[node];
        machine.boot += 1;
        machine.memories = vec![None; CLAIMS];
        machine.clock = Clock::boot(self.now, &mut self.rng);
        for claim in 0..CLAIMS {
            self.fences[claim].close(node, self.now);
        }
    }

    pub(super) fn member(&mut self, node: usize, claim: usize, run: Option<u64>, event: Event) {
        let machine = &mut self.machines[node];
        if !machine.up || run.is_some_and(|run| run != machine.run) {
            return;
        }
        if machine.busy_until > self.now {
            let later = machine.busy_until;
            self.at(later, What::Member(node, claim, run, event));
            return;
        }
        let at = machine.clock.read(self.now);
        if let Event::Stored(disk) = &event {
            machine.disks[claim] = disk.clone();
        }
        let Some(member) = &mut machine.members[claim] else {
            return;
        };
        let mut out = Vec::new();
        member.handle(event.clone(), at, &mut out);
        let of_time = matches!(event, Event::Tick | Event::Along);
        if !of_time || !out.is_empty() {
            self.trace(|| format!("node-{node} {} <- {event:?}", title(claim)));
        }
        self.act(node, claim, at, out);
        self.wake(node, claim);
        if event == Event::Tick {
            for other in (0..CLAIMS).filter(|other| *other != claim) {
                self.member(node, other, run, Event::Along);
            }
        }
    }

    fn wake(&mut self, node: usize, claim: usize) {
        let machine = &mut self.machines[node];
        let Some(member) = &machine.members[claim] else {
            return;
        };
        let due = machine.clock.when(member.next_wake()).max(self.now + 1);
        if due < machine.wakes[claim] || machine.wakes[claim] <= self.now {
            machine.wakes[claim] = due;
            let run = Some(machine.run);
            self.at(due, What::Member(node, claim, run, Event::Tick));
        }
    }

    /// Does what the member wants, one after the other; `read` is the clock that it decided by.
    fn act(&mut self, node: usize, claim: usize, read: Moment, actions: Vec<Action>) {
        let mut at = self.now;
        for action in actions {
            self.trace(|| format!("node-{node} {}      -> {action:?}", title(claim)));
            if self.stalls && self.now < STORM && self.rng.u32(0..2000) == 0 {
                at += self.rng.u64(0..700) * MS;
            }
            match action {
                Action::Open { until, .. } => {
                    self.outcome.takes += 1;
                    self.check_take(node, claim, read);
                    self.arm(node, claim, at, read, until);
                }
                Action::Rearm(until) => self.arm(node, claim, at, read, until),
                Action::Close(why) => {
                    at += self.rng.u64(0..15 * MS);
                    self.fences[claim].close(node, at);
                    if self.now > STORM + REST - QUIET {
                        self.violation(format!(
                            "node-{node} closes {} at rest: {why}",
                            title(claim)
                        ));
                    }
                }
                Action::Tell(message) => {
                    for coordinator in 0..COORDINATORS {
                        let what = What::Grantor(coordinator, claim, message.clone());
                        self.send(at, node, NODES + coordinator, &what);
                    }
                }
                Action::TellPeer(to, message) => {
                    let to = index(&to);
                    let what = What::Member(to, claim, None, Event::FromPeer(message));
                    self.send(at, node, to, &what);
                }
                Action::Remember(memory) => {
                    self.machines[node].memories[claim] = Some(memory);
                }
                Action::Store(disk) => {
                    let written = &mut self.machines[node].written[claim];
                    let done = at.max(*written) + self.rng.u64(MS..60 * MS);
                    *written = done;
                    let run = Some(self.machines[node].run);
                    self.at(done, What::Member(node, claim, run, Event::Stored(disk)));
                }
                Action::Note(Note::Alone) => self.outcome.alone += 1,
                Action::Note(_) => {}
            }
        }
        let machine = &mut self.machines[node];
        machine.busy_until = machine.busy_until.max(at);
    }

    /// Arms the kernel's fence, and judges by the clock after it, as a driver must.
    fn arm(&mut self, node: usize, claim: usize, at: u64, read: Moment, until: Moment) {
        let clock = self.machines[node].clock;
        match lease::after_commit(until, read, clock.read(at)) {
            Commit::Delete => {
                self.fences[claim].close(node, at);
                let run = Some(self.machines[node].run);
                self.at(at, What::Member(node, claim, run, Event::FenceLost));
            }
            Commit::Again(_) | Commit::Stands => {
                let closes = clock.when(until) + self.rng.u64(0..LATE);
                if let Some(other) = self.fences[claim].open(node, at, closes) {
                    let claim = title(claim);
                    self.violation(format!("node-{node} and node-{other} both hold {claim}"));
                }
                if claim == WORKER && node == WORKER_NODE && self.evicted[claim] {
                    self.violation(format!("the evicted node-{node} holds {}", title(claim)));
                }
            }
        }
    }

    fn check_take(&mut self, node: usize, claim: usize, read: Moment) {
        let member = self.machines[node].members[claim].as_ref();
        let promised = member
            .and_then(|member| member.promise_in_force(read))
            .map(|it| it.0.clone());
        if let Some(to) = promised {
            self.violation(format!(
                "node-{node} takes {} against its promise to {to}",
                title(claim)
            ));
        }
    }

    /// The kernel's element of a fence vanishes: somebody flushed the rules.
    pub(super) fn flush(&mut self, node: usize, claim: usize) {
        self.fences[claim].close(node, self.now);
        let run = Some(self.machines[node].run);
        self.at(
            self.now + 50 * MS,
            What::Member(node, claim, run, Event::FenceLost),
        );
    }
}
