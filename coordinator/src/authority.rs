//! Issues the site's certificates: who gets which names, and for how long.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, SystemTime};

use hamesh_proto::ca::{
    CertificateAuthority, IssueError, Issued, NODE_VALID, OPERATOR_VALID, Profile, Subject,
};
use hamesh_proto::ids::{NodeId, OperatorName};
use hamesh_proto::spiffe::{Principal, SpiffeId};
use hamesh_proto::v1;
use hamesh_roles::Site;
use hamesh_roles::engine::Certificate;

use crate::records::CertificateRecord;

/// How long a service's certificate is valid. Its node renews it when a third of that is left: a
/// site that is without coordinators for ten days goes on.
const SERVICE_VALID: Duration = Duration::from_secs(30 * 24 * 3600);

/// The site's CA, and how it is used.
pub struct Authority {
    ca: CertificateAuthority,
    agents_valid: Duration,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("ca", &self.ca.fingerprint().to_string())
            .finish()
    }
}

impl Authority {
    /// Over the site's CA.
    pub fn new(ca: CertificateAuthority) -> Self {
        Self {
            ca,
            agents_valid: NODE_VALID,
        }
    }

    /// The same, with another lifetime of agents' certificates.
    pub fn with_agents_valid(self, agents_valid: Duration) -> Self {
        Self {
            agents_valid,
            ..self
        }
    }

    /// The CA itself.
    pub fn ca(&self) -> &CertificateAuthority {
        &self.ca
    }

    /// A certificate for an agent, with the addresses that the site gives its node.
    pub fn agent(
        &self,
        site: &Site,
        node: &NodeId,
        csr_der: &[u8],
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let ips = addresses(site, node);
        self.issue(
            site,
            Principal::Agent(node.clone()),
            ips,
            self.agents_valid,
            csr_der,
            now,
        )
    }

    /// A certificate for a coordinator, which is also spoken to over the loopback.
    pub fn coordinator(
        &self,
        site: &Site,
        node: &NodeId,
        csr_der: &[u8],
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let mut ips = addresses(site, node);
        for loopback in [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ] {
            if !ips.contains(&loopback) {
                ips.push(loopback);
            }
        }
        self.issue(
            site,
            Principal::Coordinator(node.clone()),
            ips,
            NODE_VALID,
            csr_der,
            now,
        )
    }

    /// A certificate for an operator.
    pub fn operator(
        &self,
        site: &Site,
        name: &OperatorName,
        csr_der: &[u8],
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let principal = Principal::Operator(name.clone());
        self.issue(site, principal, Vec::new(), OPERATOR_VALID, csr_der, now)
    }

    /// A certificate for a service of a node. It names no identity of the site: nobody is let in
    /// as an agent, coordinator or operator by it.
    pub fn service(
        &self,
        node: &NodeId,
        wanted: &Certificate,
        csr_der: &[u8],
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let profile = Profile {
            subject: Subject::CommonName(format!("{} on {node}", wanted.name)),
            dns: wanted.dns.iter().cloned().collect(),
            ips: wanted.ips.iter().copied().collect(),
            valid: SERVICE_VALID,
        };
        self.ca.issue(csr_der, &profile, now)
    }

    /// What travels to the holder.
    pub fn bundle(&self, issued: &Issued) -> v1::CertificateBundle {
        v1::CertificateBundle {
            certificate_der: issued.der.clone(),
            ca_der: vec![self.ca.certificate_der().to_vec()],
        }
    }

    fn issue(
        &self,
        site: &Site,
        principal: Principal,
        ips: Vec<IpAddr>,
        valid: Duration,
        csr_der: &[u8],
        now: SystemTime,
    ) -> Result<Issued, IssueError> {
        let dns = match &principal {
            Principal::Agent(node) | Principal::Coordinator(node) => vec![node.to_string()],
            Principal::Operator(_) => Vec::new(),
        };
        let subject = Subject::Spiffe(SpiffeId::new(site.name.clone(), principal));
        self.ca.issue(
            csr_der,
            &Profile {
                subject,
                dns,
                ips,
                valid,
            },
            now,
        )
    }
}

fn addresses(site: &Site, node: &NodeId) -> Vec<IpAddr> {
    site.nodes
        .get(node)
        .map(|node| node.addresses.values().copied().collect())
        .unwrap_or_default()
}

/// What is remembered of a certificate.
pub fn certificate_record(issued: &Issued) -> CertificateRecord {
    CertificateRecord {
        serial: issued.serial.clone(),
        not_after_unix_ms: issued.not_after_unix_ms,
    }
}
