//! Leaders of one claim, one after the other, against the truth.
//!
//! The truth is until when each node is entitled to hold by what leaders answered, what the store
//! has, which group every member has on its disk, and until when each peer is bound by a consent.

mod evicting;
mod inputs;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use anyhow::{Result, ensure};
use hamesh_claims::grantor::{Action, Event, Spec};
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{Epoch, GrantId, GroupVersion, NodeName, RequestId, Session};
use hamesh_claims::lease::Timing;
use hamesh_claims::message::{
    Consent, ConsentAsk, Health, Knows, Request, Ruling, ToCoordinator, ToMember, Want,
};
use hamesh_claims::{Grantor, Moment, Rules};

use inputs::Input;
pub use inputs::{Case, cases};

use super::{at, bound, ms};

/// Runs `case` on leaders that keep `rules`.
///
/// # Errors
/// The first thing that one did without a right to.
pub fn check(rules: Rules, case: &Case) -> Result<()> {
    let mut run = Run::new(rules, case);
    for input in &case.inputs {
        run.meet(input)?;
    }
    Ok(())
}

const NODES: [&str; 3] = ["a", "b", "c"];
const LEADERSHIP: u64 = 300;
const LONGEST_PROMISE: u64 = 2000;

fn names(nodes: &[&str]) -> BTreeSet<NodeName> {
    nodes.iter().map(|name| NodeName::new(name)).collect()
}

fn spec(ttl: u64) -> Spec {
    Spec::new(Timing {
        ttl: ms(ttl),
        long_promise: ms(LONGEST_PROMISE),
        lengthen_after: ms(400),
    })
}

/// What a node was granted.
#[derive(Clone, Copy, Debug)]
struct Entitled {
    grant: GrantId,
    /// Until when it believes so.
    holder: Moment,
    /// Until when the leader must be bound.
    bound: Moment,
}

struct Run {
    rules: Rules,
    worker: bool,
    grantor: Grantor,
    now: u64,
    term: u64,
    leading_until: Moment,
    stalled: bool,
    succeeded: bool,
    ttl: u64,
    store: Record,
    unwritten: VecDeque<Record>,
    numbers: u64,
    entitled: BTreeMap<usize, Vec<Entitled>>,
    /// Since when each node has the newest group on its disk, and which.
    groups: BTreeMap<usize, (GroupVersion, Moment)>,
    /// Asks for consent of this leader, and when they were sent.
    consent_asks: Vec<(ConsentAsk, Moment)>,
    consents: Vec<Consent>,
    bound_peers: BTreeMap<usize, Moment>,
    /// The candidates to whom a coordinator of before the restore may grant.
    elsewhere: BTreeSet<NodeName>,
    /// Until when a node that left those may hold by the last lease or promise of then.
    before: BTreeMap<NodeName, Moment>,
}

impl Run {
    fn new(rules: Rules, case: &Case) -> Self {
        let worker = case.worker;
        let members = names(&NODES[..2]);
        let version = GroupVersion(1);
        let group = if worker {
            Group::worker(version, &NodeName::new("w"), names(&NODES))
        } else {
            Group::exclusive(version, members)
        };
        let mut store = Record::new(group, ms(350));
        let mut elsewhere = BTreeSet::new();
        if case.restored {
            elsewhere.clone_from(&store.group.candidates);
            store = store.restored(version);
        }
        let (now, term) = (10_000, 1);
        let leading_until = at(now + LEADERSHIP);
        Self {
            rules,
            worker,
            grantor: leader(rules, term, 350, &store, now),
            now,
            term,
            leading_until,
            stalled: false,
            succeeded: false,
            ttl: 350,
            store,
            unwritten: VecDeque::new(),
            numbers: 0,
            entitled: BTreeMap::new(),
            groups: BTreeMap::new(),
            consent_asks: Vec::new(),
            consents: Vec::new(),
            bound_peers: BTreeMap::new(),
            elsewhere,
            before: BTreeMap::new(),
        }
    }

    /// The nodes that ask for the claim: the worker alone, or any of three.
    fn name(&self, node: usize) -> NodeName {
        NodeName::new(if self.worker { "w" } else { NODES[node] })
    }

    fn key(&self, node: usize) -> usize {
        if self.worker { 3 } else { node }
    }

    fn meet(&mut self, input: &Input) -> Result<()> {
        match input {
            Input::Pass(span) => self.pass(*span),
            Input::Acquire(node) => self.ask(*node, Want::Acquire, None),
            Input::Renew(node) => {
                let last = self.entitled.get(&self.key(*node)).and_then(|it| it.last());
                match last.map(|it| it.grant) {
                    Some(grant) => self.ask(*node, Want::Renew(grant), None),
                    None => Ok(()),
                }
            }
            Input::GiveBack { node, back } => self.give_back(*node, *back),
            Input::Acknowledge(node) => {
                let version = self.store.newest().version;
                let (key, now) = (self.key(*node), at(self.now));
                let known = self.groups.entry(key).or_insert((version, now));
                if known.0 < version {
                    *known = (version, now);
                }
                self.ask(*node, Want::Acquire, None)
            }
            Input::Tell { node, closed } => self.tell(self.name(*node), *closed),
            Input::HigherEpoch(node) => {
                self.succeeded = true;
                let higher = Epoch {
                    incarnation: 2,
                    term: 1,
                };
                self.ask(*node, Want::Acquire, Some(higher))
            }
            Input::Lead => {
                self.lead();
                self.handle(Event::Tick)
            }
            Input::Stall => {
                self.stalled = true;
                Ok(())
            }
            Input::Ttl(ttl) => {
                self.ttl = *ttl;
                self.handle(Event::Configure(spec(*ttl)))
            }
            Input::Persisted => match self.unwritten.pop_front() {
                Some(record) => {
                    self.store = record.clone();
                    self.handle(Event::Persisted(record))
                }
                None => Ok(()),
            },
            Input::Join => {
                let mut out = Vec::new();
                let next = Group::exclusive(GroupVersion(0), names(&NODES));
                // Refused for a worker, and while another change is under way.
                drop(self.grantor.change_group(next, at(self.now), &mut out));
                self.carry_out(None, out)
            }
            Input::Evict(_) | Input::Consent { .. } | Input::ConsentAgain(_) => {
                self.evicting(input)
            }
        }
    }

    fn tell(&mut self, from: NodeName, closed: bool) -> Result<()> {
        if self.elsewhere.remove(&from) {
            let until = bound(at(self.now), ms(LONGEST_PROMISE));
            self.before.insert(from.clone(), until);
        }
        if closed {
            self.before.remove(&from);
        }
        let knows = Knows {
            from,
            seen: epoch(self.term),
            group: Some(self.store.group.clone()),
            closed,
        };
        self.handle(Event::FromMember(ToCoordinator::Knows(knows)))
    }

    /// Lets time pass, in which the leader renews its leadership unless it stalls.
    fn pass(&mut self, span: u64) -> Result<()> {
        let end = self.now + span;
        while self.now < end {
            self.now = end.min(self.now + LEADERSHIP / 3);
            if !self.stalled && at(self.now) < self.leading_until {
                self.leading_until = at(self.now + LEADERSHIP);
                self.handle(Event::Leading(self.leading_until))?;
            }
            self.handle(Event::Tick)?;
        }
        Ok(())
    }

    /// A give-back that was under way: whatever it names, its node held it no more since then.
    fn give_back(&mut self, node: usize, back: usize) -> Result<()> {
        let given = self
            .entitled
            .get(&self.key(node))
            .cloned()
            .unwrap_or_default();
        let Some(place) = given.len().checked_sub(back + 1) else {
            return Ok(());
        };
        let grant = given[place].grant;
        let kept = given.into_iter().filter(|it| it.grant > grant).collect();
        self.entitled.insert(self.key(node), kept);
        self.ask(node, Want::GiveBack(grant), None)
    }

    /// The next leadership begins, once the last is over.
    fn lead(&mut self) {
        self.now = self.now.max(self.leading_until.nanos() / 1_000_000);
        self.term += 1;
        (self.succeeded, self.stalled) = (false, false);
        self.leading_until = at(self.now + LEADERSHIP);
        self.unwritten.clear();
        self.consent_asks.clear();
        self.grantor = leader(self.rules, self.term, self.ttl, &self.store, self.now);
    }

    fn ask(&mut self, node: usize, want: Want, higher: Option<Epoch>) -> Result<()> {
        self.numbers += 1;
        let request = Request {
            from: self.name(node),
            id: RequestId {
                session: Session(1),
                number: self.numbers,
            },
            seen: higher.unwrap_or_default(),
            group: self
                .groups
                .get(&self.key(node))
                .map_or(GroupVersion(1), |(version, _)| *version),
            health: Health::Healthy,
            want,
        };
        let mut out = Vec::new();
        let message = ToCoordinator::Request(request.clone());
        self.grantor
            .handle(Event::FromMember(message), at(self.now), &mut out);
        self.carry_out(Some((node, &request)), out)
    }

    fn handle(&mut self, event: Event) -> Result<()> {
        let mut out = Vec::new();
        self.grantor.handle(event, at(self.now), &mut out);
        self.carry_out(None, out)
    }

    fn carry_out(&mut self, asked: Option<(usize, &Request)>, out: Vec<Action>) -> Result<()> {
        let now = at(self.now);
        let leads = now < self.leading_until && !self.succeeded;
        for action in out {
            match action {
                Action::Tell(_, ToMember::Answer(answer)) => {
                    ensure!(leads, "answers though its time is over");
                    if let (Some((node, request)), Ruling::Granted { grant, ttl, .. }) =
                        (asked, answer.ruling)
                    {
                        self.granted(node, request, grant, ttl.as_millis() as u64)?;
                    }
                }
                Action::Tell(_, ToMember::ConsentAsk(ask)) => {
                    let number = ask.number;
                    let new = |last: &(ConsentAsk, Moment)| last.0.number != number;
                    if self.consent_asks.last().is_none_or(new) {
                        self.consent_asks.push((ask, now));
                    }
                }
                Action::Persist(record) => {
                    self.persists(&record)?;
                    self.unwritten.push_back(record);
                }
                Action::Tell(_, ToMember::Hint(_))
                | Action::Evicted(_)
                | Action::StepDown(_)
                | Action::Note(_) => {}
            }
        }
        Ok(())
    }

    fn granted(&mut self, node: usize, asked: &Request, grant: GrantId, ttl: u64) -> Result<()> {
        let (now, key) = (at(self.now), self.key(node));
        ensure!(
            self.elsewhere.is_empty(),
            "grants beside a coordinator of before the restore"
        );
        ensure!(
            ms(ttl) <= self.store.longest_ttl,
            "a longer lease than the store knows of"
        );
        let mine = self.entitled.get(&key).and_then(|it| it.last()).copied();
        // A holder drops the answer to a renewal if its lease has run out.
        let dropped =
            matches!(asked.want, Want::Renew(_)) && mine.is_none_or(|mine| mine.holder <= now);
        if dropped {
            return Ok(());
        }
        let others = self.entitled.iter().filter(|(other, _)| **other != key);
        let live = others
            .flat_map(|(_, theirs)| theirs)
            .find(|it| it.bound > now);
        ensure!(live.is_none(), "grants {grant} under the lease of another");
        let before = |(node, until): (&NodeName, &Moment)| *node != asked.from && *until > now;
        ensure!(
            !self.before.iter().any(before),
            "grants {grant} under a lease of before the restore"
        );
        let newer = |it: &Entitled| it.grant <= grant;
        ensure!(
            self.entitled.values().flatten().all(newer),
            "a number lower than before"
        );
        let entitled = Entitled {
            grant,
            holder: now.plus(ms(ttl)),
            bound: bound(now, ms(ttl)),
        };
        self.entitled.entry(key).or_default().push(entitled);
        Ok(())
    }

    /// What it is about to rely on must be true already.
    fn persists(&self, record: &Record) -> Result<()> {
        let now = at(self.now);
        if record.group.version > self.store.group.version {
            let waited = |node: &NodeName| {
                let node = NODES.iter().position(|name| *name == node.as_ref());
                let known = node.and_then(|node| self.groups.get(&node));
                known.is_some_and(|(version, since)| {
                    *version >= record.group.version && bound(*since, ms(LONGEST_PROMISE)) <= now
                })
            };
            ensure!(
                self.store.group.everyone().all(waited),
                "puts a group in force that an old member may not know"
            );
        }
        if record.evicted.is_some() && self.store.evicted.is_none() {
            let bound = self.bound_peers.values().filter(|until| **until > now);
            ensure!(bound.count() >= 2, "evicts without a majority of consents");
            let serves = self.entitled.values().flatten().any(|it| it.bound > now);
            ensure!(!serves, "evicts a worker whose lease is live");
        }
        Ok(())
    }
}

fn leader(rules: Rules, term: u64, ttl: u64, record: &Record, now: u64) -> Grantor {
    let until = at(now + LEADERSHIP);
    Grantor::lead_with(
        rules,
        epoch(term),
        spec(ttl),
        record.clone(),
        until,
        at(now),
    )
}

fn epoch(term: u64) -> Epoch {
    Epoch {
        incarnation: 1,
        term,
    }
}
