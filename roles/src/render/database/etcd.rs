//! etcd: what Patroni's members agree by. Every Patroni talks to the member on its own node: one
//! that watches through another's would not see a leader's end for as long as that other is dead.

use serde_json::json;

use super::{
    DIRECTORY, ETCD_PEM, ETCD_UNIT, Members, command, directory, file, key_of, program, terms, unit,
};
use crate::engine::{Resource, ResourceId};
use crate::render::Place;

const DATA: &str = "/var/lib/etcd/hamesh";
/// How it begins, by the word of `member.py`.
const START: &str = "/var/lib/etcd/hamesh.env";
const SETTINGS: &str = "/etc/default/etcd";
const ADDED: &str = "/etc/systemd/system/etcd.service.d/hamesh.conf";

pub(super) fn resources(place: &Place<'_>, members: &Members) -> Vec<Resource> {
    let own = super::patroni::host(place.management_address());
    let token = format!("hamesh-{}-databases", place.site.name);
    let told = json!({
        "name": place.id.to_string(),
        "nodes": members.addresses,
        "data": DATA,
        "start": START,
        "token": token,
        "certificate": ETCD_PEM,
        "key": key_of(ETCD_PEM),
    });
    vec![
        directory(DATA, ("etcd", "etcd"), 0o700, true),
        program("member.py", include_str!("programs/member.py")),
        terms("member.json", &told),
        command(
            "etcd-member",
            "member.py",
            ("begun", "begin"),
            Some("leave"),
        ),
        file(SETTINGS, settings(place.id.as_ref(), &own)),
        directory(
            "/etc/systemd/system/etcd.service.d",
            ("root", "root"),
            0o755,
            false,
        ),
        file(ADDED, added()),
        // It reads certificates anew with each connection.
        unit(
            ETCD_UNIT,
            vec![ResourceId::file(SETTINGS), ResourceId::file(ADDED)],
            false,
        ),
        command("etcd-votes", "member.py", ("settled", "settle"), None),
    ]
}

fn settings(name: &str, own: &str) -> String {
    let key = key_of(ETCD_PEM);
    format!(
        "ETCD_NAME={name}
ETCD_DATA_DIR={DATA}
ETCD_LISTEN_PEER_URLS=https://{own}:2380
ETCD_INITIAL_ADVERTISE_PEER_URLS=https://{own}:2380
ETCD_LISTEN_CLIENT_URLS=https://{own}:2379,https://127.0.0.1:2379
ETCD_ADVERTISE_CLIENT_URLS=https://{own}:2379
# The file holds the site's CA too: it is both what this node shows and what it trusts.
ETCD_TRUSTED_CA_FILE={ETCD_PEM}
ETCD_CERT_FILE={ETCD_PEM}
ETCD_KEY_FILE={key}
ETCD_CLIENT_CERT_AUTH=true
ETCD_PEER_TRUSTED_CA_FILE={ETCD_PEM}
ETCD_PEER_CERT_FILE={ETCD_PEM}
ETCD_PEER_KEY_FILE={key}
ETCD_PEER_CLIENT_CERT_AUTH=true
# Members are a hop apart. A member that is gone holds up what is asked for this long.
ETCD_HEARTBEAT_INTERVAL=50
ETCD_ELECTION_TIMEOUT=500
ETCD_STRICT_RECONFIG_CHECK=true
# What it begins with is told by {START}. Without that it must begin nothing.
ETCD_INITIAL_CLUSTER_STATE=existing
ETCD_AUTO_COMPACTION_MODE=periodic
ETCD_AUTO_COMPACTION_RETENTION=1h
"
    )
}

/// What is added to Debian's unit.
fn added() -> String {
    format!(
        "[Unit]
StartLimitIntervalSec=0

[Service]
EnvironmentFile=-{START}
# Without its data it would begin a cluster of its own.
ExecStartPre=+/usr/bin/python3 {DIRECTORY}/member.py begun
Restart=always
RestartSec=1s
"
    )
}
