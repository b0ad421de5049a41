//! A second machine with the identity of the holder: its state directory, copied.
//!
//! The agent that started later has the name. The other one learns it from the coordinator, or,
//! where it does not reach that, from nobody: then the other members refuse it their promises.

use anyhow::{Context as _, Result, ensure};

use super::{CLAIM, SPARE, settled, watched};
use crate::scenarios::World;
use crate::site::views::Event;
use crate::site::wait::{throughout, until};
use crate::site::{COORDINATOR, PATIENCE, Site, holds};

/// Longer than a machine without memory of its promises waits before it takes anything.
const LONG: std::time::Duration = std::time::Duration::from_secs(40);

/// The copy has an address of its own: the holder hears of it, says so, and gives back.
pub fn copied(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site, CLAIM)?;
    let run = site.agent(holder)?.started_unix_ms;
    let seen = last_event(site)?;
    let copy = Copy::of(site, holder)?;
    let played = watched(|| {
        copy.start("")?;
        site.until_part(other, CLAIM, "holding")?;
        site.until_part(holder, CLAIM, "unable")?;
        told(site, holder, seen)
    });
    copy.end("")?;
    played?;
    let said = "journalctl --unit=hamesh-agent --quiet --grep=\"runs under this node's name\"";
    site.sh(holder, said)?;
    back(site, holder, run)?;
    ensure!(settled(site, CLAIM)?.0 == other, "it went back");
    Ok(())
}

/// The copy has the holder's address too, and the coordinator speaks to the copy alone: the holder
/// hears of nothing, and stops for want of promises before the copy may have the claim.
pub fn in_its_place(world: &World) -> Result<()> {
    let site = &world.site;
    let (holder, other) = settled(site, CLAIM)?;
    let run = site.agent(holder)?.started_unix_ms;
    let address = site.lab.address(holder)?;
    let copy = Copy::of(site, holder)?;
    let shown = site.sh(SPARE, "ip -o link show dev eth0")?;
    let mut words = shown.split_whitespace();
    let mac = words.find(|word| *word == "link/ether");
    let mac = mac.and_then(|_| words.next()).context("no address")?;
    let neighbour = format!("ip neigh replace {address} lladdr {mac} dev eth0");
    let played = watched(|| {
        site.sh(COORDINATOR, &format!("{neighbour} nud permanent"))?;
        copy.start(&format!("ip addr add {address}/32 dev eth0; "))?;
        site.until_part(other, CLAIM, "holding")?;
        throughout("the other one keeps it", LONG, || {
            let part = site.part(other, CLAIM)?;
            ensure!(holds(&part), "{other} is {part}");
            Ok(())
        })
    });
    site.sh(COORDINATOR, &format!("ip neigh del {address} dev eth0"))?;
    copy.end(&format!("ip addr del {address}/32 dev eth0; "))?;
    played?;
    // It may never have heard of the copy: only an operator can tell it then.
    site.sh(holder, "systemctl restart hamesh-agent")?;
    back(site, holder, run)
}

/// The spare machine, in another one's skin.
struct Copy<'a> {
    site: &'a Site,
}

impl<'a> Copy<'a> {
    fn of(site: &'a Site, holder: &str) -> Result<Self> {
        let archive = site.sh(holder, "tar -C /var/lib -cf - hamesh-agent | base64")?;
        let script = "systemctl stop hamesh-agent; cd /var/lib; mv hamesh-agent hamesh-agent.own; \
             mv /run/hamesh-agent /run/hamesh-agent.own; base64 -d | tar -xf -";
        site.sh_fed(SPARE, script, &archive)?;
        Ok(Self { site })
    }

    fn start(&self, first: &str) -> Result<()> {
        let script = format!("{first}systemctl start hamesh-agent");
        self.site.sh(SPARE, &script).map(drop)
    }

    fn end(&self, then: &str) -> Result<()> {
        let script = format!(
            "systemctl stop hamesh-agent; {then}cd /var/lib; \
             rm -rf hamesh-agent /run/hamesh-agent; \
             mv hamesh-agent.own hamesh-agent; mv /run/hamesh-agent.own /run/hamesh-agent; \
             systemctl start hamesh-agent"
        );
        self.site.sh(SPARE, &script).map(drop)
    }
}

/// Waits until the first machine is itself again: a run of its own, and a part in the claim.
fn back(site: &Site, node: &str, before: u64) -> Result<()> {
    site.until_whole()?;
    until(&format!("{node} has started anew"), PATIENCE, || {
        let run = site.agent(node)?.started_unix_ms;
        ensure!(run > before, "still run {run}");
        Ok(())
    })?;
    settled(site, CLAIM).map(drop)
}

fn last_event(site: &Site) -> Result<u64> {
    let events: Vec<Event> = site.query(&["events", "--last", "1"])?;
    events.last().map(|event| event.number).context("no event")
}

/// Waits until the events say that there are two.
fn told(site: &Site, node: &str, after: u64) -> Result<()> {
    until("two agents with one name are told", PATIENCE, || {
        let events: Vec<Event> = site.query(&["events", "--last", "20"])?;
        let found = events.iter().any(|event| {
            let about = event.kind == "node.duplicate" && event.node.as_deref() == Some(node);
            about && event.number > after
        });
        ensure!(found, "{events:?}");
        Ok(())
    })
}
