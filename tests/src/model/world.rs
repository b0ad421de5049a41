//! The modelled world: the real members and grantors, and what carries their actions out.
//!
//! Time goes in ticks of 50 ms; leases and promises are of 100 ms, so that a grantor is bound for
//! three ticks. The clock of node 0 is slow by a fifth: that its leases end late by 25 ms is all
//! that the margin covers. Disks write at once.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hamesh_claims::grantor::{self, Spec};
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{BootId, Epoch, GroupVersion, NodeName, Session};
use hamesh_claims::lease::Timing;
use hamesh_claims::member::{Action, Durable, Event, RunMemory, Start};
use hamesh_claims::message::{Health, Hint, HintKind, ToMember};
use hamesh_claims::reason::MoveReason;
use hamesh_claims::{Grantor, Member, Moment};

use super::bounds::{Bounds, Spent};
use super::message::{Message, sender};
use super::restore::Restored;

/// Nanoseconds in a tick.
const TICK: u64 = 50_000_000;
/// How many ticks a leadership lasts after it was renewed last.
const LEADERSHIP: u64 = 2;
/// For how many ticks a stopped agent does nothing: longer than a lease.
const PAUSE: u64 = 3;
/// The nodes of the world.
pub const NODES: usize = 3;

/// What must never happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Harm {
    /// Two fences are open at one moment.
    TwoHolders,
    /// A member took the claim against its promise.
    BrokenPromise,
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its member.
    pub member: Arc<Member>,
    disk: Arc<Durable>,
    memory: Option<Arc<RunMemory>>,
    /// When the kernel closes its fence, in true nanoseconds.
    fence_until: u64,
    session: u64,
    asleep_until: u64,
    /// Whether it is cut off from the coordinators.
    pub cut: bool,
    /// What came while its agent was stopped.
    queue: Vec<Arc<Message>>,
}

/// One state of the world.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// The tick that it is in.
    pub tick: u64,
    /// The next node to be woken in this tick.
    pub turn: usize,
    /// Messages that arrive now, in this order.
    pub inbox: VecDeque<Arc<Message>>,
    /// Messages that may arrive at any time, or never.
    pub late: BTreeSet<Arc<Message>>,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The grantors of both coordinators: one that led before may not know that it leads no more.
    pub grantors: [Option<Arc<Grantor>>; 2],
    record: Arc<Record>,
    /// Set once a coordinator was restored from a backup beside the leader.
    pub restored: Option<Restored>,
    /// The leadership's number.
    pub term: u64,
    /// Until which tick the leadership lasts.
    pub led_until: u64,
    /// Whether the leader renews its leadership.
    pub steady: bool,
    /// What went wrong so far.
    pub spent: Spent,
    /// What must never happen, and did.
    pub harm: Option<Harm>,
}

impl World {
    /// Everyone knows the group and has promised nothing; the first leader begins.
    #[must_use]
    pub fn new(bounds: &Bounds) -> Self {
        let record = Record::new(group(bounds.members), timing().ttl);
        let disk = Arc::new(Durable {
            group: Some(record.group.clone()),
            seen: Epoch::default(),
        });
        let memory = Arc::new(RunMemory {
            boot: BootId(1),
            quiet_until: Moment::ZERO,
            promised: None,
            consented_until: None,
            kept: None,
        });
        let node = |n: usize| {
            let start = start(n, 1, &disk, Some(&memory));
            let member = Member::start_with(bounds.rules, start, read(n, 0), &mut Vec::new());
            Node {
                member: Arc::new(member),
                disk: Arc::clone(&disk),
                memory: Some(Arc::clone(&memory)),
                fence_until: 0,
                session: 1,
                asleep_until: 0,
                cut: false,
                queue: Vec::new(),
            }
        };
        let mut world = Self {
            tick: 0,
            turn: 0,
            inbox: VecDeque::new(),
            late: BTreeSet::new(),
            nodes: (0..NODES).map(node).collect(),
            grantors: [None, None],
            record: Arc::new(record),
            restored: None,
            term: 0,
            led_until: 0,
            steady: false,
            spent: Spent::default(),
            harm: None,
        };
        world.lead(bounds);
        world
    }

    pub(super) const fn now(&self) -> u64 {
        self.tick * TICK
    }

    /// How many fences are open.
    #[must_use]
    pub fn open_fences(&self) -> usize {
        let open = |node: &&Node| node.fence_until > self.now();
        self.nodes.iter().filter(open).count()
    }

    /// The next tick begins.
    pub fn pass(&mut self, bounds: &Bounds) {
        self.tick += 1;
        self.turn = 0;
        let who = self.who();
        if self.steady {
            self.led_until = self.tick + LEADERSHIP;
            let until = Moment::from_nanos(self.led_until * TICK);
            self.grantor(who, grantor::Event::Leading(until), bounds);
        }
        for who in 0..self.grantors.len() {
            self.grantor(who, grantor::Event::Tick, bounds);
        }
    }

    /// The node whose turn it is looks at its clock, and at what came while it was stopped.
    pub fn wake(&mut self, bounds: &Bounds) {
        let n = self.turn;
        self.turn += 1;
        if self.asleep(n) {
            return;
        }
        self.inbox.extend(std::mem::take(&mut self.nodes[n].queue));
        if self.nodes[n].member.next_wake() <= read(n, self.now()) {
            self.member(n, Event::Tick, bounds);
        }
    }

    fn asleep(&self, n: usize) -> bool {
        self.nodes[n].asleep_until > self.tick
    }

    /// The agent of the node whose turn it is is stopped.
    pub fn pause(&mut self) {
        self.nodes[self.turn].asleep_until = self.tick + PAUSE;
        self.turn += 1;
    }

    /// A message arrives; one for the coordinators at `to`, or at both.
    pub fn deliver(&mut self, message: &Message, to: Option<usize>, bounds: &Bounds) {
        match message {
            Message::Up(it) if self.nodes[index(sender(it))].cut => {}
            Message::Down(n, _) if self.nodes[*n].cut => {}
            Message::Up(it) => {
                for who in 0..self.grantors.len() {
                    if to.is_none_or(|to| to == who) && self.hears(it, who) {
                        self.grantor(who, grantor::Event::FromMember(it.clone()), bounds);
                    }
                }
            }
            Message::Down(n, _) | Message::Peer(n, _) if self.asleep(*n) => {
                self.nodes[*n].queue.push(Arc::new(message.clone()));
            }
            Message::Down(n, it) => self.member(*n, Event::FromCoordinator(it.clone()), bounds),
            Message::Peer(n, it) => self.member(*n, Event::FromPeer(it.clone()), bounds),
        }
    }

    /// The next term begins, on the other coordinator, with what the store holds.
    pub fn lead(&mut self, bounds: &Bounds) {
        self.term += 1;
        let epoch = Epoch {
            incarnation: 1,
            term: self.term,
        };
        let now = Moment::from_nanos(self.now());
        self.steady = true;
        self.led_until = self.tick + LEADERSHIP;
        let until = Moment::from_nanos(self.led_until * TICK);
        let (spec, record) = (Spec::new(timing()), (*self.record).clone());
        let grantor = Grantor::lead_with(bounds.rules, epoch, spec, record, until, now);
        self.grantors[self.who()] = Some(Arc::new(grantor));
    }

    /// The leader renews its leadership no more; if it `dies`, it also answers no more.
    pub fn depose(&mut self, dies: bool) {
        self.steady = false;
        if dies {
            self.grantors[self.who()] = None;
        }
    }

    /// The coordinator that leads, or led last.
    pub(super) const fn who(&self) -> usize {
        (self.term % 2) as usize
    }

    /// The agent of node `n` dies and starts again at once, with its memory or without. Its fence
    /// goes on.
    pub fn crash(&mut self, n: usize, forgets: bool, bounds: &Bounds) {
        let now = self.now();
        let node = &mut self.nodes[n];
        node.session += 1;
        node.asleep_until = 0;
        node.queue.clear();
        node.memory = node.memory.take().filter(|_| !forgets);
        let start = start(n, node.session, &node.disk, node.memory.as_deref());
        let mut out = Vec::new();
        let member = Member::start_with(bounds.rules, start, read(n, now), &mut out);
        node.member = Arc::new(member);
        self.act(n, out, bounds);
    }

    /// The holder is asked to give the claim back.
    pub fn give_back(&mut self, n: usize, bounds: &Bounds) {
        if let Some((grant, _)) = self.nodes[n].member.holds() {
            let restored = grant.epoch.incarnation > 1;
            let term = if restored {
                grant.epoch.term
            } else {
                self.term
            };
            let epoch = Epoch {
                term,
                ..grant.epoch
            };
            let what = HintKind::GiveBack(grant, MoveReason::Drained);
            let hint = ToMember::Hint(Hint { epoch, what });
            self.member(n, Event::FromCoordinator(hint), bounds);
        }
    }

    /// The third node joins the group.
    pub fn change_group(&mut self, bounds: &Bounds) {
        let (who, now) = (self.who(), Moment::from_nanos(self.now()));
        let mut out = Vec::new();
        if let Some(grantor) = &mut self.grantors[who] {
            // Refused while another change is under way: then nothing happens.
            drop(Arc::make_mut(grantor).change_group(group(NODES), now, &mut out));
        }
        self.carry_out(who, out, bounds);
    }

    fn member(&mut self, n: usize, event: Event, bounds: &Bounds) {
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
                    if self.nodes[n].member.promise_in_force(now).is_some() {
                        self.harm = Some(Harm::BrokenPromise);
                    }
                    self.arm(n, until);
                }
                Action::Rearm(until) => self.arm(n, until),
                Action::Close(_) => self.nodes[n].fence_until = 0,
                Action::Tell(message) => self.inbox.push_back(Arc::new(Message::Up(message))),
                Action::TellPeer(to, message) => {
                    let message = Message::Peer(index(&to), message);
                    self.inbox.push_back(Arc::new(message));
                }
                Action::Remember(memory) => self.nodes[n].memory = Some(Arc::new(memory)),
                Action::Store(disk) => {
                    self.nodes[n].disk = Arc::new(disk.clone());
                    self.member(n, Event::Stored(disk), bounds);
                }
                Action::Note(_) => {}
            }
        }
    }

    fn arm(&mut self, n: usize, until: Moment) {
        self.nodes[n].fence_until = when(n, until);
        if self.open_fences() > 1 {
            self.harm = Some(Harm::TwoHolders);
        }
    }

    fn grantor(&mut self, who: usize, event: grantor::Event, bounds: &Bounds) {
        let now = Moment::from_nanos(self.now());
        let Some(grantor) = &mut self.grantors[who] else {
            return;
        };
        let mut out = Vec::new();
        Arc::make_mut(grantor).handle(event, now, &mut out);
        self.carry_out(who, out, bounds);
    }

    fn carry_out(&mut self, who: usize, actions: Vec<grantor::Action>, bounds: &Bounds) {
        for action in actions {
            match action {
                grantor::Action::Tell(to, _) if self.is_apart(who, &to) => {}
                grantor::Action::Tell(to, message) => {
                    let message = Message::Down(index(&to), message);
                    self.inbox.push_back(Arc::new(message));
                }
                grantor::Action::Persist(record) if self.is_restored(who) => {
                    self.write_restored(&record);
                    self.grantor(who, grantor::Event::Persisted(record), bounds);
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
}

fn name(node: usize) -> NodeName {
    NodeName::new(["a", "b", "c"][node])
}

pub(super) fn index(name: &NodeName) -> usize {
    usize::from(name.as_ref().as_bytes()[0] - b'a')
}

pub(super) fn group(members: usize) -> Group {
    Group::exclusive(GroupVersion(1), (0..members).map(name).collect())
}

pub(super) fn timing() -> Timing {
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

fn start(n: usize, session: u64, disk: &Durable, run: Option<&RunMemory>) -> Start {
    Start {
        me: name(n),
        session: Session(session),
        boot: BootId(1),
        timing: timing(),
        disk: disk.clone(),
        run: run.cloned(),
        health: Health::Healthy,
    }
}
