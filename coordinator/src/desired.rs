//! The desired state: the site document with its generation, and what each node is told of it.
//!
//! Guarantees: an assignment is a pure function of the desired state and the node's name, so two
//! coordinators derive the same one, and one generation always means the same content.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use hamesh_proto::ids::NodeId;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::{ports, v1};
use hamesh_roles::{Role, Site};

use crate::records::{CertificateRecord, DesiredRecord, NodeRecord, Revocation};

/// A desired state whose document was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// As the store holds it.
    pub record: DesiredRecord,
    /// The document, parsed.
    pub site: Site,
}

/// The store's site document is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the site document in the store (generation {generation}) is not valid to this version of \
         hamesh: {problems}; run the version that wrote it"
)]
pub struct InvalidSite {
    generation: u64,
    problems: String,
}

impl Desired {
    /// Reads the document of a record.
    pub fn parse(record: DesiredRecord) -> Result<Self, InvalidSite> {
        match Site::parse(&record.yaml) {
            Ok(site) => Ok(Self { record, site }),
            Err(problems) => Err(InvalidSite {
                generation: record.generation,
                problems: problems
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join("; "),
            }),
        }
    }

    /// Which desired state this is.
    pub fn id(&self) -> v1::AssignmentId {
        v1::AssignmentId {
            incarnation: self.record.incarnation,
            generation: self.record.generation,
        }
    }

    /// What this node is told; `None`: it is not in the site.
    pub fn assignment(&self, node: &NodeId) -> Option<v1::Assignment> {
        let own = self.site.nodes.get(node)?;
        let members = self.site.nodes.iter().filter_map(|(id, member)| {
            let gossip = self.endpoint(id, ports::GOSSIP)?;
            Some(v1::Member {
                node: id.to_string(),
                role: role_name(member.role),
                gossip,
                leases: self.endpoint(id, ports::AGENT_LEASES)?,
            })
        });
        Some(v1::Assignment {
            id: Some(self.id()),
            site: self.site.name.to_string(),
            node: node.to_string(),
            role: role_name(own.role),
            members: members.collect(),
            coordinators: self.coordinators(),
            revoked_serials: self.record.revoked.keys().cloned().collect(),
            claims: Vec::new(),
        })
    }

    /// Where the coordinators answer.
    pub fn coordinators(&self) -> Vec<v1::CoordinatorEndpoint> {
        let endpoint = |node: &NodeId| {
            Some(v1::CoordinatorEndpoint {
                node: node.to_string(),
                api: self.endpoint(node, ports::API)?,
                enrolment: self.endpoint(node, ports::ENROLMENT)?,
                leases: self.endpoint(node, ports::COORDINATOR_LEASES)?,
            })
        };
        self.site.coordinators.iter().filter_map(endpoint).collect()
    }

    /// The record of the next generation: this document, and these certificates revoked as well.
    /// What has expired by itself is forgotten.
    pub fn next(
        &self,
        yaml: String,
        revoke: BTreeMap<String, Revocation>,
        now_unix_ms: u64,
    ) -> DesiredRecord {
        let mut revoked = self.record.revoked.clone();
        revoked.extend(revoke);
        revoked.retain(|_, revocation| revocation.not_after_unix_ms >= now_unix_ms);
        DesiredRecord {
            incarnation: self.record.incarnation,
            generation: self.record.generation + 1,
            yaml,
            revoked,
        }
    }

    fn endpoint(&self, node: &NodeId, port: u16) -> Option<String> {
        Some(SocketAddr::new(self.site.management_address(node)?, port).to_string())
    }
}

/// Every certificate of a node, as revocations.
pub fn revocations(node: &NodeId, record: &NodeRecord) -> BTreeMap<String, Revocation> {
    revoke_all(&Principal::Agent(node.clone()), &record.certificates)
}

/// Every certificate of a holder, as revocations.
pub fn revoke_all(
    holder: &Principal,
    certificates: &[CertificateRecord],
) -> BTreeMap<String, Revocation> {
    let revocation = |certificate: &CertificateRecord| {
        let revocation = Revocation {
            holder: holder.path(),
            not_after_unix_ms: certificate.not_after_unix_ms,
        };
        (certificate.serial.clone(), revocation)
    };
    certificates.iter().map(revocation).collect()
}

/// A role as the contract has it: empty for none.
pub fn role_name(role: Option<Role>) -> String {
    role.map(|role| role.name().to_owned()).unwrap_or_default()
}
