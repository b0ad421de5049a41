//! The role `database`: one cluster of PostgreSQL, led by the member that Patroni says.
//!
//! ```text
//! clients --5000, 5001--> internal proxies --5432--> PostgreSQL
//!                                |                       ^ starts, promotes
//!                                +--asks, 8008--> Patroni +--2379--> etcd --2380-- the others'
//! ```
//! Guarantees: there is never a second cluster, whichever nodes are new, lost or cut off while it
//! forms ([`programs/member.py`]); nothing on these ports is without TLS of the site's CA on both
//! sides, PostgreSQL's clients apart, who show a password; there is no password but theirs.
//!
//! Programs are for what must be asked of others before it can be done: they are guarded commands
//! of the engine, in the language that Patroni brings.
//!
//! | module | holds |
//! |---|---|
//! | `etcd` | how etcd is started |
//! | `firewall` | who reaches any of it |
//! | `patroni` | Patroni's configuration, and PostgreSQL's through it |
//! | `programs/` | what is run on the node |

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::json;

use super::Place;
use super::secrets::{Missing, NeededSecret};
use crate::engine::{
    Certificate, Command, Content, Desired, Directory, File, Gate, Probe, Resource, ResourceId,
    Unit,
};
use crate::role::Role;
use crate::site::DatabaseCluster;

mod etcd;
mod firewall;
mod patroni;

/// PostgreSQL.
pub(super) const POSTGRESQL_PORT: u16 = 5432;
/// Patroni's REST API, at the node's management address.
pub const PATRONI_PORT: u16 = 8008;

/// What the role installs.
pub(super) const PACKAGES: [&str; 5] = [
    "etcd-client",
    "etcd-server",
    "patroni",
    "postgresql-15",
    "python3-idna",
];

const DIRECTORY: &str = "/etc/hamesh/database";
/// Read by etcd's user alone, and by that of PostgreSQL and Patroni.
const ETCD_PEM: &str = "/etc/hamesh/database/etcd.pem";
const POSTGRESQL_PEM: &str = "/etc/hamesh/database/postgresql.pem";
const MEMORY: &str = "/etc/hamesh/database/memory.conf";
const ETCD_UNIT: &str = "etcd.service";
const PATRONI_UNIT: &str = "patroni.service";

/// How long a unit is waited for.
const STARTED_WITHIN_MS: u64 = 60_000;
/// How long a replica may take to be one: it receives the whole of the data first.
const FOLLOWS_WITHIN_MS: u64 = 3_600_000;

/// All that such a node is to have.
pub(super) fn desired(place: &Place<'_>, cluster: &DatabaseCluster) -> Result<Desired, Missing> {
    let members = Members::of(place);
    let mut resources = packages(place);
    resources.push(directory(DIRECTORY, ("root", "root"), 0o755, false));
    resources.push(firewall::table(place, &members));
    resources.extend(certificates(place));
    resources.extend(etcd::resources(place, &members));
    resources.extend(patroni::resources(place, cluster, &members));
    resources.extend(accounts(place, cluster)?);
    Ok(Desired {
        resources,
        gates: gates(),
        ..Desired::default()
    })
}

/// The nodes that keep the databases together.
struct Members {
    /// By name.
    addresses: BTreeMap<String, IpAddr>,
}

impl Members {
    fn of(place: &Place<'_>) -> Self {
        let members = place.servers(Role::Database, 0);
        let addresses = members
            .into_iter()
            .map(|(id, address)| (id.to_string(), address.ip()));
        Self {
            addresses: addresses.collect(),
        }
    }
}

/// Debian's package of PostgreSQL makes a cluster of its own when it is installed, unless it is
/// told before.
fn packages(place: &Place<'_>) -> Vec<Resource> {
    let folder = "/etc/postgresql-common/createcluster.d";
    let mut resources = vec![
        directory("/etc/postgresql-common", ("root", "root"), 0o755, false),
        directory(folder, ("root", "root"), 0o755, false),
        file(
            &format!("{folder}/hamesh.conf"),
            "create_main_cluster = false\n".to_owned(),
        ),
    ];
    let names = PACKAGES.into_iter().chain(["nftables"]);
    resources.extend(names.map(|name| place.package(name)));
    resources
}

fn certificates(place: &Place<'_>) -> [Resource; 2] {
    let own = place.management_address();
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let certificate = |name: &str, path: &str, owner: &str, ips: Vec<IpAddr>| {
        Resource::Certificate(Certificate {
            name: name.to_owned(),
            certificate: path.to_owned(),
            key: key_of(path),
            owner: owner.to_owned(),
            // With a group of its own others could read the key, and PostgreSQL refuses that.
            group: "root".to_owned(),
            dns: [place.id.to_string()].into(),
            ips: ips.into_iter().collect(),
            issue: 1,
            live: None,
        })
    };
    // Clients verify whom they reach by the address that they know: the proxies'.
    let mut served = vec![own, loopback];
    served.extend(place.vip_addresses(Role::InternalProxy));
    [
        certificate("etcd", ETCD_PEM, "etcd", vec![own, loopback]),
        certificate("postgresql", POSTGRESQL_PEM, "postgres", served),
    ]
}

/// The databases and users of applications.
fn accounts(place: &Place<'_>, cluster: &DatabaseCluster) -> Result<Vec<Resource>, Missing> {
    let mut users = BTreeMap::new();
    for user in cluster.users() {
        let password = place
            .secrets
            .need(NeededSecret::DatabaseUser(user.clone()))?;
        users.insert(user.as_ref(), password);
    }
    let databases = cluster.databases.iter();
    let databases =
        databases.map(|(name, owner)| json!({"name": name.as_ref(), "owner": owner.as_ref()}));
    let terms = json!({
        "node": place.id.to_string(),
        "patroni": patroni::api(place),
        "databases": databases.collect::<Vec<_>>(),
        "users": users,
    });
    let terms = File {
        mode: 0o600,
        content: Content::secret(pretty(&terms)),
        comment: String::new(),
        ..plain(&format!("{DIRECTORY}/accounts.json"), String::new())
    };
    Ok(vec![
        program("accounts.py", include_str!("programs/accounts.py")),
        Resource::File(terms),
        command("database-accounts", "accounts.py", ("check", "write"), None),
    ])
}

fn gates() -> Vec<Gate> {
    let active = |name: &str, unit: &str| Gate {
        name: name.to_owned(),
        probe: Probe::Active {
            unit: unit.to_owned(),
        },
        within_ms: STARTED_WITHIN_MS,
    };
    vec![
        active("etcd runs", ETCD_UNIT),
        active("Patroni runs", PATRONI_UNIT),
        Gate {
            name: "PostgreSQL leads or follows".to_owned(),
            probe: Probe::Program {
                argv: run("settings.py", "healthy"),
            },
            within_ms: FOLLOWS_WITHIN_MS,
        },
    ]
}

/// Where the key of a certificate is.
fn key_of(certificate: &str) -> String {
    format!("{certificate}.key")
}

/// A program of this role.
fn program(name: &str, text: &str) -> Resource {
    file(&format!("{DIRECTORY}/{name}"), text.to_owned())
}

/// What a program of this role is told.
fn terms(name: &str, terms: &serde_json::Value) -> Resource {
    Resource::File(File {
        comment: String::new(),
        ..plain(&format!("{DIRECTORY}/{name}"), pretty(terms))
    })
}

fn pretty(value: &serde_json::Value) -> String {
    let text = serde_json::to_string_pretty(value).expect("plain JSON");
    text + "\n"
}

/// A command that is a program of this role, with its guard's word and its own.
fn command(name: &str, program: &str, verbs: (&str, &str), undo: Option<&str>) -> Resource {
    Resource::Command(Command {
        name: name.to_owned(),
        argv: run(program, verbs.1),
        unless: run(program, verbs.0),
        undo: undo.map_or_else(Vec::new, |verb| run(program, verb)),
    })
}

fn run(program: &str, verb: &str) -> Vec<String> {
    vec![
        "python3".to_owned(),
        format!("{DIRECTORY}/{program}"),
        verb.to_owned(),
    ]
}

fn file(path: &str, text: String) -> Resource {
    Resource::File(plain(path, text))
}

fn plain(path: &str, text: String) -> File {
    File {
        path: path.to_owned(),
        owner: "root".to_owned(),
        group: "root".to_owned(),
        mode: 0o644,
        content: Content::plain(text),
        comment: "#".to_owned(),
        validate: Vec::new(),
        live: None,
    }
}

fn directory(path: &str, (owner, group): (&str, &str), mode: u32, data: bool) -> Resource {
    Resource::Directory(Directory {
        path: path.to_owned(),
        owner: owner.to_owned(),
        group: group.to_owned(),
        mode,
        data,
    })
}

/// A unit of Debian's with what hamesh adds to it.
fn unit(name: &str, reads: Vec<ResourceId>, reloads: bool) -> Resource {
    Resource::Unit(Unit {
        name: name.to_owned(),
        reads,
        reloads,
    })
}
