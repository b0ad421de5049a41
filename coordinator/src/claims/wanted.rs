//! What the site wants of its claims. Pure: from the world as it was read.
//!
//! A claim's members are the enrolled nodes of its role that have an address in its network. A
//! node that is not enrolled cannot promise anything, and a group that counted it could never be
//! kept by promises.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use hamesh_claims::grantor::Spec;
use hamesh_claims::ids::NodeName;
use hamesh_claims::lease::Timing;
use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::ports;
use hamesh_roles::{Candidates, Vip, VipName};

use crate::store::Revision;
use crate::world::World;

/// Everything that the grantors are to know of the site, as of one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wishes {
    /// When this was so.
    pub revision: Revision,
    /// The enrolled nodes.
    pub nodes: BTreeMap<NodeId, Place>,
    /// Every claim of the site.
    pub claims: BTreeMap<ClaimId, Wanted>,
}

/// Where a node is, and since when under this identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its socket for lease datagrams.
    pub leases: SocketAddr,
    /// Tells one enrolment of a name from the next.
    pub enrolled_unix_ms: u64,
}

/// One claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// What it stands for.
    pub addresses: Vec<IpAddr>,
    /// The enrolled nodes that may hold it.
    pub members: BTreeSet<NodeName>,
    /// Nodes of its role that may hold it once they are enrolled.
    pub missing: BTreeSet<NodeName>,
    /// How it is to be held.
    pub spec: Spec,
}

impl Wishes {
    /// What this state of the site wants.
    pub fn of(world: &World) -> Self {
        let site = &world.desired.site;
        let place = |(node, record): (&NodeId, &crate::records::NodeRecord)| {
            let address = site.management_address(node)?;
            let place = Place {
                leases: SocketAddr::new(address, ports::AGENT_LEASES),
                enrolled_unix_ms: record.enrolled_unix_ms,
            };
            Some((node.clone(), place))
        };
        let candidates = Candidates::of(site);
        let claim = |(name, vip): (&VipName, &Vip)| {
            let candidates = candidates.for_vip(vip);
            (claim_of(name), wanted(world, name, vip, candidates))
        };
        // There is none as long as what served before holds the addresses alone.
        let claimed = site.vips.iter().filter(|(_, vip)| vip.held_by.is_claimed());
        let claims = claimed.map(claim);
        Self {
            revision: world.revision,
            nodes: world.nodes.iter().filter_map(place).collect(),
            claims: claims.collect(),
        }
    }
}

/// The claim on a virtual address.
pub fn claim_of(vip: &VipName) -> ClaimId {
    ClaimId::vip(vip.as_ref()).expect("the name of a virtual address is a label")
}

/// The name of a node, as the claims have it.
pub fn name_of(node: &NodeId) -> NodeName {
    NodeName::new(node.as_str())
}

fn wanted<'a>(
    world: &World,
    name: &VipName,
    vip: &Vip,
    candidates: impl Iterator<Item = &'a NodeId>,
) -> Wanted {
    let (enrolled, missing): (Vec<_>, Vec<_>) =
        candidates.partition(|node| world.nodes.contains_key(*node));
    let wishes = &world.claim_wishes;
    let drained = wishes.drained.keys().map(name_of).collect();
    let spec = Spec {
        paused: wishes.paused.contains(&claim_of(name)),
        drained,
        ..spec_of(vip)
    };
    Wanted {
        addresses: vip.addresses.clone(),
        members: enrolled.into_iter().map(name_of).collect(),
        missing: missing.into_iter().map(name_of).collect(),
        spec,
    }
}

/// How the site wants this claim to be held, apart from what operators did to it since.
pub fn spec_of(vip: &Vip) -> Spec {
    Spec {
        preference: vip.prefer.iter().map(name_of).collect(),
        fail_back: vip.fail_back,
        ..Spec::new(Timing::new(vip.ttl))
    }
}
