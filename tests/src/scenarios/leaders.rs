//! Three coordinators: added, lost one way or another, and removed; no address moves for it.
//!
//! `coordctl` runs on the first coordinator's machine all along, and finds whoever leads. Each
//! drill asserts by ARP from outside that one node answers for the address, the same as before.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::World;
use super::claims::{held_by, settled, until_held_by};
use crate::site::wait::{throughout, until};
use crate::site::{COORDINATOR, PATIENCE, Site};

/// The first coordinator, and those that are added to it.
const ALL: [&str; 3] = [COORDINATOR, "control-2", "control-3"];
/// How long a leader is stopped for: many leaderships.
const STOPPED: Duration = Duration::from_secs(30);
/// Many leases long.
const WATCH: Duration = Duration::from_secs(10);

/// A coordinator, as `coordctl coordinator list` shows it.
#[derive(Debug, Deserialize)]
struct Part {
    node: String,
    part: String,
    leads: bool,
}

/// From one to three: the package is there, an admin says so, the rest comes by itself.
pub fn added(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, _) = settled(site)?;
    name_coordinators(site, &ALL)?;
    for node in &ALL[1..] {
        site.sh(
            node,
            "DEBIAN_FRONTEND=noninteractive apt-get install -y -q hamesh-coordinator",
        )?;
        site.coordctl(&["coordinator", "add", node])?;
        until_serves(site, node)?;
    }
    let parts = parts(site)?;
    ensure!(
        parts.len() == 3 && parts.iter().all(|it| it.part == "member"),
        "{parts:?}"
    );
    ensure!(leader(site)? == COORDINATOR, "the leadership moved");
    let again = site.try_coordctl(&["coordinator", "add", ALL[1]])?;
    again.expect(1, &["is a coordinator already"])?;
    held_by(site, holder)
}

/// A leader that is killed: another one answers within seconds, and nothing moves.
pub fn killed(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, _) = settled(site)?;
    let before = leader(site)?;
    let epoch = site.status()?.epoch;
    site.sh(
        &before,
        "systemctl kill --signal KILL hamesh-coordinator hamesh-store",
    )?;
    let begun = Instant::now();
    until("a later epoch answers", PATIENCE, || {
        let now = site.status()?.epoch;
        ensure!(now > epoch, "still {now}");
        Ok(())
    })?;
    println!(
        "    killed leader: status again after {:?}",
        begun.elapsed()
    );
    throughout("it stays where it is", WATCH, || held_by(site, holder))?;
    site.until_whole()?;
    ensure!(settled(site)?.0 == holder, "it moved");
    Ok(())
}

/// A leader that is stopped and does not know that it was succeeded: it grants nothing, stands by
/// when it goes on, and nothing moves.
pub fn stopped(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, _) = settled(site)?;
    let before = leader(site)?;
    let epoch = site.status()?.epoch;
    let signal = |name: &str| {
        let kill = format!("systemctl kill --signal {name} hamesh-coordinator hamesh-store");
        site.sh(&before, &kill)
    };
    signal("STOP")?;
    let begun = Instant::now();
    let succeeded = until("a later epoch answers", PATIENCE, || {
        let now = site.status()?.epoch;
        ensure!(now > epoch, "still {now}");
        Ok(())
    })
    .and_then(|()| {
        println!(
            "    stopped leader: status again after {:?}",
            begun.elapsed()
        );
        throughout("it stays where it is", STOPPED, || held_by(site, holder))
    });
    signal("CONT")?;
    succeeded?;
    throughout("it stays where it is", WATCH, || held_by(site, holder))?;
    ensure!(leader(site)? != before, "the deposed one leads");
    site.until_whole()?;
    ensure!(settled(site)?.0 == holder, "it moved");
    Ok(())
}

/// Two of three lost: nobody leads, nothing moves; one is back, and somebody leads.
pub fn two_lost(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, _) = settled(site)?;
    for node in &ALL[1..] {
        site.sh(node, "systemctl stop hamesh-coordinator hamesh-store")?;
    }
    let lost = throughout("it stays where it is", WATCH, || held_by(site, holder)).and_then(|()| {
        let answer = site.try_coordctl(&["coordinator", "list"])?;
        ensure!(
            answer.code != 0,
            "somebody leads without a majority: {answer:?}"
        );
        Ok(())
    });
    site.sh(ALL[1], "systemctl start hamesh-store hamesh-coordinator")?;
    lost?;
    until("somebody leads", PATIENCE, || leader(site))?;
    held_by(site, holder)?;
    site.sh(ALL[2], "systemctl start hamesh-store hamesh-coordinator")?;
    site.until_whole()?;
    ensure!(settled(site)?.0 == holder, "it moved");
    Ok(())
}

/// All three restarted at once: a leader within seconds, and nothing moves.
pub fn all_restarted(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, _) = settled(site)?;
    let epoch = site.status()?.epoch;
    for node in ALL {
        let kill = "systemctl kill --signal KILL hamesh-coordinator hamesh-store";
        site.sh(node, kill)?;
    }
    let begun = Instant::now();
    until("a later epoch answers", PATIENCE, || {
        let now = site.status()?.epoch;
        ensure!(now > epoch, "still {now}");
        Ok(())
    })?;
    println!("    all killed: status again after {:?}", begun.elapsed());
    throughout("it stays where it is", WATCH, || held_by(site, holder))?;
    site.until_whole()?;
    ensure!(settled(site)?.0 == holder, "it moved");
    Ok(())
}

/// A leader whose machine is cut off: the others go on, and it stands by when it is back.
pub fn cut_off(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, _) = settled(site)?;
    let cut = lead_elsewhere(site)?;
    let epoch = site.status()?.epoch;
    site.lab.must(["cut", &cut])?;
    let begun = Instant::now();
    let succeeded = until("a later epoch answers", PATIENCE, || {
        let now = site.status()?.epoch;
        ensure!(now > epoch, "still {now}");
        Ok(())
    })
    .and_then(|()| {
        println!(
            "    leader cut off: status again after {:?}",
            begun.elapsed()
        );
        throughout("it stays where it is", WATCH, || held_by(site, holder))
    });
    site.lab.must(["heal", &cut])?;
    succeeded?;
    site.until_whole()?;
    ensure!(settled(site)?.0 == holder, "it moved");
    Ok(())
}

/// Back to one, whose machines forget what made them coordinators.
pub fn removed(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, _) = settled(site)?;
    lead_at(site, COORDINATOR)?;
    for node in &ALL[1..] {
        site.coordctl(&["coordinator", "remove", node, "--yes"])?;
        until(&format!("{node} has forgotten it"), PATIENCE, || {
            let left = site.sh(node, "find /var/lib/hamesh -mindepth 1")?;
            ensure!(left.is_empty(), "{left}");
            Ok(())
        })?;
        site.sh(
            node,
            "DEBIAN_FRONTEND=noninteractive apt-get purge -y -q hamesh-coordinator",
        )?;
    }
    name_coordinators(site, &ALL[..1])?;
    let left = parts(site)?;
    ensure!(left.len() == 1 && left[0].leads, "{left:?}");
    until_held_by(site, holder)
}

/// Makes these the coordinators of the site document.
fn name_coordinators(site: &Site, nodes: &[&str]) -> Result<()> {
    let list = nodes.join(", ");
    let script = format!(
        "coordctl site > /run/site.yaml; \
         sed -i 's/^coordinators: .*/coordinators: [{list}]/' /run/site.yaml; \
         coordctl apply --file /run/site.yaml --yes"
    );
    site.sh(COORDINATOR, &script).map(drop)
}

fn parts(site: &Site) -> Result<Vec<Part>> {
    site.query(&["coordinator", "list"])
}

fn leader(site: &Site) -> Result<String> {
    let leads = parts(site)?.into_iter().find(|part| part.leads);
    Ok(leads.context("nobody leads")?.node)
}

fn until_serves(site: &Site, node: &str) -> Result<()> {
    until(
        &format!("the coordinator on {node} stands by"),
        PATIENCE,
        || {
            let active = site.try_sh(node, "systemctl is-active hamesh-coordinator")?;
            ensure!(active.code == 0, "{active:?}");
            Ok(())
        },
    )
}

/// Restarts whoever leads until that is the coordinator on `node`.
fn lead_at(site: &Site, node: &str) -> Result<()> {
    until(
        &format!("the coordinator on {node} leads"),
        PATIENCE,
        || {
            let now = leader(site)?;
            if now != node {
                site.sh(&now, "systemctl restart hamesh-coordinator")?;
                anyhow::bail!("{now} led");
            }
            Ok(())
        },
    )
}

/// Lets another than the first coordinator lead; gives which.
fn lead_elsewhere(site: &Site) -> Result<String> {
    until("another coordinator leads", PATIENCE, || {
        let now = leader(site)?;
        if now == COORDINATOR {
            site.sh(&now, "systemctl restart hamesh-coordinator")?;
            anyhow::bail!("{now} led");
        }
        Ok(now)
    })
}
