//! Nodes with a kernel of their own, under User-Mode Linux: members like any other.

use anyhow::{Context as _, Result, ensure};

use super::{World, lab::nothing_left};
use crate::lab::Lab;
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// The site: its coordinator is a container, the others are not.
const SITE_FILE: &str = "lab/sites/kernels.yaml";

/// After an `up` that was interrupted and another one that was not they are installed and enrolled
/// as others are; they gossip, are truly frozen, and come back from a power
/// cut and from a reboot of their own.
pub fn members(world: &World) -> Result<()> {
    let lab = &world.site.lab;
    lab.must(["down"])?;
    interrupted(lab)?;
    lab.must(["up", SITE_FILE])?;
    let site = Site::of(lab.clone())?;
    site.until_whole()?;
    let kernel = |node: &str| site.sh(node, "uname -r");
    let [one, two] = site.others(&[COORDINATOR])[..] else {
        anyhow::bail!("{SITE_FILE} has the nodes {:?}", site.nodes)
    };
    for node in [one, two] {
        let (own, hosts) = (kernel(node)?, kernel(COORDINATOR)?);
        ensure!(own != hosts, "{node} runs the machine's own kernel, {own}");
    }
    frozen(&site, one)?;
    returns(&site, one, two)?;
    lab.must(["down"])?;
    nothing_left(world)
}

/// Ctrl-C ends `up` at once, with its progress on the screen; the next one goes on from there.
fn interrupted(lab: &Lab) -> Result<()> {
    let (status, screen) = lab.on_terminal(&["up", SITE_FILE], "Boot the VMs", "\u{3}")?;
    ensure!(status.code() == Some(130), "{status}: {screen}");
    Ok(())
}

/// Not only its processes stand still: its kernel, too, answers nobody.
fn frozen(site: &Site, node: &str) -> Result<()> {
    let address = site.lab.address(node)?;
    let ping = format!("ping -q -c 3 -i 0.2 -W 1 {address}");
    site.sh(COORDINATOR, &ping)?;
    let run = site.agent(node)?.started_unix_ms;
    site.lab.must(["freeze", node])?;
    let rest = site.others(&[node]);
    site.until_seen(&rest, &rest)?;
    site.until_state(node, "dead")?;
    let answer = site.try_sh(COORDINATOR, &ping)?;
    ensure!(answer.code == 1, "frozen, {node} answers: {answer:?}");
    site.lab.must(["thaw", node])?;
    site.until_whole()?;
    let now = site.agent(node)?.started_unix_ms;
    ensure!(now == run, "the agent of {node} was restarted");
    Ok(())
}

/// One reboots by itself while the other's power is cut and given back.
fn returns(site: &Site, rebooted: &str, killed: &str) -> Result<()> {
    let boot = |node: &str| site.sh(node, "cat /proc/sys/kernel/random/boot_id");
    let before = boot(rebooted)?;
    // The command's own end may be lost with the machine it ran on.
    site.lab
        .run(["exec", rebooted, "--", "systemctl", "reboot"])?;
    site.lab.must(["kill", killed])?;
    site.until_state(killed, "dead")?;
    site.lab.must(["start", killed])?;
    until("it has booted anew", PATIENCE, || {
        let now = boot(rebooted)?;
        ensure!(now != before, "still boot {now}");
        Ok(())
    })
    .with_context(|| format!("{rebooted} was told to reboot"))?;
    site.until_whole()
}
