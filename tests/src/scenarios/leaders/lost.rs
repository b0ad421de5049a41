//! Leaders that are lost: killed, without power, stopped, cut off; and more than one at a time.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{ALL, EDGE, NETWORK, WATCH, lead_elsewhere, leader, stays, succeeded, unmoved};
use crate::scenarios::World;
use crate::scenarios::asked::{asked, longest_silence};
use crate::scenarios::claims::{one_answers, settled};
use crate::site::wait::{throughout, until};
use crate::site::{PATIENCE, Site};

/// How long a leader is stopped for: many leaderships.
const STOPPED: Duration = Duration::from_secs(30);
/// A coordinator and its member of the store.
const UNITS: &str = "hamesh-coordinator hamesh-store";

/// A leader that is killed with its store: another one answers within seconds.
pub fn killed(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        let before = leader(site)?;
        succeeded(site, "leader killed", || kill(site, &before)).map(drop)
    })
}

/// A leader whose machine loses its power.
pub fn powered_off(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        let before = lead_elsewhere(site)?;
        let succeeded = succeeded(site, "leader without power", || {
            site.lab.must(["kill", &before]).map(drop)
        });
        site.lab.must(["start", &before])?;
        succeeded.map(drop)
    })
}

/// A leader that is stopped and does not know that it was succeeded: it grants nothing, and stands
/// by when it goes on.
pub fn stopped(world: &World) -> Result<()> {
    unmoved(world, |site, holder| {
        let before = leader(site)?;
        let succeeded = succeeded(site, "leader stopped", || signal(site, &before, "STOP"))
            .and_then(|_| stays(site, holder, STOPPED));
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
        let before = lead_elsewhere(site)?;
        let succeeded = succeeded(site, "leader's machine frozen", || {
            site.lab.must(["freeze", &before]).map(drop)
        })
        .and_then(|_| stays(site, holder, STOPPED));
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
        let cut = lead_elsewhere(site)?;
        let succeeded = succeeded(site, "leader cut off", || {
            site.lab.must(["cut", &cut]).map(drop)
        })
        .and_then(|_| stays(site, holder, WATCH));
        site.lab.must(["heal", &cut])?;
        succeeded
    })
}

/// A leader that one holder does not reach, while all others do: it leads on. Whether the holder
/// goes on by the other member's promise or is succeeded, never do two answer.
pub fn cut_from_a_holder(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, _) = settled(site)?;
    let (before, epoch) = (leader(site)?, site.status()?.epoch);
    let ((), questions) = asked(NETWORK, EDGE, || {
        site.lab.must(["partition", &before, "|", holder])?;
        let what = format!("{holder} holds under no lease of {before}");
        let parted = until(&what, PATIENCE, || {
            let part = site.part(holder, "vip/edge")?;
            ensure!(part != "holding", "{holder} is {part}");
            Ok(part)
        })
        .and_then(|part| {
            println!("    leader cut from the holder, which is {part}");
            throughout("one answers", WATCH, || one_answers(site))
        });
        site.lab.must(["heal"])?;
        parted
    })?;
    let silence = longest_silence(&questions);
    println!("    {silence:?} unanswered at the longest");
    ensure!(site.status()?.epoch == epoch, "another one leads");
    site.until_whole()?;
    settled(site).map(drop)
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
        let fault = || ALL.into_iter().try_for_each(|node| kill(site, node));
        succeeded(site, "all killed", fault).map(drop)
    })
}

pub(super) fn kill(site: &Site, node: &str) -> Result<()> {
    signal(site, node, "KILL")
}

fn signal(site: &Site, node: &str, name: &str) -> Result<()> {
    let kill = format!("systemctl kill --signal {name} {UNITS}");
    site.sh(node, &kill).map(drop)
}
