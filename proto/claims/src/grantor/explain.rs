//! Why the claim is where it is: the answer to an operator's question, in the deciding types.

use super::Grantor;
use super::tenure::Tenure;
use crate::ids::{GrantId, NodeName};
use crate::message::Health;
use crate::reason::{Ineligible, KeepReason, MoveReason, VacantReason};
use crate::time::Moment;

/// What the grantor knows of the claim at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Who holds it, under which grant, until when for the grantor.
    pub holder: Option<(NodeName, GrantId, Moment)>,
    /// Set while a new leader waits for leases of its predecessors to run out.
    pub starting_until: Option<Moment>,
    /// Why nobody holds it.
    pub vacant: Option<VacantReason>,
    /// Why the holder is wanted to give it back.
    pub moving: Option<MoveReason>,
    /// Why the holder keeps it though it is drained or unwell.
    pub keeps: Option<KeepReason>,
    /// The candidates that do not hold it.
    pub others: Vec<Other>,
    /// Members that must be heard first: after a restore, and where the group changes.
    pub awaited: Vec<NodeName>,
    /// Whether nothing is granted until those are heard, since the site was restored.
    pub gathering: bool,
}

/// A candidate that does not hold the claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Other {
    /// The node.
    pub node: NodeName,
    /// Its health, if anything was heard from it.
    pub health: Option<Health>,
    /// Why it could not take the claim now; `None`: it could.
    pub why_not: Option<Ineligible>,
}

impl Grantor {
    /// Explains the claim as of `now`.
    #[must_use]
    pub fn explain(&self, now: Moment) -> Explanation {
        let lease = self.tenure.lease();
        let holder = lease.map(|lease| &lease.node);
        let candidates = self
            .record
            .group
            .candidates
            .union(&self.record.newest().candidates);
        let other = |node: &NodeName| Other {
            node: node.clone(),
            health: self.standings.get(node).map(|standing| standing.health),
            why_not: self
                .why_not(node, now)
                .or_else(|| self.outranked(node, now)),
        };
        Explanation {
            holder: lease.map(|lease| (lease.node.clone(), lease.grant, lease.until)),
            starting_until: match &self.tenure {
                Tenure::Unknown { until } | Tenure::Shown { until, .. } => {
                    Some(*until).filter(|_| !self.gathers())
                }
                Tenure::Held(_) | Tenure::Vacant(_) => None,
            },
            vacant: match &self.tenure {
                Tenure::Vacant(vacancy) => Some(vacancy.why.clone()),
                Tenure::Unknown { .. } | Tenure::Shown { .. } | Tenure::Held(_) => None,
            },
            moving: lease
                .and_then(|lease| lease.yields.as_ref())
                .map(|(why, _)| why.clone()),
            keeps: holder.and_then(|holder| self.keeps(holder, now)),
            others: candidates
                .filter(|node| Some(*node) != holder)
                .map(other)
                .collect(),
            awaited: self.awaited().into_iter().cloned().collect(),
            gathering: self.gathers(),
        }
    }
}
