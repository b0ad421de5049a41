//! What others change on a node, and nodes that are only looked at.

use anyhow::{Result, ensure};

use super::{CONFIG, INNER, OUTER, applied, changed, holder_and_other, role_of, until_as_wanted};
use crate::scenarios::World;
use crate::site::PATIENCE;
use crate::site::wait::until;

/// What is changed by hand is put back, and that is told.
pub fn put_right(world: &World) -> Result<()> {
    let site = &world.site;
    let [_, node] = holder_and_other(site, "vip/edge", OUTER)?;
    let before = role_of(site, node)?.corrected;
    let original = site.sh(node, &format!("cat {CONFIG}"))?;
    for (what, by_hand) in [
        ("a file", format!("echo '# by hand' >> {CONFIG}")),
        ("a unit", "systemctl stop haproxy.service".to_owned()),
        (
            "the firewall",
            "nft flush table inet hamesh_firewall".to_owned(),
        ),
    ] {
        let corrected = role_of(site, node)?.corrected;
        site.sh(node, &by_hand)?;
        until(&format!("{what} is put right"), PATIENCE, || {
            let state = role_of(site, node)?;
            ensure!(state.corrected > corrected, "{state:?}");
            Ok(())
        })?;
    }
    until_as_wanted(site, &[node])?;
    ensure!(site.sh(node, &format!("cat {CONFIG}"))? == original);
    site.sh(node, "systemctl is-active haproxy.service")?;
    let rules = site.sh(node, "nft list table inet hamesh_firewall")?;
    ensure!(rules.contains("dport"), "{rules}");
    ensure!(role_of(site, node)?.corrected >= before + 3);
    Ok(())
}

/// A node that is only looked at is left as it is; in what it differs is told.
pub fn looked_at(world: &World) -> Result<()> {
    let site = &world.site;
    let [_, node] = holder_and_other(site, "vip/internal", INNER)?;
    let document = site.coordctl(&["site"])?;
    let plain = format!("{node}: {{role: internal-proxy,");
    let observed = format!("{node}: {{mode: observe, role: internal-proxy,");
    applied(site, &changed(site, &plain, &observed)?)?;
    ensure!(role_of(site, node)?.place == "observed");
    site.sh(node, &format!("echo '# by hand' >> {CONFIG}"))?;
    until("the difference is told", PATIENCE, || {
        let state = role_of(site, node)?;
        ensure!(
            state.drift.iter().any(|it| it.contains("haproxy.cfg")),
            "{state:?}"
        );
        Ok(())
    })?;
    let text = site.sh(node, &format!("cat {CONFIG}"))?;
    ensure!(text.ends_with("# by hand\n"), "it was put back");
    applied(site, &document)?;
    until_as_wanted(site, &[node])?;
    let text = site.sh(node, &format!("cat {CONFIG}"))?;
    ensure!(!text.contains("# by hand"), "it was not put back");
    Ok(())
}
