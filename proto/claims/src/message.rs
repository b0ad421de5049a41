//! What members, coordinators and peers tell each other about one claim.
//!
//! The envelope (which claim, which node, authenticated) is the caller's. No message carries a
//! moment. A [`Hint`] can make a member ask or give back; it can never make it hold.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::group::Group;
use crate::ids::{Epoch, GrantId, GroupVersion, NodeName, RequestId};
use crate::reason::{Declines, MoveReason, PromiseRefusal, Refusal};

/// How well a node could serve the claim, by its own checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Health {
    /// Every check passes.
    Healthy,
    /// It serves, but a check that matters fails.
    Degraded,
    /// It does not serve.
    Failed,
}

/// A member to the coordinators.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ToCoordinator {
    /// It wants something, or shows that it lives.
    Request(Request),
    /// It answers an ask for consent to an eviction.
    Consent(Consent),
    /// It answers a restored coordinator that gathers the members.
    Knows(Knows),
}

/// A member to a restored coordinator: it believes no coordinator of before any more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Knows {
    /// The member.
    pub from: NodeName,
    /// The highest epoch that is on the member's disk: it believes no lower one.
    pub seen: Epoch,
    /// The newest group that is on its disk.
    pub group: Option<Group>,
    /// Whether its fence is closed: nothing opens it any more but a grant of this epoch or a later
    /// one. A release that does not say so is not believed to be.
    #[serde(default)]
    pub closed: bool,
}

/// A member's request; also its sign of life, and its acknowledgement of the group's version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Request {
    /// Who asks.
    pub from: NodeName,
    /// Its number: the answer repeats it.
    pub id: RequestId,
    /// The highest epoch that the member has seen.
    pub seen: Epoch,
    /// The version of the group that is on the member's disk.
    pub group: GroupVersion,
    /// How well it could serve.
    pub health: Health,
    /// What it wants.
    pub want: Want,
}

/// What a member wants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Want {
    /// To hold the claim, if it is free.
    Acquire,
    /// To go on holding under this grant.
    Renew(GrantId),
    /// To give this grant back: its fence is closed already.
    GiveBack(GrantId),
    /// Nothing, for this reason.
    Nothing(Declines),
}

/// A coordinator to a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ToMember {
    /// The answer to a request.
    Answer(Answer),
    /// Something to do sooner than the member would by itself.
    Hint(Hint),
    /// Asks a peer to consent to the eviction of the claim's holder.
    ConsentAsk(ConsentAsk),
}

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Answer {
    /// The request that it answers.
    pub id: RequestId,
    /// The leadership that answers.
    pub epoch: Epoch,
    /// The group, if the member does not know its newest version yet.
    pub group: Option<Group>,
    /// What was decided.
    pub ruling: Ruling,
}

/// What a grantor decided on a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Ruling {
    /// The member holds, counted from when it sent the request.
    Granted {
        /// The number of the grant.
        grant: GrantId,
        /// For how long.
        ttl: Duration,
        /// The grantor would rather have it back, at once.
        yields: Option<MoveReason>,
    },
    /// This grant was given back.
    Freed(GrantId),
    /// No.
    Refused(Refusal),
    /// The member wanted nothing.
    Noted,
}

/// Something to do at once. Never a grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hint {
    /// The leadership that hints.
    pub epoch: Epoch,
    /// What to do.
    pub what: HintKind,
}

/// What a member may be hinted to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HintKind {
    /// Ask for the claim: it is free.
    Ask,
    /// Give this grant back, for this reason.
    GiveBack(GrantId, MoveReason),
    /// Learn this version of the group.
    Learn(Group),
}

/// Asks a peer not to promise anything to the claim's holder for a while.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConsentAsk {
    /// The leadership that asks.
    pub epoch: Epoch,
    /// Its number in that leadership: the consent repeats it.
    pub number: u64,
    /// The version of the group whose peers are asked.
    pub group: GroupVersion,
    /// For how long the peer would be bound.
    pub ttl: Duration,
}

/// A peer's answer to a [`ConsentAsk`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Consent {
    /// The peer.
    pub from: NodeName,
    /// The leadership that asked.
    pub epoch: Epoch,
    /// The ask that it answers.
    pub number: u64,
    /// Whether it consents, and for how long it is bound.
    pub ruling: Result<Duration, PromiseRefusal>,
}

/// A member to another member of the same claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ToPeer {
    /// The holder asks for a promise.
    Ask(Ask),
    /// The answer.
    Promise(Promise),
    /// The holder no longer relies on promises.
    Release(Release),
}

/// Asks a member not to take the claim (or not to consent to its eviction) for a while.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ask {
    /// The holder.
    pub from: NodeName,
    /// Its number: the promise repeats it.
    pub id: RequestId,
    /// The version of the group that the holder knows.
    pub group: GroupVersion,
    /// For how long.
    pub ttl: Duration,
}

/// The answer to an [`Ask`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Promise {
    /// Who promises, or refuses.
    pub from: NodeName,
    /// The ask that it answers.
    pub id: RequestId,
    /// For how long, counted by the holder from when it asked; or why not.
    pub ruling: Result<Duration, PromiseRefusal>,
}

/// The holder relies on none of the promises that it asked for up to `upto`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Release {
    /// The holder.
    pub from: NodeName,
    /// The last ask that is meant.
    pub upto: RequestId,
}
