//! Who could be given the claim, and which of them is best.
//!
//! Guarantees that a node in worse health is never chosen while a better one can be, and that every
//! node which cannot be chosen has a typed reason.

use super::Grantor;
use super::tenure::Tenure;
use crate::ids::{GroupVersion, NodeName, RequestId};
use crate::message::{Health, Request, Want};
use crate::reason::{Declines, Ineligible, VacantReason};
use crate::time::Moment;

/// What was last heard from a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Standing {
    pub(super) heard: Moment,
    pub(super) id: RequestId,
    pub(super) health: Health,
    pub(super) group: GroupVersion,
    pub(super) declines: Option<Declines>,
    /// When it last left an offer unanswered.
    pub(super) passed: Option<Moment>,
}

impl Grantor {
    /// Takes note of the sign of life in a request. Whether it is newer than all of its run.
    pub(super) fn note(&mut self, request: &Request, now: Moment) -> bool {
        let before = self.standings.get(&request.from);
        let newer = before.is_none_or(|standing| {
            standing.id.session != request.id.session || standing.id.number < request.id.number
        });
        if newer {
            let declines = match &request.want {
                Want::Nothing(why) => Some(why.clone()),
                Want::Acquire | Want::Renew(_) | Want::GiveBack(_) => None,
            };
            let passed = before.and_then(|standing| standing.passed);
            let standing = Standing {
                heard: now,
                id: request.id,
                health: request.health,
                group: before.map_or(request.group, |old| old.group.max(request.group)),
                passed: passed.filter(|_| request.want != Want::Acquire),
                declines,
            };
            self.standings.insert(request.from.clone(), standing);
        }
        newer
    }

    /// Why `node` cannot be given the claim now; `None`: it can.
    pub(super) fn why_not(&self, node: &NodeName, now: Moment) -> Option<Ineligible> {
        let (group, newest) = (&self.record.group, self.record.newest());
        match (
            group.candidates.contains(node),
            newest.candidates.contains(node),
        ) {
            (false, false) => return Some(Ineligible::NotCandidate),
            (true, false) => return Some(Ineligible::Leaving),
            (false, true) => return Some(Ineligible::Joining),
            (true, true) => {}
        }
        if self.gathers() {
            return Some(Ineligible::Gathering);
        }
        if self.evicted(node) {
            return Some(Ineligible::Evicted);
        }
        if self.spec.drained.contains(node) {
            return Some(Ineligible::Drained);
        }
        let Some(standing) = self.standings.get(node) else {
            return Some(Ineligible::NeverHeard);
        };
        let silence = now.since(standing.heard);
        if silence > self.spec.timing.ttl {
            return Some(Ineligible::Silent(silence));
        }
        if standing.group != group.version && standing.group != newest.version {
            return Some(Ineligible::KnowsGroup(standing.group));
        }
        if let Some(why) = &standing.declines {
            return Some(Ineligible::Declines(why.clone()));
        }
        (self.spec.paused && self.last_holder() != Some(node)).then_some(Ineligible::Paused)
    }

    /// The candidate in better health than `node`, if there is one.
    pub(super) fn outranked(&self, node: &NodeName, now: Moment) -> Option<Ineligible> {
        let health = self.health(node);
        let best = self.best(now, |other| other != node)?;
        (self.health(&best) < health).then_some(Ineligible::Outranked(health, best))
    }

    /// The best of the candidates that can be given the claim and are `wanted`.
    pub(super) fn best(&self, now: Moment, wanted: impl Fn(&NodeName) -> bool) -> Option<NodeName> {
        let able = self.record.newest().candidates.iter();
        let able = able.filter(|node| wanted(node) && self.why_not(node, now).is_none());
        able.min_by_key(|node| (self.health(node), self.passed(node), self.place(node)))
            .cloned()
    }

    /// The health of `node`; one that was never heard counts as failed.
    pub(super) fn health(&self, node: &NodeName) -> Health {
        self.standings
            .get(node)
            .map_or(Health::Failed, |standing| standing.health)
    }

    fn passed(&self, node: &NodeName) -> Option<Moment> {
        self.standings
            .get(node)
            .and_then(|standing| standing.passed)
    }

    /// The place of `node` among the preferred.
    pub(super) fn place(&self, node: &NodeName) -> usize {
        let preference = &self.spec.preference;
        preference
            .iter()
            .position(|preferred| preferred == node)
            .unwrap_or(preference.len())
    }

    fn last_holder(&self) -> Option<&NodeName> {
        match &self.tenure {
            Tenure::Held(lease) | Tenure::Shown { lease, .. } => Some(&lease.node),
            Tenure::Unknown { .. } => None,
            Tenure::Vacant(vacancy) => match &vacancy.why {
                VacantReason::NobodyShown => None,
                VacantReason::RanOut(node)
                | VacantReason::GivenBack(node)
                | VacantReason::Evicted(node) => Some(node),
            },
        }
    }
}
