//! Bonds and VLANs, which Debian's kernel makes and that of the lab's machine may not: to the agent
//! each is an interface over another, with the addresses on it.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};

use crate::scenarios::World;
use crate::scenarios::asked::{asked, asked_on_vlan};
use crate::scenarios::interfaces::{fenced, hands_off, hands_on, is_on, own_address, silenced};
use crate::site::vip::Shared;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

const SIDE: Shared = Shared {
    claim: "vip/side",
    ip: "192.168.57.20",
    network: NETWORK,
    members: ["proxy-1", "proxy-2"],
};
const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 168, 57, 20);
const NETWORK: &str = "side";
/// The VLAN, and the interface on which a node has it.
const VLAN: u16 = 7;
const ON_VLAN: &str = "eth1.7";

/// The holder's interface goes under a bond: the address is held on the bond, behind a fence that
/// closes there. A bond whose last link goes down loses it.
pub fn bonded(world: &World) -> Result<()> {
    let site = super::site(world)?;
    let (holder, other) = SIDE.settled(&site)?;
    let ((), _) = asked(NETWORK, ADDRESS, || {
        put_under(
            &site,
            holder,
            "bond0",
            "modprobe bonding; ip link add bond0 type bond mode active-backup miimon 100; \
             ip link set eth1 down; ip link set eth1 master bond0",
        )?;
        held_there(&site, "bond0", holder)?;
        silenced(&site, holder, other, SIDE.claim)?;
        SIDE.one_holds(&site)?;
        site.coordctl(&["move", SIDE.claim, "--to", holder])?;
        held_there(&site, "bond0", holder)?;
        site.sh(holder, "ip link set eth1 down")?;
        lost(&site, "interface bond0 has no carrier", other)?;
        site.sh(holder, "ip link set eth1 up")?;
        SIDE.settled(&site).map(drop)
    })?;
    taken_off(&site, holder, "bond0")?;
    SIDE.settled(&site).map(drop)
}

/// Both nodes have the network on a VLAN: whoever asks with its tag hears one answer, and the fence
/// closes there; without a link under it the VLAN loses the address.
pub fn tagged(world: &World) -> Result<()> {
    let site = super::site(world)?;
    SIDE.settled(&site)?;
    let make = format!("modprobe 8021q; ip link add link eth1 name {ON_VLAN} type vlan id {VLAN}");
    for node in SIDE.members {
        put_under(&site, node, ON_VLAN, &make)?;
    }
    let ((), _) = asked_on_vlan(NETWORK, VLAN, ADDRESS, || {
        let (holder, other) = SIDE.one_holds(&site)?;
        held_there(&site, ON_VLAN, holder)?;
        silenced(&site, holder, other, SIDE.claim)?;
        SIDE.one_holds(&site)?;
        held_there(&site, ON_VLAN, other)?;
        site.sh(other, "ip link set eth1 down")?;
        lost(&site, &format!("interface {ON_VLAN} is down"), holder)?;
        site.sh(
            other,
            &format!("ip link set eth1 up; ip link set {ON_VLAN} up"),
        )?;
        SIDE.one_holds(&site).map(drop)
    })?;
    for node in SIDE.members {
        taken_off(&site, node, ON_VLAN)?;
    }
    SIDE.settled(&site).map(drop)
}

/// Puts the node's own address on an interface over the one that had it, which a script makes.
fn put_under(site: &Site, node: &str, device: &str, make: &str) -> Result<()> {
    hands_off(site, node)?;
    let own = own_address(site, node, "eth1")?;
    let script = format!(
        "ip addr flush dev eth1; {make}; ip link set eth1 up; ip link set {device} up; \
         ip addr add {own} dev {device}"
    );
    site.sh(node, &script).map(drop)
}

/// Takes the interface over another away again.
fn taken_off(site: &Site, node: &str, device: &str) -> Result<()> {
    let own = own_address(site, node, device)?;
    let script = format!("ip link del {device}; ip link set eth1 up; ip addr add {own} dev eth1");
    site.sh(node, &script)?;
    hands_on(site, node)
}

/// The node holds the address on this interface, behind a fence.
fn held_there(site: &Site, device: &str, node: &str) -> Result<()> {
    SIDE.one_holds(site)?;
    if site.part(node, SIDE.claim)? != "holding" {
        site.coordctl(&["move", SIDE.claim, "--to", node])?;
    }
    until(&format!("{node} holds it on {device}"), PATIENCE, || {
        is_on(site, node, device, ADDRESS)
    })?;
    fenced(site, node, device)
}

/// The other has it, and is said why the first cannot.
fn lost(site: &Site, reason: &str, other: &str) -> Result<()> {
    site.until_part(other, SIDE.claim, "holding")?;
    until("the reason names the interface", PATIENCE, || {
        let text = site.coordctl(&["explain", SIDE.claim])?;
        ensure!(text.contains(reason), "{text}");
        Ok(())
    })
}
