//! Tells all that this node holds to a coordinator that begins anew.
//!
//! Guarantees: only a coordinator of the site hears it (the session's certificate says so), and
//! only one that shows the CA's signature over a later incarnation than the node follows. Nothing
//! changes here: the node follows the incarnation when it is given an assignment of it.

use hamesh_claims::member::Durable;
use hamesh_proto::ids::ClaimId;
use hamesh_proto::incarnation::is_proven_to;
use hamesh_proto::v1;

use super::{Held, describe};
use crate::keys::StoredRing;

/// Why nothing is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// Not signed by the CA.
    #[error("the CA did not sign incarnation {0}, which it says the site is to begin")]
    Unproven(u64),
    /// Not later than what is followed.
    #[error("it is to begin incarnation {offered}, and this node follows {present}")]
    NoNews {
        /// Its incarnation.
        offered: u64,
        /// This node's.
        present: u64,
    },
    /// What was kept cannot be read: half of it would be taken for all.
    #[error("what this node keeps cannot be read: {0}")]
    Unreadable(String),
}

impl Held {
    /// Everything that a coordinator without any memory has to learn from this node.
    ///
    /// # Errors
    /// [`Untold`].
    pub async fn tell(&self, asked: &v1::Recover) -> Result<v1::Holdings, Untold> {
        let offered = asked.incarnation;
        let trust = self.0.credentials.current();
        if !is_proven_to(trust.trust(), &self.0.site, offered, &asked.proof) {
            return Err(Untold::Unproven(offered));
        }
        let assignment = self.0.assignment.borrow().clone();
        let present = assignment.as_ref().map_or(0, |held| held.id.incarnation);
        if offered <= present {
            return Err(Untold::NoNews { offered, present });
        }
        let held = self.clone();
        // Beside the runtime, as all that waits for a disk.
        let kept = tokio::task::spawn_blocking(move || held.kept()).await;
        let (key_ring, claims) = kept
            .map_err(|panic| Untold::Unreadable(panic.to_string()))?
            .map_err(Untold::Unreadable)?;
        tracing::info!(
            incarnation = offered,
            "a coordinator that begins incarnation {offered} was told what this node holds"
        );
        Ok(v1::Holdings {
            assignment: assignment.as_deref().map(Into::into),
            key_ring,
            claims,
        })
    }

    /// What is on disk: the gossip keys, and what the members of claims must not forget.
    fn kept(&self) -> Result<(Option<v1::GossipKeyRing>, Vec<v1::HeldClaim>), String> {
        let state = &self.0.state;
        let ring: Option<StoredRing> = state.key_ring().map_err(|error| describe(&error))?;
        let ring = ring.map(v1::GossipKeyRing::try_from).transpose();
        let assignment = self.0.assignment.borrow().clone();
        let claims = assignment.iter().flat_map(|held| &held.claims);
        let claims = claims.map(|claim| {
            let disk = state.claim(&claim.id).map_err(|error| describe(&error))?;
            Ok(wire(&claim.id, disk.unwrap_or_default()))
        });
        Ok((
            ring.map_err(|error| describe(&error))?,
            claims.collect::<Result<_, String>>()?,
        ))
    }
}

fn wire(claim: &ClaimId, disk: Durable) -> v1::HeldClaim {
    let names = |names: &std::collections::BTreeSet<hamesh_claims::ids::NodeName>| {
        names.iter().map(ToString::to_string).collect()
    };
    v1::HeldClaim {
        claim: claim.to_string(),
        seen_incarnation: disk.seen.incarnation,
        seen_term: disk.seen.term,
        group: disk.group.map(|group| v1::ClaimGroup {
            version: group.version.0,
            candidates: names(&group.candidates),
            peers: names(&group.peers),
        }),
    }
}
