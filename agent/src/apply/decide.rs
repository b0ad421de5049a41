//! What the executor aims at, and what a failure means. Reads no clock, file or process.
//!
//! ```text
//!             new order                        a step or gate of it fails
//! (order) ------------------> aims at order ------------------------------> verdict: failed
//!                                 | proven                                      |
//!                                 v                                             v
//!                        good = order, aims at it        aims at the last good one, if any
//! ```
//! Guarantees: an order that failed is not tried again before its digest or attempt changes; what
//! was proven once never gets a verdict, so that whatever happens to it is tried again and again;
//! going back is aiming at something else, so that a crash in between changes nothing.

use hamesh_proto::credentials::ChainError;
use hamesh_proto::orders::OrderError;
use hamesh_proto::v1;
use hamesh_roles::engine::plan::Reason;
use hamesh_roles::engine::{Action, Desired, Digest, Step};
use serde::{Deserialize, Serialize};

use super::anchor::Number;
use super::trouble::Trouble;
use crate::assignment::AssignmentId;
use crate::held::describe;

/// What a coordinator wants this node to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Names `desired`.
    pub digest: Digest,
    /// The desired state of the site that it comes from.
    pub assignment: AssignmentId,
    /// What to have.
    pub desired: Desired,
    /// Whether to say only what would be done.
    pub observe: bool,
    /// Rises when one that failed is to be tried again.
    pub attempt: u64,
}

/// The newest that was seen to work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Good {
    /// Names `desired`.
    pub digest: Digest,
    /// Where it came from.
    pub assignment: AssignmentId,
    /// What there is.
    pub desired: Desired,
}

/// This order failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which.
    pub digest: Digest,
    /// Which attempt.
    pub attempt: u64,
    /// Why.
    pub trouble: Trouble,
}

/// What to aim at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// The order.
    Order(&'a Order),
    /// The order failed: what worked before it.
    Good(&'a Good),
    /// The order failed and nothing worked before it: it stays as it is, for people to look at.
    Stay,
}

/// What a failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consequence {
    /// The order failed.
    Verdict,
    /// It worked before: it is tried again after a pause.
    Retry,
}

/// Why an order is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Of a later version, or damaged on its way.
    #[error("this version of hamesh-agent cannot read all of it ({0}); upgrade hamesh-agent")]
    Unreadable(String),
    /// A later one was taken.
    #[error("it has the number {offered}, and {newest} was taken before; {FORGED}")]
    Outdated {
        /// Its number.
        offered: Number,
        /// That of the newest one.
        newest: Number,
    },
    /// No coordinator's word for this node.
    #[error("{}; {}", describe(.0), advice(.0))]
    Unbelieved(#[from] OrderError),
    /// Nobody said whose orders to believe.
    #[error(
        "it is not known whose orders to believe; run `hamesh-agent enroll --replace` with a new \
         token on this node"
    )]
    Unanchored,
}

const FORGED: &str = "no coordinator sent it so: look who is at work on this node \
    (`journalctl -u hamesh-agent`), and if nobody can tell, remove it from the site";

/// What to do about one that is not believed.
fn advice(error: &OrderError) -> &'static str {
    match error {
        OrderError::Chain(ChainError::Expired { .. } | ChainError::NotYetValid) => {
            "compare the clocks of both machines, then `coordctl role retry`"
        }
        OrderError::Chain(ChainError::UnknownCa) => {
            "if the site has another CA by now, run `hamesh-agent enroll --replace` with a new \
             token on this node; if it has not, no coordinator sent it"
        }
        OrderError::Chain(ChainError::Leaf(_) | ChainError::Other(_))
        | OrderError::OtherSigner { .. }
        | OrderError::Signature
        | OrderError::Malformed
        | OrderError::OtherNode { .. } => FORGED,
    }
}

impl TryFrom<&v1::RoleOrder> for Order {
    type Error = Refusal;

    fn try_from(wire: &v1::RoleOrder) -> Result<Self, Refusal> {
        let desired: Desired = serde_json::from_slice(&wire.desired)
            .map_err(|error| Refusal::Unreadable(error.to_string()))?;
        let digest = desired.digest();
        if digest.as_str() != wire.digest {
            let why = "what was read of it is not all that was written";
            return Err(Refusal::Unreadable(why.to_owned()));
        }
        Ok(Self {
            digest,
            assignment: wire.assignment.map(AssignmentId::from).unwrap_or_default(),
            desired,
            observe: wire.observe,
            attempt: wire.attempt,
        })
    }
}

impl Order {
    /// What it is once it was seen to work.
    pub fn good(&self) -> Good {
        Good {
            digest: self.digest.clone(),
            assignment: self.assignment,
            desired: self.desired.clone(),
        }
    }

    /// Whether it was seen to work before.
    pub fn worked(&self, good: Option<&Good>) -> bool {
        good.is_some_and(|good| good.digest == self.digest)
    }
}

impl Verdict {
    /// Whether it is about this order.
    pub fn is_of(&self, order: &Order) -> bool {
        (&self.digest, self.attempt) == (&order.digest, order.attempt)
    }
}

impl<'a> Target<'a> {
    /// What the executor aims at.
    pub fn choose(
        order: &'a Order,
        good: Option<&'a Good>,
        verdict: Option<&Verdict>,
    ) -> Target<'a> {
        let failed = verdict.is_some_and(|it| it.is_of(order));
        // An order to change nothing holds for going back, too.
        if !failed || order.observe || order.worked(good) {
            return Target::Order(order);
        }
        good.map_or(Target::Stay, Target::Good)
    }

    /// What it wants, and from where.
    pub fn desired(&self) -> Option<(&'a Desired, &'a Digest, AssignmentId)> {
        match self {
            Target::Order(it) => Some((&it.desired, &it.digest, it.assignment)),
            Target::Good(it) => Some((&it.desired, &it.digest, it.assignment)),
            Target::Stay => None,
        }
    }

    /// What a failure on the way to it leads to.
    pub fn consequence(&self, good: Option<&Good>) -> Consequence {
        match self {
            Target::Order(order) if !order.worked(good) => Consequence::Verdict,
            Target::Order(_) | Target::Good(_) | Target::Stay => Consequence::Retry,
        }
    }
}

/// How many of these steps put right what had drifted. A new certificate in its time is none, nor
/// what takes it up.
pub fn corrections(steps: &[Step]) -> u64 {
    let due = steps.iter().any(|step| step.reason == Reason::Due);
    let drifted = steps
        .iter()
        .filter(|step| match (&step.action, &step.reason) {
            (Action::Prove(_), _) | (_, Reason::Due) => false,
            (_, Reason::NotLoaded(_) | Reason::NotHanded) => !due,
            _ => true,
        });
    u64::try_from(drifted.count()).unwrap_or(u64::MAX)
}
