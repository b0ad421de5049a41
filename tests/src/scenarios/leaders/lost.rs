//! Leaders that are lost: killed, without power, stopped, cut off; and more than one at a time.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};

use super::{ALL, EDGE, NETWORK, WATCH, lead_elsewhere, leader, stays, succeeded, unmoved};
use crate::scenarios::World;
use crate::scenarios::asked::{Asking, asked, at_most_one, longest_silence};
use crate::scenarios::claims::{one_answers, settled, until_held_by};
use crate::site::views::Event;
use crate::site::wait::{throughout, until};
use crate::site::{COORDINATOR, PATIENCE, Site};
use crate::vip::arp::Question;

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

/// A leader and a holder that lose their power in one instant: the other member has the address as
/// soon as somebody leads and a lease has gone by.
pub fn with_a_holder(world: &World) -> Result<()> {
    both_lost(&world.site).map(drop)
}

/// From the loss of both: how long until another leads, and until the address answers again.
pub(super) fn both_lost(site: &Site) -> Result<(Duration, Duration)> {
    let before = lead_elsewhere(site)?;
    let (holder, other) = settled(site)?;
    let asking = Asking::start(NETWORK, None, EDGE);
    // The nodes of the lab have this machine's clock.
    let (lost, asked) = (SystemTime::now(), asking.origin.elapsed());
    let powers_off = [before.as_str(), holder].map(|node| {
        let (lab, node) = (site.lab.clone(), node.to_owned());
        std::thread::spawn(move || lab.must(["kill", &node]).map(drop))
    });
    let off = powers_off
        .into_iter()
        .try_for_each(|it| it.join().unwrap_or_else(|_| bail!("the thread broke off")));
    let taken = off.and_then(|()| until_held_by(site, other));
    let leads = taken.and_then(|()| leads_since(site)?.duration_since(lost).context("before?"));
    let questions = asking.end()?;
    for node in [before.as_str(), holder] {
        site.lab.must(["start", node])?;
    }
    let leads = leads?;
    site.until_whole()?;
    at_most_one(&questions)?;
    let of_before = questions.iter().find_map(|it| it.answers.first());
    let by_another = |it: &&Question| it.answers.first().is_some_and(|it| Some(it) != of_before);
    let answered = questions.iter().find(by_another);
    let answered = answered.context("no other one answered")?.at - asked;
    println!(
        "    leader and holder without power: another leads after {leads:.2?}, the address answers \
         after {answered:.2?}"
    );
    Ok((leads, answered))
}

/// When the present leadership began.
fn leads_since(site: &Site) -> Result<SystemTime> {
    let events: Vec<Event> = site.query(&["events", "--last", "50"])?;
    let began = events.iter().rfind(|it| it.kind == "coordinator.started");
    let at = &began.context("no leadership began")?.at;
    let millis = site.sh(COORDINATOR, &format!("date --date='{at}' +%s%3N"))?;
    let millis = millis.trim().parse().context("a number of milliseconds")?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_millis(millis))
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
