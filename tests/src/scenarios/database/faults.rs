//! What the databases outlive, written to without a pause: a machine lost, frozen or cut off, its
//! programs killed, the leadership moved, agents begun anew.
//!
//! Printed is for how long nothing was acknowledged; nothing that was may be lost. How long is a
//! matter of `tests/bench/db`, on a machine that does nothing else.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Cluster, members, until_whole, while_writing};
use crate::scenarios::World;
use crate::scenarios::served::sql::{Client, LEADER, NODES};
use crate::scenarios::served::until_as_wanted;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// How long coordinators are away: many times a lease.
const OUTAGE: Duration = Duration::from_secs(15);
/// How long is written on after all is well again.
const AFTER: Duration = Duration::from_secs(2);
/// Through which clients reach the databases.
const PROXIES: [&str; 2] = ["haproxy-int-1", "haproxy-int-2"];
/// Kills PostgreSQL's first process.
const KILL_POSTGRESQL: &str = "kill -KILL $(head -1 /var/lib/postgresql/15/hamesh/postmaster.pid)";
/// Kills Patroni and all that it started.
const KILL_ALL: &str = "systemctl kill --signal=KILL --kill-who=all patroni";

/// The leader lost in each way: another one leads, and nothing that was acknowledged is lost; back
/// again, the one of before follows.
pub fn leader_lost(world: &World) -> Result<()> {
    let faults: [(&str, Fault); 6] = [
        ("power cut", Fault::Lab("kill", "start")),
        ("frozen", Fault::Lab("freeze", "thaw")),
        ("cut off", Fault::Lab("cut", "heal")),
        ("cut off from all but the proxies", Fault::AllButProxies),
        ("PostgreSQL killed", Fault::Script(KILL_POSTGRESQL)),
        ("Patroni and PostgreSQL killed", Fault::Script(KILL_ALL)),
    ];
    for (name, fault) in faults {
        let lost = until_whole(&world.site)?.leader;
        let written = lose(world, &lost, fault, true)?;
        println!("    leader {lost}, {name}: {written}");
    }
    Ok(())
}

/// The standby that has each commit is lost: commits wait for the other one, and none is lost.
pub fn standby_lost(world: &World) -> Result<()> {
    let lost = until_whole(&world.site)?.standby;
    let written = lose(world, &lost, Fault::Lab("kill", "start"), false)?;
    println!("    standby {lost}, power cut: {written}");
    ensure!(written.failed() == 0, "{written}: {}", written.complaints);
    Ok(())
}

/// The leader's agent begins anew, in peace and after a SIGKILL: nothing closes.
pub fn agent_restarted(world: &World) -> Result<()> {
    let site = &world.site;
    let client = Client::of(world)?;
    for how in ["restart", "kill --signal=KILL"] {
        let leader = until_whole(site)?.leader;
        let (after, written) = while_writing(&client, || {
            site.sh(&leader, &format!("systemctl {how} hamesh-agent"))?;
            site.until_state(&leader, "alive")?;
            sleep(AFTER);
            until_whole(site)
        })?;
        println!("    systemctl {how} hamesh-agent on {leader}: {written}");
        ensure!(after.leader == leader, "{} leads", after.leader);
        ensure!(written.failed() == 0, "{written}: {}", written.complaints);
    }
    Ok(())
}

/// No coordinator answers, for longer than any lease: what leads goes on.
pub fn without_coordinators(world: &World) -> Result<()> {
    let site = &world.site;
    let client = Client::of(world)?;
    let leader = until_whole(site)?.leader;
    let all = |what: &str| -> Result<()> {
        let unit = format!("systemctl {what} hamesh-coordinator");
        site.sh(crate::site::COORDINATOR, &unit).map(drop)
    };
    let ((), written) = while_writing(&client, || {
        all("stop")?;
        sleep(OUTAGE);
        all("start")
    })?;
    println!("    without a coordinator: {written}");
    ensure!(written.failed() == 0, "{written}: {}", written.complaints);
    site.until_whole()?;
    let after = until_whole(site)?.leader;
    ensure!(after == leader, "{after} leads, not {leader}");
    Ok(())
}

/// What is done to a machine.
#[derive(Clone, Copy)]
enum Fault {
    /// By the lab, and how that is ended.
    Lab(&'static str, &'static str),
    /// It reaches the proxies, and so is reached by clients, and nobody else.
    AllButProxies,
    /// By a script on it. It goes on by itself.
    Script(&'static str),
}

/// Does it to a node, waits until rows are acknowledged again, and until all is whole.
fn lose(world: &World, lost: &str, fault: Fault, moves: bool) -> Result<crate::sql::Written> {
    let site = &world.site;
    let client = Client::of(world)?;
    let ((), written) = while_writing(&client, || {
        match fault {
            Fault::Lab(begin, _) => drop(site.lab.must([begin, lost])?),
            Fault::AllButProxies => {
                let others = site.others(&[lost, PROXIES[0], PROXIES[1]]).join(",");
                site.lab.must(["partition", lost, "|", &others])?;
            }
            Fault::Script(script) => drop(site.sh(lost, script)?),
        }
        if moves {
            until_another_leads(site, lost)?;
        }
        until("it takes writes", PATIENCE, || {
            client.told(LEADER, "select 1").map(drop)
        })?;
        sleep(AFTER);
        match fault {
            Fault::Lab(_, end) => drop(site.lab.must([end, lost])?),
            Fault::AllButProxies => drop(site.lab.must(["heal"])?),
            Fault::Script(_) => {}
        }
        site.until_whole()?;
        until_as_wanted(site, &NODES)?;
        let Cluster { leader, .. } = until_whole(site)?;
        ensure!(!moves || leader != lost, "{lost} leads again");
        Ok(())
    })?;
    Ok(written)
}

fn until_another_leads(site: &Site, lost: &str) -> Result<()> {
    until("another one leads", PATIENCE, || {
        let members = members(site, lost)?;
        let leader = members.into_iter().find(|it| it.role == "Leader");
        let leader = leader.context("nobody leads")?;
        ensure!(leader.member != lost, "{lost} is not given up yet");
        Ok(())
    })
}
