//! The interface of an address is renamed, taken down, put under another.
//!
//! The machine's kernel makes bridges and knows no bonds: to the agent both are an interface over
//! others, with the addresses on it.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{settled, until_part};
use crate::scenarios::World;
use crate::scenarios::asked::asked;
use crate::site::wait::{throughout, until};
use crate::site::{PATIENCE, Site, holds};

const SIDE: &str = "vip/side";
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 57, 20);
const NETWORK: &str = "side";
/// Many leases.
const WATCH: Duration = Duration::from_secs(3);

/// Renamed while it is up, the interface keeps the address and the fence follows it.
pub fn renamed(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site, SIDE)?;
    hands_off(site, holder)?;
    asked(NETWORK, ADDRESS, || {
        for (from, to) in [("eth1", "lan0"), ("lan0", "eth1")] {
            site.sh(holder, &format!("ip link set {from} name {to}"))?;
            until(
                &format!("the fence of {holder} is on {to}"),
                PATIENCE,
                || fenced(site, holder, to),
            )?;
            throughout("it stays where it is", WATCH, || {
                let parts = (site.part(holder, SIDE)?, site.part(other, SIDE)?);
                ensure!(holds(&parts.0) && parts.1 == "standby", "{parts:?}");
                Ok(())
            })?;
        }
        Ok(())
    })?;
    hands_on(site, holder)
}

/// Taken down and renamed, as older kernels want it, the interface loses the address to the other
/// node, and the reason names it; up again under its new name it is good again.
pub fn taken_down(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site, SIDE)?;
    hands_off(site, holder)?;
    let own = own_address(site, holder)?;
    asked(NETWORK, ADDRESS, || {
        site.sh(holder, "ip link set eth1 down")?;
        until_part(site, other, SIDE, "holding")?;
        until(
            "the candidate's reason names the interface",
            PATIENCE,
            || {
                let text = site.coordctl(&["explain", SIDE])?;
                ensure!(text.contains("interface eth1 is down"), "{text}");
                Ok(())
            },
        )?;
        site.sh(
            holder,
            &format!(
                "ip link set eth1 name lan0; ip link set lan0 up; \
                                  ip addr replace {own} dev lan0"
            ),
        )?;
        settled(site, SIDE)?;
        site.coordctl(&["move", SIDE, "--to", holder])?;
        until(&format!("{holder} holds it on lan0"), PATIENCE, || {
            is_on(site, holder, "lan0")
        })?;
        fenced(site, holder, "lan0")
    })?;
    site.sh(
        holder,
        &format!(
            "ip link set lan0 down; ip link set lan0 name eth1; \
                              ip link set eth1 up; ip addr replace {own} dev eth1"
        ),
    )?;
    hands_on(site, holder)
}

/// Under a bridge that takes its addresses over: the address is held on the bridge, behind a fence
/// that closes there when the agent falls silent.
pub fn bridged(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site, SIDE)?;
    hands_off(site, holder)?;
    let own = own_address(site, holder)?;
    asked(NETWORK, ADDRESS, || {
        site.sh(
            holder,
            &format!(
                "ip link add lan0 type bridge; ip link set lan0 up; ip addr flush dev eth1; \
             ip link set eth1 master lan0; ip addr add {own} dev lan0"
            ),
        )?;
        settled(site, SIDE)?;
        site.coordctl(&["move", SIDE, "--to", holder])?;
        until(
            &format!("{holder} holds it on the bridge"),
            PATIENCE,
            || is_on(site, holder, "lan0"),
        )?;
        fenced(site, holder, "lan0")?;
        let kill = "systemctl kill --kill-whom=main hamesh-agent --signal";
        site.sh(holder, &format!("{kill} STOP"))?;
        let taken = until_part(site, other, SIDE, "holding");
        site.sh(holder, &format!("{kill} CONT"))?;
        taken
    })?;
    site.sh(
        holder,
        &format!("ip link set eth1 nomaster; ip link del lan0; ip addr replace {own} dev eth1"),
    )?;
    hands_on(site, holder)
}

/// The network daemon of the node leaves its interfaces to the scenario.
fn hands_off(site: &Site, node: &str) -> Result<()> {
    let stop = "systemctl stop systemd-networkd.socket systemd-networkd";
    site.sh(node, stop).map(drop)
}

/// It takes them up again; the claim is settled then.
fn hands_on(site: &Site, node: &str) -> Result<()> {
    site.sh(node, "systemctl start systemd-networkd")?;
    settled(site, SIDE).map(drop)
}

fn own_address(site: &Site, node: &str) -> Result<String> {
    let shown = site.sh(node, "ip -o -4 addr show dev eth1 to 192.168.57.0/24")?;
    let words = shown.split_whitespace().skip_while(|word| *word != "inet");
    let own = words.clone().nth(1).filter(|word| word.ends_with("/24"));
    own.map(ToOwned::to_owned)
        .with_context(|| format!("no address: {shown}"))
}

fn fenced(site: &Site, node: &str, device: &str) -> Result<()> {
    let rules = site.sh(node, "nft list table netdev hamesh_fence")?;
    let on = rules.contains(&format!("\"{device}\""));
    ensure!(on, "no fence on {device}:\n{rules}");
    Ok(())
}

fn is_on(site: &Site, node: &str, device: &str) -> Result<()> {
    let shown = site.sh(node, &format!("ip -o addr show dev {device} to {ADDRESS}"))?;
    ensure!(!shown.is_empty(), "{ADDRESS} is not on {device}");
    Ok(())
}
