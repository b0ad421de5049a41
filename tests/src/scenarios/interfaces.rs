//! What scenarios do to the interfaces of a node.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};

use crate::site::Site;

/// The network daemon of the node leaves its interfaces to the scenario.
pub(super) fn hands_off(site: &Site, node: &str) -> Result<()> {
    let stop = "systemctl stop systemd-networkd.socket systemd-networkd";
    site.sh(node, stop).map(drop)
}

/// It takes them up again.
pub(super) fn hands_on(site: &Site, node: &str) -> Result<()> {
    site.sh(node, "systemctl start systemd-networkd").map(drop)
}

/// A node's own address on an interface, with its length; claims add theirs with /32.
pub(super) fn own_address(site: &Site, node: &str, device: &str) -> Result<String> {
    let shown = site.sh(node, &format!("ip -o -4 addr show dev {device}"))?;
    let mut words = shown.split_whitespace();
    let own = words.find(|word| word.ends_with("/24"));
    own.map(ToOwned::to_owned)
        .with_context(|| format!("no address: {shown}"))
}

/// Fails unless the fence of a node is on an interface.
pub(super) fn fenced(site: &Site, node: &str, device: &str) -> Result<()> {
    let rules = site.sh(node, "nft list table netdev hamesh_fence")?;
    let on = rules.contains(&format!("\"{device}\""));
    ensure!(on, "no fence on {device}:\n{rules}");
    Ok(())
}

/// Fails unless an address is on an interface of a node.
pub(super) fn is_on(site: &Site, node: &str, device: &str, address: Ipv4Addr) -> Result<()> {
    let shown = site.sh(node, &format!("ip -o addr show dev {device} to {address}"))?;
    ensure!(!shown.is_empty(), "{address} is not on {device}");
    Ok(())
}

/// The holder's agent stands still until the other has taken a claim over; who asks meanwhile
/// learns whether the first one's fence closed.
pub(super) fn silenced(site: &Site, holder: &str, other: &str, claim: &str) -> Result<()> {
    let kill = "systemctl kill --kill-whom=main hamesh-agent --signal";
    site.sh(holder, &format!("{kill} STOP"))?;
    let taken = site.until_part(other, claim, "holding");
    site.sh(holder, &format!("{kill} CONT"))?;
    taken
}
