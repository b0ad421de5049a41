//! Who may come in, and who no longer: tokens, foreign certificates, renewal, removal.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::World;
use crate::site::views::{AgentStatus, NewToken};
use crate::site::wait::until;
use crate::site::{Answer, COORDINATOR, PATIENCE, Site};

/// Lifetime of certificates while renewal is watched: the shortest that a coordinator takes.
const SHORT_LIFE: Duration = Duration::from_secs(180);
/// Who renews its certificate, and whose expires.
const RENEWS: &str = "node-1";
const EXPIRES: &str = "node-2";

/// A token that is wrong, of another node, used, revoked or expired admits nobody.
pub fn tokens(world: &World) -> Result<()> {
    let site = &world.site;
    let good = token(site, "node-1", "1h")?;
    // One digit of the secret, which stands third, is another one.
    let mut parts: Vec<String> = good.token.split('.').map(str::to_owned).collect();
    ensure!(
        parts.len() == 4,
        "an unexpected form of token: {} parts",
        parts.len()
    );
    let other = if parts[2].starts_with('0') { "1" } else { "0" };
    parts[2].replace_range(0..1, other);
    try_enrol(site, "node-1", &parts.join("."), "node-1")?.expect(1, &[])?;
    try_enrol(site, "node-1", "nonsense", "node-1")?.expect(2, &["token"])?;
    try_enrol(site, "node-2", &good.token, "node-2")?.expect(1, &["node"])?;

    try_enrol(site, "node-1", &good.token, "node-1")?.expect(0, &[])?;
    try_enrol(site, "node-1", &good.token, "node-1")?.expect(1, &["token"])?;

    let revoked = token(site, "node-1", "1h")?;
    site.coordctl(&["token", "revoke", &revoked.id])?;
    try_enrol(site, "node-1", &revoked.token, "node-1")?.expect(1, &["token"])?;

    let short = token(site, "node-1", "1s")?;
    until("the token expires", PATIENCE, || {
        let list = site.coordctl(&["token", "list", "--output", "json"])?;
        let tokens: Vec<crate::site::views::Token> = serde_json::from_str(&list)?;
        let state = tokens
            .into_iter()
            .find(|t| t.id == short.id)
            .map(|t| t.state);
        ensure!(state.as_deref() == Some("expired"), "{state:?}");
        Ok(())
    })?;
    try_enrol(site, "node-1", &short.token, "node-1")?.expect(1, &["token"])?;
    // The first of them made an identity in a folder of its own; the node's own is unharmed, but
    // the newest certificate of a node is the one that counts, so it gets that one.
    site.sh(
        "node-1",
        "cp /run/enrol-trial/identity.pem /var/lib/hamesh-agent/identity.pem && \
         systemctl restart hamesh-agent && rm -rf /run/enrol-trial",
    )?;
    Ok(())
}

/// A certificate of another site is refused by the API and both metrics ports.
pub fn foreign(world: &World) -> Result<()> {
    let site = &world.site;
    let make = r#"
        rm -rf /run/foreign && mkdir -m 0700 /run/foreign && cd /run/foreign
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
            -keyout ca.key -out ca.pem -subj "/CN=thirteen" 2>/dev/null
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \
            -keyout leaf.key -out leaf.csr -subj "/CN=node-1" 2>/dev/null
        echo 'subjectAltName=URI:spiffe://thirteen/agent/node-1,DNS:node-1' > ext
        echo 'extendedKeyUsage=clientAuth,serverAuth' >> ext
        openssl x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 \
            -extfile ext -out leaf.pem 2>/dev/null
    "#;
    site.sh("node-1", make)?;
    for (node, port) in [(COORDINATOR, 7443), (COORDINATOR, 7447), ("node-2", 7446)] {
        let address = address(site, node)?;
        let knock = |certificate: &str| {
            let script = format!(
                "cd /run; sleep 1 | timeout 10 openssl s_client -connect {address}:{port} -tls1_3 \
                 -alpn h2 {certificate} -ign_eof 2>&1"
            );
            site.try_sh("node-1", &script)
        };
        let own =
            "-cert /var/lib/hamesh-agent/identity.pem -key /var/lib/hamesh-agent/identity.pem";
        let foreign = "-cert foreign/leaf.pem -key foreign/leaf.key";
        for certificate in [foreign, ""] {
            let answer = knock(certificate)?;
            ensure!(
                answer.stdout.contains("alert"),
                "{node}:{port} `{certificate}`: {answer:?}"
            );
        }
        if port == 7443 {
            let answer = knock(own)?;
            ensure!(
                !answer.stdout.contains("alert"),
                "its own certificate: {answer:?}"
            );
        }
    }
    site.sh("node-1", "rm -rf /run/foreign")?;
    Ok(())
}

/// Certificates of a short life: a node that is up renews its own without a restart; one that is
/// off past the end of its own comes back when an admin says so, and not before.
pub fn renewed_or_expired(world: &World) -> Result<()> {
    let site = &world.site;
    live_shortly(site, &[RENEWS, EXPIRES])?;
    let first = site.agent(RENEWS)?;
    site.sh(EXPIRES, "systemctl stop hamesh-agent")?;
    renewed(site, &first)?;
    let check = "openssl x509 -checkend 0 -noout -in /var/lib/hamesh-agent/identity.pem";
    until("the other's certificate expires", 2 * SHORT_LIFE, || {
        let answer = site.try_sh(EXPIRES, check)?;
        ensure!(answer.code == 1, "{answer:?}");
        Ok(())
    })?;
    set_lifetime(site, None)?;
    let address = address(site, COORDINATOR)?;
    let again = format!("hamesh-agent re-enroll --coordinator {address}:7444");
    let refused = site.try_sh(EXPIRES, &again)?;
    ensure!(
        refused.code != 0,
        "it came back without anybody's leave: {refused:?}"
    );
    ensure!(
        site.status()?.node(EXPIRES)?.state != "alive",
        "alive with an expired certificate"
    );
    site.coordctl(&["node", "re-enrol", EXPIRES, "--valid", "10m"])?;
    site.sh(EXPIRES, &again)?;
    site.until_whole()
}

/// Waits until a node has another certificate than `first`, and shows it.
fn renewed(site: &Site, first: &AgentStatus) -> Result<()> {
    let renewed = until("it renews its certificate", 2 * SHORT_LIFE, || {
        let now = site.agent(RENEWS)?;
        ensure!(
            now.started_unix_ms == first.started_unix_ms,
            "it was restarted"
        );
        ensure!(
            now.certificate.serial != first.certificate.serial,
            "still the same"
        );
        ensure!(now.certificate.expires_unix_ms > first.certificate.expires_unix_ms);
        Ok(now.certificate.serial)
    })?;
    // Who asks for metrics is shown the new one.
    let address = address(site, RENEWS)?;
    let shown = site.sh(
        "node-3",
        &format!(
            "identity=/var/lib/hamesh-agent/identity.pem; openssl s_client -connect {address}:7446 \
             -cert $identity -key $identity </dev/null 2>/dev/null | \
             openssl x509 -noout -serial"
        ),
    )?;
    let shown = shown.trim().trim_start_matches("serial=").to_lowercase();
    ensure!(
        shown.trim_start_matches('0') == renewed.trim_start_matches('0'),
        "shown is {shown}, not {renewed}"
    );
    Ok(())
}

/// A removed node is refused at once, by the coordinator and by its former peers.
pub fn removed(world: &World) -> Result<()> {
    let site = &world.site;
    let before = site.status()?;
    let rest = site.others(&["database-3"]);
    let document = site.coordctl(&["site"])?;
    site.coordctl(&["node", "remove", "database-3", "--yes"])?;
    until("database-3 has no session", PATIENCE, || {
        let status = site.agent("database-3")?;
        ensure!(status.session.is_none(), "{:?}", status.session);
        Ok(())
    })?;
    site.until_seen(&rest, &rest)?;
    until(
        "the gossip keys are new, without database-3",
        PATIENCE,
        || {
            let version = site.status()?.key_ring_version;
            ensure!(version > before.key_ring_version, "version {version}");
            Ok(())
        },
    )?;
    site.sh("database-3", "systemctl restart hamesh-agent")?;
    let peers = site.agent("node-1")?;
    ensure!(
        !peers.hears().contains("database-3"),
        "node-1 still hears database-3"
    );

    // Back in: the site names it again, and a new token admits it.
    apply(site, &document)?;
    enrol_anew(site, "database-3")?;
    site.until_whole()
}

/// Applies a site document without asking.
pub fn apply(site: &Site, document: &str) -> Result<Answer> {
    let script = format!("cat > /run/site.yaml <<'END'\n{document}\nEND\n");
    site.sh(COORDINATOR, &script)?;
    site.try_coordctl(&["apply", "-f", "/run/site.yaml", "--yes"])
}

/// Makes a token for a node.
fn token(site: &Site, node: &str, valid: &str) -> Result<NewToken> {
    site.query(&["token", "create", node, "--valid", valid])
}

/// Enrols under a name, into a folder of its own: the machine's own identity is left alone.
fn try_enrol(site: &Site, machine: &str, token: &str, name: &str) -> Result<Answer> {
    let address = address(site, COORDINATOR)?;
    let script = format!(
        "mkdir -p -m 0700 /run/enrol-trial && hamesh-agent --state-dir /run/enrol-trial enroll \
         --replace --no-start --coordinator {address}:7444 --token '{token}' --node {name}"
    );
    site.try_sh(machine, &script)
}

/// Gives a node a new identity with a new token.
pub fn enrol_anew(site: &Site, node: &str) -> Result<()> {
    enrol_anew_at(site, node, &address(site, COORDINATOR)?)
}

/// The same, asking the coordinator at this address.
pub(super) fn enrol_anew_at(site: &Site, node: &str, address: &str) -> Result<()> {
    let new = token(site, node, "1h")?;
    let script = format!(
        "systemctl stop hamesh-agent; hamesh-agent enroll --replace --coordinator {address}:7444 \
         --token '{}' --node {node}",
        new.token
    );
    site.sh(node, &script)?;
    Ok(())
}

/// Gives nodes certificates of a short life.
fn live_shortly(site: &Site, nodes: &[&str]) -> Result<()> {
    let life = format!("{}s", SHORT_LIFE.as_secs());
    set_lifetime(site, Some(&life))?;
    for node in nodes {
        enrol_anew(site, node)?;
    }
    site.until_whole()
}

/// Sets the lifetime of the certificates that the coordinator issues, or the usual one.
fn set_lifetime(site: &Site, life: Option<&str>) -> Result<()> {
    let line = life.map_or(String::new(), |l| {
        format!("HAMESH_CERTIFICATE_LIFETIME={l}")
    });
    let script = format!(
        "sed -i '/^HAMESH_CERTIFICATE_LIFETIME=/d' /etc/default/hamesh-coordinator; \
         echo '{line}' >> /etc/default/hamesh-coordinator; systemctl restart hamesh-coordinator"
    );
    site.sh(COORDINATOR, &script)?;
    Ok(())
}

/// The address of a node on the management network.
pub fn address(site: &Site, node: &str) -> Result<String> {
    site.lab.address(node)
}
