//! Faults drawn at random, one after another, while the site is asked and written to from outside.
//!
//! A seed draws the same ones again. Each is ended, and then the site must be whole: every node
//! alive, every role as wanted, three members of the databases, before the next one begins.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::holders::{Holders, What};
use super::report::{Report, Window};
use super::requests;
use crate::scenarios::World;
use crate::scenarios::database::until_whole;
use crate::scenarios::disks::Disk;
use crate::scenarios::served::sql::{Client, LEADER, NODES};
use crate::scenarios::served::until_as_wanted;
use crate::site::Site;
use crate::sql::now;

/// How long a fault lasts.
const LASTS: Duration = Duration::from_secs(5);
/// How long all is well between two.
const BETWEEN: Duration = Duration::from_secs(2);

const OUTER: [&str; 2] = ["haproxy-ext-1", "haproxy-ext-2"];
const INNER: [&str; 2] = ["haproxy-int-1", "haproxy-int-2"];
/// Nodes with a role that is applied.
const WITH_ROLE: [&str; 7] = [
    OUTER[0], OUTER[1], INNER[0], INNER[1], NODES[0], NODES[1], NODES[2],
];

/// What can be done to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Kill,
    Cut,
    Freeze,
    Reboot,
    DiskFull,
    /// A program that runs on such nodes is killed.
    Program(&'static str),
}

impl Fault {
    const fn kind(self) -> &'static str {
        match self {
            Self::Kill => "power cut",
            Self::Cut => "cut off",
            Self::Freeze => "frozen",
            Self::Reboot => "rebooted",
            Self::DiskFull => "disk full",
            Self::Program(_) => "process killed",
        }
    }
}

/// One fault at one node.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Drawn {
    fault: Fault,
    node: String,
}

/// Draws a fault for one of these nodes.
fn draw(random: &mut fastrand::Rng, nodes: &[String]) -> Drawn {
    let node = nodes[random.usize(..nodes.len())].clone();
    let fault = match random.u8(..6) {
        0 => Fault::Kill,
        1 => Fault::Cut,
        2 => Fault::Freeze,
        3 => Fault::Reboot,
        4 => Fault::DiskFull,
        _ => {
            let units = units(&node);
            Fault::Program(units[random.usize(..units.len())])
        }
    };
    Drawn { fault, node }
}

/// What runs on a node that a site cannot do without, by its name.
fn units(node: &str) -> &'static [&'static str] {
    match node.split('-').next() {
        Some("haproxy") => &["haproxy", "hamesh-agent", "hamesh-apply"],
        Some("database") => &["patroni", "etcd", "hamesh-agent", "hamesh-apply"],
        Some("control") => &["hamesh-agent"],
        Some(_) | None => &["nginx", "hamesh-agent"],
    }
}

/// Does so many faults to the site; what was felt of them.
///
/// # Errors
/// The site does not become whole again after one, which is named.
pub fn suffer(world: &World, seed: u64, count: usize) -> Result<Report> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (site, client) = (&world.site, Client::of(world)?);
    client.told(
        LEADER,
        "drop table if exists soaked; create table soaked (number bigint primary key)",
    )?;
    let edge = "192.168.30.130".parse().context("an address")?;
    let internal = "192.168.56.20".parse().context("an address")?;
    let holders = Holders::start(&[
        ("vip/edge", What::Address(edge), &OUTER),
        ("vip/internal", What::Address(internal), &INNER),
        ("db/primary", What::Database, &NODES),
    ]);
    let requests = requests::start(world, client.ca())?;
    let rows = client.writer(LEADER, "soaked")?;
    let mut windows = Vec::new();
    for n in 1..=count {
        sleep(BETWEEN);
        let drawn = draw(&mut random, &site.nodes);
        let Drawn { fault, node } = &drawn;
        println!("    {n} of {count}: {}, {node} {fault:?}", fault.kind());
        let from = now();
        bear(site, &drawn).with_context(|| format!("fault {n} of seed {seed}: {drawn:?}"))?;
        windows.push(Window {
            kind: fault.kind(),
            from,
            until: now(),
        });
    }
    sleep(BETWEEN);
    let (requests, rows) = (requests.end()?, rows.end()?);
    let two_holders = holders.end()?;
    let lost = rows.lost(&client.told(LEADER, "select number from soaked")?);
    client.told(LEADER, "drop table soaked")?;
    Ok(Report {
        windows,
        requests,
        rows,
        lost: lost.len(),
        two_holders,
    })
}

/// Does a fault, ends it, and waits until the site is whole.
fn bear(site: &Site, Drawn { fault, node }: &Drawn) -> Result<()> {
    let lab = |verb: &str| site.lab.must([verb, node]).map(drop);
    let for_a_while = |begin: &str, end: &str| {
        lab(begin)?;
        sleep(LASTS);
        lab(end)
    };
    match fault {
        Fault::Kill => for_a_while("kill", "start")?,
        Fault::Cut => for_a_while("cut", "heal")?,
        Fault::Freeze => for_a_while("freeze", "thaw")?,
        Fault::Reboot => {
            // The connection through which it is told ends with it.
            drop(site.try_sh(node, "systemctl reboot"));
            sleep(LASTS);
        }
        Fault::DiskFull => {
            let disk = Disk::of_agent(node);
            disk.shrink(site)?;
            disk.fill(site)?;
            sleep(LASTS);
            disk.make_room(site)?;
            disk.widen(site)?;
        }
        Fault::Program(unit) => {
            site.sh(node, &format!("systemctl kill --signal=KILL {unit}"))?;
            sleep(LASTS);
        }
    }
    site.until_whole()?;
    until_as_wanted(site, &WITH_ROLE)?;
    until_whole(site).map(drop)
}

impl Report {
    /// Whether nothing was lost, and nothing was held twice.
    ///
    /// # Errors
    /// Says what was.
    pub fn judge(&self) -> Result<()> {
        ensure!(self.lost == 0, "acknowledged rows are lost\n{self}");
        let twice = self.two_holders.values().any(|both| !both.is_zero());
        ensure!(!twice, "two nodes held one claim\n{self}");
        for (what, of) in [("requests", &self.requests), ("rows", &self.rows)] {
            ensure!(
                of.acknowledged().next().is_some(),
                "no {what} at all\n{self}"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults_again_and_in_time_every_kind() {
        let nodes = ["haproxy-ext-1", "database-1", "control-1", "node-1"];
        let nodes = nodes.map(str::to_owned);
        let drawn = |seed| {
            let mut random = fastrand::Rng::with_seed(seed);
            (0..60)
                .map(|_| draw(&mut random, &nodes))
                .collect::<Vec<_>>()
        };
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let kinds: std::collections::BTreeSet<_> =
            drawn(7).iter().map(|it| it.fault.kind()).collect();
        assert_eq!(kinds.len(), 6, "{kinds:?}");
    }
}
