//! Who holds the claim, as far as the grantor knows.

use super::{Action, Grantor, Note};
use crate::ids::{GrantId, NodeName};
use crate::lease;
use crate::reason::{MoveReason, VacantReason};
use crate::rules::Rule;
use crate::time::Moment;

/// A lease, from the grantor's side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Lease {
    pub(super) node: NodeName,
    /// The number in force.
    pub(super) grant: GrantId,
    /// The first number in a row given to this node: a holder that asked twice may know only that.
    pub(super) oldest: GrantId,
    /// The lease of another leader, or one kept by promises, that this one carries on.
    pub(super) shown: Option<GrantId>,
    /// Until when nobody else can be granted.
    pub(super) until: Moment,
    /// When it was granted or renewed last.
    pub(super) heard: Moment,
    /// Why the holder is wanted to give it back, and when it was told last.
    pub(super) yields: Option<(MoveReason, Moment)>,
}

impl Lease {
    /// Whether `grant` is this lease's number, or one that it carries on.
    pub(super) fn carries(&self, grant: GrantId) -> bool {
        (self.oldest <= grant && grant <= self.grant) || self.shown == Some(grant)
    }
}

/// Nobody holds the claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Vacancy {
    pub(super) why: VacantReason,
    /// What was given back: a renewal of it that comes late shows nothing live.
    pub(super) returned: Option<GrantId>,
    /// The node that a planned move is for.
    pub(super) meant_for: Option<NodeName>,
    /// Whether it was offered to anyone yet.
    pub(super) offered: bool,
    /// The offer that waits for an answer.
    pub(super) offer: Option<Offer>,
}

/// The claim was offered to the best candidate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Offer {
    pub(super) to: NodeName,
    /// Until when the offer waits for an answer.
    pub(super) until: Moment,
    /// Whether others are refused meanwhile: only the first offer of a vacancy.
    pub(super) exclusive: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Tenure {
    /// A new leader: until then any lease of a predecessor may be live.
    Unknown {
        until: Moment,
    },
    /// This node showed a lease, which may have been dead when the request arrived. It binds at
    /// least until then, like any lease of a predecessor.
    Shown {
        lease: Lease,
        until: Moment,
    },
    Held(Lease),
    Vacant(Vacancy),
}

impl Tenure {
    /// The lease that binds the grantor.
    pub(super) const fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Held(lease) | Self::Shown { lease, .. } => Some(lease),
            Self::Unknown { .. } | Self::Vacant(_) => None,
        }
    }

    pub(super) const fn lease_mut(&mut self) -> Option<&mut Lease> {
        match self {
            Self::Held(lease) | Self::Shown { lease, .. } => Some(lease),
            Self::Unknown { .. } | Self::Vacant(_) => None,
        }
    }

    /// When time alone changes it.
    pub(super) fn ends(&self) -> Option<Moment> {
        match self {
            Self::Unknown { until } => Some(*until),
            Self::Shown { lease, until } => Some(lease.until.min(*until)),
            Self::Held(lease) => Some(lease.until),
            Self::Vacant(vacancy) => vacancy.offer.as_ref().map(|offer| offer.until),
        }
    }

    /// Whether hints have to be repeated.
    pub(super) const fn restless(&self) -> bool {
        match self {
            Self::Held(lease) | Self::Shown { lease, .. } => lease.yields.is_some(),
            Self::Vacant(_) => true,
            Self::Unknown { .. } => false,
        }
    }
}

impl Grantor {
    /// Lets everything end whose time is over.
    pub(super) fn expire(&mut self, now: Moment, out: &mut Vec<Action>) {
        match &self.tenure {
            Tenure::Unknown { until } if now >= *until => {
                self.vacate(VacantReason::NobodyShown, None, out);
            }
            Tenure::Shown { lease, .. } if now >= lease.until => {
                self.vacate(VacantReason::RanOut(lease.node.clone()), None, out);
            }
            Tenure::Shown { lease, until } if now >= *until => {
                self.tenure = Tenure::Held(lease.clone());
            }
            Tenure::Held(lease) if now >= self.ends_early(lease).unwrap_or(lease.until) => {
                self.vacate(VacantReason::RanOut(lease.node.clone()), None, out);
            }
            Tenure::Unknown { .. } | Tenure::Shown { .. } | Tenure::Held(_) | Tenure::Vacant(_) => {
            }
        }
    }

    /// What acting on suspicion would be: a holder would think its coordinators lost.
    fn ends_early(&self, lease: &Lease) -> Option<Moment> {
        let suspicious = lease::lost_after(self.spec.timing.ttl);
        (!self.rules.keeps(Rule::ActAfterExpiry)).then(|| lease.heard.plus(suspicious))
    }

    pub(super) fn vacate(
        &mut self,
        why: VacantReason,
        returned: Option<GrantId>,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::Note(Note::Vacant(why.clone())));
        let planned = self.tenure.lease().and_then(|lease| lease.yields.as_ref());
        let meant_for = planned.and_then(|(why, _)| match why {
            MoveReason::Asked(to) | MoveReason::FailBack(to) => Some(to.clone()),
            MoveReason::Drained | MoveReason::Unhealthy(_) | MoveReason::Leaving => None,
        });
        self.kept = None;
        self.tenure = Tenure::Vacant(Vacancy {
            why,
            returned,
            meant_for,
            offered: false,
            offer: None,
        });
    }
}
