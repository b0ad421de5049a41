//! What a role needs that is no part of a document.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::site::{CertificateSource, Site};
use crate::words::SqlName;

/// Secrets by their names. Its words show the names alone.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(BTreeMap<String, String>);

/// A secret that roles need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NeededSecret {
    /// The certificate of the edge with all between it and its CA, and its key: PEM in one.
    EdgeCertificate,
    /// The password of the proxies' statistics, whose user is `hamesh`.
    ProxyStatistics,
    /// The password of a user of the databases.
    DatabaseUser(SqlName),
}

/// Where a secret comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The coordinator makes it, once.
    Generated,
    /// An operator gives it.
    Given,
}

/// A secret is needed that is not there, or that cannot be what it is to be. Nothing was rendered;
/// it can be once the secret is there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the secret `{}` {fault}: {}", .secret.name(), .secret.remedy())]
pub struct Missing {
    /// Which.
    pub secret: NeededSecret,
    /// What is wrong with it: "is missing".
    pub fault: &'static str,
}

/// The secrets that the roles of this site need.
pub fn needed_secrets(site: &Site) -> BTreeSet<NeededSecret> {
    let mut needed = BTreeSet::new();
    if site.edge_proxy.is_some() || site.internal_proxy.is_some() {
        needed.insert(NeededSecret::ProxyStatistics);
    }
    if let Some(edge) = &site.edge_proxy {
        match edge.certificate {
            CertificateSource::SiteCa => {}
            CertificateSource::File => {
                needed.insert(NeededSecret::EdgeCertificate);
            }
        }
    }
    if let Some(cluster) = &site.database {
        needed.extend(cluster.users().cloned().map(NeededSecret::DatabaseUser));
    }
    needed
}

impl NeededSecret {
    /// The name of the certificate that operators give.
    pub const EDGE_CERTIFICATE: &str = "edge-proxy/certificate";
    const PROXY_STATISTICS: &str = "proxy/statistics";
    const DATABASE_USER: &str = "database/user/";

    /// The name under which the coordinator keeps it.
    pub fn name(&self) -> Cow<'static, str> {
        match self {
            NeededSecret::EdgeCertificate => Self::EDGE_CERTIFICATE.into(),
            NeededSecret::ProxyStatistics => Self::PROXY_STATISTICS.into(),
            NeededSecret::DatabaseUser(user) => format!("{}{user}", Self::DATABASE_USER).into(),
        }
    }

    /// The one of this name; `None`: no role needs one.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            Self::EDGE_CERTIFICATE => Some(NeededSecret::EdgeCertificate),
            Self::PROXY_STATISTICS => Some(NeededSecret::ProxyStatistics),
            other => {
                let user = other.strip_prefix(Self::DATABASE_USER)?.parse().ok()?;
                Some(NeededSecret::DatabaseUser(user))
            }
        }
    }

    /// Where it comes from.
    pub const fn origin(&self) -> Origin {
        match self {
            NeededSecret::EdgeCertificate => Origin::Given,
            NeededSecret::ProxyStatistics | NeededSecret::DatabaseUser(_) => Origin::Generated,
        }
    }

    /// What to do when it is not there.
    pub const fn remedy(&self) -> &'static str {
        match self {
            NeededSecret::EdgeCertificate => {
                "give its chain and key by `coordctl certificate set edge-proxy --file PEM`"
            }
            NeededSecret::ProxyStatistics | NeededSecret::DatabaseUser(_) => {
                "the leading coordinator generates it: wait until there is one"
            }
        }
    }

    /// What is wrong with a value for it, where that can be told.
    fn fault(&self, value: &str) -> Option<&'static str> {
        match self {
            NeededSecret::EdgeCertificate => {
                let has = |label: &str| value.contains(label);
                let complete = has("-----BEGIN CERTIFICATE-----") && has("PRIVATE KEY-----");
                (!complete).then_some("lacks a certificate or its key")
            }
            // They stand in a file of patterns, one to a line, and in words of others' programs,
            // where these would be none.
            NeededSecret::ProxyStatistics | NeededSecret::DatabaseUser(_) => {
                let plain = |c: char| c.is_ascii_graphic();
                let usable =
                    !value.is_empty() && !value.starts_with('#') && value.chars().all(plain);
                (!usable).then_some("is not made of visible ASCII characters")
            }
        }
    }
}

impl fmt::Display for NeededSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.name())
    }
}

impl Secrets {
    /// With one more, or another value of one.
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.insert(name.into(), value.into());
        self
    }

    /// The value of one that is needed.
    pub(super) fn need(&self, secret: NeededSecret) -> Result<&str, Missing> {
        let fault = match self.0.get(&*secret.name()) {
            None => "is missing",
            Some(value) => match secret.fault(value) {
                None => return Ok(value),
                Some(fault) => fault,
            },
        };
        Err(Missing { secret, fault })
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Secrets {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(secrets: I) -> Self {
        let secrets = secrets.into_iter();
        Self(
            secrets
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
        )
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
