//! Planned moves: asked for by an operator, answered when the claim has moved or will not.

use std::collections::BTreeMap;
use std::time::Duration;

use hamesh_claims::grantor::{Note, Other};
use hamesh_claims::ids::NodeName;
use hamesh_claims::{Grantor, Moment};
use hamesh_proto::ids::ClaimId;
use tokio::sync::oneshot;

use super::wanted::Wanted;

/// How long a move is wished for: the holder is told at each renewal, many times in this.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What an operator asked for.
#[derive(Debug)]
pub struct MoveAsked {
    /// The claim.
    pub claim: ClaimId,
    /// Where to; `None`: to the best of the others.
    pub to: Option<NodeName>,
    /// For the outcome.
    pub reply: oneshot::Sender<Result<Moved, MoveError>>,
}

/// The claim is where it was wished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Where it is.
    pub to: NodeName,
    /// From the wish until the grant; zero: it was there already.
    pub took: Duration,
}

/// Why a claim was not moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// Nobody grants it here.
    #[error("{0} is not granted here yet: none of its nodes is enrolled; nothing was changed")]
    Unknown(ClaimId),
    /// Nothing moves while it is paused.
    #[error("{0} is paused; nothing was changed; first `coordctl claim resume {0}`")]
    Paused(ClaimId),
    /// That node cannot take it.
    #[error("{to} cannot take {claim} now: it {why}; nothing was changed")]
    Unable {
        /// The claim.
        claim: ClaimId,
        /// The node.
        to: NodeName,
        /// A clause about the node.
        why: String,
    },
    /// No node can take it.
    #[error("no other node can take {claim} now{}; nothing was changed", listed(.others))]
    Nobody {
        /// The claim.
        claim: ClaimId,
        /// Each other candidate, and why not.
        others: Vec<(NodeName, String)>,
    },
    /// Another move of it is under way.
    #[error("{0} is being moved already; nothing was changed; look with `coordctl explain {0}`")]
    Moving(ClaimId),
    /// It did not come to pass.
    #[error(
        "{claim} did not move to {to} within {} s, and is wished there no longer; see `coordctl \
         explain {claim}`",
        PATIENCE.as_secs()
    )]
    Late {
        /// The claim.
        claim: ClaimId,
        /// Where it was wished.
        to: NodeName,
    },
}

fn listed(others: &[(NodeName, String)]) -> String {
    let each = |(node, why): &(NodeName, String)| format!("; {node} {why}");
    others.iter().map(each).collect()
}

/// The moves under way, at most one for each claim.
#[derive(Debug, Default)]
pub struct Moves(BTreeMap<ClaimId, Move>);

#[derive(Debug)]
struct Move {
    to: NodeName,
    since: Moment,
    reply: oneshot::Sender<Result<Moved, MoveError>>,
}

impl MoveAsked {
    /// Nobody grants that claim.
    pub fn refuse_unknown(self) {
        let error = MoveError::Unknown(self.claim);
        answer(self.reply, Err(error));
    }
}

impl Moves {
    /// Begins a move if it can succeed: which claim is to be wished where.
    pub fn begin(
        &mut self,
        asked: MoveAsked,
        grantor: &Grantor,
        wanted: Option<&Wanted>,
        now: Moment,
    ) -> Option<(ClaimId, NodeName)> {
        let MoveAsked { claim, to, reply } = asked;
        let explanation = grantor.explain(now);
        let holder = explanation.holder.map(|(node, _, _)| node);
        if let Some(to) = to.clone().filter(|to| holder.as_ref() == Some(to)) {
            let took = Duration::ZERO;
            answer(reply, Ok(Moved { to, took }));
            return None;
        }
        let to = match self.target(&claim, to, &explanation.others, wanted) {
            Ok(to) => to,
            Err(error) => {
                answer(reply, Err(error));
                return None;
            }
        };
        let begun = Move {
            to: to.clone(),
            since: now,
            reply,
        };
        self.0.insert(claim.clone(), begun);
        Some((claim, to))
    }

    fn target(
        &self,
        claim: &ClaimId,
        to: Option<NodeName>,
        others: &[Other],
        wanted: Option<&Wanted>,
    ) -> Result<NodeName, MoveError> {
        if self.0.contains_key(claim) {
            return Err(MoveError::Moving(claim.clone()));
        }
        if wanted.is_some_and(|wanted| wanted.spec.paused) {
            return Err(MoveError::Paused(claim.clone()));
        }
        let why_not = |other: &Other| other.why_not.as_ref().map(ToString::to_string);
        let Some(to) = to else {
            let able = others.iter().filter(|other| other.why_not.is_none());
            let preference = wanted.map_or(&[][..], |wanted| &wanted.spec.preference);
            let place = |other: &Other| {
                let place = preference.iter().position(|node| *node == other.node);
                (other.health, place.unwrap_or(preference.len()))
            };
            let best = able.min_by_key(|other| place(other));
            return best.map(|other| other.node.clone()).ok_or_else(|| {
                let why = |other: &Other| (other.node.clone(), why_not(other).unwrap_or_default());
                let (claim, others) = (claim.clone(), others.iter().map(why).collect());
                MoveError::Nobody { claim, others }
            });
        };
        let why = match others.iter().find(|other| other.node == to) {
            None => Some("is not a candidate".to_owned()),
            Some(other) => why_not(other),
        };
        match why {
            None => Ok(to),
            Some(why) => Err(MoveError::Unable {
                claim: claim.clone(),
                to,
                why,
            }),
        }
    }

    /// Something was noted of a claim: perhaps the end of its move.
    pub fn noted(&mut self, claim: &ClaimId, note: &Note, now: Moment) {
        let Note::Granted(node, _, _) = note else {
            return;
        };
        // If it went elsewhere first, it is still wished where it was asked for.
        if self.0.get(claim).is_none_or(|going| going.to != *node) {
            return;
        }
        if let Some(done) = self.0.remove(claim) {
            let took = now.since(done.since);
            answer(done.reply, Ok(Moved { to: done.to, took }));
        }
    }

    /// Gives up what took too long: these claims are wished nowhere any more.
    pub fn give_up(&mut self, now: Moment) -> Vec<ClaimId> {
        let late = |going: &Move| now >= going.since.plus(PATIENCE) || going.reply.is_closed();
        let late: Vec<ClaimId> = self
            .0
            .iter()
            .filter(|(_, going)| late(going))
            .map(|(claim, _)| claim.clone())
            .collect();
        for claim in &late {
            if let Some(going) = self.0.remove(claim) {
                let (claim, to) = (claim.clone(), going.to);
                answer(going.reply, Err(MoveError::Late { claim, to }));
            }
        }
        late
    }

    /// When the first of them has taken too long.
    pub fn next_end(&self) -> Option<Moment> {
        self.0
            .values()
            .map(|going| going.since.plus(PATIENCE))
            .min()
    }
}

fn answer(reply: oneshot::Sender<Result<Moved, MoveError>>, outcome: Result<Moved, MoveError>) {
    // Who asked may have gone away.
    let _ = reply.send(outcome);
}
