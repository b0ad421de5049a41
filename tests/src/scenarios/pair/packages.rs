//! apt on the node that holds.

use anyhow::{Context as _, Result, ensure};

use super::{CLAIM, addresses_on, explain, settled, watched};
use crate::scenarios::World;
use crate::scenarios::identity::enrol_anew;
use crate::scenarios::packages::{APT, later_packages};
use crate::site::Site;

const AGENT: &str = "hamesh-agent";

/// A later version is installed over the holder's agent: it holds on, and nothing moved.
pub fn upgraded(world: &World) -> Result<()> {
    let site = &world.site;
    let later = later_packages()?;
    let (_, file) = later
        .iter()
        .find(|(n, _)| n == AGENT)
        .context("a package")?;
    let (holder, _) = settled(site, CLAIM)?;
    let moves = explain(site, CLAIM)?.moves;
    let run = site.agent(holder)?.started_unix_ms;
    site.lab.must(["push", holder, file, "/root/later.deb"])?;
    watched(|| {
        site.sh(
            holder,
            &format!("{APT} install -y -q /root/later.deb </dev/null"),
        )?;
        site.until_part(holder, CLAIM, "holding")
    })?;
    ensure!(
        site.agent(holder)?.started_unix_ms > run,
        "its agent did not restart"
    );
    site.until_whole()?;
    let now = explain(site, CLAIM)?;
    ensure!(
        now.holder.as_deref() == Some(holder),
        "it went to {:?}",
        now.holder
    );
    ensure!(now.moves == moves, "moved: {:?}", now.moves);
    Ok(())
}

/// Removed, the holder's agent gives everything back and leaves nothing of it on the node;
/// installed again, it stands by. Purged, it leaves as little.
pub fn removed(world: &World) -> Result<()> {
    let site = &world.site;
    let (first, second) = settled(site, CLAIM)?;
    gone(site, first, second, "remove")?;
    site.sh(first, &format!("{APT} install -y -q {AGENT}"))?;
    site.until_part(first, CLAIM, "standby")?;
    ensure!(settled(site, CLAIM)? == (second, first), "it went back");

    gone(site, second, first, "purge")?;
    site.sh(second, &format!("{APT} install -y -q {AGENT}"))?;
    enrol_anew(site, second)?;
    site.until_part(second, CLAIM, "standby")?;
    ensure!(settled(site, CLAIM)? == (first, second), "it went back");
    Ok(())
}

/// apt takes the agent away from a holder, and the other one has the claim then.
fn gone(site: &Site, holder: &str, other: &str, verb: &str) -> Result<()> {
    let left = watched(|| {
        site.sh(holder, &format!("{APT} {verb} -y -q {AGENT}"))?;
        let fence = site.sh(holder, "nft list tables | grep hamesh || true")?;
        let left = addresses_on(site, holder)? + &fence;
        site.until_part(other, CLAIM, "holding")?;
        Ok(left)
    })?;
    ensure!(left.is_empty(), "{verb} left on {holder}:\n{left}");
    let newest = explain(site, CLAIM)?.moves.into_iter().next();
    let newest = newest.context("no move")?;
    let given = newest.reason.contains("gave it back");
    ensure!(given, "after {verb} it moved because {}", newest.reason);
    Ok(())
}
