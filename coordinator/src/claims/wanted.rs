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
use hamesh_roles::{Candidates, DatabaseCluster, Site, Vip, VipName};

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
    /// What it stands for; none: leading the databases.
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
            let (claim, candidates) = (claim_of(name), candidates.for_vip(vip));
            let addresses = vip.addresses.clone();
            let wanted = wanted(world, &claim, spec_of(vip), addresses, candidates);
            (claim, wanted)
        };
        // There is none as long as what served before holds the addresses alone.
        let claimed = site.vips.iter().filter(|(_, vip)| vip.held_by.is_claimed());
        let claims = claimed.map(claim).chain(database(world));
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

/// Every claim that this site could have.
pub fn claims_of(site: &Site) -> impl Iterator<Item = ClaimId> {
    let database = (!site.database_members().is_empty()).then(ClaimId::database);
    site.vips.keys().map(claim_of).chain(database)
}

/// The claim on leading the databases. Who leads is Patroni's to say, so nobody is preferred.
fn database(world: &World) -> Option<(ClaimId, Wanted)> {
    let members = world.desired.site.database_members();
    if members.is_empty() {
        return None;
    }
    let spec = Spec::new(Timing::new(DatabaseCluster::LEASE));
    let claim = ClaimId::database();
    let wanted = wanted(world, &claim, spec, Vec::new(), members.into_iter());
    Some((claim, wanted))
}

fn wanted<'a>(
    world: &World,
    claim: &ClaimId,
    spec: Spec,
    addresses: Vec<IpAddr>,
    candidates: impl Iterator<Item = &'a NodeId>,
) -> Wanted {
    let (enrolled, missing): (Vec<_>, Vec<_>) =
        candidates.partition(|node| world.nodes.contains_key(*node));
    let wishes = &world.claim_wishes;
    let drained = wishes.drained.keys().map(name_of).collect();
    let spec = Spec {
        paused: wishes.paused.contains(claim),
        drained,
        ..spec
    };
    Wanted {
        addresses,
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
