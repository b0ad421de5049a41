//! Claims as operators see and move them; and the coordinator and its store away, with nothing
//! moved by that.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::World;
use crate::site::views::{Claim, Explanation, Moved};
use crate::site::wait::{throughout, until};
use crate::site::{COORDINATOR, PATIENCE, Site};

/// The claims of the reference site.
const CLAIMS: [&str; 2] = ["vip/edge", "vip/internal"];
/// Many times a lease. What comes after the long promises is watched in `claims`.
const AWAY: Duration = Duration::from_secs(12);
/// Many times a lease.
const SILENT: Duration = Duration::from_secs(5);

/// Each claim is held by one node, which alone has its addresses, and each other could take it.
pub fn held(world: &World) -> Result<()> {
    for claim in CLAIMS {
        until_held(&world.site, claim)?;
        only_the_holder_has_it(&world.site, claim)?;
    }
    Ok(())
}

/// Why a claim is where it is: its holder, the others, its last move. A wrong name is refused.
pub fn explained(world: &World) -> Result<()> {
    let site = &world.site;
    let holder = until_held(site, "vip/edge")?;
    let text = site.coordctl(&["explain", "vip/edge"])?;
    for word in [
        "held by",
        holder.as_str(),
        "could take it",
        "candidates",
        "last moves",
    ] {
        ensure!(text.contains(word), "`{word}` is not in:\n{text}");
    }
    let status = site.coordctl(&["status"])?;
    ensure!(status.contains("vip/edge"), "no claim in:\n{status}");
    site.try_coordctl(&["explain", "vip/egde"])?
        .expect(2, &["did you mean `vip/edge`?"])
}

/// A planned move: there and back, told with its reason.
pub fn moved(world: &World) -> Result<()> {
    let site = &world.site;
    let from = until_held(site, "vip/edge")?;
    let to = standby(site, "vip/edge")?;
    for (from, to) in [(&from, &to), (&to, &from)] {
        let moved: Moved = site.query(&["move", "vip/edge", "--to", to])?;
        ensure!(moved.holder.as_ref() == Some(to), "{moved:?}");
        only_the_holder_has_it(site, "vip/edge")?;
        let told = format!("an operator asked for {to}");
        until("the move is told", PATIENCE, || {
            let newest = explain(site, "vip/edge")?.moves.into_iter().next();
            let newest = newest.context("no move")?;
            let ends = (newest.from.as_ref(), newest.to.as_ref());
            ensure!(
                ends == (Some(from), Some(to)) && newest.reason == told,
                "{newest:?}"
            );
            Ok(())
        })?;
        until_held(site, "vip/edge")?;
    }
    site.try_coordctl(&["move", "vip/edge", "--to", "node-1"])?
        .expect(1, &["node-1", "is not a candidate"])
}

/// A drained node holds nothing; the last one that is left keeps its claim and says why.
pub fn drained(world: &World) -> Result<()> {
    let site = &world.site;
    let first = until_held(site, "vip/internal")?;
    let second = standby(site, "vip/internal")?;
    site.coordctl(&["drain", &first])?;
    ensure!(
        holder(site, "vip/internal")? == Some(second.clone()),
        "it did not move"
    );
    only_the_holder_has_it(site, "vip/internal")?;
    site.try_coordctl(&["move", "vip/internal", "--to", &first])?
        .expect(1, &["is drained"])?;
    let text = site.coordctl(&["drain", &second])?;
    ensure!(text.contains("no other can take it"), "{text}");
    ensure!(
        holder(site, "vip/internal")? == Some(second.clone()),
        "it was given up"
    );
    // What was asked for outlives a restart.
    site.sh(COORDINATOR, "systemctl restart hamesh-coordinator")?;
    until("both are still drained", PATIENCE, || {
        let status = site.status()?;
        for node in [&first, &second] {
            ensure!(status.node(node)?.drained, "{node} is not");
        }
        Ok(())
    })?;
    for node in [&first, &second] {
        site.coordctl(&["undrain", node])?;
    }
    until_held(site, "vip/internal").map(drop)
}

/// A paused claim is not moved by an operator either, until it is resumed.
pub fn paused(world: &World) -> Result<()> {
    let site = &world.site;
    let holder = until_held(site, "vip/edge")?;
    site.coordctl(&["claim", "pause", "vip/edge"])?;
    site.try_coordctl(&["move", "vip/edge"])?
        .expect(1, &["is paused", "coordctl claim resume"])?;
    let resumed: Claim = site.query(&["claim", "resume", "vip/edge"])?;
    ensure!(
        resumed.holder == Some(holder) && !resumed.paused,
        "{resumed:?}"
    );
    Ok(())
}

/// A restart of the coordinator, in order or killed, moves nothing.
pub fn coordinator_restarted(world: &World) -> Result<()> {
    for script in [
        "systemctl restart hamesh-coordinator",
        "systemctl kill --signal KILL hamesh-coordinator",
    ] {
        unmoved_by(&world.site, || world.site.sh(COORDINATOR, script).map(drop)).context(script)?;
    }
    Ok(())
}

/// Without any coordinator for a while, holders keep what they hold.
pub fn coordinator_gone(world: &World) -> Result<()> {
    let site = &world.site;
    unmoved_by(site, || {
        let holders = holders(site)?;
        site.sh(
            COORDINATOR,
            "systemctl stop hamesh-coordinator hamesh-store",
        )?;
        throughout("every holder keeps what it holds", AWAY, || {
            for (claim, holder, address) in &holders {
                let has = has_address(site, holder, address)?;
                ensure!(has, "{holder} gave {claim} up");
            }
            Ok(())
        })?;
        site.sh(COORDINATOR, "systemctl start hamesh-coordinator")
            .map(drop)
    })
}

/// Without the store leases go on, and who holds what is shown.
pub fn store_gone(world: &World) -> Result<()> {
    let site = &world.site;
    unmoved_by(site, || {
        site.sh(COORDINATOR, "systemctl stop hamesh-store")?;
        throughout("every claim is held", SILENT, || {
            let claims: Vec<Claim> = site.query(&["claims"])?;
            ensure!(
                claims.iter().all(|claim| claim.state == "held"),
                "{claims:?}"
            );
            Ok(())
        })?;
        site.sh(COORDINATOR, "systemctl start hamesh-store")
            .map(drop)
    })
}

/// After `what`, each claim is where it was, and no move of it was told meanwhile.
pub(super) fn unmoved_by(site: &Site, what: impl FnOnce() -> Result<()>) -> Result<()> {
    let look = || -> Result<Vec<Explanation>> {
        CLAIMS.iter().map(|claim| explain(site, claim)).collect()
    };
    for claim in CLAIMS {
        until_held(site, claim)?;
    }
    let before = look()?;
    what()?;
    site.until_whole()?;
    for claim in CLAIMS {
        until_held(site, claim)?;
        only_the_holder_has_it(site, claim)?;
    }
    for (before, after) in before.into_iter().zip(look()?) {
        ensure!(before.holder == after.holder, "{before:?} became {after:?}");
        ensure!(before.moves == after.moves, "{before:?} became {after:?}");
    }
    Ok(())
}

fn explain(site: &Site, claim: &str) -> Result<Explanation> {
    site.query(&["explain", claim])
}

fn holder(site: &Site, claim: &str) -> Result<Option<String>> {
    Ok(explain(site, claim)?.holder)
}

/// The holder, once there is one and every other candidate could take its place.
fn until_held(site: &Site, claim: &str) -> Result<String> {
    until(
        &format!("{claim} is held, and could be taken over"),
        PATIENCE,
        || {
            let seen = explain(site, claim)?;
            let able = |it: &crate::site::views::Candidate| it.holds || it.why_not.is_none();
            ensure!(
                seen.state == "held" && seen.candidates.iter().all(able),
                "{seen:?}"
            );
            seen.holder.context("no holder")
        },
    )
}

fn standby(site: &Site, claim: &str) -> Result<String> {
    let seen = explain(site, claim)?;
    let other = seen.candidates.into_iter().find(|it| !it.holds);
    other
        .map(|it| it.node)
        .with_context(|| format!("{claim} has one candidate only"))
}

fn holders(site: &Site) -> Result<Vec<(String, String, String)>> {
    let claims: Vec<Claim> = site.query(&["claims"])?;
    let each = |claim: Claim| {
        let holder = claim
            .holder
            .with_context(|| format!("nobody holds {}", claim.claim))?;
        let address = claim.addresses.into_iter().next().context("no address")?;
        Ok((claim.claim, holder, address))
    };
    claims.into_iter().map(each).collect()
}

fn has_address(site: &Site, node: &str, address: &str) -> Result<bool> {
    let shown = site.sh(node, "ip -oneline address show")?;
    let prefix = format!(" {address}/");
    Ok(shown.lines().any(|line| line.contains(&prefix)))
}

/// Of all candidates the holder alone has the addresses configured.
fn only_the_holder_has_it(site: &Site, claim: &str) -> Result<()> {
    until(
        &format!("the holder of {claim} alone has its addresses"),
        PATIENCE,
        || {
            let seen = explain(site, claim)?;
            let holder = seen.holder.context("no holder")?;
            for address in &seen.addresses {
                let mut with = BTreeSet::new();
                for candidate in &seen.candidates {
                    if has_address(site, &candidate.node, address)? {
                        with.insert(candidate.node.as_str());
                    }
                }
                let only = BTreeSet::from([holder.as_str()]);
                ensure!(with == only, "{address} is on {with:?}, held by {holder}");
            }
            Ok(())
        },
    )
}
