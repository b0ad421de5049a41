//! A claim with addresses of both families: they are held together, and go together.

use anyhow::{Context as _, Result, ensure};

use super::{ADDRESSES, CLAIM, explain, settled, watched};
use crate::scenarios::World;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// Both addresses answer from the holder's interfaces; the holder loses its power, and both answer
/// from the other's.
pub fn together(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site, CLAIM)?;
    let told = explain(site, CLAIM)?.addresses;
    ensure!(told == ADDRESSES, "the claim stands for {told:?}");
    answered_by(site, holder)?;
    watched(|| {
        site.lab.must(["kill", holder])?;
        site.until_part(other, CLAIM, "holding")?;
        answered_by(site, other)
    })?;
    site.lab.must(["start", holder])?;
    site.until_whole()?;
    ensure!(settled(site, CLAIM)?.0 == other, "it went back");
    answered_by(site, other)
}

/// Waits until each address answers the client of its network, by neighbour discovery anew, from
/// an interface of this node.
fn answered_by(site: &Site, node: &str) -> Result<()> {
    let own = site.sh(node, "ip -o link")?;
    for (network, address) in ["trust", "six"].iter().zip(ADDRESSES) {
        let script = format!(
            "ip neigh flush to {address} dev eth0; ping -q -c 1 -W 2 {address} >/dev/null; \
             ip neigh show to {address} dev eth0"
        );
        let client = ["client", "--network", network, "--", "sh", "-c", &script];
        until(&format!("{node} answers for {address}"), PATIENCE, || {
            let shown = site.lab.must(client)?;
            let mac = shown
                .split_whitespace()
                .skip_while(|word| *word != "lladdr")
                .nth(1);
            let mac = mac.with_context(|| format!("no answer: {shown}"))?;
            ensure!(own.contains(mac), "{mac} answers, which is not {node}");
            Ok(())
        })?;
    }
    Ok(())
}
