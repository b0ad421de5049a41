//! What a member starts from, what happens to it, and what it wants done.

use serde::{Deserialize, Serialize};

use super::RunMemory;
use crate::group::Group;
use crate::ids::{BootId, Epoch, GrantId, NodeName, Session};
use crate::lease::Timing;
use crate::message::{Health, ToCoordinator, ToMember, ToPeer};
use crate::reason::{CloseReason, Dropped, PromiseRefusal, Refusal};
use crate::time::Moment;

/// What a member keeps on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Durable {
    /// The newest version of the group that it acknowledged, or is about to.
    pub group: Option<Group>,
    /// The highest epoch that it has seen.
    pub seen: Epoch,
}

/// What a member starts from.
#[derive(Clone, Debug)]
pub struct Start {
    /// The node.
    pub me: NodeName,
    /// This run of the agent.
    pub session: Session,
    /// This boot of the machine.
    pub boot: BootId,
    /// The claim's times.
    pub timing: Timing,
    /// What was on disk.
    pub disk: Durable,
    /// What was in `/run`.
    pub run: Option<RunMemory>,
    /// How well the node could serve.
    pub health: Health,
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Time passed: due at [`Member::next_wake`], harmless at any time.
    Tick,
    /// Another claim of this node speaks now: a request that is due within half of its interval
    /// may as well go along.
    Along,
    /// A coordinator told it something.
    FromCoordinator(ToMember),
    /// Another member told it something.
    FromPeer(ToPeer),
    /// The site wants these times from now on.
    Configure(Timing),
    /// Its own checks changed their mind.
    Health(Health),
    /// The kernel's element is gone, or could not be armed.
    FenceLost,
    /// This is on disk now.
    Stored(Durable),
    /// Give up the claim, and want it no more.
    Stop,
}

/// What a member wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Open the fence until then, then bring up what the claim allows, and announce it.
    Open {
        /// Under which grant.
        grant: GrantId,
        /// The fence's deadline by this machine's clock.
        until: Moment,
    },
    /// Arm the open fence anew: it closes at this moment, be it later or earlier than before.
    Rearm(Moment),
    /// Close the fence, then take down what it allowed; only then go on with the next action.
    Close(CloseReason),
    /// Send to the coordinators: whichever leads answers.
    Tell(ToCoordinator),
    /// Send to another member.
    TellPeer(NodeName, ToPeer),
    /// Write to `/run` before the next action.
    Remember(RunMemory),
    /// Write to disk in the background, each after the one before, then say [`Event::Stored`].
    Store(Durable),
    /// Log and count.
    Note(Note),
}

/// What is worth telling a human or a metric.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Note {
    /// An answer was dropped.
    Dropped(Dropped),
    /// A request was refused.
    Refused(Refusal),
    /// No coordinator answers the holder: it asks the other members for promises.
    Alone,
    /// A coordinator answers again: promises were released.
    NoLongerAlone,
    /// The last run held by the promises of all others: this one goes on.
    CarriedOn,
    /// The fence had closed under a lease that the promises of all others kept: it was opened
    /// again.
    Reopened,
    /// Another member refused a promise.
    PromiseRefused(NodeName, PromiseRefusal),
}
