//! The grantor half: one leadership's decisions about one claim.
//!
//! Guarantees that a claim is granted to another node only after the old lease ran out on this
//! machine's clock or was given back, and that nothing is granted on a predecessor's leases before
//! they have all run out.
//!
//! ```text
//!              a node shows a live lease               it renews under the number given here
//!   unknown -----------------------------> shown live -------------------------------------> held
//!      |                                       |                                             |  ^
//!      | the longest lease has run out         | ran out, or gave back what was given here   |  |
//!      v                                       v                                             |  |
//!   vacant <---------------------------------------------- ran out, or given back -----------+  |
//!      |                                                                                        |
//!      +------------- the best candidate asked; or one shows a lease kept by promises ----------+
//! ```
//! Everything is recomputed from what is known (level-triggered): a hint may be lost, it is sent
//! again while its cause lasts. A planned move is a wish that the holder give back; it is never a
//! grant.
//!
//! Absent: the election of a leader (the caller says until when it leads), the store (the caller
//! writes what [`Action::Persist`] holds), and history (the caller keeps the [`Note`]s).

mod candidates;
mod eviction;
mod explain;
mod gathering;
mod membership;
mod moves;
mod rulings;
mod tenure;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::group::Record;
use crate::ids::{Epoch, GrantId, GroupVersion, NodeName};
use crate::lease::{self, Timing};
use crate::message::{Answer, Consent, Request, Ruling, ToCoordinator, ToMember, Want};
use crate::reason::{GrantReason, KeepReason, MoveReason, Refusal, VacantReason};
use crate::rules::{Rule, Rules};
use crate::time::Moment;
use candidates::Standing;
use eviction::Eviction;
pub use explain::{Explanation, Other};
use gathering::Roll;
pub use membership::ChangeError;
use tenure::Tenure;

/// What the site wants of one claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Spec {
    /// Its times.
    pub timing: Timing,
    /// Candidates, the preferred first; those left out come last, by name.
    pub preference: Vec<NodeName>,
    /// Whether it goes back by itself to a preferred node that has been well for this long.
    pub fail_back: Option<Duration>,
    /// Whether nothing may move.
    pub paused: bool,
    /// Nodes that shall hold nothing.
    pub drained: BTreeSet<NodeName>,
}

impl Spec {
    /// A claim with these times, no preference, and nothing out of the ordinary.
    #[must_use]
    pub const fn new(timing: Timing) -> Self {
        Self {
            timing,
            preference: Vec::new(),
            fail_back: None,
            paused: false,
            drained: BTreeSet::new(),
        }
    }
}

/// What happens to a grantor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Time passed: due at [`Grantor::next_wake`], harmless at any time.
    Tick,
    /// A member told it something.
    FromMember(ToCoordinator),
    /// This coordinator leads until then, by its own clock.
    Leading(Moment),
    /// The site wants this.
    Configure(Spec),
    /// The store has this record.
    Persisted(Record),
}

/// What a grantor wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Send to a member.
    Tell(NodeName, ToMember),
    /// Write to the store, then say [`Event::Persisted`].
    Persist(Record),
    /// The node's eviction is persisted and its fence closed: its pods and volumes may be taken.
    Evicted(NodeName),
    /// A higher epoch exists: stop leading for good.
    StepDown(Epoch),
    /// Log, count, and keep for operators.
    Note(Note),
}

/// What is worth telling a human or a metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// A node was granted the claim.
    Granted(NodeName, GrantId, GrantReason),
    /// Nobody holds the claim now.
    Vacant(VacantReason),
    /// The holder was asked to give it back.
    Moving(NodeName, MoveReason),
    /// The holder keeps it, though it ought to move.
    Keeps(NodeName, KeepReason),
    /// This version of the group is in force.
    GroupInForce(GroupVersion),
}

/// One leadership's decisions about one claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grantor {
    rules: Rules,
    epoch: Epoch,
    spec: Spec,
    record: Record,
    intent: Record,
    saving: bool,
    leading_until: Moment,
    succeeded: bool,
    tenure: Tenure,
    numbered: u64,
    standings: BTreeMap<NodeName, Standing>,
    wish: Option<NodeName>,
    kept: Option<KeepReason>,
    better_since: Option<(NodeName, Moment)>,
    /// Until when leases longer than the site wants now may be live.
    longer_until: Moment,
    acknowledged: Option<Moment>,
    eviction: Option<Eviction>,
    /// How many asks for consent were numbered: an eviction begun anew does not begin again at 1.
    consents_asked: u64,
    /// What members told since the restore, if this leadership gathers them, or did.
    roll: Option<Roll>,
}

impl Grantor {
    /// Begins the leadership `epoch` with what the store holds, leading until `leading_until`.
    ///
    /// The caller's leadership began at or before `now`, after its predecessor's had ended.
    #[must_use]
    pub fn lead(
        epoch: Epoch,
        spec: Spec,
        record: Record,
        leading_until: Moment,
        now: Moment,
    ) -> Self {
        Self::lead_with(Rules::all(), epoch, spec, record, leading_until, now)
    }

    /// [`Grantor::lead`] with some rule broken: for the checks only.
    #[must_use]
    pub fn lead_with(
        rules: Rules,
        epoch: Epoch,
        spec: Spec,
        record: Record,
        leading_until: Moment,
        now: Moment,
    ) -> Self {
        let longest = if rules.keeps(Rule::LongestTtlPersisted) {
            record.longest_ttl
        } else {
            spec.timing.ttl
        };
        let all_clear = lease::grantor_deadline(now, longest, rules);
        let gathers = record.gathering.is_some() && rules.keeps(Rule::RestoredGathersAll);
        let all_clear = if gathers { Moment::END } else { all_clear };
        let until = if rules.keeps(Rule::StartUpWait) || gathers {
            all_clear
        } else {
            now
        };
        Self {
            rules,
            epoch,
            spec,
            intent: record.clone(),
            record,
            saving: false,
            leading_until,
            succeeded: false,
            tenure: Tenure::Unknown { until },
            numbered: 0,
            standings: BTreeMap::new(),
            wish: None,
            kept: None,
            better_since: None,
            longer_until: all_clear,
            acknowledged: None,
            eviction: None,
            consents_asked: 0,
            roll: gathers.then(Roll::default),
        }
    }

    /// Takes note of `event` at `now`; what is to be done is added to `out`.
    pub fn handle(&mut self, event: Event, now: Moment, out: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Leading(until) => self.leading_until = self.leading_until.max(until),
            Event::Configure(spec) => self.configure(spec, now),
            Event::Persisted(record) => self.persisted(record, now, out),
            Event::FromMember(ToCoordinator::Request(request)) => self.request(&request, now, out),
            Event::FromMember(ToCoordinator::Consent(consent)) => self.consented(&consent, now),
            Event::FromMember(ToCoordinator::Knows(knows)) => self.told(knows),
        }
        self.decide(now, out);
    }

    /// Wishes the claim to be moved to `to` as soon as that can take it; `None`: no longer.
    pub fn wish(&mut self, to: Option<NodeName>, now: Moment, out: &mut Vec<Action>) {
        // Where it is already, the wish is fulfilled: it shall not bring the claim back later.
        let there = self.tenure.lease().map(|lease| &lease.node);
        self.wish = to.filter(|to| Some(to) != there);
        self.decide(now, out);
    }

    /// When to say [`Event::Tick`] at the latest, as of `now`, after whatever happened at `now`.
    #[must_use]
    pub fn next_wake(&self, now: Moment) -> Moment {
        if !self.leads(now) {
            return Moment::END;
        }
        let interval = lease::retry_interval(self.spec.timing.ttl);
        let restless = self.tenure.restless() || self.record.change.is_some();
        let soon = (restless || self.eviction.is_some()).then(|| now.plus(interval));
        [self.tenure.ends(), soon]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Moment::END)
    }

    /// Whether it may still answer.
    #[must_use]
    pub fn leads(&self, now: Moment) -> bool {
        let in_time = now < self.leading_until || !self.rules.keeps(Rule::LeaderStopsInTime);
        in_time && !self.succeeded
    }

    /// The record as the store is known to hold it.
    #[must_use]
    pub const fn record(&self) -> &Record {
        &self.record
    }

    fn request(&mut self, request: &Request, now: Moment, out: &mut Vec<Action>) {
        if request.seen > self.epoch && self.rules.keeps(Rule::HigherEpochStops) {
            if !self.succeeded {
                out.push(Action::StepDown(request.seen));
            }
            self.succeeded = true;
        }
        if !self.leads(now) || !self.note(request, now) {
            return;
        }
        self.expire(now, out);
        let ruling = match &request.want {
            Want::Acquire | Want::Renew(_) | Want::Nothing(_) if self.gathers() => {
                Ruling::Refused(Refusal::Gathering)
            }
            Want::Acquire | Want::Nothing(_) if self.may_be_open(&request.from) => {
                Ruling::Refused(Refusal::Gathering)
            }
            Want::Acquire => self.acquire(&request.from, now, out),
            Want::Renew(shown) => self.renew(&request.from, *shown, now, out),
            Want::GiveBack(grant) => self.take_back(&request.from, *grant, now, out),
            Want::Nothing(_) => Ruling::Noted,
        };
        let newest = self.record.newest();
        let behind = request.group < newest.version && !self.gathers();
        let group = behind.then(|| newest.clone());
        let answer = Answer {
            id: request.id,
            epoch: self.epoch,
            group,
            ruling,
        };
        out.push(Action::Tell(request.from.clone(), ToMember::Answer(answer)));
    }

    /// Recomputes everything that follows from what is known at `now`.
    fn decide(&mut self, now: Moment, out: &mut Vec<Action>) {
        if !self.leads(now) {
            return;
        }
        self.expire(now, out);
        self.settle_gathering();
        self.settle_closed(now, out);
        self.settle_ttl(now);
        self.settle_change(now);
        self.settle_eviction(now, out);
        self.persist(out);
        self.move_or_offer(now, out);
    }

    fn consented(&mut self, consent: &Consent, now: Moment) {
        if let Some(eviction) = self
            .eviction
            .as_mut()
            .filter(|_| consent.epoch == self.epoch)
        {
            eviction.consented(consent, now, self.rules);
        }
    }
}
