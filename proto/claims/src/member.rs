//! One node's part in one claim: it may hold it, and it promises to others that hold it.
//!
//! Guarantees that its fence is open only while its lease is live, and that it never takes the
//! claim against its own word. It asks; what nobody answered in time it does not have.
//!
//! ```text
//!            granted, in answer to an open request
//!   standby ----------------------------------------> holding --+ renewed by a coordinator,
//!    ^  ^                                              |    ^   | or kept by the promises
//!    |  |    the fence closed: not renewed in time     |    +---+ of all others
//!    |  +----------------------------------------------+
//!    |                                                 | wanted back, agent stops,
//!    |    freed, or the lease would have run out       v left the group
//!    +---------------------------------------------- returning (fence closed, tells so)
//! ```
//! After a restart it believes nothing but promises. Those that it gave bind it. Those that it
//! lived on, if it did, let it go on holding: they need no coordinator. Any other holder is on
//! standby, asks afresh and is granted at once, while what is left of its lease still lives in the
//! kernel's fence. The driver must therefore leave a live element alone when it starts, and never
//! run two agents of one node at a time.
//!
//! Absent: the clock, the network, the kernel, and operators' break-glass, which opens the fence
//! beside this machine and answers to nobody.

mod events;
mod holding;
mod open;
mod pledge;
mod promises;
mod promising;

use std::time::Duration;

use crate::group::Group;
use crate::ids::{Epoch, GrantId, GroupVersion, NodeName, RequestId};
use crate::lease::{self, Timing};
use crate::message::{Answer, Health, Hint, HintKind, Knows, Request, Ruling};
use crate::message::{ToCoordinator, ToMember, ToPeer, Want};
use crate::reason::{CloseReason, Declines, Dropped, Refusal};
use crate::rules::{Rule, Rules};
use crate::time::Moment;
pub use events::{Action, Durable, Event, Note, Start};
use holding::Hold;
use open::Open;
pub use pledge::{Promised, RunMemory};
pub use promises::Kept;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Standby,
    Holding(Hold),
    Returning { grant: GrantId, until: Moment },
}

/// One node's part in one claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    rules: Rules,
    me: NodeName,
    timing: Timing,
    disk: Durable,
    storing: Durable,
    run: RunMemory,
    released: Option<(NodeName, RequestId)>,
    /// What it tells the others that they are released from, and how often it still will.
    freeing: Option<(RequestId, u32)>,
    health: Health,
    part: Part,
    open: Open,
    next_request: Moment,
    answered: Option<Moment>,
    stopping: bool,
    /// Until when a lease of the last run may be live in the kernel.
    last_run_until: Moment,
}

impl Member {
    /// Starts on standby, or holding still what the others' promises kept for the last run.
    pub fn start(start: Start, now: Moment, out: &mut Vec<Action>) -> Self {
        Self::start_with(Rules::all(), start, now, out)
    }

    /// [`Member::start`] with some rule broken: for the checks only.
    pub fn start_with(rules: Rules, start: Start, now: Moment, out: &mut Vec<Action>) -> Self {
        let all_clear = lease::grantor_deadline(now, start.timing.longest_word(), rules);
        let run = RunMemory::recall(start.run, start.boot, all_clear, now, rules);
        let mut member = Self {
            rules,
            me: start.me,
            timing: start.timing,
            storing: start.disk.clone(),
            disk: start.disk,
            run,
            released: None,
            freeing: None,
            health: start.health,
            part: Part::Standby,
            open: Open::new(start.session),
            next_request: now,
            answered: None,
            stopping: false,
            last_run_until: all_clear,
        };
        member.carry_on(now, out);
        member
    }

    /// Takes note of `event` at `now`; what is to be done is added to `out`.
    pub fn handle(&mut self, event: Event, now: Moment, out: &mut Vec<Action>) {
        self.close_if_due(now, out);
        match event {
            Event::Tick => {}
            Event::Along => {
                if self.next_request <= now.plus(self.pace() / 2) {
                    self.next_request = now;
                }
            }
            Event::FromCoordinator(ToMember::Answer(answer)) => self.answer(answer, now, out),
            Event::FromCoordinator(ToMember::Hint(hint)) => self.hint(hint, now, out),
            Event::FromCoordinator(ToMember::ConsentAsk(ask)) => self.consent(&ask, now, out),
            Event::FromPeer(ToPeer::Ask(ask)) => self.promise(&ask, now, out),
            Event::FromPeer(ToPeer::Promise(promise)) => self.promised(promise, now, out),
            Event::FromPeer(ToPeer::Release(release)) => self.released(&release, now, out),
            Event::Health(health) => {
                let changed = self.health != health;
                self.health = health;
                if changed {
                    self.next_request = now;
                }
            }
            Event::Configure(timing) => {
                self.timing = timing;
                self.next_request = now;
            }
            Event::FenceLost => self.fence_lost(now, out),
            Event::Stored(disk) => self.stored(disk, now, out),
            Event::Stop => {
                self.stopping = true;
                self.give_back(CloseReason::Stopping, now, out);
            }
        }
        self.send_if_due(now, out);
    }

    /// When to say [`Event::Tick`] at the latest.
    #[must_use]
    pub fn next_wake(&self) -> Moment {
        match &self.part {
            Part::Standby => self.next_request,
            Part::Holding(hold) => self.next_request.min(hold.fence_until()),
            Part::Returning { until, .. } => self.next_request.min(*until),
        }
    }

    /// The grant that it holds under, and until when the fence is open.
    #[must_use]
    pub fn holds(&self) -> Option<(GrantId, Moment)> {
        match &self.part {
            Part::Holding(hold) => Some((hold.grant(), hold.fence_until())),
            Part::Standby | Part::Returning { .. } => None,
        }
    }

    /// Since when a holder lives on promises alone.
    #[must_use]
    pub fn alone_since(&self) -> Option<Moment> {
        match &self.part {
            Part::Holding(hold) => hold.alone_since(),
            Part::Standby | Part::Returning { .. } => None,
        }
    }

    /// To whom, and until when, it promised not to take the claim.
    #[must_use]
    pub fn promise_in_force(&self, now: Moment) -> Option<(&NodeName, Moment)> {
        self.run
            .promise(now)
            .map(|promised| (&promised.to, promised.until))
    }

    /// The version of the group that it acknowledges.
    #[must_use]
    pub fn knows(&self) -> GroupVersion {
        self.disk
            .group
            .as_ref()
            .map_or(GroupVersion::default(), |group| group.version)
    }

    fn answer(&mut self, answer: Answer, now: Moment, out: &mut Vec<Action>) {
        if !self.believes(answer.epoch, out) {
            return;
        }
        if let Some(group) = answer.group {
            self.learn(group, out);
        }
        let known = self.open.sent(answer.id);
        if known.is_none() && self.rules.keeps(Rule::FreshAnswersOnly) {
            out.push(Action::Note(Note::Dropped(Dropped::NotAsked)));
            return;
        }
        let sent = known.unwrap_or(now);
        self.answered = Some(now);
        match answer.ruling {
            Ruling::Granted { grant, ttl, yields } => {
                self.granted(grant, ttl, sent, now, out);
                if let (Some(why), true) = (yields, self.holds().is_some()) {
                    self.give_back(CloseReason::Yielded(why), now, out);
                }
            }
            Ruling::Freed(_) => self.returned(now),
            Ruling::Refused(why) => {
                if why == Refusal::Gathering {
                    self.tell_known(answer.epoch, now, out);
                }
                self.calm(sent, now);
                self.returned(now);
                out.push(Action::Note(Note::Refused(why)));
            }
            Ruling::Noted => self.calm(sent, now),
        }
    }

    fn hint(&mut self, hint: Hint, now: Moment, out: &mut Vec<Action>) {
        if !self.believes(hint.epoch, out) {
            return;
        }
        match hint.what {
            HintKind::Ask => {
                if self.part == Part::Standby {
                    self.next_request = now;
                }
            }
            HintKind::GiveBack(grant, why) => {
                if self.holds().is_some_and(|(held, _)| held == grant) {
                    self.give_back(CloseReason::Yielded(why), now, out);
                }
            }
            HintKind::Learn(group) => self.learn(group, out),
        }
    }

    /// Whether a coordinator of `epoch` is believed; a higher epoch than ever seen is noted.
    fn believes(&mut self, epoch: Epoch, out: &mut Vec<Action>) -> bool {
        if epoch < self.storing.seen && self.rules.keeps(Rule::StaleEpochRefused) {
            out.push(Action::Note(Note::Dropped(Dropped::StaleEpoch(
                self.storing.seen,
            ))));
            return false;
        }
        if epoch > self.storing.seen {
            self.storing.seen = epoch;
            out.push(Action::Store(self.storing.clone()));
        }
        true
    }

    /// A restored coordinator gathers the members: this one is there once its disk says so.
    fn tell_known(&self, epoch: Epoch, now: Moment, out: &mut Vec<Action>) {
        let seen = if self.rules.keeps(Rule::KnownPersistedFirst) {
            self.disk.seen
        } else {
            self.storing.seen
        };
        if seen >= epoch {
            let knows = Knows {
                from: self.me.clone(),
                seen,
                group: self.disk.group.clone(),
                closed: self.is_closed(now),
            };
            out.push(Action::Tell(ToCoordinator::Knows(knows)));
        }
    }

    /// Whether its fence is closed, also to what its last run was granted.
    fn is_closed(&self, now: Moment) -> bool {
        let since = now >= self.last_run_until || !self.rules.keeps(Rule::LastRunsFenceAwaited);
        since && self.holds().is_none()
    }

    fn learn(&mut self, group: Group, out: &mut Vec<Action>) {
        let newest = self.storing.group.as_ref().map(|known| known.version);
        if newest.is_some_and(|version| version >= group.version) {
            return;
        }
        self.storing.group = Some(group);
        if !self.rules.keeps(Rule::GroupPersistedFirst) {
            self.disk = self.storing.clone();
        }
        out.push(Action::Store(self.storing.clone()));
    }

    /// The new version counts from here on: the next request acknowledges it.
    fn stored(&mut self, disk: Durable, now: Moment, out: &mut Vec<Action>) {
        let version = |disk: &Durable| disk.group.as_ref().map(|group| group.version);
        if version(&disk) < version(&self.disk) {
            return;
        }
        let news = version(&disk) > version(&self.disk);
        self.disk = disk;
        if news {
            if !self.is_candidate() {
                self.give_back(CloseReason::LeftGroup, now, out);
            }
            self.next_request = now;
        }
    }

    fn is_candidate(&self) -> bool {
        self.disk
            .group
            .as_ref()
            .is_some_and(|group| group.candidates.contains(&self.me))
    }

    /// Why it must not take the claim now.
    fn declines(&self, now: Moment) -> Option<Declines> {
        if self.stopping {
            return Some(Declines::Stopping);
        }
        if self.disk.group.is_none() {
            return Some(Declines::NoGroup);
        }
        if !self.is_candidate() {
            return Some(Declines::NotCandidate);
        }
        if self.run.quiet(now) {
            return Some(Declines::Restarted);
        }
        let promised = self.run.promise(now);
        promised
            .filter(|_| self.rules.keeps(Rule::PromisedRefusesGrants))
            .map(|promised| Declines::Promised(promised.to.clone()))
    }

    fn send_if_due(&mut self, now: Moment, out: &mut Vec<Action>) {
        if now < self.next_request {
            return;
        }
        let want = match &self.part {
            Part::Standby => self.declines(now).map_or(Want::Acquire, Want::Nothing),
            Part::Holding(hold) => Want::Renew(hold.grant()),
            Part::Returning { grant, .. } => Want::GiveBack(*grant),
        };
        self.next_request = now.plus(self.patience(now).max(Duration::from_nanos(1)));
        self.request(want, now, out);
        self.free_again(out);
        self.keep_alone(now, out);
    }

    /// A coordinator answered what was sent at `sent`: the next request may wait, unless there is
    /// something to say at once.
    fn calm(&mut self, sent: Moment, now: Moment) {
        if self.next_request > now {
            self.next_request = self.next_request.max(sent.plus(self.pace()));
        }
    }

    /// Time between two requests while all are answered.
    fn pace(&self) -> Duration {
        match &self.part {
            Part::Standby => lease::standby_interval(self.ttl()),
            Part::Holding(_) => lease::renewal_interval(self.ttl()),
            Part::Returning { .. } => lease::retry_interval(self.ttl()),
        }
    }

    /// Time until a request that nobody answers is followed by another. A standby that was not
    /// heard for a whole lease has nothing to lose by the next request.
    fn patience(&self, now: Moment) -> Duration {
        let heard = self.answered.map(|at| now.since(at));
        let unheard = heard.is_none_or(|silence| silence > self.ttl());
        match &self.part {
            Part::Standby if unheard => self.pace(),
            Part::Standby | Part::Holding(_) | Part::Returning { .. } => {
                lease::retry_interval(self.ttl())
            }
        }
    }

    fn ttl(&self) -> Duration {
        match &self.part {
            Part::Holding(hold) => hold.ttl(),
            Part::Standby | Part::Returning { .. } => self.timing.ttl,
        }
    }

    fn request(&mut self, want: Want, now: Moment, out: &mut Vec<Action>) {
        let request = Request {
            from: self.me.clone(),
            id: self.open.send(now),
            seen: self.storing.seen,
            group: self.knows(),
            health: self.health,
            want,
        };
        out.push(Action::Tell(ToCoordinator::Request(request)));
    }
}
