//! Reading of what the document says about proxies and about the packages that roles install.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::proxies::{CertificateSource, EdgeProxy, InternalProxy, RateLimit, WebBackends};
use super::report::{Fields, Report};
use crate::diagnostic::did_you_mean;
use crate::duration;
use crate::names::VipName;
use crate::words::{DnsName, HeaderName, HeaderValue, HttpPath, PackageName, PackageVersion};
use crate::yaml::Value;

/// An [`EdgeProxy`] that may lack parts.
pub(super) struct DraftEdge {
    pub(super) names: BTreeSet<DnsName>,
    pub(super) certificate: CertificateSource,
    pub(super) forward_to: Option<VipName>,
    pub(super) hsts: Option<Duration>,
    pub(super) headers: BTreeMap<HeaderName, HeaderValue>,
    pub(super) rate_limit: Option<RateLimit>,
}

/// Headers that frame an answer, or that have a key of their own.
const NOT_HERE: [(&str, &str); 6] = [
    ("Strict-Transport-Security", "write `hsts: 365d`"),
    ("Connection", "HAProxy sets it"),
    ("Content-Length", "HAProxy sets it"),
    ("Transfer-Encoding", "HAProxy sets it"),
    ("Set-Cookie", "the application sets it"),
    ("Location", "the application sets it"),
];

impl DraftEdge {
    /// Once nothing was wrong with the document.
    pub(super) fn finish(self) -> EdgeProxy {
        EdgeProxy {
            names: self.names,
            certificate: self.certificate,
            forward_to: self
                .forward_to
                .expect("a document without a fault says where the edge forwards to"),
            hsts: self.hsts,
            headers: self.headers,
            rate_limit: self.rate_limit,
        }
    }
}

impl Report {
    /// `None`: it is not even a mapping.
    pub(super) fn edge_proxy(&mut self, value: &Value) -> Option<DraftEdge> {
        let path = "edge_proxy";
        let known = [
            "names",
            "certificate",
            "forward_to",
            "hsts",
            "headers",
            "rate_limit",
        ];
        let fields = self.fields(path, value, &known)?;
        self.require(path, &fields, &["names"]);
        let certificate = fields.get("certificate");
        let certificate = certificate.and_then(|value| self.certificate_source(value));
        let forward_to = fields.get("forward_to");
        let hsts = fields.get("hsts");
        let rate_limit = fields.get("rate_limit");
        Some(DraftEdge {
            names: self.host_names(&fields),
            certificate: certificate.unwrap_or_default(),
            forward_to: forward_to.and_then(|value| self.name("edge_proxy.forward_to", value)),
            hsts: hsts.and_then(|value| self.hsts(value)),
            headers: self.headers(&fields),
            rate_limit: rate_limit.and_then(|value| self.rate_limit(value)),
        })
    }

    fn host_names(&mut self, fields: &Fields<'_>) -> BTreeSet<DnsName> {
        let Some(value) = fields.get("names") else {
            return BTreeSet::new();
        };
        let path = "edge_proxy.names";
        let list: Vec<DnsName> = self.list(path, value, Report::name);
        let count = list.len();
        let mut names = BTreeSet::new();
        for name in list {
            if !names.insert(name.clone()) {
                self.error(path, format!("`{name}` is listed twice"), None);
            }
        }
        if names.is_empty() && !self.faulty(path) {
            let message = "a certificate is for at least one name".to_owned();
            let hint = Some("write `names: [www.example.org]`".to_owned());
            self.error(path, message, hint);
        }
        self.at_most(path, "names", count, EdgeProxy::MOST_NAMES);
        names
    }

    fn certificate_source(&mut self, value: &Value) -> Option<CertificateSource> {
        let path = "edge_proxy.certificate";
        let text = self.text(path, value)?;
        let mut all = CertificateSource::ALL.into_iter();
        let source = all.find(|it| it.name() == text);
        if source.is_none() {
            let known = CertificateSource::ALL.map(CertificateSource::name);
            self.unknown(path, "source of a certificate", text, known);
        }
        source
    }

    fn hsts(&mut self, value: &Value) -> Option<Duration> {
        let path = "edge_proxy.hsts";
        let text = self.text(path, value)?;
        let span = duration::parse_long(text);
        let fits = |span: &Duration| EdgeProxy::HSTS.contains(span) && span.subsec_nanos() == 0;
        let span = span.filter(fits);
        if span.is_none() {
            let most = duration::show_long(*EdgeProxy::HSTS.end());
            let hint = Some(format!(
                "write whole seconds, 0s to {most}, in s, m, h or d"
            ));
            self.error(path, format!("`{text}` is not a time to remember"), hint);
        }
        span
    }

    fn headers(&mut self, fields: &Fields<'_>) -> BTreeMap<HeaderName, HeaderValue> {
        let mut headers = BTreeMap::<HeaderName, HeaderValue>::new();
        let Some(value) = fields.get("headers") else {
            return headers;
        };
        let entries: Vec<(HeaderName, _, _)> = self.entries("edge_proxy.headers", value);
        let count = entries.len();
        for (name, path, value) in entries {
            let text = self.name(&path, value);
            if let Some(same) = headers.keys().find(|it| it.is(name.as_ref())) {
                let message = format!("`{name}` and `{same}` are the same header");
                self.error(&path, message, None);
            }
            if let Some((_, why)) = NOT_HERE.iter().find(|(other, _)| name.is(other)) {
                let message = format!("`{name}` is not set here");
                self.error(&path, message, Some((*why).to_owned()));
            }
            headers.extend(text.map(|text| (name, text)));
        }
        self.at_most(
            "edge_proxy.headers",
            "headers",
            count,
            EdgeProxy::MOST_HEADERS,
        );
        headers
    }

    fn rate_limit(&mut self, value: &Value) -> Option<RateLimit> {
        let path = "edge_proxy.rate_limit";
        let fields = self.fields(path, value, &["requests", "per"])?;
        self.require(path, &fields, &["requests", "per"]);
        let requests = fields.get("requests");
        let requests = requests
            .and_then(|it| self.count(&format!("{path}.requests"), it, &RateLimit::REQUESTS));
        let per = fields.get("per");
        let per = per.and_then(|it| self.duration(&format!("{path}.per"), it, &RateLimit::PER));
        Some(RateLimit {
            requests: requests?,
            per: per?,
        })
    }

    /// `None`: a part is missing or wrong, and was reported.
    pub(super) fn internal_proxy(&mut self, value: &Value) -> Option<InternalProxy> {
        let fields = self.fields("internal_proxy", value, &["web"])?;
        self.require("internal_proxy", &fields, &["web"]);
        let path = "internal_proxy.web";
        let fields = self.fields(path, fields.get("web")?, &["role", "port", "check"])?;
        self.require(path, &fields, &["role", "port"]);
        let role = fields.get("role");
        let role = role.and_then(|value| self.role("internal_proxy.web.role", value));
        let port = fields.get("port");
        let port =
            port.and_then(|it| self.count("internal_proxy.web.port", it, &WebBackends::PORT));
        let check: Option<HttpPath> = match fields.get("check") {
            Some(value) => self.name("internal_proxy.web.check", value),
            None => WebBackends::DEFAULT_CHECK.parse().ok(),
        };
        let web = WebBackends {
            role: role?,
            port: u16::try_from(port?).ok()?,
            check: check?,
        };
        Some(InternalProxy { web })
    }

    /// Exact versions of packages. One that no role installs is doubtful, not wrong.
    pub(super) fn packages(&mut self, value: &Value) -> BTreeMap<PackageName, PackageVersion> {
        let mut packages = BTreeMap::new();
        let entries: Vec<(PackageName, _, _)> = self.entries("packages", value);
        for (name, path, value) in entries {
            let installed = crate::render::packages();
            if !installed.clone().any(|it| it == name.as_ref()) {
                let hint = did_you_mean(name.as_ref(), installed);
                self.warn(&path, format!("no role installs `{name}`"), hint);
            }
            let version = self.name(&path, value);
            packages.extend(version.map(|version| (name, version)));
        }
        packages
    }

    fn at_most(&mut self, path: &str, what: &str, count: usize, most: usize) {
        if count > most {
            let message = format!("{count} {what}, and {most} are the most");
            self.error(path, message, None);
        }
    }
}
