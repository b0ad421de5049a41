//! A site of holders and one coordinator on a wire of memory, in steps of a millisecond.
//!
//! After every step no address is answered for by two nodes; a test need not ask.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hamesh_agent::claims::brief::{Brief, Spec};
use hamesh_agent::claims::holder::{Holder, Order};
use hamesh_agent::claims::keys::LeaseKey;
use hamesh_agent::claims::metrics::ClaimMetrics;
use hamesh_agent::claims::outbox::Word;
use hamesh_agent::claims::report::Part;
use hamesh_claims::Moment;
use hamesh_claims::grantor::{self, Grantor};
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{BootId, Epoch, GroupVersion, NodeName};
use hamesh_claims::lease::Timing;
use hamesh_claims::member::Durable;
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::leases::{Channel, Content};
use hamesh_proto::spiffe::Principal;

use crate::world::{Clock, Memory};

pub const TTL: Duration = Duration::from_millis(350);
const MS: Duration = Duration::from_millis(1);
const COORDINATOR: &str = "control-1";

pub struct Node {
    /// None: the agent does not run.
    pub holder: Option<Holder>,
    pub world: Memory,
    pub metrics: Arc<ClaimMetrics>,
    pub disk: Durable,
    pub by_hand: BTreeSet<ClaimId>,
    /// The machine is cut from the network.
    pub cut: bool,
    runs: u64,
}

struct Coordinator {
    grantor: Grantor,
    channels: BTreeMap<NodeId, Channel>,
}

pub struct Site {
    pub clock: Clock,
    pub nodes: BTreeMap<NodeId, Node>,
    coordinator: Option<Coordinator>,
    record: Record,
    ttl: Duration,
    beside: bool,
    incarnation: u64,
    terms: u64,
    wire: Vec<(SocketAddr, Vec<u8>)>,
}

pub fn node(name: &str) -> NodeId {
    name.parse().expect("a name")
}

pub fn claim() -> ClaimId {
    "vip/edge".parse().expect("a claim")
}

pub fn vip() -> IpAddr {
    [192, 168, 30, 130].into()
}

impl Site {
    /// A site of these nodes, all running, with a coordinator that leads.
    pub fn of(names: &[&str]) -> Self {
        Self::with(names, false)
    }

    /// A site of one node, whose address something else has there, too.
    pub fn beside(name: &str) -> Self {
        Self::with(&[name], true)
    }

    fn with(names: &[&str], beside: bool) -> Self {
        let members = names.iter().map(|name| NodeName::new(name)).collect();
        let group = Group::exclusive(GroupVersion(1), members);
        let clock = Clock::default();
        clock.pass(Duration::from_secs(100));
        let machine = |(n, name): (usize, &&str)| {
            let node_of = Node {
                holder: None,
                world: Memory::new(clock.clone(), n as u64 * 1000),
                metrics: Arc::new(ClaimMetrics::new().expect("no two series clash")),
                disk: Durable::default(),
                by_hand: BTreeSet::new(),
                cut: false,
                runs: 0,
            };
            (node(name), node_of)
        };
        let mut site = Self {
            nodes: names.iter().enumerate().map(machine).collect(),
            clock: clock.clone(),
            coordinator: None,
            record: Record::new(group, TTL),
            ttl: TTL,
            beside,
            incarnation: 1,
            terms: 0,
            wire: Vec::new(),
        };
        for name in names {
            site.start(name);
        }
        site.start_coordinator();
        site
    }

    /// A site whose claim is held; by whom.
    pub fn held(names: &[&str]) -> (Self, NodeId) {
        let mut site = Self::of(names);
        // No agent of this boot remembers anything: they wait out the longest promise.
        let holder = site.until("somebody holds", Duration::from_secs(40), Site::holder);
        (site, holder)
    }

    pub fn start_coordinator(&mut self) {
        self.terms += 1;
        let epoch = Epoch {
            incarnation: self.incarnation,
            term: self.terms,
        };
        let spec = grantor::Spec::new(Timing::new(self.ttl));
        let now = self.clock.now();
        let grantor = Grantor::lead(epoch, spec, self.record.clone(), Moment::END, now);
        let own = Principal::Coordinator(node(COORDINATOR));
        let channel = |name: &NodeId| {
            let other = Principal::Agent(name.clone());
            let key = self.session_key(name);
            let channel = Channel::new(key.id, &key.secret, &own, &other, self.terms);
            (name.clone(), channel)
        };
        let channels = self.nodes.keys().map(channel).collect();
        self.coordinator = Some(Coordinator { grantor, channels });
        let keys: Vec<_> = self
            .nodes
            .keys()
            .map(|n| (n.clone(), self.session_key(n)))
            .collect();
        for (name, key) in keys {
            self.order(name.as_str(), Order::SessionKey(key, self.incarnation));
        }
    }

    /// The coordinator is restored from a backup of now.
    pub fn restore(&mut self) {
        self.incarnation += 1;
        self.record = self.record.clone().restored(GroupVersion(1000));
        self.start_coordinator();
    }

    pub fn stop_coordinator(&mut self) {
        self.coordinator = None;
    }

    /// Starts a node's agent on what its machine remembers.
    pub fn start(&mut self, name: &str) {
        let brief = self.brief(name);
        let keys = self.nodes.keys().filter(|other| other.as_str() != name);
        let keys = keys.map(|other| peer_key(name, other.as_str())).collect();
        let session = self.session_key(&node(name));
        let machine = self.nodes.get_mut(&node(name)).expect("a node");
        machine.runs += 1;
        let metrics = Arc::clone(&machine.metrics);
        machine.holder = Some(Holder::new(node(name), machine.runs, BootId(1), metrics));
        for order in [
            Order::PeerKeys(keys),
            Order::SessionKey(session, self.incarnation),
            Order::Fence(None),
            Order::Brief(Arc::new(brief)),
        ] {
            self.order(name, order);
        }
    }

    /// Ends a node's agent, as SIGKILL does.
    pub fn kill(&mut self, name: &NodeId) {
        self.nodes.get_mut(name).expect("a node").holder = None;
    }

    pub fn order(&mut self, name: &str, order: Order) {
        let machine = self.nodes.get_mut(&node(name)).expect("a node");
        if let Some(holder) = &mut machine.holder {
            holder.order(order, &mut machine.world);
        }
    }

    pub fn brief(&self, name: &str) -> Brief {
        let address = |n: &NodeId| (n.clone(), self.address(n));
        let spec = Spec {
            addresses: vec![vip()],
            ttl: self.ttl,
            beside: self.beside,
            disk: self.nodes[&node(name)].disk.clone(),
        };
        Brief {
            own: Some(self.address(&node(name))),
            claims: [(claim(), spec)].into(),
            members: self.nodes.keys().map(address).collect(),
            coordinators: [(node(COORDINATOR), coordinator_address())].into(),
            former: BTreeSet::new(),
        }
    }

    /// Who answers for the address.
    pub fn holder(&self) -> Option<NodeId> {
        let answers = self.nodes.iter().filter(|(_, n)| n.world.answers(vip()));
        let names: Vec<&NodeId> = answers.map(|(name, _)| name).collect();
        assert!(
            names.len() < 2,
            "{names:?} answer at {:?}",
            self.clock.now()
        );
        names.first().map(|name| (*name).clone())
    }

    /// How a node's claim stands, as it reports it.
    pub fn part(&self, name: &NodeId) -> Option<Part> {
        let holder = self.nodes[name].holder.as_ref()?;
        let report = holder.report(self.clock.now());
        report.claims.get(&claim()).map(|view| view.part)
    }

    pub fn run(&mut self, span: Duration) {
        let end = self.clock.now().plus(span);
        while self.clock.now() < end {
            self.step();
        }
    }

    pub fn until<T>(
        &mut self,
        what: &str,
        most: Duration,
        probe: impl Fn(&Self) -> Option<T>,
    ) -> T {
        let end = self.clock.now().plus(most);
        while self.clock.now() < end {
            if let Some(found) = probe(self) {
                return found;
            }
            self.step();
        }
        let seen: Vec<_> = self.nodes.keys().map(|n| (n, self.part(n))).collect();
        panic!("not within {most:?}: {what}; last seen: {seen:?}");
    }

    pub fn step(&mut self) {
        self.clock.pass(MS);
        for (to, datagram) in std::mem::take(&mut self.wire) {
            self.deliver(to, &datagram);
        }
        self.coordinate(grantor::Event::Tick);
        let second = (self.clock.now().nanos() / 1_000_000).is_multiple_of(1000);
        for machine in self.nodes.values_mut() {
            let Some(holder) = &mut machine.holder else {
                continue;
            };
            holder.tick(&mut machine.world);
            if second {
                holder.second(&machine.by_hand, &mut machine.world);
            }
            for word in holder.flush(&mut machine.world) {
                if let Word::Store(claim, disk) = word {
                    machine.disk = disk.clone();
                    holder.order(Order::Stored(claim, disk), &mut machine.world);
                }
            }
            let sent = machine.world.sent.drain(..);
            self.wire.extend(sent.filter(|_| !machine.cut));
        }
        self.holder();
    }

    fn deliver(&mut self, to: SocketAddr, datagram: &[u8]) {
        if to != coordinator_address() {
            let found = self.nodes.keys().find(|n| self.address(n) == to).cloned();
            let machine = self.nodes.get_mut(&found.expect("a node")).expect("a node");
            if let (Some(holder), false) = (&mut machine.holder, machine.cut) {
                holder.datagram(datagram, &mut machine.world);
            }
            return;
        }
        let Some(coordinator) = &mut self.coordinator else {
            return;
        };
        let opened = coordinator.channels.values_mut();
        let content = opened.into_iter().find_map(|c| c.open(datagram).ok());
        let content = content.and_then(|content| Content::decode(&content).ok());
        if let Some(Content::ToCoordinator(messages)) = content {
            for (_, message) in messages {
                self.coordinate(grantor::Event::FromMember(message));
            }
        }
    }

    fn coordinate(&mut self, event: grantor::Event) {
        let Some(coordinator) = &mut self.coordinator else {
            return;
        };
        let now = self.clock.now();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            coordinator.grantor.handle(event, now, &mut actions);
            for action in actions {
                match action {
                    grantor::Action::Tell(to, message) => {
                        let to = node(to.as_ref());
                        let content = Content::ToMember(vec![(claim(), message)]).encode();
                        let channel = coordinator.channels.get_mut(&to).expect("a key");
                        let at = position(&self.nodes, &to);
                        self.wire.push((at, channel.seal(&content)));
                    }
                    grantor::Action::Persist(record) => {
                        self.record = record.clone();
                        events.push(grantor::Event::Persisted(record));
                    }
                    grantor::Action::StepDown(_)
                    | grantor::Action::Evicted(_)
                    | grantor::Action::Note(_) => {}
                }
            }
        }
    }

    /// Fresh for each leadership, as for each session.
    fn session_key(&self, name: &NodeId) -> LeaseKey {
        let at = self.nodes.keys().position(|n| n == name).expect("a node") as u64;
        key(COORDINATOR, self.terms * 100 + at)
    }

    fn address(&self, name: &NodeId) -> SocketAddr {
        position(&self.nodes, name)
    }
}

fn position(nodes: &BTreeMap<NodeId, Node>, name: &NodeId) -> SocketAddr {
    let at = nodes.keys().position(|n| n == name).expect("a node");
    ([10, 0, 0, u8::try_from(at).expect("few")], 7450).into()
}

fn coordinator_address() -> SocketAddr {
    ([10, 0, 0, 99], 7443).into()
}

fn peer_key(own: &str, other: &str) -> LeaseKey {
    let (a, b) = (own.min(other), own.max(other));
    let id = a.bytes().chain(b.bytes()).fold(7, |id: u64, byte| {
        id.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    key(other, id)
}

fn key(other: &str, id: u64) -> LeaseKey {
    LeaseKey {
        node: node(other),
        id,
        secret: [3; 32].into(),
    }
}
