//! Who is there: deaths, returns, cuts, losses, load.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::World;
use crate::site::views::Event;
use crate::site::wait::{throughout, until};
use crate::site::{COORDINATOR, PATIENCE, Site};

/// How long a fault that must not cause a death is kept up: many times what detection takes.
const WATCH: Duration = Duration::from_secs(15);

/// All nodes are there with what the operator wants to know of them.
pub fn all_alive(world: &World) -> Result<()> {
    let status = world.site.status()?;
    ensure!(status.nodes.len() == 13, "{} nodes", status.nodes.len());
    for node in &status.nodes {
        ensure!(node.state == "alive", "{} is {}", node.name, node.state);
        ensure!(
            node.version.is_some(),
            "the version of {} is not known",
            node.name
        );
        let expiry = node.certificate_expires.as_deref().unwrap_or_default();
        ensure!(
            expiry.len() > 10,
            "the certificate's end of {} is not known",
            node.name
        );
    }
    let screen = world.site.coordctl(&["status"])?;
    for node in &world.site.nodes {
        ensure!(
            screen.contains(node),
            "{node} is not on the screen:\n{screen}"
        );
    }
    ensure!(
        !screen.contains('\u{1b}'),
        "colour though there is no terminal:\n{screen:?}"
    );
    Ok(())
}

/// A node without power is dead to all others, and back once it has power.
pub fn killed(world: &World) -> Result<()> {
    let site = &world.site;
    site.lab.must(["kill", "node-2"])?;
    let rest = site.others(&["node-2"]);
    site.until_seen(&rest, &rest)?;
    site.until_state("node-2", "dead")?;
    let screen = site.coordctl(&["status"])?;
    let told = screen
        .lines()
        .any(|l| l.contains("node-2") && l.contains("dead"));
    ensure!(told, "the death is not on the screen:\n{screen}");
    site.lab.must(["start", "node-2"])?;
    site.until_state("node-2", "alive")
}

/// A node that reboots comes back without anyone's help, as a new run of its agent.
pub fn rebooted(world: &World) -> Result<()> {
    let site = &world.site;
    let before = site.agent("node-3")?.started_unix_ms;
    // The command's own end may be lost with the machine it ran on.
    site.lab
        .run(["exec", "node-3", "--", "systemctl", "reboot"])?;
    until("node-3's agent runs anew", PATIENCE, || {
        let now = site.agent("node-3")?.started_unix_ms;
        ensure!(now > before, "the run's number is {now}, it was {before}");
        Ok(())
    })?;
    site.until_whole()
}

/// A node that stands still is dead to the others and back when it goes on, in the same run.
pub fn frozen(world: &World) -> Result<()> {
    let site = &world.site;
    let before = site.agent("database-3")?.started_unix_ms;
    site.lab.must(["freeze", "database-3"])?;
    let rest = site.others(&["database-3"]);
    site.until_seen(&rest, &rest)?;
    site.until_state("database-3", "dead")?;
    site.lab.must(["thaw", "database-3"])?;
    site.until_whole()?;
    ensure!(
        site.agent("database-3")?.started_unix_ms == before,
        "its agent was restarted"
    );
    Ok(())
}

/// A node without network sees all others dead, and they it; both come back when it is healed.
pub fn cut_off(world: &World) -> Result<()> {
    let site = &world.site;
    site.lab.must(["cut", "database-2"])?;
    let rest = site.others(&["database-2"]);
    site.until_seen(&rest, &rest)?;
    site.until_seen(&["database-2"], &["database-2"])?;
    site.until_state("database-2", "dead")?;
    site.lab.must(["heal", "database-2"])?;
    site.until_whole()
}

/// Each side of a partition sees itself alive and the other side dead.
pub fn partitioned(world: &World) -> Result<()> {
    let site = &world.site;
    let side = ["node-1", "node-2", "node-3", "database-1", "database-2"];
    let rest = site.others(&side);
    let groups = format!("{} | {}", side.join(","), rest.join(","));
    site.lab.must(["partition", &groups])?;
    site.until_seen(&side, &side)?;
    site.until_seen(&rest, &rest)?;
    site.until_state("node-1", "dead")?;
    site.lab.must(["heal"])?;
    site.until_whole()
}

/// A tenth of a node's packets lost kills nobody.
pub fn lossy(world: &World) -> Result<()> {
    let site = &world.site;
    site.lab.must(["loss", "node-1", "10"])?;
    let outcome = nobody_dies(site, "with a tenth of node-1's packets lost");
    site.lab.must(["loss", "node-1", "0"])?;
    outcome
}

/// All processors busy on all nodes kills nobody.
pub fn loaded(world: &World) -> Result<()> {
    let site = &world.site;
    let seconds = WATCH.as_secs() + 5;
    let burn = format!(
        "systemd-run --quiet --collect --unit burn timeout {seconds} sh -c 'while :; do :; done'"
    );
    for node in &site.nodes {
        site.sh(node, &burn)?;
    }
    let outcome = nobody_dies(site, "with every processor busy on every node");
    for node in &site.nodes {
        site.try_sh(node, "systemctl stop burn")?;
    }
    outcome
}

/// `coordctl events` told every death and return of what went before, in order.
pub fn told(world: &World) -> Result<()> {
    let events: Vec<Event> = world.site.query(&["events", "--last", "200"])?;
    ensure!(
        events.is_sorted_by_key(|e| e.number),
        "the events are not in order: {events:?}"
    );
    for kind in ["node.dead", "node.alive"] {
        let found = events
            .iter()
            .any(|e| e.kind == kind && e.node.as_deref() == Some("node-2"));
        ensure!(found, "no {kind} of node-2 among {events:?}");
    }
    Ok(())
}

/// The number of the newest death that the coordinator told; 0: none yet.
pub fn deaths(site: &Site) -> Result<u64> {
    let events: Vec<Event> = site.query(&["events", "--last", "500"])?;
    let dead = events
        .iter()
        .filter(|e| e.kind == "node.dead")
        .map(|e| e.number);
    Ok(dead.max().unwrap_or(0))
}

fn nobody_dies(site: &Site, when: &str) -> Result<()> {
    let before = deaths(site)?;
    throughout(&format!("all alive {when}"), WATCH, || {
        let heard = site.agent(COORDINATOR)?.hears().len();
        ensure!(
            heard + 1 == site.nodes.len(),
            "{COORDINATOR} hears {heard} others"
        );
        Ok(())
    })?;
    let after = deaths(site).context("after the watch")?;
    ensure!(
        after == before,
        "the coordinator told a death, event {after}, {when}"
    );
    Ok(())
}
