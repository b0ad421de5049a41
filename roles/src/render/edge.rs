//! The role `edge-proxy`: TLS ends here, and all that is asked for goes to the internal proxies.

use std::net::SocketAddr;

use super::haproxy::{self, CHECKS, MONITOR_PATH, binds, literal};
use super::secrets::{Missing, NeededSecret};
use super::{Place, firewall};
use crate::engine::{Certificate, Desired, Resource};
use crate::role::Role;
use crate::site::{CertificateSource, EdgeProxy};

/// Headers by which clients could pretend to have come through a proxy.
const FORGED: [&str; 7] = [
    "Forwarded",
    "X-Real-IP",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
];
/// What an answer says unless the application does, or the site.
const DEFAULT_HEADERS: [(&str, &str); 3] = [
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ("X-Frame-Options", "SAMEORIGIN"),
];

/// All that such a node is to have. The firewall comes before what it protects.
pub(super) fn desired(place: &Place<'_>, edge: &EdgeProxy) -> Result<Desired, Missing> {
    let sysctl = |key: &str| Resource::Sysctl {
        key: key.to_owned(),
        value: "0".to_owned(),
    };
    let mut resources = vec![
        place.package("nftables"),
        sysctl("net.ipv4.ip_forward"),
        sysctl("net.ipv6.conf.all.forwarding"),
        firewall::table(place),
    ];
    let certificate = certificate(place, edge)?;
    let config = config(place, edge);
    resources.extend(haproxy::resources(place, config, vec![certificate])?);
    let mut gates = haproxy::gates(&[(443, "https")]);
    gates.push(haproxy::shows("edge", 443));
    Ok(Desired {
        resources,
        gates,
        ..Desired::default()
    })
}

fn certificate(place: &Place<'_>, edge: &EdgeProxy) -> Result<Resource, Missing> {
    Ok(match edge.certificate {
        CertificateSource::SiteCa => Resource::Certificate(Certificate {
            dns: edge.names.iter().map(ToString::to_string).collect(),
            ips: place.vip_addresses(Role::EdgeProxy).collect(),
            ..haproxy::certificate("edge", "edge")
        }),
        CertificateSource::File => {
            let pem = place.secrets.need(NeededSecret::EdgeCertificate)?;
            haproxy::given_certificate("edge", pem.to_owned())
        }
    })
}

fn config(place: &Place<'_>, edge: &EdgeProxy) -> String {
    let mut config = haproxy::global("5m");
    config.push_str(
        "
defaults main
    log global
    mode http
    # On a reload the old worker answers what comes on connections that stand, and closes them then.
    option idle-close-on-response
    option httplog
    option dontlognull
    # A client that is slow to ask, or says nothing more, keeps no place.
    timeout http-request 10s
    timeout http-keep-alive 15s
    timeout client 60s
    timeout connect 1s
    timeout queue 5s
    timeout server 5m
    timeout tunnel 1h
    timeout check 1s

frontend http from main
",
    );
    config.push_str(&binds(place, 80, ""));
    config.push_str(
        "    # 308 keeps the method; what only reads is redirected as ever.
    http-request redirect scheme https code 301 if METH_GET
    http-request redirect scheme https code 308

frontend https from main
",
    );
    let tls = format!(
        " ssl crt {} alpn h2,http/1.1",
        haproxy::certificate_path("edge")
    );
    config.push_str(&binds(place, 443, &tls));
    config.push_str(&limit(edge));
    config.push_str(&forwarded());
    config.push_str(&headers(edge));
    config.push_str("    default_backend forward\n");
    config.push_str(&forward(place, edge));
    config.push_str(&haproxy::watched(place));
    config
}

fn limit(edge: &EdgeProxy) -> String {
    let Some(limit) = edge.rate_limit else {
        return String::new();
    };
    let (requests, per) = (limit.requests, limit.per.as_millis());
    format!(
        "    # One client is one IPv4 address or one IPv6 network of 64 bits.
    stick-table type ipv6 size 100k expire {per}ms store http_req_rate({per}ms)
    http-request track-sc0 src,ipmask(32,64)
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {requests} }}
"
    )
}

fn forwarded() -> String {
    let mut lines = format!(
        "    # For this node alone: how things are behind it is nobody's business.
    http-request deny deny_status 404 if {{ path {MONITOR_PATH} }}
    # Clients do not say whence they come.
"
    );
    for name in FORGED {
        lines.push_str(&format!("    http-request del-header {name}\n"));
    }
    lines.push_str(
        "    http-request set-header X-Forwarded-For %[src]
    http-request set-header X-Forwarded-Proto https
    http-request set-header X-Forwarded-Host %[req.hdr(host)]
",
    );
    lines
}

/// Also on what HAProxy answers by itself, errors among them.
fn headers(edge: &EdgeProxy) -> String {
    let mut lines = String::new();
    let set = |name: &str, value: &str| {
        let value = literal(value);
        format!("    http-after-response set-header {name} {value}")
    };
    if let Some(span) = edge.hsts {
        let value = format!("max-age={}", span.as_secs());
        lines.push_str(&set("Strict-Transport-Security", &value));
        lines.push('\n');
    }
    for (name, value) in DEFAULT_HEADERS {
        if edge.headers.keys().any(|given| given.is(name)) {
            continue;
        }
        lines.push_str(&set(name, value));
        lines.push_str(&format!(" unless {{ res.hdr({name}) -m found }}\n"));
    }
    for (name, value) in &edge.headers {
        lines.push_str(&set(name.as_ref(), value.as_ref()));
        lines.push('\n');
    }
    lines
}

fn forward(place: &Place<'_>, edge: &EdgeProxy) -> String {
    let name = &edge.forward_to;
    let vip = place.site.vips.get(name);
    let address = vip.and_then(|vip| vip.addresses.first());
    let address = address.expect("a site's edge forwards to a virtual address that it has");
    let server = SocketAddr::from((*address, 80));
    format!(
        "
backend forward from main
    # While the address moves there is nobody to connect to: this waits longer than a move takes.
    retries 3
    # A connection that was kept may be to the holder of before. What only reads is asked again.
    retry-on conn-failure empty-response
    http-request disable-l7-retry unless METH_GET
    option httpchk GET {MONITOR_PATH}
    http-check expect status 200
    default-server {CHECKS} tcp-ut 3s
    server {name} {server} check
"
    )
}
