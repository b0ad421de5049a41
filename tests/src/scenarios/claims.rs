//! Who holds the virtual addresses when agents, nodes, rules and the coordinator break.
//!
//! Whether an address answers, and how many answer, is asked from outside: by ARP from the client's
//! network.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::World;
use crate::site::vip::Shared;
use crate::site::wait::{throughout, until};
use crate::site::{COORDINATOR, PATIENCE, Site};

const EDGE: Shared = Shared {
    claim: "vip/edge",
    ip: EDGE_IP,
    network: "untrust",
    members: MEMBERS,
};
const EDGE_IP: &str = "192.168.30.130";
const MEMBERS: [&str; 2] = ["haproxy-ext-1", "haproxy-ext-2"];
/// Long beside the longest promise, which a node that forgot its own waits out.
const STATIC: Duration = Duration::from_secs(40);
/// Many leases long.
const WATCH: Duration = Duration::from_secs(10);

/// Every address is held by one node and answers.
pub fn held(world: &World) -> Result<()> {
    settled(&world.site).map(drop)
}

/// A holder without power: the other one answers, and keeps it when the first is back.
pub fn killed(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site)?;
    site.lab.must(["kill", holder])?;
    until_held_by(site, other)?;
    site.lab.must(["start", holder])?;
    site.until_whole()?;
    ensure!(settled(site)?.0 == other, "it went back by itself");
    Ok(())
}

/// An agent that is killed or stopped leaves its node fenced: one answers, and it is the other.
pub fn agent_silenced(world: &World) -> Result<()> {
    let site = &world.site;
    for signal in ["STOP", "KILL"] {
        let (holder, other) = settled(site)?;
        let kill = format!("systemctl kill --signal={signal} --kill-whom=main hamesh-agent");
        site.sh(holder, &kill)?;
        let taken = until_held_by(site, other)
            .with_context(|| format!("after SIG{signal} of the agent on {holder}"))
            .and_then(|()| one_answers(site));
        if signal == "STOP" {
            site.sh(holder, &kill.replace("STOP", "CONT"))?;
        }
        taken?;
        EDGE.until_standby(site, holder)?;
        one_answers(site)?;
    }
    Ok(())
}

/// A planned restart of the holder's agent moves nothing.
pub fn restarted(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site)?;
    let taken = "journalctl --unit=hamesh-agent --grep='vip/edge taken' --quiet | wc -l";
    let before = site.sh(other, taken)?;
    for _ in 0..3 {
        site.sh(holder, "systemctl restart hamesh-agent")?;
        until_held_by(site, holder)?;
    }
    let after = site.sh(other, taken)?;
    ensure!(before == after, "{other} took it: {before} then {after}");
    Ok(())
}

/// An agent that is stopped gives back at once, and leaves nothing on its node.
pub fn stopped(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site)?;
    site.sh(holder, "systemctl stop hamesh-agent")?;
    let left = site.sh(holder, &format!("ip -o addr show to {EDGE_IP}/32"))?;
    let taken = until_held_by(site, other);
    site.sh(holder, "systemctl start hamesh-agent")?;
    ensure!(left.is_empty(), "left behind on {holder}: {left}");
    taken
}

/// Rules that someone flushed are loaded again, and nobody answers unfenced meanwhile.
pub fn flushed(world: &World) -> Result<()> {
    let site = &world.site;
    for node in MEMBERS {
        settled(site)?;
        site.sh(node, "nft flush ruleset")?;
        until(&format!("the fence is back on {node}"), PATIENCE, || {
            let rules = site.sh(node, "nft list ruleset")?;
            let tables = ["inet", "arp", "netdev"];
            let missing = tables.iter().find(|family| {
                let table = format!("table {family} hamesh_fence");
                !rules.contains(&table)
            });
            ensure!(missing.is_none(), "no {missing:?}:\n{rules}");
            Ok(())
        })?;
        one_answers(site)?;
    }
    settled(site).map(drop)
}

/// An address that someone added by hand does not answer, and is taken away.
pub fn added_by_hand(world: &World) -> Result<()> {
    let site = &world.site;
    let (_, other) = settled(site)?;
    let show = "ip -o -4 addr show to 192.168.30.0/24";
    let device = site.sh(other, show)?;
    let device = device.split_whitespace().nth(1).context("no interface")?;
    let device = device.split('@').next().unwrap_or_default();
    site.sh(other, &format!("ip addr add {EDGE_IP}/32 dev {device}"))?;
    one_answers(site)?;
    until("the address is taken away again", PATIENCE, || {
        let left = site.sh(other, &format!("ip -o addr show to {EDGE_IP}/32"))?;
        ensure!(left.is_empty(), "{left}");
        Ok(())
    })
}

/// Without a coordinator nothing moves, though the standby's and the holder's agents restart.
pub fn without_coordinator(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site)?;
    site.sh(COORDINATOR, "systemctl stop hamesh-coordinator")?;
    let stayed = stays(site, holder, other);
    site.sh(COORDINATOR, "systemctl start hamesh-coordinator")?;
    stayed?;
    until(
        &format!("{holder} holds under a lease again"),
        PATIENCE,
        || {
            ensure!(part(site, holder)? == "holding", "{}", part(site, holder)?);
            Ok(())
        },
    )
}

/// Break glass: refused without a word of assurance, open without any coordinator, closed again.
pub fn break_glass(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site)?;
    let open = format!("hamesh-agent break-glass open {}", EDGE.claim);
    let refused = site.try_sh(other, &open)?;
    ensure!(refused.code != 0, "opened without assurance: {refused:?}");
    ensure!(
        refused.stderr.contains("nothing was changed"),
        "{refused:?}"
    );
    site.sh(COORDINATOR, "systemctl stop hamesh-coordinator")?;
    site.lab.must(["kill", holder])?;
    let opened = site
        .sh(
            other,
            &format!("{open} --i-made-sure-that-no-other-node-holds-it"),
        )
        .and_then(|_| {
            until("it is open by hand and answers", PATIENCE, || {
                ensure!(
                    part(site, other)? == "break-glass",
                    "{}",
                    part(site, other)?
                );
                ensure!(answers(site)?.len() == 1, "{:?}", answers(site)?);
                Ok(())
            })
        });
    let closed = site.sh(
        other,
        &format!("hamesh-agent break-glass close {}", EDGE.claim),
    );
    site.sh(COORDINATOR, "systemctl start hamesh-coordinator")?;
    site.lab.must(["start", holder])?;
    opened.and(closed)?;
    site.until_whole()?;
    settled(site).map(drop)
}

fn stays(site: &Site, holder: &str, other: &str) -> Result<()> {
    throughout("it stays where it is", WATCH, || held_by(site, holder))?;
    site.sh(other, "systemctl restart hamesh-agent")?;
    throughout("it stays where it is", STATIC, || held_by(site, holder))?;
    site.sh(holder, "systemctl restart hamesh-agent")?;
    until_held_by(site, holder)?;
    throughout("it stays where it is", WATCH, || held_by(site, holder))
}

pub(super) fn settled(site: &Site) -> Result<(&'static str, &'static str)> {
    EDGE.settled(site)
}

pub(super) fn until_held_by(site: &Site, node: &str) -> Result<()> {
    EDGE.until_held_by(site, node)
}

pub(super) fn held_by(site: &Site, node: &str) -> Result<()> {
    EDGE.held_by(site, node)
}

pub(super) fn one_answers(site: &Site) -> Result<()> {
    EDGE.one_answers(site)
}

fn answers(site: &Site) -> Result<BTreeSet<String>> {
    EDGE.answers(site)
}

fn part(site: &Site, node: &str) -> Result<String> {
    EDGE.part(site, node)
}
