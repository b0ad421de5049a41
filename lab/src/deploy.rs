//! Puts hamesh on a booted site, as its operators would: packages with apt, `coordctl init`, a
//! token and an enrolment per node.
//!
//! Each part asks the node whether it was done before, so an interrupted `up` goes on.

use std::collections::BTreeMap;
use std::fs;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use hamesh_proto::ports;
use hamesh_roles::Site;
use serde_json::Value;

use crate::engine::console;
use crate::enter::Entry;
use crate::lab::Lab;
use crate::names;
use crate::parallel;
use crate::pool::OwnPackage;
use crate::progress::Step;
use crate::serve;
use crate::tool::quote;
use crate::topology::Node;

/// Package of every node.
const AGENT: &str = "hamesh-agent";
/// Packages of the nodes that run a coordinator.
const COORDINATOR: [&str; 2] = ["hamesh-coordinator", "hamesh-cli"];
/// An apt whose `up` was interrupted may be half done, or may not have noticed yet.
const AFTER_AN_INTERRUPT: &str = "timeout 120 sh -c \
     'while pgrep -x \"apt-get|dpkg\" >/dev/null; do sleep 0.2; done'; \
     dpkg --configure -a || :";
/// How long the whole site may take to know itself.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(300);

/// Installs hamesh, sets the site up, enrols every node, waits until all are alive, and shows the
/// status.
pub fn deploy(lab: &Lab, site: &Site, own: &[OwnPackage]) -> Result<()> {
    let nodes = &lab.topology.nodes;
    let first = lab
        .topology
        .coordinators
        .first()
        .context("the site names no coordinator")?;
    let coordinator = lab.topology.node(first)?;

    let step = Step::begin("Install the packages", Some(nodes.len()));
    parallel::each(nodes, 2 * parallel::processors(), |node| {
        install(lab, node, own)?;
        step.advance(&node.name);
        Ok(())
    })?;
    step.finish(&format!("on {} nodes", nodes.len()));

    let step = Step::begin("Set the site up", None);
    let fresh = initialise(lab, coordinator)?;
    step.finish(if fresh { "done" } else { "was done" });

    let step = Step::begin("Enrol the agents", Some(nodes.len()));
    parallel::each(nodes, 2 * parallel::processors(), |node| {
        enrol(lab, coordinator, node)?;
        step.advance(&node.name);
        Ok(())
    })?;
    step.finish(&format!("{} enrolled", nodes.len()));

    let step = Step::begin("Wait until all know each other", None);
    wait_alive(lab, coordinator)?;
    step.finish(&format!("{} alive", nodes.len()));
    serve::serve(lab, coordinator, site)?;
    let terminal = std::io::stdout().is_terminal();
    Entry::node(
        lab,
        coordinator,
        &["coordctl".into(), "status".into()],
        terminal,
    )?
    .run()?;
    Ok(())
}

fn install(lab: &Lab, node: &Node, own: &[OwnPackage]) -> Result<()> {
    let mut wanted = vec![AGENT];
    if lab.topology.coordinators.contains(&node.name) {
        wanted.extend(COORDINATOR);
    }
    let chosen: Vec<&OwnPackage> = own
        .iter()
        .filter(|package| wanted.contains(&package.name.as_str()))
        .collect();
    if chosen.len() != wanted.len() {
        bail!(
            "the packages of hamesh are incomplete: {} needs {}",
            node.name,
            wanted.join(", ")
        );
    }
    // Builds of one version differ, which apt cannot see.
    let builds: String = chosen
        .iter()
        .map(|p| format!("{} {}\n", p.name, p.key))
        .collect();
    let record = names::node_dir(&node.name).join("installed");
    if fs::read_to_string(&record).is_ok_and(|known| known == builds) {
        return Ok(());
    }
    let begun = names::node_dir(&node.name).join("installing");
    if begun.exists() {
        shell(lab, node, AFTER_AN_INTERRUPT)?;
    }
    fs::write(&begun, "").with_context(|| format!("writing {}", begun.display()))?;
    let script = format!(
        "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --reinstall \
         -o Dpkg::Options::=--force-confold {}",
        wanted.join(" ")
    );
    shell(lab, node, &script)?;
    fs::write(&record, builds).with_context(|| format!("writing {}", record.display()))?;
    fs::remove_file(&begun).with_context(|| format!("removing {}", begun.display()))
}

/// Makes the site on its first coordinator. Says whether that was still to be done.
fn initialise(lab: &Lab, coordinator: &Node) -> Result<bool> {
    if succeeds(lab, coordinator, "coordctl status --output json")? {
        return Ok(false);
    }
    let site = fs::read_to_string(names::site_file()).context("reading the site")?;
    let script = format!(
        "printf %s {} > /root/site.yaml && coordctl init --site-file /root/site.yaml --node {}",
        quote(&site),
        coordinator.name
    );
    shell(lab, coordinator, &script)?;
    Ok(true)
}

fn enrol(lab: &Lab, coordinator: &Node, node: &Node) -> Result<()> {
    if !succeeds(lab, node, "test -e /var/lib/hamesh-agent/identity.pem")? {
        let create = format!("coordctl token create {} --output json", node.name);
        let made: Value = serde_json::from_str(&shell(lab, coordinator, &create)?)
            .context("reading what `coordctl token create` printed")?;
        let token = made
            .get("token")
            .and_then(Value::as_str)
            .context("no token was printed")?;
        let address = coordinator
            .management_address()
            .context("a coordinator has no address")?;
        let target = std::net::SocketAddr::new(address, ports::ENROLMENT);
        let enrol = format!(
            "hamesh-agent enroll --coordinator {target} --token {}",
            quote(token)
        );
        shell(lab, node, &enrol)?;
    }
    shell(lab, node, "systemctl start hamesh-agent.service")?;
    Ok(())
}

fn wait_alive(lab: &Lab, coordinator: &Node) -> Result<()> {
    let started = Instant::now();
    loop {
        let seen =
            shell(lab, coordinator, "coordctl status --output json").and_then(|text| states(&text));
        let last = match seen {
            Ok(states) if all_alive(lab, &states) => return Ok(()),
            Ok(states) => {
                let late = states.iter().filter(|(_, state)| *state != "alive");
                late.map(|(node, state)| format!("{node} is {state}"))
                    .collect::<Vec<_>>()
                    .join(", ")
            }
            Err(error) => format!("{error:#}"),
        };
        if started.elapsed() > PATIENCE {
            bail!(
                "not all nodes are alive after {} s: {last}",
                PATIENCE.as_secs()
            );
        }
        std::thread::sleep(PAUSE);
    }
}

fn all_alive(lab: &Lab, states: &BTreeMap<String, String>) -> bool {
    lab.topology
        .nodes
        .iter()
        .all(|n| states.get(&n.name).is_some_and(|state| state == "alive"))
}

/// The state of each node in a status document.
fn states(status: &str) -> Result<BTreeMap<String, String>> {
    let status: Value = serde_json::from_str(status).context("reading the status")?;
    let nodes = status
        .get("nodes")
        .and_then(Value::as_array)
        .context("a status without nodes")?;
    let text = |node: &Value, key| Some(node.get(key)?.as_str()?.to_owned());
    Ok(nodes
        .iter()
        .filter_map(|node| Some((text(node, "name")?, text(node, "state")?)))
        .collect())
}

fn succeeds(lab: &Lab, node: &Node, script: &str) -> Result<bool> {
    let status = entry(lab, node, script)?.output()?.status;
    // ssh's own failure says nothing of the script, and taken for a no it would be acted upon.
    if status.code() == Some(console::LOST) {
        bail!("{} cannot be entered; run the command again", node.name);
    }
    Ok(status.success())
}

/// Runs a script on a node that must succeed.
pub fn shell(lab: &Lab, node: &Node, script: &str) -> Result<String> {
    let output = entry(lab, node, script)?.output()?;
    if !output.status.success() {
        // Never the script itself: it may hold a token.
        let program = script.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let said = [output.stderr, output.stdout].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        bail!(
            "on {}, `{program} ...` failed ({}):\n{said}",
            node.name,
            output.status
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn entry(lab: &Lab, node: &Node, script: &str) -> Result<Entry> {
    let words = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
    Entry::node(lab, node, &words, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_read_from_a_status_document() {
        let status = r#"{"site": "s", "nodes": [
            {"name": "a", "state": "alive"}, {"name": "b", "state": "dead"}]}"#;
        let states = states(status).expect("a status");
        assert_eq!(states["a"], "alive");
        assert_eq!(states["b"], "dead");
        assert!(super::states("{}").is_err());
    }
}
