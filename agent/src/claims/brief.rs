//! What the holder's thread is told to care for: claims, and where everyone is reached.
//!
//! Pure values, made from the assignment by the asynchronous side.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hamesh_claims::lease::Timing;
use hamesh_claims::member::Durable;
use hamesh_proto::ids::{ClaimId, NodeId};

use super::world::Subject;
use crate::assignment::Assignment;

/// What one assignment says of claims. Always whole: the newest counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brief {
    /// Where this node itself listens for lease datagrams; none: it is no member (any more).
    pub own: Option<SocketAddr>,
    /// The claims in which this node has a part.
    pub claims: BTreeMap<ClaimId, Spec>,
    /// Where the other members are reached.
    pub members: BTreeMap<NodeId, SocketAddr>,
    /// Where coordinators are reached.
    pub coordinators: BTreeMap<NodeId, SocketAddr>,
    /// What was claimed in the last run: it may be configured or open yet.
    pub former: BTreeSet<IpAddr>,
}

/// One claim, and what of it was on disk when the brief was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// The addresses that it stands for, held together; none: it is on leading the databases.
    pub addresses: Vec<IpAddr>,
    /// Time-to-live of a lease.
    pub ttl: Duration,
    /// Whether what served before has it on this node, too, and nothing else can.
    pub beside: bool,
    /// What a member starts from; of no meaning for one that runs.
    pub disk: Durable,
}

impl Brief {
    /// What an assignment says, with what members left on disk, and what was claimed in the last
    /// run.
    pub fn of(
        assignment: &Assignment,
        disk: &BTreeMap<ClaimId, Durable>,
        former: BTreeSet<IpAddr>,
    ) -> Self {
        let claims = assignment.claims.iter().map(|claim| {
            let spec = Spec {
                addresses: claim.addresses.clone(),
                ttl: claim.ttl,
                beside: claim.beside,
                disk: disk.get(&claim.id).cloned().unwrap_or_default(),
            };
            (claim.id.clone(), spec)
        });
        let own = assignment.members.get(&assignment.node);
        let members = (assignment.members.iter())
            .filter(|(node, _)| **node != assignment.node)
            .filter_map(|(node, member)| Some((node.clone(), member.leases?)));
        let coordinators = (assignment.coordinators.iter())
            .filter_map(|coordinator| Some((coordinator.node.clone(), coordinator.leases?)));
        Self {
            own: own.and_then(|own| own.leases),
            claims: claims.collect(),
            members: members.collect(),
            coordinators: coordinators.collect(),
            former,
        }
    }
}

impl Spec {
    /// The claim's times.
    pub fn timing(&self) -> Timing {
        Timing::new(self.ttl)
    }

    /// What the kernel fences. Only leading the databases comes without an address.
    pub fn subject(&self) -> Subject<'_> {
        match self.addresses.as_slice() {
            [] => Subject::Database,
            addresses => Subject::Addresses(addresses),
        }
    }
}
