//! The interface of an address is renamed, taken down, put under a bridge. Bonds and VLANs, which
//! not every machine's kernel knows, are tried on machines with Debian's.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::settled;
use crate::scenarios::World;
use crate::scenarios::asked::asked;
use crate::scenarios::interfaces::{self, fenced, hands_off, is_on, own_address, silenced};
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
    let own = own_address(site, holder, "eth1")?;
    asked(NETWORK, ADDRESS, || {
        site.sh(holder, "ip link set eth1 down")?;
        site.until_part(other, SIDE, "holding")?;
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
            is_on(site, holder, "lan0", ADDRESS)
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
    let own = own_address(site, holder, "eth1")?;
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
            || is_on(site, holder, "lan0", ADDRESS),
        )?;
        fenced(site, holder, "lan0")?;
        silenced(site, holder, other, SIDE)
    })?;
    site.sh(
        holder,
        &format!("ip link set eth1 nomaster; ip link del lan0; ip addr replace {own} dev eth1"),
    )?;
    hands_on(site, holder)
}

/// The network daemon takes the interfaces up again; the claim is settled then.
fn hands_on(site: &Site, node: &str) -> Result<()> {
    interfaces::hands_on(site, node)?;
    settled(site, SIDE).map(drop)
}
