//! The event queue, and what is seen from outside: traces and violations.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;
use hamesh_claims::group::Record;
use hamesh_claims::member;
use hamesh_claims::message::ToCoordinator;

use super::Options;
use super::clock::MS;
use super::coordinator::Coordinator;
use super::faults::Fault;
use super::fence::Fences;
use super::network::Network;
use super::node::Machine;
use super::site::{CLAIMS, COORDINATORS, NODES, title};
use super::store::{Op, Reply, Store};

/// How long faults last; then everything is mended.
pub const STORM: u64 = 40_000 * MS;
/// How long the site then has to come to rest: the longest promises, twice, and a group change.
pub const REST: u64 = 15_000 * MS;
/// In the last stretch nothing may move any more.
pub const QUIET: u64 = 3_000 * MS;

/// Something that happens at a simulated time.
#[derive(Clone, Debug)]
pub enum What {
    /// To a member; with a number, only to that run of its agent.
    Member(usize, usize, Option<u64>, member::Event),
    /// To a grantor, from a member.
    Grantor(usize, usize, ToCoordinator),
    /// The timer of a coordinator's election.
    Clockwork(usize, u64),
    /// What a coordinator asked for its election was not answered in time.
    Patience(usize, u64, u64),
    /// A coordinator writes again what was not confirmed.
    Again(usize, u64),
    /// A grantor's timer.
    Wake(usize, usize, u64),
    /// A request reaches a store: coordinator, run, number, which.
    Store(usize, u64, u64, usize, Op),
    /// The store's answer reaches the coordinator.
    Reply(usize, u64, u64, Reply),
    /// A stopped agent or coordinator starts.
    StartAgent(usize),
    /// A stopped coordinator starts.
    StartCoordinator(usize),
    /// Something goes wrong, or is mended.
    Fault(Fault),
}

/// What came of a run.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What must never happen, and did.
    pub violation: Option<String>,
    /// Every event, if that was asked for.
    pub trace: Vec<String>,
    /// How often a fence was opened.
    pub takes: u64,
    /// How often a holder began to live on promises.
    pub alone: u64,
    /// How many group versions came into force.
    pub changes: u64,
    /// How many workers were evicted.
    pub evictions: u64,
    /// How many leaderships there were.
    pub leaders: u64,
}

/// A site that is being simulated.
pub struct World {
    pub(super) options: Options,
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) machines: Vec<Machine>,
    pub(super) coordinators: Vec<Coordinator>,
    /// The site's store, and after a restore the one of the restored site.
    pub(super) stores: Vec<Store>,
    /// Whether the site is restored from a backup in this run.
    pub(super) restores: bool,
    pub(super) backup: Option<Vec<Record>>,
    pub(super) network: Network,
    pub(super) fences: Vec<Fences>,
    pub(super) evicted: Vec<bool>,
    pub(super) outcome: Outcome,
    /// Whether programs are stopped between two of their actions now and then.
    pub(super) stalls: bool,
    /// Who held each claim, and since when, when that was last marked.
    pub(super) marked: Vec<Option<(usize, u64)>>,
    queue: BinaryHeap<Reverse<(u64, u64, Boxed)>>,
    queued: u64,
}

/// An event that does not take part in the order of the queue: its number decides.
struct Boxed(Box<What>);

impl PartialEq for Boxed {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
impl Eq for Boxed {}
impl PartialOrd for Boxed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Boxed {
    fn cmp(&self, _: &Self) -> std::cmp::Ordering {
        std::cmp::Ordering::Equal
    }
}

impl World {
    /// A calm site: every agent and coordinator is about to start.
    #[must_use]
    pub fn new(seed: u64, options: Options) -> Self {
        let mut rng = Rng::with_seed(seed);
        let machines = (0..NODES).map(|_| Machine::new(&mut rng)).collect();
        let coordinators = (0..COORDINATORS)
            .map(|_| Coordinator::new(&mut rng, options.rules))
            .collect();
        let mut world = Self {
            options,
            rng,
            now: 0,
            machines,
            coordinators,
            stores: vec![Store::new()],
            restores: false,
            backup: None,
            network: Network::new(),
            fences: vec![Fences::new(NODES); CLAIMS],
            evicted: vec![false; CLAIMS],
            outcome: Outcome::default(),
            stalls: true,
            marked: Vec::new(),
            queue: BinaryHeap::new(),
            queued: 0,
        };
        for node in 0..NODES {
            world.at(MS, What::StartAgent(node));
        }
        for coordinator in 0..COORDINATORS {
            world.at(MS, What::StartCoordinator(coordinator));
        }
        world
    }

    /// Runs to the end, or to the first violation.
    #[must_use]
    pub fn run(mut self) -> Outcome {
        let end = STORM + REST;
        while let Some(Reverse((at, _, what))) = self.queue.pop() {
            if at >= end || self.outcome.violation.is_some() {
                break;
            }
            self.now = at;
            self.happen(*what.0);
        }
        self.now = end;
        self.check_rest();
        self.outcome
    }

    pub(super) fn at(&mut self, at: u64, what: What) {
        self.queued += 1;
        self.queue.push(Reverse((
            at.max(self.now),
            self.queued,
            Boxed(Box::new(what)),
        )));
    }

    /// Sends a message over the network, as often as that delivers it.
    pub(super) fn send(&mut self, at: u64, from: usize, to: usize, what: &What) {
        for delay in self.network.send(from, to, &mut self.rng) {
            self.at(at + delay, what.clone());
        }
    }

    pub(super) fn violation(&mut self, what: String) {
        self.trace(|| format!("VIOLATION: {what}"));
        if self.outcome.violation.is_none() {
            let at = self.now / MS;
            self.outcome.violation = Some(format!("{what}, after {at} ms"));
        }
    }

    pub(super) fn trace(&mut self, line: impl FnOnce() -> String) {
        if self.options.traced {
            let (s, us) = (self.now / (1000 * MS), self.now / 1000 % 1_000_000);
            self.outcome
                .trace
                .push(format!("{s:>3}.{us:06} {}", line()));
        }
    }

    fn happen(&mut self, what: What) {
        match what {
            What::Member(node, claim, run, event) => self.member(node, claim, run, event),
            What::Grantor(coordinator, claim, message) => {
                self.grantor(coordinator, claim, message);
            }
            What::Clockwork(coordinator, run) => self.clockwork(coordinator, run),
            What::Wake(coordinator, claim, run) => self.woken(coordinator, claim, run),
            What::Patience(coordinator, run, asked) => {
                self.out_of_patience(coordinator, run, asked);
            }
            What::Again(coordinator, run) => self.write_again(coordinator, run),
            What::Store(coordinator, run, asked, home, op) => {
                self.store(coordinator, run, asked, home, op);
            }
            What::Reply(coordinator, run, asked, reply) => {
                self.replied(coordinator, run, asked, reply);
            }
            What::StartAgent(node) => self.start_agent(node),
            What::StartCoordinator(coordinator) => self.start_coordinator(coordinator),
            What::Fault(fault) => self.fault(fault),
        }
    }

    /// Everything was mended long ago: somebody must hold every claim.
    fn check_rest(&mut self) {
        if self.outcome.violation.is_some() {
            return;
        }
        for claim in 0..CLAIMS {
            if self.fences[claim].holder(self.now).is_none() {
                self.violation(format!("nobody holds {} in a mended site", title(claim)));
            }
        }
    }
}
