//! The modelled world: the real members and grantors, and a network that may do anything.
//!
//! Time goes in ticks of 50 ms; leases and promises are of 100 ms, so that a grantor is bound for
//! three ticks. Nodes act only when they are woken or hear something: a node that is not woken is one
//! that is paused. The clock of node 0 is slow by a fifth, which the 25 ms of margin just cover.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hamesh_claims::grantor::{self, Spec};
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{BootId, Epoch, GroupVersion, NodeName, Session};
use hamesh_claims::lease::Timing;
use hamesh_claims::member::{Action, Durable, Event, RunMemory, Start};
use hamesh_claims::message::{Health, HintKind, Ruling, ToCoordinator, ToMember, ToPeer};
use hamesh_claims::{Grantor, Member, Moment, Rules};

/// Nanoseconds in a tick.
const TICK: u64 = 50_000_000;
/// How many ticks a leadership lasts.
const LEADERSHIP: u64 = 3;

/// What may happen, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub rules: Rules,
    /// Members of the group at first, of three nodes.
    pub members: usize,
    /// How far time goes.
    pub ticks: u64,
    /// How often nodes are woken, together.
    pub wakes: u8,
    /// Messages on their way at one time; more are lost.
    pub in_flight: usize,
    pub repeats: u8,
    pub crashes: u8,
    pub leaders: u8,
    pub give_backs: u8,
    pub group_changes: u8,
    /// Until when the first leadership lasts.
    pub led_until: u64,
    /// From this tick on nothing fails, and everything is delivered and woken within its tick.
    pub calm_from: u64,
}

/// A message on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Message {
    Up(ToCoordinator),
    Down(usize, ToMember),
    Peer(usize, ToPeer),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub member: Arc<Member>,
    disk: Arc<Durable>,
    memory: Option<RunMemory>,
    /// When the kernel closes its fence, in true nanoseconds.
    pub fence_until: u64,
    session: u64,
    pub woken: bool,
}

/// One state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub tick: u64,
    pub nodes: Vec<Node>,
    /// The grantors of both coordinators: the one that led before may not know that it leads no more.
    pub grantors: [Option<Arc<Grantor>>; 2],
    record: Arc<Record>,
    pub term: u64,
    pub led_until: u64,
    pub net: BTreeSet<Arc<Message>>,
    pub wakes: u8,
    pub repeats: u8,
    pub crashes: u8,
    pub give_backs: u8,
    pub group_changes: u8,
    /// A member took the claim against its own promise.
    pub broke_promise: bool,
}

pub fn name(node: usize) -> NodeName {
    NodeName::new(["a", "b", "c"][node])
}

fn index(name: &NodeName) -> usize {
    usize::from(name.as_ref().as_bytes()[0] - b'a')
}

fn group(members: usize) -> Group {
    Group::exclusive(GroupVersion(1), (0..members).map(name).collect())
}

fn timing() -> Timing {
    let ttl = Duration::from_nanos(2 * TICK);
    Timing {
        ttl,
        long_promise: ttl,
        lengthen_after: Duration::from_secs(9),
    }
}

/// What node `n` reads at the true time `at`.
fn read(n: usize, at: u64) -> Moment {
    Moment::from_nanos(if n == 0 { at / 5 * 4 } else { at })
}

/// The true time at which node `n` reads `moment`.
fn when(n: usize, moment: Moment) -> u64 {
    if n == 0 {
        moment.nanos() / 4 * 5
    } else {
        moment.nanos()
    }
}

impl World {
    /// Everyone knows the group and has promised nothing; nobody leads yet.
    pub fn new(bounds: &Bounds) -> Self {
        let record = Record::new(group(bounds.members), timing().ttl);
        let disk = Arc::new(Durable {
            group: Some(record.group.clone()),
            seen: Epoch::default(),
        });
        let memory = RunMemory {
            boot: BootId(1),
            quiet_until: Moment::ZERO,
            promised: None,
            consented_until: None,
            kept: None,
        };
        let node = |n: usize| {
            let memory = Some(memory.clone());
            let member = start(bounds.rules, n, 1, &disk, memory.clone(), 0);
            let disk = Arc::clone(&disk);
            Node {
                member,
                disk,
                memory,
                fence_until: 0,
                session: 1,
                woken: false,
            }
        };
        Self {
            tick: 0,
            nodes: (0..3).map(node).collect(),
            grantors: [None, None],
            record: Arc::new(record),
            term: 0,
            led_until: 0,
            net: BTreeSet::new(),
            wakes: 0,
            repeats: 0,
            crashes: 0,
            give_backs: 0,
            group_changes: 0,
            broke_promise: false,
        }
    }

    /// The first coordinator has led since tick 0 and does until `led_until`; node 0 has just been
    /// granted the claim, at tick 3.
    pub fn held(bounds: &Bounds, led_until: u64) -> Self {
        let mut world = Self::new(bounds);
        world.lead(bounds);
        world.led_until = led_until;
        world.tick = 3;
        let until = Moment::from_nanos(led_until * TICK);
        world.grantor(1, grantor::Event::Leading(until), bounds);
        world.member(0, Event::Tick, bounds);
        for _ in 0..2 {
            for message in std::mem::take(&mut world.net) {
                match (*message).clone() {
                    Message::Up(it) => world.grantor(1, grantor::Event::FromMember(it), bounds),
                    Message::Down(n, it) => world.member(n, Event::FromCoordinator(it), bounds),
                    Message::Peer(n, it) => world.member(n, Event::FromPeer(it), bounds),
                }
            }
        }
        world.nodes[0].woken = true;
        world
    }

    pub const fn now(&self) -> u64 {
        self.tick * TICK
    }

    /// Nodes whose fence is open.
    pub fn open_fences(&self) -> usize {
        self.nodes
            .iter()
            .filter(|node| node.fence_until > self.now())
            .count()
    }

    /// The next term begins, on the other coordinator, with what the store holds.
    pub fn lead(&mut self, bounds: &Bounds) {
        self.term += 1;
        let epoch = Epoch {
            incarnation: 1,
            term: self.term,
        };
        let now = Moment::from_nanos(self.now());
        self.led_until = self.tick + LEADERSHIP;
        let until = Moment::from_nanos(self.led_until * TICK);
        let (spec, record) = (Spec::new(timing()), (*self.record).clone());
        let grantor = Grantor::lead_with(bounds.rules, epoch, spec, record, until, now);
        self.grantors[self.who()] = Some(Arc::new(grantor));
    }

    /// The coordinator that leads, or led last.
    pub fn who(&self) -> usize {
        usize::from(self.term % 2 == 1)
    }

    pub fn member(&mut self, n: usize, event: Event, bounds: &Bounds) {
        let now = read(n, self.now());
        let mut out = Vec::new();
        Arc::make_mut(&mut self.nodes[n].member).handle(event, now, &mut out);
        self.act(n, out, bounds);
    }

    fn act(&mut self, n: usize, actions: Vec<Action>, bounds: &Bounds) {
        let now = read(n, self.now());
        for action in actions {
            match action {
                Action::Open { until, .. } => {
                    self.broke_promise |= self.nodes[n].member.promise_in_force(now).is_some();
                    self.nodes[n].fence_until = when(n, until);
                }
                Action::Rearm(until) => self.nodes[n].fence_until = when(n, until),
                Action::Close(_) => self.nodes[n].fence_until = 0,
                Action::Tell(message) => self.send(Message::Up(message), bounds),
                Action::TellPeer(to, message) => {
                    self.send(Message::Peer(index(&to), message), bounds);
                }
                Action::Remember(memory) => self.nodes[n].memory = Some(memory),
                Action::Store(disk) => {
                    self.nodes[n].disk = Arc::new(disk.clone());
                    self.member(n, Event::Stored(disk), bounds);
                }
                Action::Note(_) => {}
            }
        }
    }

    pub fn grantor(&mut self, who: usize, event: grantor::Event, bounds: &Bounds) {
        let now = Moment::from_nanos(self.now());
        let Some(grantor) = &mut self.grantors[who] else {
            return;
        };
        let mut out = Vec::new();
        Arc::make_mut(grantor).handle(event, now, &mut out);
        self.carry_out(who, out, bounds);
    }

    pub fn change_group(&mut self, bounds: &Bounds) {
        let (who, now) = (self.who(), Moment::from_nanos(self.now()));
        let mut out = Vec::new();
        if let Some(grantor) = &mut self.grantors[who] {
            // Refused while another change is under way: then nothing happens.
            drop(Arc::make_mut(grantor).change_group(group(3), now, &mut out));
        }
        self.carry_out(who, out, bounds);
    }

    fn carry_out(&mut self, who: usize, actions: Vec<grantor::Action>, bounds: &Bounds) {
        for action in actions {
            match action {
                grantor::Action::Tell(to, message) => {
                    self.send(Message::Down(index(&to), message), bounds);
                }
                grantor::Action::Persist(record) if who == self.who() => {
                    self.record = Arc::new(record.clone());
                    self.grantor(who, grantor::Event::Persisted(record), bounds);
                }
                grantor::Action::StepDown(_) => self.grantors[who] = None,
                grantor::Action::Persist(_)
                | grantor::Action::Evicted(_)
                | grantor::Action::Note(_) => {}
            }
        }
    }

    /// Sends what could change anything; a message over the bound is lost.
    fn send(&mut self, message: Message, bounds: &Bounds) {
        let idle = match &message {
            Message::Down(_, ToMember::Answer(answer)) => {
                matches!(answer.ruling, Ruling::Refused(_) | Ruling::Noted)
                    && answer.group.is_none()
            }
            Message::Down(_, ToMember::Hint(hint)) => hint.what == HintKind::Ask,
            Message::Down(_, ToMember::ConsentAsk(_)) | Message::Up(_) | Message::Peer(..) => false,
        };
        let room = self.net.len() < bounds.in_flight || self.tick >= bounds.calm_from;
        if !idle && room {
            self.net.insert(Arc::new(message));
        }
    }

    /// The agent of node `n` dies and starts again at once, with its memory or without. Its fence
    /// goes on.
    pub fn crash(&mut self, n: usize, forgets: bool, bounds: &Bounds) {
        let now = self.now();
        let node = &mut self.nodes[n];
        node.session += 1;
        node.memory = node.memory.take().filter(|_| !forgets);
        let memory = node.memory.clone();
        node.member = start(bounds.rules, n, node.session, &node.disk, memory, now);
    }
}

fn start(
    rules: Rules,
    n: usize,
    session: u64,
    disk: &Durable,
    run: Option<RunMemory>,
    now: u64,
) -> Arc<Member> {
    let start = Start {
        me: name(n),
        session: Session(session),
        boot: BootId(1),
        timing: timing(),
        disk: disk.clone(),
        run,
        health: Health::Healthy,
    };
    Arc::new(Member::start_with(
        rules,
        start,
        read(n, now),
        &mut Vec::new(),
    ))
}
