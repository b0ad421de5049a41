//! The role `internal-proxy`: the one address behind which the site's servers stand.
//!
//! Which servers there are follows from the site's nodes. Who reads a name in the statistics reads
//! a node's: servers are called as they are.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use hamesh_proto::ids::NodeId;

use super::Place;
use super::database::{PATRONI_PORT, POSTGRESQL_PORT};
use super::haproxy::{self, CHECKS, MONITOR_PATH, binds};
use super::secrets::Missing;
use crate::engine::{Certificate, Desired, Resource};
use crate::role::Role;
use crate::site::{InternalProxy, WebBackends};

/// The API of Kubernetes, in front and behind.
const API_PORT: u16 = 6443;
/// PostgreSQL in front: the leader, and its replicas.
const LEADER_PORT: u16 = 5000;
const REPLICAS_PORT: u16 = 5001;
/// Where HAProxy looks for the one server that leads.
pub const LEADER_BACKEND: &str = "leader";
/// By how much a replica may lag and still be read from: one segment of the write-ahead log.
const MOST_LAG: &str = "16MB";

/// All that such a node is to have.
pub(super) fn desired(place: &Place<'_>, internal: &InternalProxy) -> Result<Desired, Missing> {
    let api = place.servers(Role::K8sControl, API_PORT);
    let databases = place.servers(Role::Database, POSTGRESQL_PORT);
    let mut config = haproxy::global("10m");
    config.push_str(AGENT);
    config.push_str(DEFAULTS);
    config.push_str(&web(place, &internal.web));
    let (mut ports, mut read) = (vec![(80, "http")], Vec::new());
    if !api.is_empty() {
        ports.push((API_PORT, "clients of Kubernetes"));
        config.push_str(&kubernetes(place, &api));
    }
    if !databases.is_empty() {
        ports.push((LEADER_PORT, "clients of the database"));
        ports.push((REPLICAS_PORT, "readers of the database"));
        config.push_str(&postgresql(place, &databases));
        read.push(Resource::Certificate(Certificate {
            dns: BTreeSet::from([place.id.to_string()]),
            ..haproxy::trusted_certificate("haproxy-client", "client")
        }));
    }
    config.push_str(&haproxy::watched(place));
    Ok(Desired {
        resources: haproxy::resources(place, config, read)?,
        gates: haproxy::gates(&ports),
        ..Desired::default()
    })
}

/// The agent marks servers down whose nodes fall silent. HAProxy grants that at this level alone;
/// unlike root's own socket it gives away no listening socket. The agent is root without rights to
/// pass over modes of files.
const AGENT: &str = "    # The agent's, which tells here whose node fell silent; checks decide.
    stats socket /run/haproxy/hamesh.sock mode 600 level admin
";

/// For web traffic, and for sessions that last: of databases, of watchers of Kubernetes.
const DEFAULTS: &str = "
defaults main
    log global
    mode http
    # On a reload the old worker answers what comes on connections that stand, and closes them then.
    option idle-close-on-response
    option dontlognull
    option redispatch 1
    retries 3
    # Servers are a hop away: what does not answer by then is tried elsewhere.
    timeout connect 500ms
    timeout http-request 10s
    timeout http-keep-alive 60s
    timeout client 90s
    timeout queue 5s
    timeout server 5m
    timeout tunnel 1h
    timeout check 1s

defaults sessions from main
    mode tcp
    no option idle-close-on-response
    option tcplog
    # Sessions idle for hours are right; peers that are gone are found by the kernel's probes.
    timeout client 24h
    timeout server 24h
    option clitcpka
    clitcpka-idle 30s
    clitcpka-intvl 5s
    clitcpka-cnt 3
    option srvtcpka
    srvtcpka-idle 30s
    srvtcpka-intvl 5s
    srvtcpka-cnt 3
";

fn web(place: &Place<'_>, web: &WebBackends) -> String {
    let WebBackends { role, port, check } = web;
    let mut config = format!(
        "
frontend web-in from main
    option httplog
{binds}    # What an edge proxy sees of this node: whether anything answers behind it.
    monitor-uri {MONITOR_PATH}
    monitor fail if {{ nbsrv(web) lt 1 }}
    default_backend web

backend web from main
    option httpchk GET {check}
    default-server {CHECKS} tcp-ut 5s
",
        binds = binds(place, 80, ""),
    );
    for (name, server) in place.servers(*role, *port) {
        config.push_str(&format!("    server {name} {server} check\n"));
    }
    config
}

fn kubernetes(place: &Place<'_>, servers: &[(&NodeId, SocketAddr)]) -> String {
    let mut config = format!(
        "
frontend kubernetes-in from sessions
{binds}    default_backend kubernetes

backend kubernetes from sessions
    balance leastconn
    option httpchk GET /readyz
    http-check expect status 200
    # Whose certificate this is does not matter here: nothing secret is asked, and every client
    # verifies the server through this proxy, end to end.
    default-server {CHECKS} tcp-ut 5s check-ssl verify none
",
        binds = binds(place, API_PORT, ""),
    );
    for (name, server) in servers {
        config.push_str(&format!("    server {name} {server} check\n"));
    }
    config
}

fn postgresql(place: &Place<'_>, servers: &[(&NodeId, SocketAddr)]) -> String {
    let leader = Postgresql {
        name: LEADER_BACKEND,
        port: LEADER_PORT,
        condition: "/primary".to_owned(),
        // A session with a leader of before would wait for a server that answers nobody.
        terms: " on-marked-down shutdown-sessions",
        patience: ONE_LEADER,
    };
    let replicas = Postgresql {
        name: "replicas",
        port: REPLICAS_PORT,
        condition: format!("/replica?lag={MOST_LAG}"),
        // Who reads from a replica that fell behind may finish.
        terms: "",
        patience: "",
    };
    leader.config(place, servers) + &replicas.config(place, servers)
}

/// One way to the databases.
struct Postgresql {
    name: &'static str,
    port: u16,
    /// What Patroni's REST API answers with 200 on members to which sessions may go.
    condition: String,
    terms: &'static str,
    /// What sessions wait for.
    patience: &'static str,
}

/// HAProxy takes every server for one that is up until it was checked, and a writer that reaches a
/// replica fails. By then each that answers was checked.
const ONE_LEADER: &str = "    # After a reload all servers count as up until they were checked.
    tcp-request inspect-delay 1s
    tcp-request content accept if { nbsrv(leader) le 1 }
    tcp-request content accept if WAIT_END
";

impl Postgresql {
    fn config(&self, place: &Place<'_>, servers: &[(&NodeId, SocketAddr)]) -> String {
        let Postgresql {
            name,
            port,
            condition,
            terms,
            patience,
        } = self;
        let pem = haproxy::certificate_path("client");
        let mut config = format!(
            "
frontend {name}-in from sessions
{binds}{patience}    default_backend {name}

backend {name} from sessions
    # After the leader of before is gone, sessions find the new one sooner.
    timeout connect 300ms
    option httpchk OPTIONS {condition}
    http-check expect status 200
    # The file holds the site's CA too: it is both what this node shows and what it trusts.
    default-server {CHECKS} tcp-ut 5s{terms}
    default-server check port {PATRONI_PORT} check-ssl verify required ca-file {pem} crt {pem}
",
            binds = binds(place, *port, ""),
        );
        for (name, server) in servers {
            // Any node of the site has a certificate of its CA: only the one of this name will do.
            config.push_str(&format!("    server {name} {server} verifyhost {name}\n"));
        }
        config
    }
}
