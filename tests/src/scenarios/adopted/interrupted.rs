//! Whoever is killed while a pair is taken over: what served goes on, and so does the take-over.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::{INNER, build, enrol, held_once, retired};
use crate::scenarios::World;
use crate::scenarios::served::load::during;
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// How long a run lasts before something is killed: from before its first change to after its last.
const AFTER_MS: [u64; 6] = [300, 1_500, 4_000, 8_000, 15_000, 30_000];

/// Killed again and again, at a later point each time, the same command ends what it began.
pub fn resumed(world: &World) -> Result<()> {
    let site = &world.site;
    site.lab.must(["down"])?;
    build(&site.lab)?;
    enrol(world)?;
    site.coordctl(&["adopt", INNER[0], "internal-proxy", "--yes"])?;
    let command = ["adopt", INNER[1], "internal-proxy", "--yes"];
    let ((), told) = during(world, || {
        for (n, after) in AFTER_MS.into_iter().enumerate() {
            begin(site, &command)?;
            sleep(Duration::from_millis(after));
            kill(site, n)?;
            one_has_it(site)?;
        }
        until("the take-over ends", PATIENCE, || {
            site.coordctl(&command).map(drop)
        })
    })?;
    println!("    {} times interrupted: {told}", AFTER_MS.len());
    ensure!(told.served > 4 * told.failed.max(1), "{told}");
    held_once(site, "vip/internal", "192.168.56.20", INNER)?;
    INNER.into_iter().try_for_each(|node| retired(site, node))?;
    Ok(())
}

/// Begins it on the coordinator, as a unit that can be killed.
fn begin(site: &Site, command: &[&str]) -> Result<()> {
    let run = "systemd-run --quiet --collect --unit=adopt --setenv=HOME=/root coordctl";
    let script = format!("{run} {}", command.join(" "));
    site.sh(COORDINATOR, &script).map(drop)
}

/// The command itself, and one of those that carry it out.
fn kill(site: &Site, n: usize) -> Result<()> {
    let end = "systemctl kill --signal=KILL adopt.service 2>/dev/null || :";
    site.sh(COORDINATOR, end)?;
    let one = |node: &str, unit: &str| {
        let kill = format!("systemctl kill --signal=KILL {unit}.service");
        site.sh(node, &kill).map(drop)
    };
    match n % 3 {
        0 => one(COORDINATOR, "hamesh-coordinator"),
        1 => INNER
            .into_iter()
            .try_for_each(|node| one(node, "hamesh-apply")),
        _ => INNER
            .into_iter()
            .try_for_each(|node| one(node, "hamesh-agent")),
    }
}

/// The address is on one node, by whatever hand.
fn one_has_it(site: &Site) -> Result<()> {
    until("the address is on one node", PATIENCE, || {
        let mut on = 0;
        for node in INNER {
            let addresses = site.sh(node, "ip -4 -o address")?;
            on += usize::from(addresses.contains(" 192.168.56.20/"));
        }
        ensure!(on == 1, "it is on {on} nodes");
        Ok(())
    })
}
