//! Whether a node is well after its upgrade, so that the next one may begin. Pure.
//!
//! Well means: alive with an open session, everything of hamesh on it of the wanted version and its
//! agent running that, nothing going on any more; and every claim of the site that was held before
//! is held.

use std::collections::BTreeSet;

use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::version::PackageVersion;

use super::plan::{Claim, Observed};

/// What is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "Display says what each one means")]
pub enum Lack {
    #[error("{0} is not in the site any more")]
    Gone(NodeId),
    #[error("{node} is {why}")]
    Absent { node: NodeId, why: String },
    #[error("{0} is still carrying out its order")]
    Upgrading(NodeId),
    #[error("{node} does not run {target} everywhere yet")]
    Version {
        node: NodeId,
        target: PackageVersion,
    },
    #[error("who holds which claim is not known")]
    NoClaims,
    #[error("nobody holds {0}, which was held before")]
    Vacant(ClaimId),
}

/// The claims that somebody holds, by anybody's word.
pub fn held(observed: &Observed) -> BTreeSet<ClaimId> {
    let claims = observed.claims.iter().flatten();
    let held = claims.filter(|(_, claim)| is_held(claim) || !claim.said.is_empty());
    held.map(|(name, _)| name.clone()).collect()
}

/// What is missing until the node is well; `None`: it is.
pub fn lack(
    node: &NodeId,
    observed: &Observed,
    target: &PackageVersion,
    held_before: &BTreeSet<ClaimId>,
) -> Option<Lack> {
    let Some(now) = observed.nodes.get(node) else {
        return Some(Lack::Gone(node.clone()));
    };
    if let Some(why) = now.absent.clone() {
        let node = node.clone();
        return Some(Lack::Absent { node, why });
    }
    if now.upgrading {
        return Some(Lack::Upgrading(node.clone()));
    }
    if !now.has(target) {
        let (node, target) = (node.clone(), target.clone());
        return Some(Lack::Version { node, target });
    }
    let Some(claims) = &observed.claims else {
        return Some(Lack::NoClaims);
    };
    // One that was taken out of the site meanwhile needs nobody.
    let vacant = |name: &&ClaimId| claims.get(*name).is_some_and(|claim| !is_held(claim));
    let vacant = held_before.iter().find(vacant);
    vacant.cloned().map(Lack::Vacant)
}

fn is_held(claim: &Claim) -> bool {
    claim.holder.is_some() || claim.by_hand
}
