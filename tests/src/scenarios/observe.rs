//! What is there to look at: metrics by a real Prometheus, the journal, the guide's own commands.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::World;
use super::identity::{address, enrol_anew};
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};
use crate::tidy;

/// Where Prometheus runs: a machine with a role of its own, as an operator would choose.
const WATCHER: &str = "control-2";
/// The coordinator's address in the document that the guide shows.
const GUIDE_ADDRESS: &str = "10.20.0.11/24";

/// A real Prometheus scrapes all agents and the coordinator over mutual TLS.
pub fn prometheus(world: &World) -> Result<()> {
    let site = &world.site;
    site.sh(
        WATCHER,
        "DEBIAN_FRONTEND=noninteractive apt-get install -y -q prometheus",
    )?;
    site.sh(WATCHER, "systemctl stop prometheus")?;
    credentials(site)?;
    let mut targets = vec![format!("'{}:7447'", address(site, COORDINATOR)?)];
    for node in &site.nodes {
        targets.push(format!("'{}:7446'", address(site, node)?));
    }
    let configuration = format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: hamesh\n  scheme: https\n  \
         tls_config: {{ca_file: /etc/prometheus/ca.pem, cert_file: /etc/prometheus/cert.pem, \
         key_file: /etc/prometheus/key.pem}}\n  static_configs:\n  - targets: [{}]\n",
        targets.join(", ")
    );
    let write = format!("cat > /etc/prometheus/prometheus.yml <<'END'\n{configuration}END\n");
    site.sh(WATCHER, &write)?;
    site.sh(
        WATCHER,
        "promtool check config /etc/prometheus/prometheus.yml",
    )?;
    site.sh(WATCHER, "systemctl start prometheus")?;
    let wanted = targets.len();
    until(
        &format!("Prometheus scrapes {wanted} targets"),
        PATIENCE,
        || {
            let found = count(site, "count(up == 1)")?;
            ensure!(
                found == wanted.to_string(),
                "{found}, {}",
                site.sh(WATCHER, PROBLEMS)?
            );
            Ok(())
        },
    )?;
    let rings = count(site, "count(hamesh_agent_gossip_key_ring_version)")?;
    ensure!(
        rings == site.nodes.len().to_string(),
        "{rings} agents tell of their keys"
    );
    let dead = count(
        site,
        "count(hamesh_agent_gossip_members{state=\"dead\"} > 0) or vector(0)",
    )?;
    ensure!(dead == "0", "{dead} agents count dead members");
    for (node, port) in [(COORDINATOR, 7447), ("node-1", 7446)] {
        let scrape = format!(
            "cd /etc/prometheus && curl -sS --cacert ca.pem --cert cert.pem --key key.pem \
             https://{}:{port}/metrics | promtool check metrics",
            address(site, node)?
        );
        let said = site.sh(WATCHER, &scrape)?;
        ensure!(
            said.trim().is_empty(),
            "promtool on {node}'s metrics: {said}"
        );
    }
    site.sh(
        WATCHER,
        "apt-get purge -y -q prometheus; rm -rf /etc/prometheus",
    )?;
    Ok(())
}

const PROBLEMS: &str = "curl -s http://127.0.0.1:9090/api/v1/targets | tail -c 3000";

/// Logs are in the journal, with fields of their own, and nothing writes log files.
pub fn journal(world: &World) -> Result<()> {
    let site = &world.site;
    for (node, unit) in [
        ("node-1", "hamesh-agent"),
        (COORDINATOR, "hamesh-coordinator"),
    ] {
        let lines = site.sh(
            node,
            &format!("journalctl -u {unit} -o json --no-pager -n 200"),
        )?;
        let mut with_node = 0;
        for line in lines.lines() {
            let entry: Value = serde_json::from_str(line).context("a line of the journal")?;
            if entry["NODE"] == node {
                with_node += 1;
                ensure!(
                    entry["MESSAGE"].is_string(),
                    "an entry without a message: {line}"
                );
            }
        }
        ensure!(
            with_node > 0,
            "no entry of {unit} on {node} carries NODE={node}:\n{lines}"
        );
        let files = site.sh(node, "find /var/log /var/lib/hamesh* -name '*hamesh*.log*'")?;
        ensure!(files.is_empty(), "log files on {node}: {files}");
    }
    Ok(())
}

/// The section of the guide on sites that others built.
pub const TAKING_OVER: &str = "### Taking over a running site";

/// The operations guide.
pub fn guide_text() -> Result<String> {
    let path = tidy::root().join("docs/operations.md");
    std::fs::read_to_string(&path).context("docs/operations.md")
}

/// Every block of commands that the operations guide shows works as it stands there, in order.
pub fn guide(world: &World) -> Result<()> {
    let site = &world.site;
    let text = guide_text()?;
    // That needs a site which others built, and is played on one.
    let elsewhere = tidy::docs::section(&text, TAKING_OVER).unwrap_or_default();
    let blocks = tidy::docs::blocks(&text.replace(elsewhere, ""), "sh");
    let [install, set_up, rest @ ..] = &blocks[..] else {
        bail!("only {} blocks in the guide", blocks.len())
    };
    let document = tidy::docs::blocks(&text, "yaml").into_iter().next();
    let document = document.context("no document in the guide")?;
    from_nothing(site, &document, install, set_up)?;
    site.sh(
        COORDINATOR,
        "cp -p ~/.config/hamesh/context.json /root/context.kept; \
         mkdir -p /etc/hamesh && coordctl site > /etc/hamesh/site.yaml",
    )?;
    for block in rest {
        if block.contains("operator remove") {
            // The guide speaks of somebody who is an operator.
            let ada = ["operator", "add", "ada", "--access", "viewer", "--out"];
            let _ = site.try_coordctl(&[&ada[..], &["/root/ada.kept"]].concat())?;
            site.sh(COORDINATOR, "rm -f /root/ada.kept")?;
        }
        let folder = "rm -rf /root/guide && mkdir /root/guide && cd /root/guide";
        site.sh(COORDINATOR, &format!("{folder}\n{block}"))
            .with_context(|| format!("the guide's\n{block}"))?;
        if block.contains("node remove") {
            enrol_anew(site, "node-2")?;
        }
        site.until_whole()
            .with_context(|| format!("after the guide's\n{block}"))?;
    }
    site.sh(
        COORDINATOR,
        "mv /root/context.kept ~/.config/hamesh/context.json; rm -rf /root/guide; \
         coordctl operator remove rescuer --yes",
    )?;
    Ok(())
}

/// A machine that is no coordinator yet follows the guide from the packages to a site of its own.
fn from_nothing(site: &Site, document: &str, install: &str, set_up: &str) -> Result<()> {
    ensure!(
        install.contains("apt-get install") && set_up.contains("coordctl init"),
        "the guide begins with\n{install}\nand\n{set_up}"
    );
    let prepare = format!(
        "rm -rf /root/guide && mkdir -p /root/guide /etc/hamesh && \
         cp /srv/hamesh-pool/hamesh-*.deb /root/guide && \
         ip address replace {GUIDE_ADDRESS} dev eth0\n\
         cat > /etc/hamesh/site.yaml <<'END'\n{document}END\n"
    );
    site.sh(WATCHER, &prepare)?;
    let mut told = String::new();
    for block in [install, set_up] {
        told = site
            .sh(WATCHER, &format!("cd /root/guide\n{block}"))
            .with_context(|| format!("the guide's\n{block}"))?;
    }
    ensure!(
        told.contains("site small"),
        "the status of the new site is\n{told}"
    );
    let tidy_up = format!(
        "DEBIAN_FRONTEND=noninteractive \
         apt-get purge -y -q --autoremove hamesh-coordinator hamesh-cli; \
         rm -rf /root/guide ~/.config/hamesh /etc/hamesh/site.yaml; \
         ip address del {GUIDE_ADDRESS} dev eth0"
    );
    site.sh(WATCHER, &tidy_up)?;
    site.until_whole()
}

/// Gives Prometheus an identity of a viewer.
fn credentials(site: &Site) -> Result<()> {
    let file = "/root/prometheus.json";
    site.sh(COORDINATOR, &format!("rm -f {file}"))?;
    let _ = site.try_coordctl(&["operator", "remove", "prometheus", "--yes"])?;
    site.coordctl(&[
        "operator",
        "add",
        "prometheus",
        "--access",
        "viewer",
        "--out",
        file,
    ])?;
    let context: Value = serde_json::from_str(&site.sh(COORDINATOR, &format!("cat {file}"))?)?;
    let pem = context["identity_pem"]
        .as_str()
        .context("no identity in the context")?;
    let split = format!(
        "cd /etc/prometheus && cat > all.pem <<'END'\n{pem}\nEND\n\
         awk '/BEGIN/ {{ n++ }} \
         {{ print > (n == 1 ? \"key\" : n == 2 ? \"cert\" : \"ca\") \".pem\" }}' \
         all.pem && rm all.pem && chown prometheus: *.pem && chmod 0600 key.pem"
    );
    site.sh(WATCHER, &split)?;
    Ok(())
}

/// The value of a query that gives one number.
fn count(site: &Site, query: &str) -> Result<String> {
    let script =
        format!("curl -sS -G --data-urlencode 'query={query}' http://127.0.0.1:9090/api/v1/query");
    let answer: Value = serde_json::from_str(&site.sh(WATCHER, &script)?).context("the answer")?;
    let value = answer["data"]["result"][0]["value"][1].as_str();
    Ok(value.unwrap_or("nothing").to_owned())
}
