//! What an assignment says of a claim in which this node has a part.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::v1;
use hamesh_roles::checks::MOST_CHECKS;
use hamesh_roles::{Check, Vip};
use serde::{Deserialize, Serialize};

use super::{Refusal, parse};

/// A claim that this node may hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Its name.
    pub id: ClaimId,
    /// What comes with it; none with leading the databases, at least one with any other.
    pub addresses: Vec<IpAddr>,
    /// How long a lease on it lasts.
    pub ttl: Duration,
    /// What tells how well this node could serve it.
    pub checks: Vec<Check>,
    /// Every node that may hold it, this one among them.
    pub candidates: BTreeSet<NodeId>,
    /// Whether what served before has it on this node, too, and nothing else can.
    #[serde(default)]
    pub beside: bool,
}

/// Reads the claims of an assignment for `own`.
pub(super) fn claims(wire: Vec<v1::Claim>, own: &NodeId) -> Result<Vec<Claim>, Refusal> {
    let mut seen = BTreeSet::new();
    wire.into_iter()
        .map(|wire| {
            let claim = claim(wire, own)?;
            if !seen.insert(claim.id.clone()) {
                return Err(invalid("claims.name", &claim.id));
            }
            Ok(claim)
        })
        .collect()
}

fn claim(wire: v1::Claim, own: &NodeId) -> Result<Claim, Refusal> {
    let id: ClaimId = parse("claims.name", &wire.name)?;
    let addresses = wire.addresses.iter();
    let addresses = addresses.map(|address| parse("claims.addresses", address));
    let addresses = addresses.collect::<Result<Vec<_>, Refusal>>()?;
    if addresses.is_empty() != id.is_database() {
        return Err(invalid("claims.addresses", &id));
    }
    let ttl = Duration::from_millis(wire.ttl_ms);
    if !Vip::TTL.contains(&ttl) {
        return Err(invalid("claims.ttl_ms", &wire.ttl_ms));
    }
    if wire.checks.len() > MOST_CHECKS {
        return Err(invalid("claims.checks", &wire.checks.len()));
    }
    let checks = wire.checks.into_iter().map(|check| {
        let name = check.name.clone();
        Check::try_from(check).map_err(|why| invalid("claims.checks", &format!("{name}: {why}")))
    });
    let checks = checks.collect::<Result<_, Refusal>>()?;
    let candidates = wire.candidates.iter();
    let candidates = candidates.map(|node| parse("claims.candidates", node));
    let candidates = candidates.collect::<Result<BTreeSet<_>, Refusal>>()?;
    if !candidates.contains(own) {
        return Err(invalid("claims.candidates", &wire.candidates.join(" ")));
    }
    Ok(Claim {
        id,
        addresses,
        ttl,
        checks,
        candidates,
        beside: wire.beside,
    })
}

fn invalid(field: &'static str, value: &dyn std::fmt::Display) -> Refusal {
    Refusal::Invalid {
        field,
        value: value.to_string(),
    }
}
