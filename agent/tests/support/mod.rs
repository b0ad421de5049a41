//! A site's CA, its assignment and its keys, made afresh for each test, on 127.0.0.0/8.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use hamesh_agent::assignment::{Assignment, AssignmentId, Coordinator, Member};
use hamesh_proto::ca::{CertificateAuthority, NODE_VALID, Profile, Subject};
use hamesh_proto::credentials::{Credentials, PrivateKey};
use hamesh_proto::ids::NodeId;
use hamesh_proto::random;
use hamesh_proto::spiffe::SpiffeId;

pub struct Site {
    pub ca: CertificateAuthority,
    pub members: BTreeMap<NodeId, SocketAddr>,
}

impl Site {
    /// A site of `node-1` to `node-N`, each with a loopback address of its own.
    pub fn of(nodes: usize) -> Self {
        let name = "thirteen".parse().expect("a site name");
        let members = (1..=nodes).map(|n| (node(&format!("node-{n}")), gossip_address()));
        Self {
            ca: CertificateAuthority::create(&name, "site CA", SystemTime::now()),
            members: members.collect(),
        }
    }

    pub fn profile(path: &str) -> Profile {
        let id: SpiffeId = format!("spiffe://thirteen/{path}")
            .parse()
            .expect("an identity");
        Profile {
            subject: Subject::Spiffe(id),
            dns: vec![],
            ips: vec![Ipv4Addr::LOCALHOST.into()],
            valid: NODE_VALID,
        }
    }

    pub fn credentials(&self, path: &str) -> Credentials {
        self.issued_ago(path, Duration::ZERO)
    }

    /// Credentials that were issued some time ago, for the usual life.
    pub fn issued_ago(&self, path: &str, ago: Duration) -> Credentials {
        let key = PrivateKey::generate();
        let der = self.issue(&key.csr_der(), path, SystemTime::now() - ago);
        Credentials::new(key, der, vec![self.ca.certificate_der().to_vec()]).expect("they fit")
    }

    pub fn issue(&self, csr_der: &[u8], path: &str, at: SystemTime) -> Vec<u8> {
        self.ca
            .issue(csr_der, &Self::profile(path), at)
            .expect("issued")
            .der
    }

    pub fn assignment(&self, name: &str, generation: u64) -> Assignment {
        let member = |(node, gossip): (&NodeId, &SocketAddr)| {
            let member = Member {
                role: Some("database".to_owned()),
                gossip: *gossip,
                leases: None,
            };
            (node.clone(), member)
        };
        Assignment {
            id: AssignmentId {
                incarnation: 1,
                generation,
            },
            site: "thirteen".parse().expect("a site name"),
            node: node(name),
            role: Some("database".to_owned()),
            members: self.members.iter().map(member).collect(),
            coordinators: vec![],
            revoked_serials: [].into(),
            claims: vec![],
            proof: vec![],
            part: None,
        }
    }
}

pub fn node(name: &str) -> NodeId {
    name.parse().expect("a node name")
}

pub fn coordinator(api: SocketAddr, enrolment: SocketAddr) -> Coordinator {
    Coordinator {
        node: node("control-1"),
        api,
        enrolment,
        leases: None,
    }
}

/// A loopback address that no other test uses.
fn gossip_address() -> SocketAddr {
    let [a, b, c]: [u8; 3] = random::bytes();
    let ip = Ipv4Addr::new(127, 1 + a % 254, b, 1 + c % 254);
    SocketAddr::from((ip, hamesh_proto::ports::GOSSIP))
}

/// Waits until `probe` yields something; says what was last seen when it never does.
pub async fn until<T, S: std::fmt::Debug>(
    what: &str,
    mut probe: impl FnMut() -> Result<T, S>,
) -> T {
    let began = std::time::Instant::now();
    loop {
        match probe() {
            Ok(value) => return value,
            Err(seen) if began.elapsed() > Duration::from_secs(90) => {
                panic!("waited in vain until {what}; last seen: {seen:#?}")
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}
