//! A member, alone against the truth.
//!
//! The truth is the most that it may believe: until when its leaders and the others are bound to
//! it, and until when it is bound to others, over its restarts too.

mod inputs;
mod judge;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Result, ensure};
use hamesh_claims::group::Group;
use hamesh_claims::ids::{BootId, Epoch, GrantId, GroupVersion, NodeName, RequestId, Session};
use hamesh_claims::lease::Timing;
use hamesh_claims::member::{Durable, Event, RunMemory, Start};
use hamesh_claims::message::{
    Answer, Ask, ConsentAsk, Health, Hint, HintKind, Promise, Release, Ruling, ToMember, ToPeer,
};
use hamesh_claims::reason::{MoveReason, Refusal};
use hamesh_claims::{Member, Moment, Rules};

pub use inputs::{Case, cases};
use inputs::{Input, Kind};

use super::{at, ms};

/// Runs `case` on a member that keeps `rules`.
///
/// # Errors
/// The first thing that it did, or believed, without a right to.
pub fn check(rules: Rules, case: &Case) -> Result<()> {
    let mut run = Run::new(rules, case.kind)?;
    for input in &case.inputs {
        run.meet(input)?;
    }
    Ok(())
}

const NODES: [&str; 3] = ["b", "c", "d"];

fn group(version: u64, kind: Kind) -> Group {
    let names: &[&str] = match (version, kind) {
        (1, Kind::Pair) => &["a", "b"],
        (1, Kind::Trio | Kind::Peer) => &["a", "b", "c"],
        (2, _) => &["a", "b", "c", "d"],
        (_, _) => &["a", "c"],
    };
    let members: BTreeSet<NodeName> = names.iter().map(|name| NodeName::new(name)).collect();
    let version = GroupVersion(version);
    if kind == Kind::Peer {
        Group::worker(version, &NodeName::new("b"), members)
    } else {
        Group::exclusive(version, members)
    }
}

/// A word that the member gave: to whom, in answer to which ask, until when in true time.
struct Word {
    to: usize,
    number: u64,
    until: Moment,
}

struct Run {
    rules: Rules,
    kind: Kind,
    member: Member,
    /// True time, in milliseconds; the member's clock is ahead of it by `ahead`.
    now: u64,
    ahead: u64,
    runs: u64,
    boot: u128,
    disk: Durable,
    unwritten: VecDeque<Durable>,
    memory: Option<RunMemory>,
    seen: Epoch,
    /// What it sent: the run, the number, when by its own clock.
    requests: Vec<(u64, RequestId, Moment)>,
    asks: Vec<(u64, RequestId, Moment)>,
    /// Answers to no earlier request may be believed.
    requests_from: usize,
    asks_from: usize,
    leased: Option<Moment>,
    promised: BTreeMap<usize, Moment>,
    fence: Option<Moment>,
    /// Until when what an earlier run opened is open in the kernel.
    left_open: Option<Moment>,
    words: Vec<Word>,
    consents: Vec<Moment>,
}

impl Run {
    fn new(rules: Rules, kind: Kind) -> Result<Self> {
        let disk = Durable {
            group: Some(group(1, kind)),
            seen: Epoch::default(),
        };
        let boot = BootId(1);
        let memory = RunMemory {
            boot,
            quiet_until: Moment::ZERO,
            promised: None,
            consented_until: None,
            kept: None,
        };
        let started = start(1, boot, disk.clone(), Some(memory.clone()));
        let mut run = Self {
            rules,
            kind,
            member: Member::start_with(rules, started, at(10_000), &mut Vec::new()),
            now: 10_000,
            ahead: 0,
            runs: 1,
            boot: 1,
            disk,
            unwritten: VecDeque::new(),
            memory: Some(memory),
            seen: Epoch::default(),
            requests: Vec::new(),
            asks: Vec::new(),
            requests_from: 0,
            asks_from: 0,
            leased: None,
            promised: BTreeMap::new(),
            fence: None,
            left_open: None,
            words: Vec::new(),
            consents: Vec::new(),
        };
        run.handle(Event::Tick)?;
        Ok(run)
    }

    fn local(&self) -> Moment {
        at(self.now + self.ahead)
    }

    fn meet(&mut self, input: &Input) -> Result<()> {
        let event = match input {
            Input::Pass(span) => {
                self.now += span;
                Event::Tick
            }
            Input::Granted {
                back,
                term,
                ttl,
                yields,
            } => {
                let Some(event) = self.granted(*back, *term, *ttl, *yields) else {
                    return Ok(());
                };
                event
            }
            Input::Promise { of, back, ttl } => {
                let Some(event) = self.promise(*of, *back, *ttl) else {
                    return Ok(());
                };
                event
            }
            Input::Stored => {
                let Some(disk) = self.unwritten.pop_front() else {
                    return Ok(());
                };
                self.disk = disk.clone();
                Event::Stored(disk)
            }
            Input::Restart { remembers } => return self.restart(*remembers),
            Input::Reboot => {
                // The new boot's clock is so far ahead that nothing remembered seems to bind.
                self.ahead += 10_000_000;
                self.boot += 1;
                (self.leased, self.fence, self.left_open) = (None, None, None);
                self.promised.clear();
                return self.restart(true);
            }
            other => match self.simple(other) {
                Some(event) => event,
                None => return Ok(()),
            },
        };
        self.handle(event)
    }

    /// The events that change nothing of the truth, or only what the member is bound by.
    fn simple(&mut self, input: &Input) -> Option<Event> {
        let term = |term| Epoch {
            incarnation: 1,
            term,
        };
        let hint = |epoch, what| Event::FromCoordinator(ToMember::Hint(Hint { epoch, what }));
        Some(match input {
            Input::Freed(back) => {
                let (_, id, _) = *self.requests.iter().rev().nth(*back)?;
                let epoch = self.seen;
                let ruling = Ruling::Freed(GrantId { epoch, number: 1 });
                answer(id, epoch, ruling)
            }
            Input::Gathered(back) => {
                let (_, id, _) = *self.requests.iter().rev().nth(*back)?;
                self.seen.incarnation = 2;
                answer(id, self.seen, Ruling::Refused(Refusal::Gathering))
            }
            Input::GiveBack => {
                let (grant, _) = self.member.holds()?;
                hint(self.seen, HintKind::GiveBack(grant, MoveReason::Drained))
            }
            Input::Seen(n) => {
                self.seen = self.seen.max(term(*n));
                hint(term(*n), HintKind::Ask)
            }
            Input::Learn(version) => hint(self.seen, HintKind::Learn(group(*version, self.kind))),
            Input::Ask {
                of,
                number,
                version,
                ttl,
            } => Event::FromPeer(ToPeer::Ask(Ask {
                from: NodeName::new(NODES[*of]),
                id: theirs(*number),
                group: GroupVersion(*version),
                ttl: ms(*ttl),
            })),
            Input::Release { of, upto } => {
                self.words
                    .retain(|word| word.to != *of || word.number > *upto);
                let from = NodeName::new(NODES[*of]);
                let upto = theirs(*upto);
                Event::FromPeer(ToPeer::Release(Release { from, upto }))
            }
            Input::Consent(ttl) => Event::FromCoordinator(ToMember::ConsentAsk(ConsentAsk {
                epoch: self.seen,
                number: 1,
                group: self.disk.group.as_ref()?.version,
                ttl: ms(*ttl),
            })),
            Input::Along => Event::Along,
            Input::FenceLost => Event::FenceLost,
            Input::Pass(_)
            | Input::Granted { .. }
            | Input::Promise { .. }
            | Input::Stored
            | Input::Restart { .. }
            | Input::Reboot => return None,
        })
    }

    fn granted(&mut self, back: usize, term: u64, ttl: u64, yields: bool) -> Option<Event> {
        let place = self.requests.len().checked_sub(back + 1)?;
        let (run, id, sent) = self.requests[place];
        let epoch = Epoch {
            incarnation: 1,
            term,
        };
        let (now, until) = (self.local(), sent.plus(ms(ttl)));
        let lapsing = self.fence.is_some_and(|fence| fence <= now)
            && self.promised_by_all().is_none_or(|until| until <= now);
        let fresh = run == self.runs && place >= self.requests_from && !lapsing;
        if fresh && epoch >= self.seen && now < until {
            let held = self.leased.filter(|_| self.fence.is_some());
            self.leased = Some(held.map_or(until, |held| held.max(until)));
        }
        self.seen = self.seen.max(epoch);
        let number = self.requests.len() as u64;
        Some(answer(
            id,
            epoch,
            Ruling::Granted {
                grant: GrantId { epoch, number },
                ttl: ms(ttl),
                yields: yields.then_some(MoveReason::Drained),
            },
        ))
    }

    fn promise(&mut self, of: usize, back: usize, ttl: u64) -> Option<Event> {
        let place = self.asks.len().checked_sub(back + 1)?;
        let (run, id, sent) = self.asks[place];
        if run == self.runs && place >= self.asks_from {
            let until = sent.plus(ms(ttl));
            let old = self.promised.entry(of).or_insert(until);
            *old = until.max(*old);
        }
        let from = NodeName::new(NODES[of]);
        let ruling = Ok(ms(ttl));
        Some(Event::FromPeer(ToPeer::Promise(Promise {
            from,
            id,
            ruling,
        })))
    }

    /// Until when all others of the group on its disk are bound to it.
    fn promised_by_all(&self) -> Option<Moment> {
        let group = self.disk.group.as_ref()?;
        let others = NODES
            .iter()
            .enumerate()
            .filter(|(_, name)| group.peers.contains(&NodeName::new(name)));
        let ends: Option<Vec<Moment>> = others
            .map(|(of, _)| self.promised.get(&of).copied())
            .collect();
        ends?.into_iter().min()
    }

    fn restart(&mut self, remembers: bool) -> Result<()> {
        self.runs += 1;
        self.unwritten.clear();
        self.seen = self.disk.seen;
        if !remembers {
            self.memory = None;
        }
        let (boot, memory) = (BootId(self.boot), self.memory.clone());
        let started = start(self.runs, boot, self.disk.clone(), memory);
        let mut out = Vec::new();
        self.left_open = self.left_open.max(self.fence.take());
        self.member = Member::start_with(self.rules, started, self.local(), &mut out);
        self.carry_out(&Event::Tick, out)?;
        self.handle(Event::Tick)
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        let mut out = Vec::new();
        let now = self.local();
        self.member.handle(event.clone(), now, &mut out);
        self.carry_out(&event, out)?;
        ensure!(self.member.next_wake() > now, "would be woken at once");
        let holds = self.member.holds();
        ensure!(
            holds.is_none_or(|(_, until)| until > now),
            "holds past its fence"
        );
        Ok(())
    }
}

fn theirs(number: u64) -> RequestId {
    RequestId {
        session: Session(99),
        number,
    }
}

fn answer(id: RequestId, epoch: Epoch, ruling: Ruling) -> Event {
    let group = None;
    Event::FromCoordinator(ToMember::Answer(Answer {
        id,
        epoch,
        group,
        ruling,
    }))
}

fn start(session: u64, boot: BootId, disk: Durable, run: Option<RunMemory>) -> Start {
    Start {
        me: NodeName::new("a"),
        session: Session(session),
        boot,
        timing: Timing {
            ttl: ms(350),
            long_promise: ms(2000),
            lengthen_after: ms(400),
        },
        disk,
        run,
        health: Health::Healthy,
    }
}
