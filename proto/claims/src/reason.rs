//! Why: the typed reason of every decision, printed unchanged by logs, metrics and operators'
//! screens.
//!
//! A variant is a fact that the deciding machine had before it. Texts are clauses without a subject
//! or full stop, so that a caller can set them behind a name.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, GrantId, GroupVersion, NodeName};
use crate::message::Health;

/// Why a member does not ask for the claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Declines {
    /// It promised this node not to take it.
    Promised(NodeName),
    /// It restarted without its promises and waits until they have run out.
    Restarted,
    /// It is not a candidate of the group that it knows.
    NotCandidate,
    /// It knows no group yet.
    NoGroup,
    /// Its agent stops.
    Stopping,
    /// Its fence cannot be opened: the rules are not loaded, or an address has no interface.
    Unable,
}

/// Why a grantor refuses a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Refusal {
    /// Leases of an earlier leader may still be live.
    StartingUp,
    /// Another node holds it.
    HeldBy(NodeName),
    /// It was just offered to another node.
    OfferedTo(NodeName),
    /// The member may not hold it now.
    Ineligible(Ineligible),
    /// The member showed a grant that is not, or no longer, its own.
    NotYourGrant(GrantId),
    /// The node was evicted and has not been readmitted.
    Evicted,
    /// The site was restored, and a member may still follow a coordinator of before; or this one
    /// did not say yet that its fence is closed.
    Gathering,
}

/// Why a node cannot be given the claim now.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ineligible {
    /// It is not a candidate.
    NotCandidate,
    /// The group is changing and will not have it.
    Leaving,
    /// The group is changing and does not have it yet.
    Joining,
    /// It knows another version of the group than the one in force.
    KnowsGroup(GroupVersion),
    /// It is drained.
    Drained,
    /// It does not want it.
    Declines(Declines),
    /// Nothing was heard from it for this long.
    Silent(Duration),
    /// Nothing was ever heard from it.
    NeverHeard,
    /// Its health is worse than that of this node.
    Outranked(Health, NodeName),
    /// The claim is paused, and it was not the last holder.
    Paused,
    /// It was evicted.
    Evicted,
    /// The site was restored, and a member may still follow a coordinator of before.
    Gathering,
}

/// Why a grantor wants the claim on another node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum MoveReason {
    /// An operator asked for this node.
    Asked(NodeName),
    /// Its holder is drained.
    Drained,
    /// Its holder's health is this, and another's is better.
    Unhealthy(Health),
    /// The site wants it back on this node.
    FailBack(NodeName),
    /// Its holder leaves the group.
    Leaving,
}

/// Why the holder keeps a claim that ought to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeepReason {
    /// No candidate is better: the least bad keeps it.
    LeastBad(Health),
    /// Its holder is drained, and there is nowhere to go.
    NowhereToGo,
    /// The claim is paused.
    Paused,
}

/// Why a member closed its fence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum CloseReason {
    /// Nobody renewed it in time.
    Lapsed,
    /// The kernel's element was gone, or could not be kept.
    FenceLost,
    /// The grantor wanted it back.
    Yielded(MoveReason),
    /// The group no longer has this node.
    LeftGroup,
    /// The agent was told to give up its claims.
    Stopping,
}

/// Why a grantor gave the claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum GrantReason {
    /// It was free, and this candidate the best of those that asked.
    Free(VacantReason),
    /// The same node asked afresh while it held.
    SameNode,
    /// The node showed a live lease of another leader, or one kept by promises.
    ShownLive(GrantId),
}

/// Why nobody holds the claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VacantReason {
    /// Nobody showed a live lease to the new leader.
    NobodyShown,
    /// The lease of this node ran out.
    RanOut(NodeName),
    /// This node gave it back.
    GivenBack(NodeName),
    /// This node was evicted.
    Evicted(NodeName),
}

/// Why a member drops an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dropped {
    /// It answers no open request of this run.
    NotAsked,
    /// It comes from a leader that was already succeeded.
    StaleEpoch(Epoch),
    /// The member has promised not to take the claim.
    Promised,
    /// The member restarted without its promises.
    Restarted,
    /// The lease had run out before the answer came.
    TooLate,
    /// The agent stops, or the group does not have this node.
    Unwanted,
}

/// Why a member refuses a promise or a consent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PromiseRefusal {
    /// It holds the claim itself, under this grant.
    Holding(GrantId),
    /// It knows another version of the group.
    KnowsGroup(GroupVersion),
    /// It knows no group with both in it.
    NotMember,
    /// It has given its word to another node.
    PromisedTo(NodeName),
    /// It restarted and has forgotten what it consented to.
    Restarted,
    /// The asker has released this ask already.
    Released,
    /// It has consented to the eviction of the asker.
    Consented,
    /// The one who asks for its consent leads no longer.
    StaleEpoch(Epoch),
}

impl fmt::Display for Declines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Promised(to) => write!(f, "promised {to} not to take it"),
            Self::Restarted => f.write_str("restarted without its promises"),
            Self::NotCandidate => f.write_str("is not a candidate"),
            Self::NoGroup => f.write_str("knows no group yet"),
            Self::Stopping => f.write_str("is stopping"),
            Self::Unable => f.write_str("cannot open its fence"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartingUp => f.write_str("leases of an earlier leader may be live"),
            Self::HeldBy(node) => write!(f, "held by {node}"),
            Self::OfferedTo(node) => write!(f, "offered to {node}"),
            Self::Ineligible(why) => why.fmt(f),
            Self::NotYourGrant(grant) => write!(f, "the grant in force is {grant}"),
            Self::Evicted => f.write_str("was evicted"),
            Self::Gathering => {
                f.write_str("a member may follow, or hold by, a coordinator of before")
            }
        }
    }
}

impl fmt::Display for Ineligible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotCandidate => f.write_str("is not a candidate"),
            Self::Leaving => f.write_str("is leaving the group"),
            Self::Joining => f.write_str("is joining the group"),
            Self::KnowsGroup(version) => write!(f, "knows the group as of {version}"),
            Self::Drained => f.write_str("is drained"),
            Self::Declines(why) => why.fmt(f),
            Self::Silent(span) => write!(f, "has been silent for {span:.1?}"),
            Self::NeverHeard => f.write_str("was never heard"),
            Self::Outranked(health, by) => write!(f, "is {health}, and {by} is better"),
            Self::Paused => f.write_str("was not the last holder, and the claim is paused"),
            Self::Evicted => f.write_str("was evicted"),
            Self::Gathering => {
                f.write_str("waits for all that may follow a coordinator of before the restore")
            }
        }
    }
}

impl fmt::Display for MoveReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(to) => write!(f, "an operator asked for {to}"),
            Self::Drained => f.write_str("the holder is drained"),
            Self::Unhealthy(health) => write!(f, "the holder is {health}"),
            Self::FailBack(to) => write!(f, "the site prefers {to}"),
            Self::Leaving => f.write_str("the holder leaves the group"),
        }
    }
}

impl fmt::Display for KeepReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeastBad(health) => write!(f, "is {health}, and no other is better"),
            Self::NowhereToGo => f.write_str("is drained, and no other can take it"),
            Self::Paused => f.write_str("keeps it while the claim is paused"),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lapsed => f.write_str("the lease ran out"),
            Self::FenceLost => f.write_str("the kernel's fence was gone"),
            Self::Yielded(why) => write!(f, "given back: {why}"),
            Self::LeftGroup => f.write_str("given back: this node left the group"),
            Self::Stopping => f.write_str("given back: the agent stops"),
        }
    }
}

impl fmt::Display for GrantReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free(why) => write!(f, "it was free: {why}"),
            Self::SameNode => f.write_str("it asked afresh, after a restart or a lapse"),
            Self::ShownLive(grant) => write!(f, "it showed its live grant {grant}"),
        }
    }
}

impl fmt::Display for VacantReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyShown => f.write_str("nobody showed a live lease to the new leader"),
            Self::RanOut(node) => write!(f, "the lease of {node} ran out"),
            Self::GivenBack(node) => write!(f, "{node} gave it back"),
            Self::Evicted(node) => write!(f, "{node} was evicted"),
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("answers no open request"),
            Self::StaleEpoch(seen) => write!(f, "comes from a leader before {seen}"),
            Self::Promised => f.write_str("this node promised not to take the claim"),
            Self::Restarted => f.write_str("this node restarted without its promises"),
            Self::TooLate => f.write_str("came after the lease had run out"),
            Self::Unwanted => f.write_str("this node does not want the claim"),
        }
    }
}

impl fmt::Display for PromiseRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Holding(grant) => write!(f, "holds the claim itself under {grant}"),
            Self::KnowsGroup(version) => write!(f, "knows the group as of {version}"),
            Self::NotMember => f.write_str("knows no group with both in it"),
            Self::PromisedTo(node) => write!(f, "gave its word to {node}"),
            Self::Restarted => f.write_str("restarted and forgot what it consented to"),
            Self::Released => f.write_str("was released from this ask"),
            Self::Consented => f.write_str("consented to the eviction"),
            Self::StaleEpoch(seen) => write!(f, "has seen a later leader, {seen}"),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        })
    }
}
