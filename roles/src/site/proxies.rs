//! What a site says about its proxies. A proxy is made of a node only where the site says it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::names::VipName;
use crate::role::Role;
use crate::words::{DnsName, HeaderName, HeaderValue, HttpPath};

/// What the nodes of the role `edge-proxy` do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeProxy {
    /// What the certificate is for, at least one.
    pub names: BTreeSet<DnsName>,
    /// Where the certificate comes from.
    pub certificate: CertificateSource,
    /// The virtual address of the internal proxies, to which everything goes.
    pub forward_to: VipName,
    /// For how long browsers are told to insist on https (RFC 6797); `None`: they are not told.
    pub hsts: Option<Duration>,
    /// Headers that every answer carries, in place of what the application says.
    pub headers: BTreeMap<HeaderName, HeaderValue>,
    /// How much one client may ask for.
    pub rate_limit: Option<RateLimit>,
}

impl EdgeProxy {
    /// How many names a certificate is for: a browser is sent all of them with each connection.
    pub const MOST_NAMES: usize = 64;
    /// How many headers are added to each answer.
    pub const MOST_HEADERS: usize = 32;
    /// For how long browsers may be told to insist on https; nothing makes them forget it earlier.
    pub const HSTS: RangeInclusive<Duration> =
        Duration::ZERO..=Duration::from_secs(2 * 365 * 24 * 3600);
}

/// Where the certificate of the edge comes from.
///
/// A certificate by ACME (RFC 8555) has its place here, beside these two.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CertificateSource {
    /// The site's own CA, which no browser knows: for a lab.
    SiteCa,
    /// PEM that an operator gives, as the secret `edge-proxy/certificate`.
    #[default]
    File,
}

impl CertificateSource {
    /// Every source.
    pub const ALL: [CertificateSource; 2] = [CertificateSource::SiteCa, CertificateSource::File];

    /// The name in `site.yaml`.
    pub const fn name(self) -> &'static str {
        match self {
            CertificateSource::SiteCa => "site-ca",
            CertificateSource::File => "file",
        }
    }
}

impl fmt::Display for CertificateSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How many requests one client may make: one IPv4 address, or one IPv6 network of 64 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// This many are answered.
    pub requests: u32,
    /// In any time of this length.
    pub per: Duration,
}

impl RateLimit {
    /// How many requests can be allowed.
    pub const REQUESTS: RangeInclusive<u32> = 1..=1_000_000;
    /// In how long a time they are counted.
    pub const PER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
}

/// What the nodes of the role `internal-proxy` do, beyond what follows from the site's nodes: the
/// API servers of Kubernetes and the databases need no word here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalProxy {
    /// Where web traffic goes.
    pub web: WebBackends,
}

/// The servers that answer web traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebBackends {
    /// They run on the nodes of this role.
    pub role: Role,
    /// The port there.
    pub port: u16,
    /// What is asked for to see whether one is well.
    pub check: HttpPath,
}

impl WebBackends {
    /// What is asked for when the document does not say.
    pub const DEFAULT_CHECK: &str = "/healthz";
    /// The ports that can be named.
    pub const PORT: RangeInclusive<u32> = 1..=65_535;
}
