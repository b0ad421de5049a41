//! A site's CA and identities, made afresh for each test.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use hamesh_proto::ca::{CertificateAuthority, NODE_VALID, Profile, Subject};
use hamesh_proto::credentials::{Credentials, PrivateKey};
use hamesh_proto::spiffe::SpiffeId;

/// One site with one CA.
pub struct Site {
    pub name: &'static str,
    pub ca: CertificateAuthority,
}

impl Site {
    pub fn new(name: &'static str) -> Self {
        let site = name.parse().expect("a site name");
        Self {
            name,
            ca: CertificateAuthority::create(&site, "site CA", SystemTime::now()),
        }
    }

    pub fn id(&self, path: &str) -> SpiffeId {
        format!("spiffe://{}/{path}", self.name)
            .parse()
            .expect("an identity")
    }

    pub fn profile(&self, path: &str) -> Profile {
        Profile {
            subject: Subject::Spiffe(self.id(path)),
            dns: vec!["localhost".to_owned()],
            ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            valid: NODE_VALID,
        }
    }

    /// Credentials of `path`, issued now.
    pub fn credentials(&self, path: &str) -> Credentials {
        self.issued_at(path, SystemTime::now(), NODE_VALID)
    }

    /// Credentials of `path` whose life ended an hour ago.
    pub fn expired(&self, path: &str) -> Credentials {
        let hour = Duration::from_secs(3600);
        self.issued_at(path, SystemTime::now() - 2 * hour, hour)
    }

    pub fn issued_at(&self, path: &str, now: SystemTime, valid: Duration) -> Credentials {
        self.trusting(path, now, valid, vec![self.ca.certificate_der().to_vec()])
    }

    pub fn trusting(
        &self,
        path: &str,
        now: SystemTime,
        valid: Duration,
        ca_ders: Vec<Vec<u8>>,
    ) -> Credentials {
        let key = PrivateKey::generate();
        let profile = Profile {
            valid,
            ..self.profile(path)
        };
        let issued = self
            .ca
            .issue(&key.csr_der(), &profile, now)
            .expect("issued");
        Credentials::new(key, issued.der, ca_ders).expect("they belong together")
    }
}
