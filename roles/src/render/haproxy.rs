//! What the HAProxy of every role has: its global part, how it is watched, its files and its unit.
//!
//! Written for HAProxy 2.6 as Debian 12 ships and starts it (`haproxy -Ws`).

use std::net::{Ipv4Addr, SocketAddr};

use super::{Place, secrets};
use crate::engine::{
    Certificate, Content, Directory, File, Gate, Live, Probe, Resource, ResourceId, Unit,
};

/// The statistics and metrics of a proxy, at its management address.
pub(super) const STATISTICS_PORT: u16 = 8404;
/// Where the proxy says on the node itself that it runs.
const HEALTH_PORT: u16 = 8405;
/// By which path an internal proxy says whether anything answers behind it.
pub(super) const MONITOR_PATH: &str = "/hamesh-healthz";
/// Certificates and secrets. Root's alone: HAProxy reads them before it gives up its rights.
const DIRECTORY: &str = "/etc/hamesh/haproxy";
const CONFIG: &str = "/etc/haproxy/haproxy.cfg";
/// HAProxy's runtime API for whoever applies roles: new certificates are handed over there.
const ADMIN: &str = "/run/haproxy/admin.sock";
const STATISTICS_PASSWORD: &str = "/etc/hamesh/haproxy/statistics";
/// How often servers are looked at. The vendor's samples wait 3 s and three failures, which is ten
/// seconds of errors; a check costs a server one short request, and whether a database may be
/// written to is decided by its fence, not here: to be wrong for a moment costs a retry.
pub(super) const CHECKS: &str = "inter 500ms fastinter 200ms downinter 500ms fall 2 rise 2";
/// How long a gate is waited for: several times what the slowest start takes.
const GATE_WITHIN_MS: u64 = 15_000;

/// The beginning of a configuration. `stop`: how long an old worker may serve what it had begun
/// when a new one has taken over.
pub(super) fn global(stop: &str) -> String {
    format!(
        "global
    # Into the socket that Debian's unit binds into the chroot. Datagrams: a journal that stalls
    # loses lines, and never holds up a request as a full pipe on stdout would.
    log /dev/log local0
    chroot /var/lib/haproxy
    user haproxy
    group haproxy
    # A bound: each takes two descriptors, and 32 KiB of buffers when busy: 256 MiB for all.
    maxconn 8000
    # Root's alone. Through it a new worker takes over the listening sockets: no reload closes one.
    stats socket {ADMIN} mode 600 level admin expose-fd listeners
    stats timeout 30s
    # Else old workers would stay for as long as some client holds a connection.
    hard-stop-after {stop}
    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets
    ssl-default-bind-ciphers {ciphers}
    ssl-default-bind-ciphersuites {suites}
    ssl-default-server-options ssl-min-ver TLSv1.2
",
        ciphers = CIPHERS.join(":"),
        suites = SUITES.join(":"),
    )
}

/// Mozilla's "intermediate" list of 2024 (version 5.7) without finite-field Diffie-Hellman, which
/// only clients without elliptic curves would need.
const CIPHERS: [&str; 6] = [
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];
const SUITES: [&str; 3] = [
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
];

/// How people, Prometheus and hamesh itself see that the proxy works.
pub(super) fn watched(place: &Place<'_>) -> String {
    let statistics = SocketAddr::from((place.management_address(), STATISTICS_PORT));
    format!(
        "
# The gate of hamesh: on this node only.
frontend health from main
    bind 127.0.0.1:{HEALTH_PORT}
    monitor-uri /healthz
    http-request deny deny_status 404

# Metrics for anyone in the management network, statistics for who knows the password.
frontend statistics from main
    bind {statistics}
    option dontlog-normal
    http-request use-service prometheus-exporter if {{ path /metrics }}
    acl user http_auth_user -m str hamesh
    acl password http_auth_pass -m str -f {STATISTICS_PASSWORD}
    http-request auth realm hamesh unless user password
    stats enable
    stats hide-version
    stats uri /
    stats refresh 5s
"
    )
}

/// A line `bind` per address family. On one socket for both, the addresses of IPv4 clients
/// would reach logs and headers as `::ffff:192.0.2.1`.
pub(super) fn binds(place: &Place<'_>, port: u16, terms: &str) -> String {
    let mut lines = format!("    bind 0.0.0.0:{port}{terms}\n");
    if place.has_ipv6() {
        lines.push_str(&format!("    bind :::{port} v6only{terms}\n"));
    }
    lines
}

/// A text as one word that stands for nothing but itself where HAProxy expects a log format.
pub(super) fn literal(text: &str) -> String {
    // Nothing is special between single quotes but their end; `%` begins a variable of the format.
    format!("'{}'", text.replace('%', "%%").replace('\'', r"'\''"))
}

/// Where a certificate of this name, and its key, are: HAProxy looks for `<certificate>.key`.
pub(super) fn certificate_path(name: &str) -> String {
    format!("{DIRECTORY}/{name}.pem")
}

/// A certificate of the site's CA that HAProxy reads.
pub(super) fn certificate(name: &str, file: &str) -> Certificate {
    let certificate = certificate_path(file);
    Certificate {
        name: name.to_owned(),
        key: format!("{certificate}.key"),
        certificate,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        dns: Default::default(),
        ips: Default::default(),
        issue: 1,
        live: Some(live()),
    }
}

/// The same, where the CA in the file is also the one that HAProxy trusts.
pub(super) fn trusted_certificate(name: &str, file: &str) -> Certificate {
    Certificate {
        live: Some(Live {
            trusts: true,
            ..live()
        }),
        ..certificate(name, file)
    }
}

fn live() -> Live {
    Live {
        unit: UNIT.to_owned(),
        socket: ADMIN.to_owned(),
        trusts: false,
    }
}

/// A certificate with its key that an operator gave.
pub(super) fn given_certificate(file: &str, pem: String) -> Resource {
    Resource::File(File {
        live: Some(live()),
        ..secret(certificate_path(file), pem)
    })
}

/// A file that root alone may read.
fn secret(path: String, text: String) -> File {
    File {
        path,
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: 0o600,
        content: Content::secret(text),
        comment: "#".to_owned(),
        validate: Vec::new(),
        live: None,
    }
}

/// The files and the unit, in the order in which they are made: `read` is what the configuration
/// names, beside what every proxy has.
pub(super) fn resources(
    place: &Place<'_>,
    config: String,
    read: Vec<Resource>,
) -> Result<Vec<Resource>, secrets::Missing> {
    let password = place.secrets.need(secrets::NeededSecret::ProxyStatistics)?;
    let directory = Resource::Directory(Directory {
        path: DIRECTORY.to_owned(),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: 0o700,
        data: false,
    });
    let password = format!("{password}\n");
    let mut files = vec![Resource::File(secret(
        STATISTICS_PASSWORD.to_owned(),
        password,
    ))];
    files.extend(read);
    files.push(Resource::File(File {
        path: CONFIG.to_owned(),
        owner: "root".to_owned(),
        group: "haproxy".to_owned(),
        mode: 0o640,
        content: Content::plain(config),
        comment: "#".to_owned(),
        validate: ["haproxy", "-c", "-f", "{}"].map(str::to_owned).to_vec(),
        live: None,
    }));
    let reads: Vec<ResourceId> = files.iter().map(Resource::id).collect();
    let unit = Resource::Unit(Unit {
        name: UNIT.to_owned(),
        reads,
        reloads: true,
    });
    let mut resources = vec![place.package("haproxy"), directory];
    resources.extend(files);
    resources.push(unit);
    Ok(resources)
}

const UNIT: &str = "haproxy.service";

/// That clients of this port see the certificate of this file: not one of before.
pub(super) fn shows(file: &str, port: u16) -> Gate {
    gate(
        format!("HAProxy shows the certificate {file}"),
        Probe::Shows {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            certificate: certificate_path(file),
        },
    )
}

/// That it runs, says so, and listens where clients expect it.
pub(super) fn gates(ports: &[(u16, &str)]) -> Vec<Gate> {
    let mut gates = vec![
        gate(
            "HAProxy runs".to_owned(),
            Probe::Active {
                unit: UNIT.to_owned(),
            },
        ),
        gate(
            "HAProxy says that it is well".to_owned(),
            Probe::Http {
                url: format!("http://127.0.0.1:{HEALTH_PORT}/healthz"),
            },
        ),
    ];
    gates.extend(ports.iter().map(|(port, what)| {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
        gate(format!("HAProxy accepts {what}"), Probe::Tcp { address })
    }));
    gates
}

fn gate(name: String, probe: Probe) -> Gate {
    Gate {
        name,
        probe,
        within_ms: GATE_WITHIN_MS,
    }
}
