//! An assignment as it came, for a coordinator that has to learn from its agents what there is.

use hamesh_proto::v1;

use super::{Assignment, Claim, Coordinator, Member};

impl From<&Assignment> for v1::Assignment {
    fn from(held: &Assignment) -> Self {
        let members = held.members.iter().map(|(node, member)| {
            let Member {
                role,
                gossip,
                leases,
            } = member;
            v1::Member {
                node: node.to_string(),
                role: role.clone().unwrap_or_default(),
                gossip: gossip.to_string(),
                leases: leases.map(|it| it.to_string()).unwrap_or_default(),
            }
        });
        Self {
            id: Some(held.id.into()),
            site: held.site.to_string(),
            node: held.node.to_string(),
            role: held.role.clone().unwrap_or_default(),
            members: members.collect(),
            coordinators: held.coordinators.iter().map(Into::into).collect(),
            revoked_serials: held.revoked_serials.iter().cloned().collect(),
            claims: held.claims.iter().map(Into::into).collect(),
            proof: held.proof.clone(),
            part: held.part.clone().map(Into::into),
        }
    }
}

impl From<&Coordinator> for v1::CoordinatorEndpoint {
    fn from(at: &Coordinator) -> Self {
        Self {
            node: at.node.to_string(),
            api: at.api.to_string(),
            enrolment: at.enrolment.to_string(),
            leases: at.leases.map(|it| it.to_string()).unwrap_or_default(),
        }
    }
}

impl From<&Claim> for v1::Claim {
    fn from(claim: &Claim) -> Self {
        Self {
            name: claim.id.to_string(),
            addresses: claim.addresses.iter().map(ToString::to_string).collect(),
            ttl_ms: u64::try_from(claim.ttl.as_millis()).unwrap_or(u64::MAX),
            checks: claim.checks.iter().map(v1::Check::from).collect(),
            candidates: claim.candidates.iter().map(ToString::to_string).collect(),
            beside: claim.beside,
        }
    }
}
