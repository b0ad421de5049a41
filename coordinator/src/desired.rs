//! The desired state: the site document with its generation, and what each node is told of it.
//!
//! Guarantees: an assignment is a pure function of the desired state and the node's name, so two
//! coordinators derive the same one, and one generation always means the same content.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::{ClaimId, NodeId};
use hamesh_proto::leader::Leader;
use hamesh_proto::spiffe::Principal;
use hamesh_proto::{ports, v1};
use hamesh_roles::{DatabaseCluster, HeldBy, NetworkName, Node, Role, Site, Vip, VipName};

use crate::records::{CertificateRecord, DesiredRecord, NodeRecord, Revocation};

/// A desired state whose document was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// As the store holds it.
    pub record: DesiredRecord,
    /// The document, parsed.
    pub site: Arc<Site>,
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
    /// Reads the document of a record, unless it is word for word that of `known`: of a large site
    /// it takes long, and most changes (an enrolment, a revoked certificate) do not touch it.
    pub fn parse_beside(record: DesiredRecord, known: &Self) -> Result<Self, InvalidSite> {
        if record.yaml == known.record.yaml {
            let site = Arc::clone(&known.site);
            return Ok(Self { record, site });
        }
        Self::parse(record)
    }

    /// Reads the document of a record.
    pub fn parse(record: DesiredRecord) -> Result<Self, InvalidSite> {
        match Site::parse(&record.yaml) {
            Ok(site) => Ok(Self {
                record,
                site: Arc::new(site),
            }),
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
            claims: self.claims(node),
            proof: Vec::new(),
            part: Some(self.part(node, own)),
        })
    }

    /// What the document says of a node beyond what its agent acts on: what the site is rebuilt
    /// from when all coordinators are lost.
    fn part(&self, node: &NodeId, own: &Node) -> v1::SitePart {
        let place = |(network, address): (&NetworkName, &IpAddr)| {
            Some(v1::Place {
                network: network.to_string(),
                cidr: self.site.networks.get(network)?.cidr.to_string(),
                address: address.to_string(),
            })
        };
        let vips = self.site.vips.iter();
        let vips = vips.filter(|(_, vip)| vip.claims(node, own));
        let terms = |(name, vip): (&VipName, &Vip)| v1::VipTerms {
            claim: vip_claim(name).to_string(),
            networks: vip.networks.iter().map(ToString::to_string).collect(),
            role: vip.role.to_string(),
            prefer: vip.prefer.iter().map(ToString::to_string).collect(),
            fail_back_ms: vip.fail_back.map(millis),
            held_by: match &vip.held_by {
                HeldBy::Hamesh => String::new(),
                other => other.to_string(),
            },
        };
        v1::SitePart {
            management_network: self.site.management_network.to_string(),
            places: own.addresses.iter().filter_map(place).collect(),
            vips: vips.map(terms).collect(),
        }
    }

    /// What a candidate of a virtual address is told of it.
    fn claims(&self, node: &NodeId) -> Vec<v1::Claim> {
        let Some(own) = self.site.nodes.get(node) else {
            return Vec::new();
        };
        let claim = |(name, vip): (&VipName, &Vip)| v1::Claim {
            name: vip_claim(name).to_string(),
            addresses: vip.addresses.iter().map(ToString::to_string).collect(),
            ttl_ms: millis(vip.ttl),
            checks: vip.checks.iter().map(v1::Check::from).collect(),
            candidates: self.site.candidates(vip).map(ToString::to_string).collect(),
            beside: vip.held_by.is_others(),
        };
        // Every node is told of its claims: of those alone the other candidates are looked for.
        let vips = self.site.vips.iter();
        let own = vips.filter(|(_, vip)| vip.claims(node, own));
        own.map(claim).chain(self.database_claim(node)).collect()
    }

    /// What a node that may lead the databases is told of that.
    fn database_claim(&self, node: &NodeId) -> Option<v1::Claim> {
        let members = self.site.database_members();
        members.contains(&node).then(|| v1::Claim {
            name: ClaimId::database().to_string(),
            addresses: Vec::new(),
            ttl_ms: millis(DatabaseCluster::LEASE),
            checks: Vec::new(),
            candidates: members.into_iter().map(ToString::to_string).collect(),
            beside: false,
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

    /// Where the coordinator on this node answers.
    pub fn leader_at(&self, node: &NodeId) -> Option<Leader> {
        let ip = self.site.management_address(node)?;
        Some(Leader {
            node: node.clone(),
            api: SocketAddr::new(ip, ports::API),
            enrolment: SocketAddr::new(ip, ports::ENROLMENT),
        })
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

/// The claim on the addresses of this name.
pub fn vip_claim(name: &VipName) -> ClaimId {
    ClaimId::vip(name.as_ref()).expect("the names of virtual addresses are labels too")
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// A role as the contract has it: empty for none.
pub fn role_name(role: Option<Role>) -> String {
    role.map(|role| role.name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const YAML: &str = "
site: small
networks: {trust: {cidr: 10.0.0.0/24}, untrust: {cidr: 10.0.1.0/24}}
management_network: trust
coordinators: [other]
vips:
  edge:
    address: [10.0.1.100, 10.0.1.101]
    network: untrust
    role: edge-proxy
    ttl: 2s
    checks: [{process: haproxy.service}, {tcp: 443, every: 100ms, degrades: true}]
  spare: {address: 10.0.0.100, network: trust, role: edge-proxy}
nodes:
  both: {role: edge-proxy, addresses: {trust: 10.0.0.1, untrust: 10.0.1.1}}
  inner: {role: edge-proxy, addresses: {trust: 10.0.0.2}}
  outer: {role: edge-proxy, addresses: {trust: 10.0.0.3, untrust: 10.0.1.3}}
  other: {role: k8s-control, addresses: {trust: 10.0.0.4, untrust: 10.0.1.4}}
";

    fn record(generation: u64, yaml: &str) -> DesiredRecord {
        DesiredRecord {
            incarnation: 1,
            generation,
            yaml: yaml.to_owned(),
            revoked: BTreeMap::new(),
        }
    }

    fn told(node: &str) -> Vec<v1::Claim> {
        let desired = Desired::parse(record(1, YAML)).expect("a valid site");
        let node = node.parse().expect("a name");
        desired
            .assignment(&node)
            .expect("a node of the site")
            .claims
    }

    #[test]
    fn beside_a_known_state_a_document_reads_as_it_does_alone() {
        let known = Desired::parse(record(1, YAML)).expect("a valid site");
        let grown = YAML.replace(
            "  outer:",
            "  third: {addresses: {trust: 10.0.0.9}}\n  outer:",
        );
        for yaml in [YAML, &grown] {
            let alone = Desired::parse(record(2, yaml)).expect("a valid site");
            let beside = Desired::parse_beside(record(2, yaml), &known);
            assert_eq!(beside.expect("a valid site"), alone);
        }
    }

    #[test]
    fn a_candidate_has_the_role_and_an_address_in_the_network() {
        let names = |node| {
            told(node)
                .into_iter()
                .map(|claim| claim.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names("both"), ["vip/edge", "vip/spare"]);
        assert_eq!(names("inner"), ["vip/spare"]);
        assert_eq!(names("other"), [""; 0]);
        assert_eq!(told("both")[0].candidates, ["both", "outer"]);
        assert_eq!(told("both")[1].candidates, ["both", "inner", "outer"]);
    }

    #[test]
    fn a_candidate_is_told_the_terms_and_the_checks() {
        let edge = told("outer").remove(0);
        assert_eq!(edge.addresses, ["10.0.1.100", "10.0.1.101"]);
        assert_eq!(edge.ttl_ms, 2000);
        let checks = edge.checks.iter().map(|check| check.name.as_str());
        let names = ["process haproxy.service", "tcp 127.0.0.1:443"];
        assert_eq!(checks.collect::<Vec<_>>(), names);
        let tcp = &edge.checks[1];
        assert_eq!(
            (tcp.every_ms, tcp.timeout_ms, tcp.degrades),
            (100, 100, true)
        );
        assert_eq!(told("outer")[1].ttl_ms, 300);
    }

    #[test]
    fn of_an_address_that_others_hold_a_node_is_told_where_it_may_have_the_claim() {
        let told = |held_by: &str| {
            let yaml = YAML.replace("ttl: 2s", &format!("held_by: {held_by}"));
            let desired = Desired::parse(record(1, &yaml)).expect("a valid site");
            ["both", "outer"].map(|node| {
                let node = desired.assignment(&node.parse().expect("a name"));
                let node = node.expect("a node");
                let edge = node.claims.into_iter().find(|it| it.name == "vip/edge");
                let terms = node.part.expect("a part").vips.into_iter();
                let terms = terms.filter(|it| it.claim == "vip/edge");
                assert_eq!(terms.count(), usize::from(edge.is_some()));
                edge.map(|claim| claim.candidates)
            })
        };
        assert_eq!(told("others"), [None, None]);
        assert_eq!(told("others on outer"), [None, None]);
        assert_eq!(
            told("both on outer"),
            [None, Some(vec!["outer".to_owned()])]
        );
        assert!(told("hamesh").iter().flatten().all(|all| all.len() == 2));
    }

    #[test]
    fn a_node_is_told_its_own_part_of_the_document_and_nobody_elses() {
        let desired = Desired::parse(record(1, YAML)).expect("a valid site");
        let part = |node: &str| {
            let assignment = desired.assignment(&node.parse().expect("a name"));
            assignment.and_then(|it| it.part).expect("a part")
        };
        let inner = part("inner");
        assert_eq!(inner.management_network, "trust");
        let places = inner.places.iter().map(|it| it.network.as_str());
        assert_eq!(places.collect::<Vec<_>>(), ["trust"]);
        let vips = inner.vips.iter().map(|it| it.claim.as_str());
        assert_eq!(vips.collect::<Vec<_>>(), ["vip/spare"]);
        assert!(part("other").vips.is_empty());
    }
}
