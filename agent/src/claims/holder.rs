//! All claims of this node: what orders, datagrams and time do to them.
//!
//! Pure but for its [`World`]: the loop around it ([`super::thread`]) only waits and calls.
//!
//! ```text
//!   order, datagram, tick, second --> duties --> kernel, /run      (through the World, at once)
//!                                        |
//!                                        +-----> flush --> wire, words to the asynchronous side
//! ```
//! Absent on purpose: deciding. [`hamesh_claims::Member`] does.

mod by_hand;
mod database;
mod flush;
mod superseded;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hamesh_claims::Moment;
use hamesh_claims::ids::{BootId, NodeName};
use hamesh_claims::member::{Durable, Event};
use hamesh_claims::message::Health;
use hamesh_kernel::device::Mac;
use hamesh_kernel::reconcile::{Desired, Step};
use hamesh_proto::ids::{ClaimId, NodeId};

use super::brief::Brief;
use super::channels::{Channels, Opened};
use super::duty::{Duty, Judged, Own};
use super::keys::LeaseKey;
use super::metrics::ClaimMetrics;
use super::outbox::{Outbox, Said};
use super::report::{ClaimView, Report};
use super::world::{Trouble, World};
pub use by_hand::BREAK_GLASS_FOR;
pub use database::Without;

/// How long a claim that was given up goes on telling so.
const LEAVING: Duration = Duration::from_secs(1);

/// From the asynchronous side.
#[derive(Clone, Debug)]
pub enum Order {
    /// What to care for.
    Brief(Arc<Brief>),
    /// A new session's key with a coordinator.
    SessionKey(LeaseKey, u64),
    /// All keys with other members.
    PeerKeys(Vec<LeaseKey>),
    /// The number of each other member's newest start, where a coordinator knows it.
    Starts(BTreeMap<NodeId, u64>),
    /// How well the node could serve each claim; a claim that is not named has no checks.
    Health(BTreeMap<ClaimId, Judged>),
    /// Why the fence is not loaded; `None`: it is.
    Fence(Option<String>),
    /// What this node's database is open to without a lease.
    Database(Without),
    /// This is on disk.
    Stored(ClaimId, Durable),
    /// A peer is heard again: it may have listened to another meanwhile.
    PeerReturned,
    /// Give everything back.
    Stop,
    /// Another machine took this node's name over: give everything back, and say so.
    Superseded,
}

/// This node's claims.
#[derive(Debug)]
pub struct Holder {
    own: Own,
    brief: Arc<Brief>,
    duties: BTreeMap<ClaimId, Duty>,
    by_hand: BTreeSet<ClaimId>,
    channels: Channels,
    health: BTreeMap<ClaimId, Judged>,
    fence: Option<String>,
    stopping: bool,
    superseded: bool,
    /// When a coordinator was last heard.
    heard: Option<Moment>,
    outbox: Outbox,
    metrics: Arc<ClaimMetrics>,
}

impl Holder {
    /// No claims, no keys, no fence. `run` is the number of the agent's start.
    pub fn new(node: NodeId, run: u64, boot: BootId, metrics: Arc<ClaimMetrics>) -> Self {
        let me = NodeName::new(node.as_str());
        Self {
            own: Own { me, boot },
            brief: Arc::default(),
            duties: BTreeMap::new(),
            by_hand: BTreeSet::new(),
            channels: Channels::new(node, run),
            health: BTreeMap::new(),
            fence: Some("the fence is not loaded yet".to_owned()),
            stopping: false,
            superseded: false,
            heard: None,
            outbox: Outbox::default(),
            metrics,
        }
    }

    /// Carries an order out.
    pub fn order(&mut self, order: Order, world: &mut impl World) {
        match order {
            Order::Brief(brief) => self.briefed(brief, world),
            Order::SessionKey(key, incarnation) => {
                self.channels.use_session_key(key, incarnation);
            }
            Order::PeerKeys(keys) => self.channels.use_peer_keys(keys),
            Order::Starts(starts) => {
                for (node, start) in starts {
                    self.channels.expect_run(&node, start);
                }
            }
            Order::Health(health) => {
                self.health = health;
                self.judge(world);
            }
            Order::Fence(trouble) => {
                self.metrics.fence_loaded.set(i64::from(trouble.is_none()));
                self.fence = trouble;
                self.judge(world);
            }
            Order::Stored(claim, disk) => {
                if let Some(duty) = self.duties.get_mut(&claim) {
                    duty.stored(disk, world, &mut self.outbox);
                }
            }
            Order::Database(without) => self.open_without(without, world),
            // The thread announces.
            Order::PeerReturned => {}
            Order::Stop => self.stop(world),
            Order::Superseded => {
                self.superseded = true;
                self.stop(world);
            }
        }
    }

    /// Takes in a datagram.
    pub fn datagram(&mut self, bytes: &[u8], world: &mut impl World) {
        match self.channels.open(bytes) {
            Err(why) => self.metrics.refused(why),
            Ok(Opened::FromCoordinator(messages)) => {
                self.metrics.opened.inc();
                self.heard = Some(world.now());
                for (claim, message) in messages {
                    if let Some(duty) = self.duties.get_mut(&claim) {
                        duty.told(message, world, &mut self.outbox);
                    }
                }
            }
            Ok(Opened::FromPeer(_, messages)) => {
                self.metrics.opened.inc();
                for (claim, message) in messages {
                    if let Some(duty) = self.duties.get_mut(&claim) {
                        duty.handle(Event::FromPeer(message), world, &mut self.outbox);
                    }
                }
            }
        }
    }

    /// Ticks the members that are due.
    pub fn tick(&mut self, world: &mut impl World) {
        let now = world.now();
        if self.next_wake().is_some_and(|due| now >= due) {
            for duty in self.duties.values_mut() {
                duty.tick(world, &mut self.outbox);
            }
        }
        let over = |duty: &Duty| duty.leaving_until().is_some_and(|until| now >= until);
        if self.duties.values().any(over) {
            let gone: Vec<ClaimId> = (self.duties.iter())
                .filter(|(_, duty)| over(duty))
                .map(|(id, _)| id.clone())
                .collect();
            for id in gone {
                self.duties.remove(&id);
                if !self.brief.claims.contains_key(&id) {
                    self.metrics.forget(&id);
                }
            }
        }
    }

    /// Once a second: tries again what could not be done, and looks at what is opened by hand.
    pub fn second(&mut self, by_hand: &BTreeSet<ClaimId>, world: &mut impl World) {
        for duty in self.duties.values_mut() {
            duty.tidy(world, &mut self.outbox);
            duty.judge(world, &mut self.outbox);
        }
        self.by_hand(by_hand, world);
        self.start_duties(world);
    }

    /// What is wrong with the interfaces of each claim; one that is not named is well.
    pub fn linked(&mut self, troubles: &BTreeMap<ClaimId, String>, world: &mut impl World) {
        for (id, duty) in &mut self.duties {
            duty.linked(troubles.get(id).cloned());
            duty.judge(world, &mut self.outbox);
        }
    }

    /// What a reconciliation with the kernel changed.
    pub fn put_right(&mut self, steps: Vec<Step>, world: &mut impl World) {
        for step in steps {
            let (word, ip) = match &step {
                Step::Close(ip) => ("close", *ip),
                Step::Remove { address, .. } => ("remove", address.ip),
                Step::Add { ip, .. } => ("add", *ip),
                Step::Homeless(ip) => ("homeless", *ip),
            };
            self.metrics.put_right.with_label_values(&[word]).inc();
            let Some((id, duty)) = find(&mut self.duties, ip) else {
                continue;
            };
            if let Step::Homeless(ip) = &step {
                duty.homeless(Trouble::Homeless(*ip), world, &mut self.outbox);
            }
            self.outbox.say(id, Said::PutRight(step));
        }
    }

    /// The kernel said that nothing is fenced.
    pub fn fence_gone(&mut self, world: &mut impl World) {
        if self.fence.is_none() {
            self.fence = Some(Trouble::NotLoaded.to_string());
            self.metrics.fence_loaded.set(0);
            self.judge(world);
        }
        self.outbox.fence_lost();
    }

    /// Asks for the fence to be looked at: interfaces changed.
    pub fn look_at_fence(&mut self) {
        self.outbox.fence_lost();
    }

    /// Another spoke as the owner of an address that is held here.
    pub fn rival(&mut self, ip: IpAddr, mac: Mac, now: Moment) {
        if let Some((id, duty)) = find(&mut self.duties, ip)
            && duty.rival(now)
        {
            self.outbox.say(id, Said::Rival(mac));
        }
    }

    /// More than one answered for an address.
    pub fn duplicate(&mut self, ip: IpAddr, macs: &BTreeSet<Mac>, now: Moment) {
        if let Some((id, duty)) = find(&mut self.duties, ip)
            && duty.answered_by(macs.iter().copied(), now)
        {
            let macs = macs.iter().copied().collect();
            self.outbox.say(id, Said::Duplicate(macs));
        }
    }

    /// When to [`Holder::tick`]; `None`: no claims.
    pub fn next_wake(&self) -> Option<Moment> {
        let wakes = self.duties.values().map(Duty::next_wake);
        wakes.min()
    }

    /// What shall be in the kernel.
    pub fn desired(&self, now: Moment) -> Desired {
        let specs = self.brief.claims.iter();
        let mut desired = Desired {
            claimed: self.brief.former.clone(),
            held: BTreeSet::new(),
        };
        for (id, spec) in specs {
            desired.claimed.extend(&spec.addresses);
            if self.by_hand.contains(id) {
                desired.held.extend(&spec.addresses);
            }
        }
        for duty in self.duties.values() {
            desired.claimed.extend(&duty.spec().addresses);
            if duty.is_open(now) {
                desired.held.extend(&duty.spec().addresses);
            }
        }
        desired
    }

    /// The claims that this node has a part in, with their addresses.
    pub fn addresses(&self) -> impl Iterator<Item = (&ClaimId, &[IpAddr])> {
        let duties = self.duties.iter();
        duties.map(|(id, duty)| (id, duty.spec().addresses.as_slice()))
    }

    /// Where this node listens for lease datagrams.
    pub fn listens(&self) -> Option<std::net::SocketAddr> {
        self.brief.own
    }

    /// Whether anything is to be done at all.
    pub fn has_claims(&self) -> bool {
        let brief = &self.brief;
        !(self.duties.is_empty() && brief.claims.is_empty() && brief.former.is_empty())
    }

    /// How everything stands.
    pub fn report(&self, now: Moment) -> Report {
        let duties = self.duties.iter();
        let mut claims: BTreeMap<ClaimId, ClaimView> = duties
            .map(|(id, duty)| (id.clone(), duty.view(now)))
            .collect();
        for (id, spec) in &self.brief.claims {
            if self.by_hand.contains(id) {
                claims.insert(id.clone(), by_hand::view(spec));
            } else if self.superseded && !self.duties.contains_key(id) {
                claims.insert(id.clone(), superseded::view(spec));
            }
        }
        Report {
            claims,
            unfit: None,
            unanswered: self.unanswered(now),
        }
    }

    /// Whether the requests of this node stayed unanswered for as long as its shortest lease.
    fn unanswered(&self, now: Moment) -> bool {
        let leases = self.duties.values().map(|duty| duty.spec().ttl);
        leases.min().is_some_and(|ttl| {
            let silence = self.heard.map(|at| now.since(at));
            silence.is_none_or(|silence| silence > ttl)
        })
    }

    fn stop(&mut self, world: &mut impl World) {
        self.stopping = true;
        for duty in self.duties.values_mut() {
            duty.leave(LEAVING, world, &mut self.outbox);
        }
    }

    fn briefed(&mut self, brief: Arc<Brief>, world: &mut impl World) {
        for (id, duty) in &mut self.duties {
            match brief.claims.get(id) {
                Some(spec) if spec.addresses == duty.spec().addresses => {
                    duty.configure(spec.clone(), world, &mut self.outbox);
                }
                // Other addresses are another claim to the kernel: this one ends first.
                Some(_) | None => duty.leave(LEAVING, world, &mut self.outbox),
            }
        }
        self.brief = brief;
        self.start_duties(world);
    }

    fn start_duties(&mut self, world: &mut impl World) {
        if self.stopping {
            return;
        }
        let brief = Arc::clone(&self.brief);
        for (id, spec) in &brief.claims {
            if self.by_hand.contains(id) || self.duties.contains_key(id) {
                continue;
            }
            let (series, spec) = (self.metrics.of(id), spec.clone());
            let duty = Duty::start(&self.own, id.clone(), spec, series, world, &mut self.outbox);
            self.duties.insert(id.clone(), duty);
        }
        self.judge(world);
        for duty in self.duties.values_mut() {
            duty.stay_open(world, &mut self.outbox);
        }
    }

    fn judge(&mut self, world: &mut impl World) {
        for (id, duty) in &mut self.duties {
            let unchecked = || (Health::Healthy, String::new());
            duty.fenced(self.fence.clone());
            duty.checked(self.health.get(id).cloned().unwrap_or_else(unchecked));
            duty.judge(world, &mut self.outbox);
        }
    }
}

fn find(duties: &mut BTreeMap<ClaimId, Duty>, ip: IpAddr) -> Option<(&ClaimId, &mut Duty)> {
    duties
        .iter_mut()
        .find(|(_, duty)| duty.spec().addresses.contains(&ip))
}
