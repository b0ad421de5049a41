//! One claim in this node's care: its member, and what becomes of what the member wants.
//!
//! Guarantees, whatever the kernel and `/run` answer:
//! - actions are carried out in their order; each commit to the fence is judged by the clock after
//!   it, and what came too late is closed and reported to the member as lost;
//! - nobody is told anything while a fence that should be closed may be open, or while what the
//!   member must remember is not written. Both are tried again before the next word.
//!
//! A node whose fence cannot be opened does not ask for the claim: it says that it is unable.

mod carry;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hamesh_claims::Moment;
use hamesh_claims::ids::{BootId, NodeName, RequestId, Session};
use hamesh_claims::member::{Durable, Event, Member, Note, RunMemory, Start};
use hamesh_claims::message::{Answer, Health, Ruling, ToMember};
use hamesh_kernel::device::Mac;
use hamesh_kernel::fence::Written;
use hamesh_proto::ids::ClaimId;

use super::brief::Spec;
use super::metrics::ClaimSeries;
use super::outbox::{Outbox, Said};
use super::report::{ClaimView, Part};
use super::world::{Subject, Trouble, World};

/// Events that follow from one event at most: a fence that cannot be opened stays closed until the
/// member is next due.
const MOST_FOLLOWING: usize = 3;
/// Renewals whose answer is waited for, for the histogram alone.
const MOST_TIMED: usize = 16;
/// Who answered for an address is told for so long.
const DUPLICATES_FOR: Duration = Duration::from_secs(60);
/// For how long addresses stay open that are open without a lease: a few looks.
const BESIDE_FOR: Duration = Duration::from_secs(5);
/// A rival that goes on is not told more often, though it is answered each time.
const RIVAL_PAUSE: Duration = Duration::from_secs(10);

/// How well the node could serve, and why not better.
pub type Judged = (Health, String);

/// Who and when this is.
#[derive(Clone, Debug)]
pub struct Own {
    /// The node.
    pub me: NodeName,
    /// The boot whose clock is read.
    pub boot: BootId,
}

/// One claim.
#[derive(Debug)]
pub struct Duty {
    id: ClaimId,
    spec: Spec,
    member: Member,
    storing: Option<Durable>,
    checks: Judged,
    told_health: Health,
    /// Why no fence can be opened.
    fence: Option<String>,
    /// What is wrong with the interfaces of its addresses.
    link: Option<String>,
    /// Why its fence cannot be opened, and until when nothing is tried.
    unable: Option<(Trouble, Moment)>,
    /// Open in the kernel since before this member began.
    inherited: Option<Moment>,
    /// The fence should be closed, and may not be.
    unclosed: bool,
    /// What should be in `/run`, and is not.
    unwritten: Option<RunMemory>,
    timed: VecDeque<(RequestId, Moment)>,
    last_note: Option<Note>,
    duplicates: BTreeMap<Mac, Moment>,
    rival_said: Option<Moment>,
    leaving_until: Option<Moment>,
    series: ClaimSeries,
}

impl Duty {
    /// Starts the member; what is left open in the kernel from before stays for its time.
    pub fn start(
        own: &Own,
        id: ClaimId,
        spec: Spec,
        series: ClaimSeries,
        world: &mut impl World,
        out: &mut Outbox,
    ) -> Self {
        let now = world.now();
        let left = world.still_open(spec.subject());
        let start = Start {
            me: own.me.clone(),
            session: Session(world.draw()),
            boot: own.boot,
            timing: spec.timing(),
            disk: spec.disk.clone(),
            run: world.recall(&id),
            health: Health::Failed,
        };
        let mut actions = Vec::new();
        let member = Member::start(start, world.now(), &mut actions);
        let mut duty = Self {
            inherited: left.map(|left| now.plus(left.min(spec.ttl))),
            id,
            spec,
            member,
            storing: None,
            checks: (Health::Failed, "not checked yet".to_owned()),
            told_health: Health::Failed,
            fence: None,
            link: None,
            unable: None,
            unclosed: false,
            unwritten: None,
            timed: VecDeque::with_capacity(MOST_TIMED),
            last_note: None,
            duplicates: BTreeMap::new(),
            rival_said: None,
            leaving_until: None,
            series,
        };
        if duty.carry_out(actions, world, out) {
            duty.handle(Event::FenceLost, world, out);
        }
        duty
    }

    /// Something happened to the member.
    pub fn handle(&mut self, event: Event, world: &mut impl World, out: &mut Outbox) {
        let mut following = Some(event);
        for _ in 0..MOST_FOLLOWING {
            let Some(event) = following.take() else {
                break;
            };
            let now = world.now();
            let mut actions = Vec::new();
            self.member.handle(event, now, &mut actions);
            if self.carry_out(actions, world, out) {
                following = Some(Event::FenceLost);
            }
        }
        self.judge(world, out);
    }

    /// A coordinator told something.
    pub fn told(&mut self, message: ToMember, world: &mut impl World, out: &mut Outbox) {
        if let ToMember::Answer(answer) = &message {
            self.time(answer, world.now());
        }
        self.handle(Event::FromCoordinator(message), world, out);
    }

    /// Time passed, and some claim of this node is due: this one, or another that it goes along
    /// with, so that one datagram carries both.
    pub fn tick(&mut self, world: &mut impl World, out: &mut Outbox) {
        let due = world.now() >= self.member.next_wake();
        self.handle(if due { Event::Tick } else { Event::Along }, world, out);
    }

    /// Why the fence of no claim can be opened; `None`: it can.
    pub fn fenced(&mut self, trouble: Option<String>) {
        self.fence = trouble;
    }

    /// How well the node could serve, by its checks.
    pub fn checked(&mut self, judged: Judged) {
        self.checks = judged;
    }

    /// What is wrong with the interfaces of its addresses.
    pub fn linked(&mut self, trouble: Option<String>) {
        if trouble.is_none() {
            self.able_again(|trouble| matches!(trouble, Trouble::Homeless(_)));
        }
        self.link = trouble;
    }

    /// Forgets trouble of a kind that may be over.
    pub fn able_again(&mut self, over: impl Fn(&Trouble) -> bool) {
        self.unable = self.unable.take().filter(|(trouble, _)| !over(trouble));
    }

    /// Tells the member how well the node could serve now, if that changed.
    pub fn judge(&mut self, world: &mut impl World, out: &mut Outbox) {
        let now = world.now();
        self.unable = self.unable.take().filter(|(_, until)| now < *until);
        let (health, _) = self.health();
        self.series.health(health);
        self.series.able(self.why_unable().is_none());
        if health != self.told_health {
            self.told_health = health;
            self.handle(Event::Health(health), world, out);
        }
    }

    /// Its addresses have nowhere to be: what is held is let go.
    pub fn homeless(&mut self, trouble: Trouble, world: &mut impl World, out: &mut Outbox) {
        self.unable = Some((trouble, Moment::END));
        self.handle(Event::FenceLost, world, out);
    }

    /// The site wants another time-to-live.
    pub fn configure(&mut self, spec: Spec, world: &mut impl World, out: &mut Outbox) {
        if spec.ttl != self.spec.ttl {
            self.handle(Event::Configure(spec.timing()), world, out);
        }
        self.spec.ttl = spec.ttl;
        self.spec.beside = spec.beside;
    }

    /// Gives up the claim; it is told so for a while yet.
    pub fn leave(&mut self, for_span: Duration, world: &mut impl World, out: &mut Outbox) {
        if self.leaving_until.is_none() {
            self.leaving_until = Some(world.now().plus(for_span));
            self.handle(Event::Stop, world, out);
            self.inherited = None;
        }
    }

    /// This is on disk now.
    pub fn stored(&mut self, disk: Durable, world: &mut impl World, out: &mut Outbox) {
        self.storing = self.storing.take().filter(|newest| *newest != disk);
        self.handle(Event::Stored(disk), world, out);
    }

    /// Others answered for one of its addresses. Whether any of them is new.
    pub fn answered_by(&mut self, macs: impl IntoIterator<Item = Mac>, now: Moment) -> bool {
        let mut news = false;
        for mac in macs {
            news |= self.duplicates.insert(mac, now).is_none();
        }
        news
    }

    /// Another spoke as the owner of one of its addresses. Whether that was not said just before.
    pub fn rival(&mut self, now: Moment) -> bool {
        self.series.rival();
        let news = self
            .rival_said
            .is_none_or(|said| now.since(said) >= RIVAL_PAUSE);
        if news {
            self.rival_said = Some(now);
        }
        news
    }

    /// Opens its addresses for a moment without a lease, where nothing else can have them: a member
    /// that has just begun is granted nothing for half a minute.
    pub fn stay_open(&mut self, world: &mut impl World, out: &mut Outbox) {
        if !self.is_beside() || self.holds() || self.fence.is_some() {
            return;
        }
        let until = world.now().plus(BESIDE_FOR);
        let mut opened = world.renew(self.spec.subject(), until);
        if !matches!(opened, Ok(Written::Live)) {
            opened = world.take(self.spec.subject(), until);
        }
        if let Err(trouble) = opened {
            out.say(&self.id, Said::Unable(trouble));
        }
    }

    /// Once a second: tries again what could not be done.
    pub fn tidy(&mut self, world: &mut impl World, out: &mut Outbox) {
        self.settle_debts(world, out);
        if let Some(disk) = &self.storing {
            out.store(&self.id, disk);
        }
        let now = world.now();
        self.duplicates
            .retain(|_, heard| now.since(*heard) < DUPLICATES_FOR);
        self.series.duplicates(self.duplicates.len());
    }

    /// Its name.
    pub const fn id(&self) -> &ClaimId {
        &self.id
    }

    /// What it was told.
    pub const fn spec(&self) -> &Spec {
        &self.spec
    }

    /// When it has to be ticked.
    pub fn next_wake(&self) -> Moment {
        self.member.next_wake()
    }

    /// Whether its addresses belong on this node now.
    pub fn is_open(&self, now: Moment) -> bool {
        self.holds() || self.is_beside() || self.inherited.is_some_and(|until| now < until)
    }

    /// Whether it holds under a lease.
    pub fn holds(&self) -> bool {
        self.member.holds().is_some()
    }

    /// Whether its addresses are open without a lease: nothing but what served before on this very
    /// node can have them.
    fn is_beside(&self) -> bool {
        self.spec.beside && self.leaving_until.is_none()
    }

    /// Whether it was given up.
    pub const fn leaving_until(&self) -> Option<Moment> {
        self.leaving_until
    }

    /// How it stands, for people and for the site.
    pub fn view(&self, now: Moment) -> ClaimView {
        let (health, why) = self.health();
        let part = match self.member.holds() {
            Some(_) if self.member.alone_since().is_some() => Part::HoldingAlone,
            Some(_) => Part::Holding,
            None if self.why_unable().is_some() => Part::Unable,
            None => Part::Standby,
        };
        ClaimView {
            part,
            addresses: self.spec.addresses.clone(),
            grant: self.member.holds().map(|(grant, _)| grant.to_string()),
            promised_to: self
                .member
                .promise_in_force(now)
                .map(|(to, _)| to.as_ref().to_owned()),
            health: health.to_string(),
            health_reason: why,
            duplicate_macs: self.duplicates.keys().map(Mac::to_string).collect(),
        }
    }

    /// Whether the node is to have the claim in no case: one that has not all that was committed
    /// is no better than nobody.
    fn must_not(&self) -> bool {
        self.spec.subject() == Subject::Database && self.checks.0 == Health::Failed
    }

    fn why_unable(&self) -> Option<String> {
        let own = self.unable.as_ref().map(|(trouble, _)| trouble.to_string());
        self.fence.clone().or(own)
    }

    fn time(&mut self, answer: &Answer, now: Moment) {
        let granted = matches!(answer.ruling, Ruling::Granted { .. });
        let asked = self.timed.iter().find(|(id, _)| *id == answer.id);
        if let (true, Some((_, at))) = (granted, asked) {
            self.series.renewed(now.since(*at));
        }
        self.timed.retain(|(id, _)| *id != answer.id);
    }

    fn health(&self) -> Judged {
        match self.why_unable().or_else(|| self.link.clone()) {
            Some(why) => (Health::Failed, why),
            None => self.checks.clone(),
        }
    }
}

impl Drop for Duty {
    fn drop(&mut self) {
        self.series.shut();
    }
}
