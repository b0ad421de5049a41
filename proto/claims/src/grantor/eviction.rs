//! Evicting a worker: only on consents of a majority of its peers that are live at one moment.
//!
//! Guarantees that the worker cannot hold when the eviction is decided, nor later by its peers'
//! promises: each consent was given after that peer's promise had run out, and binds it for longer
//! than it is counted here. A worker holds by promises only while its lease never lapsed, so it
//! comes back only by a new grant, after it was readmitted.
//!
//! ```text
//!   none --evict--> asking (while the worker's lease is live: not yet) --majority--> persisting
//!    ^                 | cancelled, or it holds again                                   |
//!    +-----------------+                        readmit <--- evicted <------------------+
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use super::tenure::Tenure;
use super::{Action, Grantor};
use crate::group::Quorum;
use crate::ids::NodeName;
use crate::lease;
use crate::message::{Consent, ConsentAsk, ToMember};
use crate::reason::VacantReason;
use crate::rules::{Rule, Rules};
use crate::time::Moment;

/// More would have run out before their consents came.
const MOST_OPEN: usize = 2 * lease::REQUESTS_PER_TTL as usize;

/// An eviction that is being prepared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(super) struct Eviction {
    asked: BTreeMap<u64, Moment>,
    consents: BTreeMap<NodeName, Moment>,
}

impl Eviction {
    pub(super) fn consented(&mut self, consent: &Consent, now: Moment, rules: Rules) {
        let known = self.asked.get(&consent.number).copied();
        let sent = known.or((!rules.keeps(Rule::FreshConsentsOnly)).then_some(now));
        let (Some(sent), Ok(ttl)) = (sent, &consent.ruling) else {
            return;
        };
        let until = lease::holder_deadline(sent, now, *ttl, rules);
        let end = self.consents.entry(consent.from.clone()).or_insert(until);
        *end = until.max(*end);
    }

    fn ask(&mut self, number: u64, now: Moment) {
        if self.asked.len() == MOST_OPEN {
            self.asked.pop_first();
        }
        self.asked.insert(number, now);
    }

    fn due(&self, interval: Duration, now: Moment) -> bool {
        self.asked
            .last_key_value()
            .is_none_or(|(_, sent)| now.since(*sent) >= interval)
    }

    /// How many of these peers are bound by a consent at `now`.
    fn live<'a>(&self, peers: impl Iterator<Item = &'a NodeName>, now: Moment) -> usize {
        peers
            .filter(|peer| self.consents.get(*peer).is_some_and(|until| now < *until))
            .count()
    }
}

impl Grantor {
    /// Begins to evict the worker of this claim, or with `false` stops preparing to.
    ///
    /// Does nothing to a claim that others could take: that is moved, not evicted from.
    pub fn evict(&mut self, wanted: bool, now: Moment, out: &mut Vec<Action>) {
        let can = self.record.group.quorum == Quorum::Majority && self.record.evicted.is_none();
        match (wanted && can, &self.eviction) {
            (true, None) => self.eviction = Some(Eviction::default()),
            (true, Some(_)) => {}
            (false, _) => self.eviction = None,
        }
        self.decide(now, out);
    }

    /// Lets an evicted worker hold again.
    pub fn readmit(&mut self, now: Moment, out: &mut Vec<Action>) {
        self.intent.evicted = None;
        self.decide(now, out);
    }

    /// Whether `node` may not hold since it was evicted, or is just being.
    pub(super) fn evicted(&self, node: &NodeName) -> bool {
        [&self.record.evicted, &self.intent.evicted]
            .into_iter()
            .flatten()
            .any(|it| it == node)
    }

    pub(super) fn settle_eviction(&mut self, now: Moment, out: &mut Vec<Action>) {
        let Some(eviction) = &mut self.eviction else {
            return;
        };
        let free = matches!(self.tenure, Tenure::Vacant(_));
        let steady = self.record.change.is_none() && self.intent.change.is_none();
        let Some(worker) = self
            .record
            .group
            .candidates
            .first()
            .filter(|_| free && steady)
        else {
            return;
        };
        let needed = if self.rules.keeps(Rule::EvictionNeedsMajority) {
            self.record.group.needed(worker)
        } else {
            1
        };
        if eviction.live(self.record.group.promisers(worker), now) >= needed {
            self.intent.evicted = Some(worker.clone());
            self.eviction = None;
            return;
        }
        let ttl = self.spec.timing.ttl;
        if eviction.due(lease::retry_interval(ttl), now) {
            self.consents_asked += 1;
            let number = self.consents_asked;
            eviction.ask(number, now);
            let group = self.record.group.version;
            let ask = ConsentAsk {
                epoch: self.epoch,
                number,
                group,
                ttl,
            };
            let peers = self.record.group.promisers(worker);
            let tell = |to: &NodeName| Action::Tell(to.clone(), ToMember::ConsentAsk(ask.clone()));
            out.extend(peers.map(tell));
        }
    }

    pub(super) fn eviction_persisted(&mut self, out: &mut Vec<Action>) {
        // It may have been readmitted while the write was under way.
        let meant = self
            .record
            .evicted
            .clone()
            .filter(|_| self.intent.evicted.is_some());
        if let Some(node) = meant {
            self.vacate(VacantReason::Evicted(node.clone()), None, out);
            out.push(Action::Evicted(node));
        }
    }
}
