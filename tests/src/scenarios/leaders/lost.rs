//! Leaders that are lost: killed, without power, stopped, cut off; and more than one at a time.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{ALL, WATCH, lead_elsewhere, leader, stays, unmoved, until_succeeded};
use crate::scenarios::World;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// How long a leader is stopped for: many leaderships.
const STOPPED: Duration = Duration::from_secs(30);
/// A coordinator and its member of the store.
const UNITS: &str = "hamesh-coordinator hamesh-store";

/// A leader that is killed with its store: another one answers within seconds.
pub fn killed(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        let (before, epoch) = (leader(site)?, site.status()?.epoch);
        signal(site, &before, "KILL")?;
        until_succeeded(site, epoch, "leader killed")
    })
}

/// A leader whose machine loses its power.
pub fn powered_off(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        let (before, epoch) = (lead_elsewhere(site)?, site.status()?.epoch);
        site.lab.must(["kill", &before])?;
        let succeeded = until_succeeded(site, epoch, "leader without power");
        site.lab.must(["start", &before])?;
        succeeded
    })
}

/// A leader that is stopped and does not know that it was succeeded: it grants nothing, and stands
/// by when it goes on.
pub fn stopped(world: &World) -> Result<()> {
    unmoved(world, |site, holder| {
        let (before, epoch) = (leader(site)?, site.status()?.epoch);
        signal(site, &before, "STOP")?;
        let succeeded = until_succeeded(site, epoch, "leader stopped")
            .and_then(|()| stays(site, holder, STOPPED));
        signal(site, &before, "CONT")?;
        succeeded?;
        stays(site, holder, WATCH)?;
        ensure!(leader(site)? != before, "the deposed one leads");
        Ok(())
    })
}

/// The same with its whole machine.
pub fn frozen(world: &World) -> Result<()> {
    unmoved(world, |site, holder| {
        let (before, epoch) = (lead_elsewhere(site)?, site.status()?.epoch);
        site.lab.must(["freeze", &before])?;
        let succeeded = until_succeeded(site, epoch, "leader's machine frozen")
            .and_then(|()| stays(site, holder, STOPPED));
        site.lab.must(["thaw", &before])?;
        succeeded?;
        stays(site, holder, WATCH)?;
        ensure!(leader(site)? != before, "the deposed one leads");
        Ok(())
    })
}

/// A leader whose machine is cut off: the others go on, and it stands by when it is back.
pub fn cut_off(world: &World) -> Result<()> {
    unmoved(world, |site, holder| {
        let (cut, epoch) = (lead_elsewhere(site)?, site.status()?.epoch);
        site.lab.must(["cut", &cut])?;
        let succeeded = until_succeeded(site, epoch, "leader cut off")
            .and_then(|()| stays(site, holder, WATCH));
        site.lab.must(["heal", &cut])?;
        succeeded
    })
}

/// A leader that one holder does not reach, while all others do: it leads on. Whatever becomes of
/// the address (the lease ends, the other member takes over), never do two answer.
pub fn cut_from_a_holder(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, _) = crate::scenarios::claims::settled(site)?;
    let (before, epoch) = (leader(site)?, site.status()?.epoch);
    let ((), questions) = crate::scenarios::asked::asked(super::NETWORK, super::EDGE, || {
        site.lab.must(["partition", &before, "|", holder])?;
        let parted = until("the holder has stopped or is succeeded", PATIENCE, || {
            let part = site.part(holder, "vip/edge")?;
            ensure!(part != "holding", "{holder} is {part}");
            Ok(())
        })
        .and_then(|()| crate::scenarios::claims::one_answers(site));
        site.lab.must(["heal"])?;
        parted
    })?;
    let silent = crate::scenarios::asked::longest_silence(&questions);
    println!("    leader cut from the holder: {silent:?} unanswered at the longest");
    ensure!(site.status()?.epoch == epoch, "another one leads");
    site.until_whole()?;
    crate::scenarios::claims::settled(site).map(drop)
}

/// Two of three lost: nobody leads, nothing moves; one is back, and somebody leads.
pub fn two_lost(world: &World) -> Result<()> {
    unmoved(world, |site, holder| {
        for node in &ALL[1..] {
            site.sh(node, &format!("systemctl stop {UNITS}"))?;
        }
        let lost = stays(site, holder, WATCH).and_then(|()| {
            let answer = site.try_coordctl(&["coordinator", "list"])?;
            ensure!(
                answer.code != 0,
                "somebody leads without a majority: {answer:?}"
            );
            Ok(())
        });
        site.sh(ALL[1], &format!("systemctl start {UNITS}"))?;
        lost?;
        until("somebody leads", PATIENCE, || leader(site))?;
        site.sh(ALL[2], &format!("systemctl start {UNITS}"))
            .map(drop)
    })
}

/// All three killed at once: a leader within seconds.
pub fn all_killed(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        let epoch = site.status()?.epoch;
        for node in ALL {
            signal(site, node, "KILL")?;
        }
        until_succeeded(site, epoch, "all killed")
    })
}

fn signal(site: &Site, node: &str, name: &str) -> Result<()> {
    let kill = format!("systemctl kill --signal {name} {UNITS}");
    site.sh(node, &kill).map(drop)
}
