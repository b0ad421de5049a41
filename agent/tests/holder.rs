//! The holder's thread on a real kernel, in a network namespace of its own, with a grantor on a
//! real socket. Needs root and `nft`.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hamesh_agent::claims::brief::{Brief, Spec};
use hamesh_agent::claims::holder::{Holder, Order};
use hamesh_agent::claims::keys::LeaseKey;
use hamesh_agent::claims::lease::DatabaseLease;
use hamesh_agent::claims::machine::{Machine, monotonic};
use hamesh_agent::claims::metrics::ClaimMetrics;
use hamesh_agent::claims::orders::{FromHolder, Orders};
use hamesh_agent::claims::outbox::Word;
use hamesh_agent::claims::report::{Part, Report};
use hamesh_agent::claims::run_dir::RunDir;
use hamesh_agent::claims::thread::start;
use hamesh_claims::Moment;
use hamesh_claims::grantor::{self, Grantor};
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{BootId, Epoch, GroupVersion, NodeName};
use hamesh_claims::lease::Timing;
use hamesh_claims::member::{Durable, RunMemory};
use hamesh_kernel::fence::Fence;
use hamesh_kernel::load::{Claimed, load};
use hamesh_kernel::rtnl::Rtnl;
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::leases::{Channel, Content};
use hamesh_proto::spiffe::Principal;
use nix::sched::{CloneFlags, unshare};
use tokio::sync::mpsc;

const VIP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 7, 0, 100));
const LONG: Duration = Duration::from_secs(60);
/// Longer than the default: the test's machine may be busy.
const TTL: Duration = Duration::from_secs(2);
const SECRET: [u8; 32] = [5; 32];
const BOOT: BootId = BootId(9);

fn node() -> NodeId {
    "node-1".parse().expect("a name")
}

fn claim() -> ClaimId {
    "vip/edge".parse().expect("a claim")
}

fn sh(script: &str) {
    let ran = Command::new("sh").args(["-euc", script]).status();
    assert!(ran.expect("a shell").success(), "{script}");
}

/// In a namespace of its own with one interface and the fence.
fn in_namespace(test: fn()) {
    let thread = std::thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root");
        sh("ip link set lo up
            ip link add eth0 type veth peer name wire
            ip addr add 10.7.0.2/24 dev eth0
            ip link set eth0 up
            ip link set wire up");
        load(&Claimed::of([VIP].into())).expect("the fence is loaded");
        test();
    });
    thread.join().expect("the test holds");
}

/// A coordinator for one claim, until it is dropped.
struct Coordinator {
    socket: UdpSocket,
    channel: Channel,
    grantor: Grantor,
}

impl Coordinator {
    fn new() -> Self {
        let group = Group::exclusive(GroupVersion(1), [NodeName::new("node-1")].into());
        let spec = grantor::Spec::new(Timing::new(TTL));
        let epoch = Epoch {
            incarnation: 1,
            term: 1,
        };
        let own = Principal::Coordinator("control-1".parse().expect("a name"));
        let record = Record::new(group, TTL);
        let socket = UdpSocket::bind("10.7.0.2:7443").expect("a socket");
        let pause = Duration::from_millis(5);
        socket.set_read_timeout(Some(pause)).expect("set");
        Self {
            socket,
            channel: Channel::new(1, &SECRET, &own, &Principal::Agent(node()), 1),
            grantor: Grantor::lead(epoch, spec, record, Moment::END, monotonic()),
        }
    }

    /// Answers for a moment.
    fn serve(&mut self) {
        let mut events = vec![grantor::Event::Tick];
        let mut buffer = [0; 9000];
        if let Ok(length) = self.socket.recv(&mut buffer) {
            let content = self.channel.open(&buffer[..length]).expect("its own key");
            let content = Content::decode(&content).expect("understood");
            if let Content::ToCoordinator(all) = content {
                let messages = all.into_iter().map(|(_, message)| message);
                events.extend(messages.map(grantor::Event::FromMember));
            }
        }
        while let Some(event) = events.pop() {
            let mut actions = Vec::new();
            self.grantor.handle(event, monotonic(), &mut actions);
            for action in actions {
                match action {
                    grantor::Action::Tell(_, message) => {
                        let content = Content::ToMember(vec![(claim(), message)]).encode();
                        let datagram = self.channel.seal(&content);
                        let to: SocketAddr = ([10, 7, 0, 2], 7450).into();
                        self.socket.send_to(&datagram, to).expect("sent");
                    }
                    grantor::Action::Persist(record) => {
                        events.push(grantor::Event::Persisted(record));
                    }
                    grantor::Action::StepDown(_)
                    | grantor::Action::Evicted(_)
                    | grantor::Action::Note(_) => {}
                }
            }
        }
    }
}

/// An agent's holder as its service runs it, with its coordinator.
struct Agent {
    orders: Orders,
    words: mpsc::Receiver<FromHolder>,
    report: Report,
    said: Vec<Word>,
    coordinator: Coordinator,
    _run: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let run = RunDir::open(directory.path()).expect("made");
        let memory = RunMemory {
            boot: BOOT,
            quiet_until: Moment::ZERO,
            promised: None,
            consented_until: None,
            kept: None,
        };
        run.remember(&claim(), &memory).expect("written");
        let metrics = Arc::new(ClaimMetrics::new().expect("no two series clash"));
        let holder = Holder::new(node(), 1, BOOT, Arc::clone(&metrics));
        let (orders, words) =
            start(holder, Machine::new(run, DatabaseLease::default()), metrics).expect("a thread");
        let agent = Self {
            orders,
            words,
            report: Report::default(),
            said: Vec::new(),
            coordinator: Coordinator::new(),
            _run: directory,
        };
        agent.brief();
        agent
    }

    fn brief(&self) {
        let key = LeaseKey {
            node: "control-1".parse().expect("a name"),
            id: 1,
            secret: SECRET.into(),
        };
        let spec = Spec {
            addresses: vec![VIP],
            ttl: TTL,
            beside: false,
            disk: Durable::default(),
        };
        let brief = Brief {
            own: Some(([10, 7, 0, 2], 7450).into()),
            claims: [(claim(), spec)].into(),
            coordinators: [(key.node.clone(), ([10, 7, 0, 2], 7443).into())].into(),
            ..Brief::default()
        };
        for order in [
            Order::SessionKey(key, 1),
            Order::Fence(None),
            Order::Brief(Arc::new(brief)),
        ] {
            self.orders.give(order).expect("heard");
        }
    }

    /// Does what the service does.
    fn hear(&mut self) {
        while let Ok(heard) = self.words.try_recv() {
            match heard {
                FromHolder::Report(report) => self.report = report,
                FromHolder::Word(Word::Store(claim, disk)) => {
                    let stored = self.orders.give(Order::Stored(claim, disk));
                    stored.expect("heard");
                }
                FromHolder::Word(Word::LoadFence) => {
                    load(&Claimed::of([VIP].into())).expect("loaded");
                    self.orders.give(Order::Fence(None)).expect("heard");
                }
                FromHolder::Word(word) => self.said.push(word),
            }
        }
    }

    fn part(&self) -> Option<Part> {
        self.report.claims.get(&claim()).map(|view| view.part)
    }
}

fn until(what: &str, agent: &mut Agent, mut there: impl FnMut(&Agent) -> bool) {
    let began = Instant::now();
    while !there(agent) {
        agent.coordinator.serve();
        agent.hear();
        let (report, said) = (&agent.report, &agent.said);
        assert!(
            began.elapsed() < LONG,
            "in vain: {what}; {report:?}\n{said:?}"
        );
    }
}

fn configured() -> usize {
    let mut rtnl = Rtnl::open().expect("rtnetlink");
    rtnl.interfaces().expect("listed").carrying(VIP).count()
}

fn open() -> bool {
    let mut fence = Fence::open().expect("netlink");
    fence.live().is_ok_and(|live| live.contains_key(&VIP))
}

#[test]
fn the_thread_holds_what_it_is_granted_and_the_kernel_closes_it_when_the_thread_is_gone() {
    in_namespace(|| {
        let mut agent = Agent::start();
        until("it holds", &mut agent, |a| a.part() == Some(Part::Holding));
        assert!(open() && configured() == 1);
        until("it is put back", &mut agent, {
            sh("ip addr del 10.7.0.100/32 dev eth0");
            |_| configured() == 1
        });
        drop(agent);
        let began = Instant::now();
        while open() {
            assert!(began.elapsed() < LONG, "open without anyone");
            std::thread::sleep(Duration::from_millis(10));
        }
    });
}

#[test]
fn an_agent_told_to_stop_leaves_nothing_open_and_nothing_configured() {
    in_namespace(|| {
        let mut agent = Agent::start();
        until("it holds", &mut agent, |a| a.part() == Some(Part::Holding));
        agent.orders.give(Order::Stop).expect("heard");
        until("it let go", &mut agent, |_| !open() && configured() == 0);
    });
}

#[test]
fn flushed_rules_are_noticed_and_loaded_again_and_the_address_is_held_again() {
    in_namespace(|| {
        let mut agent = Agent::start();
        until("it holds", &mut agent, |a| a.part() == Some(Part::Holding));
        sh("nft flush ruleset");
        let fenced = |_: &Agent| Fence::open().expect("netlink").live().is_ok();
        until("the fence is back", &mut agent, fenced);
        until("it holds", &mut agent, |a| {
            a.part() == Some(Part::Holding) && open() && configured() == 1
        });
    });
}

#[test]
fn a_wire_that_is_pulled_fails_the_node_and_one_plugged_in_heals_it() {
    in_namespace(|| {
        let mut agent = Agent::start();
        until("it holds", &mut agent, |a| a.part() == Some(Part::Holding));
        let health = |a: &Agent| a.report.claims[&claim()].health_reason.clone();
        sh("ip link set wire down");
        let failed = |a: &Agent| health(a).contains("no carrier");
        until("it failed", &mut agent, failed);
        sh("ip link set wire up");
        until("it is well", &mut agent, |a| health(a).is_empty());
    });
}
