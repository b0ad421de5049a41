//! Two members and a grantor, driven by hand, all by one clock.

mod start;

use std::collections::BTreeSet;
use std::time::Duration;

use hamesh_claims::grantor::{self, Spec};
use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{BootId, Epoch, GrantId, GroupVersion, NodeName, RequestId, Session};
use hamesh_claims::member::{Action, Durable, Event, RunMemory};
use hamesh_claims::message::{
    Answer, Ask, Hint, HintKind, Ruling, ToCoordinator, ToMember, ToPeer, Want,
};
use hamesh_claims::reason::MoveReason;
use hamesh_claims::{Grantor, Member, Moment, Rules};
use start::{BOOT, member, start, timing};

/// The first leader's epoch.
pub const EPOCH: Epoch = Epoch {
    incarnation: 1,
    term: 1,
};

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn at(n: u64) -> Moment {
    Moment::ZERO.plus(ms(n))
}

pub fn names(names: &[&str]) -> BTreeSet<NodeName> {
    names.iter().map(|n| NodeName::new(n)).collect()
}

/// For how long `message` grants.
pub fn granted(message: &ToMember) -> Option<Duration> {
    match message {
        ToMember::Answer(Answer {
            ruling: Ruling::Granted { ttl, .. },
            ..
        }) => Some(*ttl),
        ToMember::Answer(_) | ToMember::Hint(_) | ToMember::ConsentAsk(_) => None,
    }
}

/// What `message` grants.
pub fn grant_of(message: &ToMember) -> Option<GrantId> {
    match message {
        ToMember::Answer(Answer {
            ruling: Ruling::Granted { grant, .. },
            ..
        }) => Some(*grant),
        ToMember::Answer(_) | ToMember::Hint(_) | ToMember::ConsentAsk(_) => None,
    }
}

pub struct Duo {
    rules: Rules,
    epoch: Epoch,
    pub grantor: Grantor,
    pub a: Member,
    pub b: Member,
    spec: Spec,
    memory: Option<RunMemory>,
    memory_of_a: Option<RunMemory>,
    unwritten: Option<Record>,
    sessions: u64,
}

impl Duo {
    pub fn new(rules: Rules) -> Self {
        Self::with_members(rules, &["a", "b"])
    }

    pub fn with_members(rules: Rules, members: &[&str]) -> Self {
        Self::with_group(rules, Group::exclusive(GroupVersion(1), names(members)))
    }

    /// A worker `w` whose peers are a, b and c.
    pub fn worker(rules: Rules) -> Self {
        let peers = names(&["a", "b", "c"]);
        Self::with_group(
            rules,
            Group::worker(GroupVersion(1), &NodeName::new("w"), peers),
        )
    }

    fn with_group(rules: Rules, group: Group) -> Self {
        let spec = Spec::new(timing());
        let record = Record::new(group.clone(), spec.timing.ttl);
        let start = Moment::ZERO;
        let end = at(100_000);
        Self {
            rules,
            epoch: EPOCH,
            grantor: Grantor::lead_with(rules, EPOCH, spec.clone(), record, end, start),
            a: member(rules, "a", 1, &group, start),
            b: member(rules, "b", 2, &group, start),
            spec,
            memory: None,
            memory_of_a: None,
            unwritten: None,
            sessions: 2,
        }
    }

    /// `a` has held since 1000 ms.
    pub fn held_by_a(rules: Rules) -> Self {
        let mut duo = Self::new(rules);
        duo.a_takes(at(1000));
        assert!(duo.a.holds().is_some(), "a holds");
        duo
    }

    pub fn leading_until(&self) -> Moment {
        at(100_000)
    }

    pub fn record(&self) -> Record {
        self.grantor.record().clone()
    }

    /// Until when the grantor is bound to its holder.
    pub fn grantor_bound(&self) -> Moment {
        self.grantor
            .explain(Moment::ZERO)
            .holder
            .map_or(Moment::ZERO, |(_, _, until)| until)
    }

    pub fn new_leader(&mut self, now: Moment, record: Record) {
        self.epoch.term += 1;
        let (spec, end) = (self.spec.clone(), at(100_000));
        self.grantor = Grantor::lead_with(self.rules, self.epoch, spec, record, end, now);
    }

    pub fn configure(&mut self, change: impl Fn(&mut Spec), now: Moment) {
        change(&mut self.spec);
        let spec = self.spec.clone();
        self.grantor_event(grantor::Event::Configure(spec), now);
    }

    pub fn change_group(&mut self, members: &[&str], now: Moment) {
        let mut out = Vec::new();
        let group = Group::exclusive(GroupVersion(0), names(members));
        self.grantor
            .change_group(group, now, &mut out)
            .expect("no change is under way");
        self.absorb(out);
        self.grantor_tick(now);
    }

    /// Confirms what is to be persisted, and lets time act.
    pub fn grantor_tick(&mut self, now: Moment) {
        self.grantor_event(grantor::Event::Tick, now);
        while let Some(record) = self.unwritten.take() {
            self.grantor_event(grantor::Event::Persisted(record), now);
        }
    }

    pub fn grantor_hears(
        &mut self,
        message: ToCoordinator,
        now: Moment,
    ) -> Vec<(ToMember, NodeName)> {
        self.grantor_event(grantor::Event::FromMember(message), now)
    }

    fn grantor_event(&mut self, event: grantor::Event, now: Moment) -> Vec<(ToMember, NodeName)> {
        let mut out = Vec::new();
        self.grantor.handle(event, now, &mut out);
        let answers = self.absorb(out);
        answers
            .into_iter()
            .filter(|(it, _)| matches!(it, ToMember::Answer(_)))
            .collect()
    }

    fn absorb(&mut self, out: Vec<grantor::Action>) -> Vec<(ToMember, NodeName)> {
        let mut told = Vec::new();
        for action in out {
            match action {
                grantor::Action::Tell(to, message) => told.push((message, to)),
                grantor::Action::Persist(record) => self.unwritten = Some(record),
                grantor::Action::Evicted(_)
                | grantor::Action::StepDown(_)
                | grantor::Action::Note(_) => {}
            }
        }
        told
    }

    pub fn a_event(&mut self, event: Event, now: Moment) -> Vec<Action> {
        let mut out = Vec::new();
        self.a.handle(event, now, &mut out);
        self.memory_of_a = remembered(&out).or_else(|| self.memory_of_a.take());
        out
    }

    pub fn b_event(&mut self, event: Event, now: Moment) -> Vec<Action> {
        let mut out = Vec::new();
        self.b.handle(event, now, &mut out);
        self.memory = remembered(&out).or_else(|| self.memory.take());
        out
    }

    pub fn tick_a(&mut self, now: Moment) -> Vec<Action> {
        self.a_event(Event::Tick, now)
    }

    pub fn a_hears(&mut self, message: ToMember, now: Moment) -> Vec<Action> {
        self.a_event(Event::FromCoordinator(message), now)
    }

    fn hint(&self, what: HintKind) -> Event {
        Event::FromCoordinator(ToMember::Hint(Hint {
            epoch: self.epoch,
            what,
        }))
    }

    /// The request that `a` sends when it is hinted to ask.
    pub fn a_wants(&mut self, now: Moment) -> ToCoordinator {
        let hint = self.hint(HintKind::Ask);
        request(self.a_event(hint, now), |_| true)
    }

    /// The request that `b` sends when it is hinted to ask.
    pub fn b_wants(&mut self, now: Moment) -> ToCoordinator {
        let hint = self.hint(HintKind::Ask);
        request(self.b_event(hint, now), |_| true)
    }

    /// `a` asks, is answered, and hears the answer, all at once.
    pub fn a_takes(&mut self, now: Moment) -> (ToMember, NodeName) {
        let wanted = self.a_wants(now);
        let answer = self.grantor_hears(wanted, now).remove(0);
        self.a_hears(answer.0.clone(), now);
        answer
    }

    /// `b` asks and hears the answer; what it holds then.
    pub fn b_acquires(&mut self, now: Moment) -> Option<GrantId> {
        let wanted = self.b_wants(now);
        let (answer, _) = self.grantor_hears(wanted, now).remove(0);
        self.b_event(Event::FromCoordinator(answer), now);
        self.b.holds().map(|(grant, _)| grant)
    }

    /// The renewal that `a` sends at `now`.
    pub fn a_renews(&mut self, now: Moment) -> ToCoordinator {
        request(self.tick_a(now), |want| matches!(want, Want::Renew(_)))
    }

    /// `a`, to be drained, is asked for its claim: the give-back that it sends.
    pub fn a_gives_back(&mut self, now: Moment) -> ToCoordinator {
        self.configure(|spec| spec.drained = names(&["a"]), now);
        let (grant, _) = self.a.holds().expect("a holds");
        let hint = self.hint(HintKind::GiveBack(grant, MoveReason::Drained));
        request(self.a_event(hint, now), |want| {
            matches!(want, Want::GiveBack(_))
        })
    }

    /// What `a` asks the others, since no coordinator answers.
    pub fn a_alone(&mut self, now: Moment) -> Vec<(NodeName, Ask)> {
        let asks = self
            .tick_a(now)
            .into_iter()
            .filter_map(|action| match action {
                Action::TellPeer(to, ToPeer::Ask(ask)) => Some((to, ask)),
                _ => None,
            });
        asks.collect()
    }

    /// `b` answers an ask of `a`, which hears it at once.
    pub fn b_promises(&mut self, ask: Ask, now: Moment) {
        for action in self.b_event(Event::FromPeer(ToPeer::Ask(ask)), now) {
            if let Action::TellPeer(_, promise) = action {
                self.a_event(Event::FromPeer(promise), now);
            }
        }
    }

    /// An ask of `from`, in its first session.
    pub fn ask(&self, from: &str, number: u64, group: GroupVersion, ttl: Duration) -> Ask {
        let id = RequestId {
            session: Session(1),
            number,
        };
        Ask {
            from: NodeName::new(from),
            id,
            group,
            ttl,
        }
    }

    /// A grant of another leader, in answer to `request`.
    pub fn foreign_grant(&self, request: &ToCoordinator) -> ToMember {
        let ToCoordinator::Request(request) = request else {
            panic!("a request: {request:?}");
        };
        let epoch = Epoch { term: 5, ..EPOCH };
        let grant = GrantId { epoch, number: 1 };
        let ruling = Ruling::Granted {
            grant,
            ttl: ms(350),
            yields: None,
        };
        ToMember::Answer(Answer {
            id: request.id,
            epoch,
            group: None,
            ruling,
        })
    }

    pub fn a_learns(&mut self, group: Group, now: Moment) {
        let hint = self.hint(HintKind::Learn(group));
        for disk in stores(self.a_event(hint, now)) {
            self.a_event(Event::Stored(disk), now);
        }
    }

    pub fn b_learns(&mut self, group: Group, now: Moment) {
        let hint = self.hint(HintKind::Learn(group));
        for disk in stores(self.b_event(hint, now)) {
            self.b_event(Event::Stored(disk), now);
        }
    }

    /// A new run of `a`, which had promised nothing.
    pub fn restart_a(&mut self, now: Moment) {
        self.sessions += 1;
        let group = self.record().group;
        self.a = member(self.rules, "a", self.sessions, &group, now);
    }

    /// A new run of `a`, with what the last one remembered.
    pub fn upgrade_a(&mut self, now: Moment) {
        self.sessions += 1;
        let disk = Durable {
            group: Some(self.record().group),
            seen: EPOCH,
        };
        let memory = self.memory_of_a.clone();
        self.a = start(self.rules, "a", self.sessions, disk, memory, now);
    }

    /// A new run of `b`, with this memory.
    pub fn restart_b(&mut self, now: Moment, memory: Option<RunMemory>) {
        self.sessions += 1;
        let disk = Durable {
            group: Some(self.record().group),
            seen: EPOCH,
        };
        self.b = start(self.rules, "b", self.sessions, disk, memory, now);
    }

    pub fn memory_of_another_boot(&self) -> RunMemory {
        RunMemory {
            boot: BootId(BOOT.0 + 1),
            quiet_until: Moment::ZERO,
            promised: None,
            consented_until: None,
            kept: None,
        }
    }
}

/// The request in `out` that wants what is `wanted`.
pub fn request(out: Vec<Action>, wanted: impl Fn(&Want) -> bool) -> ToCoordinator {
    let seen = format!("{out:?}");
    let found = out.into_iter().find_map(|action| match action {
        Action::Tell(ToCoordinator::Request(it)) if wanted(&it.want) => {
            Some(ToCoordinator::Request(it))
        }
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no such request in {seen}"))
}

fn remembered(out: &[Action]) -> Option<RunMemory> {
    out.iter().rev().find_map(|it| match it {
        Action::Remember(memory) => Some(memory.clone()),
        _ => None,
    })
}

fn stores(out: Vec<Action>) -> Vec<Durable> {
    let disks = out.into_iter().filter_map(|action| match action {
        Action::Store(disk) => Some(disk),
        _ => None,
    });
    disks.collect()
}
