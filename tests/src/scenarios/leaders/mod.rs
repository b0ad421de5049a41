//! Three coordinators: added, lost one way or another, and removed; no address moves for it.
//!
//! `coordctl` runs on the first coordinator's machine all along, and finds whoever leads. While a
//! drill goes on a client asks a hundred times a second who has the address: one machine answers,
//! the same one throughout.

mod bench;
mod clocks;
mod lost;
mod members;
mod recovered;

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::World;
use super::asked::{asked, by_one_throughout};
use super::claims::{held_by, settled};
use crate::site::wait::{throughout, until};
use crate::site::{COORDINATOR, PATIENCE, Site};

pub use bench::bench;
pub use clocks::apart;
pub use lost::{
    all_killed, cut_from_a_holder, cut_off, frozen, killed, powered_off, stopped, two_lost,
    with_a_holder,
};
pub use members::{
    added, enrolled_by_a_standby, removed, replaced, restored_beside, restored_unheld,
};
pub use recovered::from_agents;

/// The first coordinator, and those that are added to it.
const ALL: [&str; 3] = [COORDINATOR, "control-2", "control-3"];
/// The address that is watched, and the network of the client that watches it.
const EDGE: Ipv4Addr = Ipv4Addr::new(192, 168, 30, 130);
const NETWORK: &str = "untrust";
/// Many leases long.
const WATCH: Duration = Duration::from_secs(10);

/// A coordinator, as `coordctl coordinator list` shows it.
#[derive(Debug, Deserialize)]
struct Part {
    node: String,
    part: String,
    leads: bool,
}

/// Does something to coordinators. While that goes on, and for a while after, the holder's machine
/// alone answers for the address.
pub(super) fn unmoved(world: &World, act: impl FnOnce(&Site, &str) -> Result<()>) -> Result<()> {
    let site = &world.site;
    let (holder, _) = settled(site)?;
    let ((), questions) = asked(NETWORK, EDGE, || {
        act(site, holder)?;
        stays(site, holder, WATCH)
    })?;
    by_one_throughout(&questions)?;
    site.until_whole()?;
    ensure!(settled(site)?.0 == holder, "it moved");
    Ok(())
}

fn stays(site: &Site, holder: &str, span: Duration) -> Result<()> {
    throughout("it stays where it is", span, || held_by(site, holder))
}

/// Does something to the leader; gives how long it takes, from before that, until `coordctl status`
/// answers with a later leadership, and says so.
fn succeeded(site: &Site, what: &str, fault: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let epoch = site.status()?.epoch;
    let begun = Instant::now();
    fault()?;
    until("a later epoch answers", PATIENCE, || {
        let now = site.status()?.epoch;
        ensure!(now > epoch, "still {now}");
        Ok(())
    })?;
    let took = begun.elapsed();
    println!("    {what}: status again after {took:.2?}");
    Ok(took)
}

fn parts(site: &Site) -> Result<Vec<Part>> {
    site.query(&["coordinator", "list"])
}

fn until_three(site: &Site) -> Result<()> {
    until("three are coordinators", PATIENCE, || {
        let parts = parts(site)?;
        let members = parts.iter().filter(|it| it.part == "member").count();
        ensure!(members == ALL.len(), "{parts:?}");
        Ok(())
    })
}

pub(super) fn leader(site: &Site) -> Result<String> {
    let leads = parts(site)?.into_iter().find(|part| part.leads);
    Ok(leads.context("nobody leads")?.node)
}

/// Waits until the leader is one that is wanted: each other one is restarted, and resigns.
pub(super) fn lead(site: &Site, wanted: impl Fn(&str) -> bool) -> Result<String> {
    until("the leadership is where it is wanted", PATIENCE, || {
        let now = leader(site)?;
        if !wanted(&now) {
            site.sh(&now, "systemctl restart hamesh-coordinator")?;
            anyhow::bail!("{now} led");
        }
        Ok(now)
    })
}

/// Lets another than the first coordinator lead, on whose machine `coordctl` runs; gives which.
fn lead_elsewhere(site: &Site) -> Result<String> {
    lead(site, |node| node != COORDINATOR)
}
