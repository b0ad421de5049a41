//! Full disks: the coordinator's, which is its store's, and an agent's.
//!
//! The daemon's state is moved onto a small file system of its own, which is then filled to the
//! last page: a write meets what it meets on any full disk.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};

use super::World;
use super::asked::{asked, by_one_throughout};
use super::leaders;
use super::moves::unmoved_by;
use crate::site::views::{NewToken, Token};
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// The node whose agent runs out of space.
const NODE: &str = "node-3";

/// A virtual address, and from where it is asked who has it.
const EDGE: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 130);
const NETWORK: &str = "untrust";

/// Where a daemon keeps its state.
pub struct Disk<'a> {
    node: &'a str,
    directory: &'static str,
    /// In the order in which they are started.
    units: &'static str,
    /// Enough for what is there. etcd sets aside 128 MB for its log.
    size: &'static str,
}

const STORE: Disk<'static> = Disk {
    node: COORDINATOR,
    directory: "/var/lib/hamesh",
    units: "hamesh-store hamesh-coordinator",
    size: "200m",
};

/// That of one of three coordinators.
const ONE_OF_THREE: Disk<'static> = Disk {
    node: "control-2",
    ..STORE
};

const AGENT: Disk<'static> = Disk {
    node: NODE,
    directory: "/var/lib/hamesh-agent",
    units: "hamesh-agent",
    size: "256k",
};

impl<'a> Disk<'a> {
    /// That of the agent on a node.
    pub const fn of_agent(node: &'a str) -> Self {
        Self { node, ..AGENT }
    }

    /// Moves the state onto a small disk.
    pub fn shrink(&self, site: &Site) -> Result<()> {
        let (directory, size) = (self.directory, self.size);
        self.while_stopped(
            site,
            &format!(
                "mv {directory} {directory}.kept; mkdir {directory}; \
                 mount -t tmpfs -o size={size} tmpfs {directory}; \
                 cp -a {directory}.kept/. {directory}/; rm -rf {directory}.kept"
            ),
        )
    }

    /// Moves it back.
    pub fn widen(&self, site: &Site) -> Result<()> {
        let directory = self.directory;
        self.while_stopped(
            site,
            &format!(
                "cp -a {directory} {directory}.kept; umount {directory}; rmdir {directory}; \
                 mv {directory}.kept {directory}"
            ),
        )
    }

    fn while_stopped(&self, site: &Site, script: &str) -> Result<()> {
        let units = self.units;
        let script = format!("systemctl stop {units}; {script}; systemctl start {units}");
        site.sh(self.node, &script).map(drop)
    }

    /// Leaves no page free.
    pub fn fill(&self, site: &Site) -> Result<()> {
        let directory = self.directory;
        let script = format!(
            "! dd if=/dev/zero of={directory}/ballast bs=4k 2>/dev/null; \
             df --output=avail {directory} | tail -n 1"
        );
        let free = site.sh(self.node, &script)?;
        ensure!(free.trim() == "0", "{free} KiB are free in {directory}");
        Ok(())
    }

    /// Frees it again.
    pub fn make_room(&self, site: &Site) -> Result<()> {
        let script = format!("rm {}/ballast", self.directory);
        site.sh(self.node, &script).map(drop)
    }
}

/// With a full disk the coordinator shows the site and changes nothing; no claim moves, and what is
/// held answers; nothing that it said yes to is lost, and it goes on by itself when there is room
/// again.
pub fn store_full(world: &World) -> Result<()> {
    let site = &world.site;
    STORE.shrink(site)?;
    site.until_whole()?;
    let epoch = site.status()?.epoch;
    let mut made = vec![token(site)?.context("refused on a disk with room")?];
    unmoved_by(site, || {
        let ((), questions) = asked(NETWORK, EDGE, || full(site, &mut made))?;
        by_one_throughout(&questions)
    })?;
    none_lost(site, &made)?;
    ensure!(
        site.status()?.epoch == epoch,
        "the coordinator was restarted"
    );
    STORE.widen(site)
}

/// The disk fills up, and there is room again; notes the tokens that were made.
fn full(site: &Site, made: &mut Vec<NewToken>) -> Result<()> {
    STORE.fill(site)?;
    until("a change is refused for want of room", PATIENCE, || {
        let answer = site.try_coordctl(CREATE)?;
        if answer.code == 0 {
            made.push(serde_json::from_str(&answer.stdout)?);
        }
        answer.expect(1, &[FULL])
    })?;
    let shown = until("the status says why", PATIENCE, || {
        let answer = site.try_coordctl(&["status"])?;
        answer.expect(0, &[FULL, NODE])?;
        site.status()
    })?;
    ensure!(shown.nodes.len() == site.nodes.len(), "{:?}", shown.nodes);
    let all = site.others(&[]);
    site.until_seen(&all, &all)?;

    STORE.make_room(site)?;
    let after = until("a change is taken again", PATIENCE, || {
        token(site)?.context("still refused")
    })?;
    made.push(after);
    site.until_whole()
}

/// Of three coordinators the leader has a full disk: another one leads, changes are taken all along
/// and none is lost; where there is room again the store has all its members by itself.
pub fn leaders_store_full(world: &World) -> Result<()> {
    let site = &world.site;
    ONE_OF_THREE.shrink(site)?;
    leaders::lead(site, |node| node == ONE_OF_THREE.node)?;
    site.until_whole()?;
    let mut made = Vec::new();
    unmoved_by(site, || {
        let ((), questions) = asked(NETWORK, EDGE, || {
            ONE_OF_THREE.fill(site)?;
            until("another one leads", PATIENCE, || {
                made.extend(token(site)?);
                let leader = leaders::leader(site)?;
                ensure!(leader != ONE_OF_THREE.node, "{leader} leads");
                Ok(())
            })?;
            made.push(token(site)?.context("refused, though two of three have room")?);
            ONE_OF_THREE.make_room(site)?;
            // It can lead only with a store that works.
            leaders::lead(site, |node| node == ONE_OF_THREE.node).map(drop)
        })?;
        by_one_throughout(&questions)
    })?;
    none_lost(site, &made)?;
    ONE_OF_THREE.widen(site)?;
    site.until_whole()
}

/// Every token that was made is still there.
fn none_lost(site: &Site, made: &[NewToken]) -> Result<()> {
    let kept: Vec<Token> = site.query(&["token", "list"])?;
    for token in made {
        let found = kept.iter().any(|kept| kept.id == token.id);
        ensure!(found, "token {} of {} is lost", token.id, made.len());
    }
    Ok(())
}

/// With a full disk an agent does what it is told without saying that it keeps it, says why, starts
/// from what it kept, and catches up when there is room again.
pub fn agent_full(world: &World) -> Result<()> {
    let site = &world.site;
    AGENT.shrink(site)?;
    site.until_whole()?;
    let before = site.status()?;
    AGENT.fill(site)?;
    site.coordctl(&["assign", NODE, "none", "--yes"])?;
    let told = site.status()?.desired.context("no desired state")?;
    until("the agent says that it has no room", PATIENCE, || {
        let status = site.agent(NODE)?;
        let problem = status.state_problem.context("no problem")?;
        ensure!(problem.to_lowercase().contains("no space"), "{problem}");
        let assignment = status.assignment.context("no assignment")?;
        ensure!(assignment.role.is_none(), "{assignment:?}");
        Ok(())
    })?;
    until("all others have the new state", PATIENCE, || {
        let status = site.status()?;
        for node in status.nodes.iter().filter(|node| node.name != NODE) {
            ensure!(
                node.applied == Some(told),
                "{}: {:?}",
                node.name,
                node.applied
            );
        }
        Ok(())
    })?;
    let said = site.status()?.node(NODE)?.applied;
    ensure!(said == before.desired, "{NODE} said that it keeps {said:?}");

    site.sh(NODE, "systemctl restart hamesh-agent")?;
    site.until_whole()?;
    AGENT.make_room(site)?;
    until("the agent has caught up", PATIENCE, || {
        let said = site.status()?.node(NODE)?.applied;
        ensure!(said == Some(told), "{said:?}");
        let problem = site.agent(NODE)?.state_problem;
        ensure!(problem.is_none(), "{problem:?}");
        Ok(())
    })?;
    AGENT.widen(site)?;
    site.until_whole()?;
    site.coordctl(&["assign", NODE, "k8s-worker", "--yes"])
        .map(drop)
}

/// What is said of the store then.
const FULL: &str = "its disk is full";
const CREATE: &[&str] = &["token", "create", NODE, "--output", "json"];

/// A new token; `None` if it was refused.
fn token(site: &Site) -> Result<Option<NewToken>> {
    let answer = site.try_coordctl(CREATE)?;
    match answer.code {
        0 => Ok(Some(serde_json::from_str(&answer.stdout)?)),
        _ => Ok(None),
    }
}
