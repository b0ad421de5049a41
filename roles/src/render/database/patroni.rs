//! Patroni and, through it, PostgreSQL.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{
    DIRECTORY, MEMORY, Members, PATRONI_PORT, PATRONI_UNIT, POSTGRESQL_PEM, POSTGRESQL_PORT,
    command, directory, file, key_of, plain, program, run, terms, unit,
};
use crate::engine::{Content, File, Resource, ResourceId};
use crate::render::Place;
use crate::role::Role;
use crate::site::{DatabaseCluster, Durability};

const CONFIG: &str = "/etc/patroni/config.yml";
const ADDED: &str = "/etc/systemd/system/patroni.service.d/hamesh.conf";
const DATA: &str = "/var/lib/postgresql/15/hamesh";

/// Seconds that a leader which is silent leads on.
const TTL_S: u32 = 20;
/// Seconds between two looks.
const LOOP_WAIT_S: u32 = 1;
/// Seconds that a request to etcd is tried again for: the least that Patroni takes.
const RETRY_S: u32 = 3;

pub(super) fn resources(
    place: &Place<'_>,
    cluster: &DatabaseCluster,
    members: &Members,
) -> Vec<Resource> {
    let config = File {
        group: "postgres".to_owned(),
        mode: 0o640,
        content: Content::plain(config(place, cluster, members)),
        validate: run("validate.py", "{}"),
        ..plain(CONFIG, String::new())
    };
    let settings = json!({"patroni": api(place), "settings": settings(cluster.durability)});
    vec![
        directory(
            "/var/lib/postgresql/15",
            ("postgres", "postgres"),
            0o755,
            false,
        ),
        directory(DATA, ("postgres", "postgres"), 0o700, true),
        program("memory.py", include_str!("programs/memory.py")),
        command("postgresql-memory", "memory.py", ("check", "write"), None),
        program("validate.py", include_str!("programs/validate.py")),
        program("promote.py", include_str!("programs/promote.py")),
        Resource::File(config),
        directory(
            "/etc/systemd/system/patroni.service.d",
            ("root", "root"),
            0o755,
            false,
        ),
        file(ADDED, ADDED_TEXT.to_owned()),
        unit(
            PATRONI_UNIT,
            vec![
                ResourceId::file(CONFIG),
                ResourceId::file(ADDED),
                ResourceId::certificate("postgresql"),
            ],
            true,
        ),
        program("settings.py", include_str!("programs/settings.py")),
        terms("settings.json", &settings),
        command("patroni-settings", "settings.py", ("check", "write"), None),
    ]
}

/// Where programs of this node ask Patroni.
pub(super) fn api(place: &Place<'_>) -> Value {
    let own = host(place.management_address());
    json!({
        "url": format!("https://{own}:{PATRONI_PORT}"),
        "certificate": POSTGRESQL_PEM,
        "key": key_of(POSTGRESQL_PEM),
    })
}

/// An address where a port may follow.
pub(super) fn host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// What is added to Debian's unit. It has no start limit: a database that is down is tried again.
const ADDED_TEXT: &str = "[Unit]
# It stops before the agent does: what leads then hands over in peace, under its lease.
After=etcd.service hamesh-agent.service
StartLimitIntervalSec=0

[Service]
# Where there is a watchdog Patroni has it restart a machine on which it hangs while it leads.
ExecStartPre=+-/usr/bin/chown postgres /dev/watchdog
Restart=always
RestartSec=200ms
";

/// What all members go by together; PostgreSQL's here must be the same on each.
fn settings(durability: Durability) -> Value {
    json!({
        "ttl": TTL_S,
        "loop_wait": LOOP_WAIT_S,
        "retry_timeout": RETRY_S,
        "failsafe_mode": true,
        "synchronous_mode": durability == Durability::ZeroLoss,
        "postgresql": {
            "use_pg_rewind": true,
            "use_slots": true,
            "parameters": {
                "max_connections": 200,
                "max_locks_per_transaction": 64,
                "max_prepared_transactions": 0,
                "max_replication_slots": 10,
                "max_wal_senders": 10,
                "max_worker_processes": 8,
                "wal_level": "replica",
            },
        },
    })
}

/// YAML, of which JSON is a part.
fn config(place: &Place<'_>, cluster: &DatabaseCluster, members: &Members) -> String {
    let name = place.id;
    let own = place.management_address();
    let own_host = host(own);
    let allowed = members.addresses.values().map(|ip| format!("'{ip}'"));
    let allowed = allowed.collect::<Vec<_>>().join(", ");
    let (pem, key) = (POSTGRESQL_PEM, key_of(POSTGRESQL_PEM));
    let bootstrap = settings(cluster.durability);
    let tls = format!("sslmode: verify-full, sslrootcert: {pem}, sslcert: {pem}, sslkey: {key}");
    format!(
        "scope: {scope}
name: {name}
restapi:
  listen: '{own_host}:{PATRONI_PORT}'
  connect_address: '{own_host}:{PATRONI_PORT}'
  certfile: {pem}
  keyfile: {key}
  cafile: {pem}
  # Nobody asks without a certificate of the site, and only members change anything.
  verify_client: required
  allowlist: [{allowed}]
ctl: {{cacert: {pem}, certfile: {pem}, keyfile: {key}}}
etcd3:
  hosts: ['127.0.0.1:2379']
  use_proxies: true
  protocol: https
  cacert: {pem}
  cert: {pem}
  key: {key}
bootstrap:
  dcs: {bootstrap}
  # Those below go before these, which have to be here.
  pg_hba: ['local all postgres peer']
  initdb: [{{encoding: UTF8}}, {{locale: C.UTF-8}}, data-checksums]
postgresql:
  listen: '{own},127.0.0.1:{POSTGRESQL_PORT}'
  connect_address: '{own_host}:{POSTGRESQL_PORT}'
  bin_dir: /usr/lib/postgresql/15/bin
  data_dir: {DATA}
  pgpass: /var/lib/postgresql/hamesh.pgpass
  custom_conf: {MEMORY}
  # Who takes the leader key is promoted once it holds the claim, and not before.
  pre_promote: /usr/bin/python3 {DIRECTORY}/promote.py
  # A new member does not wait for the leader's next checkpoint, minutes away.
  basebackup: [{{checkpoint: fast}}]
  use_unix_socket: true
  use_unix_socket_repl: true
  authentication:
    superuser: {{username: postgres}}
    replication: {{username: replicator, {tls}}}
    rewind: {{username: rewinder, {tls}}}
{parameters}{hba}",
        scope = place.site.name,
        parameters = parameters(&key),
        hba = hba(place, cluster, members),
    )
}

fn parameters(key: &str) -> String {
    format!(
        "  parameters:
    unix_socket_directories: /var/run/postgresql
    ssl: 'on'
    ssl_ca_file: {POSTGRESQL_PEM}
    ssl_cert_file: {POSTGRESQL_PEM}
    ssl_key_file: {key}
    password_encryption: scram-sha-256
    # A peer that is gone is noticed in seconds: whoever waits for it waits no longer.
    wal_sender_timeout: 1500ms
    wal_receiver_timeout: 3s
    wal_receiver_status_interval: 1s
    wal_retrieve_retry_interval: 1s
    tcp_keepalives_idle: 30
    tcp_keepalives_interval: 5
    tcp_keepalives_count: 3
    wal_compression: 'on'
    log_line_prefix: '%p %q%u@%d '
"
    )
}

/// Who may connect, and how: nobody else can.
fn hba(place: &Place<'_>, cluster: &DatabaseCluster, members: &Members) -> String {
    let mut lines = vec![
        "local all postgres peer".to_owned(),
        "local replication replicator peer map=own".to_owned(),
    ];
    let single = |ip: &IpAddr| match ip {
        IpAddr::V4(_) => format!("{ip}/32"),
        IpAddr::V6(_) => format!("{ip}/128"),
    };
    for ip in members.addresses.values().map(single) {
        lines.push(format!(
            "hostssl replication replicator {ip} cert map=members"
        ));
        lines.push(format!("hostssl postgres rewinder {ip} cert map=members"));
    }
    let proxies = place.servers(Role::InternalProxy, 0);
    for ip in proxies.iter().map(|(_, address)| single(&address.ip())) {
        for (database, owner) in &cluster.databases {
            lines.push(format!("hostssl {database} {owner} {ip} scram-sha-256"));
        }
    }
    let list = |lines: &[String]| -> String {
        lines
            .iter()
            .map(|line| format!("    - '{line}'\n"))
            .collect()
    };
    // The coordinator puts the certificate's name and its node into the common name.
    let nodes: Vec<String> = members.addresses.keys().cloned().collect();
    let common_name = format!("\"/^postgresql on ({})$\"", nodes.join("|"));
    let ident = [
        "own postgres replicator".to_owned(),
        format!("members {common_name} replicator"),
        format!("members {common_name} rewinder"),
    ];
    format!("  pg_hba:\n{}  pg_ident:\n{}", list(&lines), list(&ident))
}
