//! What the site document says of this node, and its agent does nothing with.
//!
//! It is kept word for word, so that a site that lost its coordinators can be rebuilt from its
//! agents: a coordinator wrote it, and a coordinator reads it.

use hamesh_proto::v1;
use serde::{Deserialize, Serialize};

/// One node's part of the document.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SitePart {
    /// The network on which nodes talk to each other.
    pub management_network: String,
    /// The node's address in each of its networks.
    pub places: Vec<Place>,
    /// The terms of the claims in which it has a part.
    pub vips: Vec<VipTerms>,
}

/// The node's address in one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub network: String,
    pub cidr: String,
    pub address: String,
}

/// The terms of one claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipTerms {
    pub claim: String,
    pub networks: Vec<String>,
    pub role: String,
    pub prefer: Vec<String>,
    pub fail_back_ms: Option<u64>,
    #[serde(default)]
    pub held_by: String,
}

impl From<v1::SitePart> for SitePart {
    fn from(wire: v1::SitePart) -> Self {
        let place = |wire: v1::Place| Place {
            network: wire.network,
            cidr: wire.cidr,
            address: wire.address,
        };
        let terms = |wire: v1::VipTerms| VipTerms {
            claim: wire.claim,
            networks: wire.networks,
            role: wire.role,
            prefer: wire.prefer,
            fail_back_ms: wire.fail_back_ms,
            held_by: wire.held_by,
        };
        Self {
            management_network: wire.management_network,
            places: wire.places.into_iter().map(place).collect(),
            vips: wire.vips.into_iter().map(terms).collect(),
        }
    }
}

impl From<SitePart> for v1::SitePart {
    fn from(part: SitePart) -> Self {
        let place = |place: Place| v1::Place {
            network: place.network,
            cidr: place.cidr,
            address: place.address,
        };
        let terms = |terms: VipTerms| v1::VipTerms {
            claim: terms.claim,
            networks: terms.networks,
            role: terms.role,
            prefer: terms.prefer,
            fail_back_ms: terms.fail_back_ms,
            held_by: terms.held_by,
        };
        Self {
            management_network: part.management_network,
            places: part.places.into_iter().map(place).collect(),
            vips: part.vips.into_iter().map(terms).collect(),
        }
    }
}
