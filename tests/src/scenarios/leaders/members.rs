//! Machines that become coordinators, are replaced, and cease to be.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{
    ALL, EDGE, NETWORK, WATCH, lead, lead_elsewhere, leader, parts, stays, unmoved, until_three,
};
use crate::scenarios::World;
use crate::scenarios::asked::{Asking, at_most_one, by_one_throughout, longest_silence};
use crate::scenarios::claims::settled;
use crate::scenarios::identity::{address, enrol_anew, enrol_anew_at};
use crate::scenarios::packages::APT;
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// The one that is lost and replaced.
const BLANK: &str = "control-3";
/// For how long nobody may hold once a restored coordinator and those of before hear each other:
/// a second until the network is whole, two until the agents have found who leads, and a write to a
/// member's disk and one to the store, with room for a slow machine.
const MOST_SILENT: Duration = Duration::from_secs(5);
/// Puts down what a backup is encrypted with.
const PASSPHRASE: &str = "echo a-long-enough-passphrase > /run/passphrase";

/// A claim, as `coordctl claims` shows it.
#[derive(Debug, Deserialize)]
struct Awaits {
    claim: String,
    holder: Option<String>,
    awaited: Vec<String>,
    gathering: bool,
}

/// From one to three: the leadership stays, and whoever is a coordinator is not added again.
pub fn added(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        add_all(site)?;
        ensure!(leader(site)? == COORDINATOR, "the leadership moved");
        let again = site.try_coordctl(&["coordinator", "add", ALL[1]])?;
        again.expect(1, &["is a coordinator already"])
    })
}

/// The package is there, an admin says so, the rest comes by itself.
pub(super) fn add_all(site: &Site) -> Result<()> {
    name_coordinators(site, &ALL)?;
    for node in &ALL[1..] {
        site.sh(node, &format!("{APT} install -y -q hamesh-coordinator"))?;
        site.coordctl(&["coordinator", "add", node])?;
        until_serves(site, node)?;
    }
    until_three(site)
}

/// One machine is lost with its disk; a blank one under its name takes its place.
pub fn replaced(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        lead(site, |node| node != BLANK)?;
        site.lab.must(["kill", BLANK])?;
        site.coordctl(&["coordinator", "remove", BLANK, "--yes"])?;
        ensure!(parts(site)?.len() == 2, "{:?}", parts(site)?);
        site.lab.must(["start", BLANK])?;
        make_blank(site, BLANK, "hamesh-agent hamesh-coordinator")?;
        enrol_anew(site, BLANK)?;
        site.until_whole()?;
        site.coordctl(&["coordinator", "add", BLANK])?;
        until_serves(site, BLANK)?;
        until_three(site)?;
        // It can lead, and what it knows is what the others know.
        let generation = site.status()?.desired;
        lead(site, |node| node == BLANK)?;
        ensure!(site.status()?.desired == generation, "it is behind");
        Ok(())
    })
}

/// A coordinator is restored from an old backup while those of before still run, and first sees
/// nothing of them nor of the holder: it grants nothing. Together again those of before stop for
/// good, as soon as one agent has shown them the proof, and all nodes follow the restored one.
///
/// Never do two answer. While they are apart the holder answers throughout. Together again it may
/// lose the address for a while: its leases end with the coordinator of before, and the network
/// takes up to a second until all who are asked to promise it can be reached.
pub fn restored_beside(world: &World) -> Result<()> {
    answered_soon(&world.site, |site, _, _| {
        site.lab.must(["heal"])?;
        Ok(())
    })
}

/// The same where the holder cannot ask the standby for its promise: it surely loses the address,
/// and one of them is granted it as soon as both have told that they hold nothing.
pub fn restored_unheld(world: &World) -> Result<()> {
    answered_soon(&world.site, |site, holder, standby| {
        let parted = format!("{holder} | {standby}");
        site.lab.must(["partition", &parted])?;
        let granted = until("the restored one has granted it", PATIENCE, || {
            let edge = edge(site)?;
            ensure!(!edge.gathering && edge.holder.is_some(), "{edge:?}");
            Ok(())
        });
        site.lab.must(["heal"])?;
        granted
    })
}

fn answered_soon(site: &Site, meet: impl FnOnce(&Site, &str, &str) -> Result<()>) -> Result<()> {
    let asking = Asking::start(NETWORK, None, EDGE);
    let outcome = restore_beside(site, asking.origin, meet);
    let questions = asking.end()?;
    let met = outcome?;
    at_most_one(&questions)?;
    let (apart, together) = questions.split_at(questions.partition_point(|it| it.at < met));
    by_one_throughout(apart)?;
    let silence = longest_silence(together);
    println!("    nobody answered for {silence:?}");
    ensure!(silence < MOST_SILENT, "nobody answered for {silence:?}");
    Ok(())
}

/// Restores beside those of before, lets them `meet`, and adds them again as they have stopped;
/// since `origin`, when they met.
fn restore_beside(
    site: &Site,
    origin: Instant,
    meet: impl FnOnce(&Site, &str, &str) -> Result<()>,
) -> Result<Duration> {
    let (holder, standby) = settled(site)?;
    lead(site, |node| node != BLANK)?;
    let take = "coordctl backup /run/backup --passphrase-file /run/passphrase >/dev/null";
    let backup = site.sh(
        COORDINATOR,
        &format!("{PASSPHRASE}; {take}; base64 /run/backup"),
    )?;
    // What the agents hold is later than the backup.
    enrol_anew(site, "node-3")?;
    make_blank(site, BLANK, "hamesh-agent hamesh-coordinator hamesh-cli")?;
    let rest = site.others(&[BLANK, standby]).join(",");
    site.lab
        .must(["partition", &format!("{BLANK},{standby} | {rest}")])?;
    let apart = restore(site, &backup)
        .and_then(|()| until_awaited(site, holder))
        .and_then(|()| stays(site, holder, WATCH));
    let met = origin.elapsed();
    if apart.is_err() {
        site.lab.must(["heal"])?;
    }
    apart?;
    meet(site, holder, standby)?;
    for node in &ALL[..2] {
        until_forgotten(site, node)?;
    }
    ensure!(leader(site)? == BLANK, "another one leads");
    site.until_whole()?;
    for node in &ALL[..2] {
        site.coordctl(&["coordinator", "add", node])?;
        until_serves(site, node)?;
    }
    until_three(site)?;
    site.until_whole()?;
    settled(site)?;
    Ok(met)
}

/// Restores the site on the blank machine, and lets that be a node of it.
fn restore(site: &Site, backup: &str) -> Result<()> {
    let restore = "coordctl restore /run/backup --yes --passphrase-file /run/passphrase";
    let enrol = format!(
        "hamesh-agent enroll --coordinator {}:7444 --node {BLANK}",
        address(site, BLANK)?
    );
    let script = format!(
        "{PASSPHRASE}; base64 -d > /run/backup; {restore} --node {BLANK} --operator eve; \
         token=$(coordctl token create {BLANK} --output json | \
         sed -n 's/.*\"token\": \"\\(.*\\)\".*/\\1/p'); {enrol} --token \"$token\""
    );
    site.sh_fed(BLANK, &script, backup).map(drop)
}

/// Waits until the restored coordinator has heard every candidate but this one.
fn until_awaited(site: &Site, holder: &str) -> Result<()> {
    until("the restored one waits for the holder", PATIENCE, || {
        let edge = edge(site)?;
        ensure!(edge.gathering && edge.awaited == [holder], "{edge:?}");
        Ok(())
    })
}

/// What the restored coordinator says of the address.
fn edge(site: &Site) -> Result<Awaits> {
    let said = site.sh(BLANK, "coordctl claims --output json")?;
    let claims: Vec<Awaits> = serde_json::from_str(&said)?;
    let edge = claims.into_iter().find(|it| it.claim == "vip/edge");
    edge.context("no such claim")
}

/// A node that is given the address of a coordinator that stands by enrols all the same.
pub fn enrolled_by_a_standby(world: &World) -> Result<()> {
    let site = &world.site;
    lead_elsewhere(site)?;
    enrol_anew_at(site, "node-2", &address(site, COORDINATOR)?)?;
    site.until_whole()
}

/// Back to one, whose machines forget what made them coordinators.
pub fn removed(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        lead(site, |node| node == COORDINATOR)?;
        for node in &ALL[1..] {
            site.coordctl(&["coordinator", "remove", node, "--yes"])?;
            until_forgotten(site, node)?;
            site.sh(node, &format!("{APT} purge -y -q hamesh-coordinator"))?;
        }
        name_coordinators(site, &ALL[..1])?;
        let left = parts(site)?;
        ensure!(left.len() == 1 && left[0].leads, "{left:?}");
        Ok(())
    })
}

/// The lost machine, as it comes from the hands of whoever installed Debian and these packages.
pub(super) fn make_blank(site: &Site, node: &str, packages: &str) -> Result<()> {
    let script = format!(
        "{APT} purge -y -q hamesh-agent hamesh-coordinator; \
         rm -rf /var/lib/hamesh /var/lib/hamesh-agent; {APT} install -y -q {packages}"
    );
    site.sh(node, &script).map(drop)
}

/// Waits until nothing on a machine makes it a coordinator any more.
fn until_forgotten(site: &Site, node: &str) -> Result<()> {
    until(&format!("{node} has forgotten it"), PATIENCE, || {
        let left = site.sh(node, "find /var/lib/hamesh -mindepth 1")?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })
}

/// Makes these the coordinators of the site document.
fn name_coordinators(site: &Site, nodes: &[&str]) -> Result<()> {
    let list = nodes.join(", ");
    let script = format!(
        "coordctl site > /run/site.yaml; \
         sed -i 's/^coordinators: .*/coordinators: [{list}]/' /run/site.yaml; \
         coordctl apply --file /run/site.yaml --yes"
    );
    site.sh(COORDINATOR, &script).map(drop)
}

pub(super) fn until_serves(site: &Site, node: &str) -> Result<()> {
    let what = format!("the coordinator on {node} stands by");
    until(&what, PATIENCE, || {
        let active = site.try_sh(node, "systemctl is-active hamesh-coordinator")?;
        ensure!(active.code == 0, "{active:?}");
        Ok(())
    })
}
