//! The lab itself: it goes on where it was, and leaves nothing behind.

use anyhow::{Context as _, Result, ensure};

use super::World;
use crate::site::traces::Traces;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// Bringing up what is up changes nothing.
pub fn up_again(world: &World) -> Result<()> {
    let runs = |site: &Site| -> Result<Vec<u64>> {
        site.nodes
            .iter()
            .map(|n| Ok(site.agent(n)?.started_unix_ms))
            .collect()
    };
    let before = runs(&world.site)?;
    world.site.lab.must(["up"])?;
    ensure!(runs(&world.site)? == before, "an agent was restarted");
    Ok(())
}

/// The site's addresses are in namespaces of the lab, not on the machine itself.
pub fn not_on_the_host(_: &World) -> Result<()> {
    let own = std::fs::read_to_string("/proc/net/fib_trie").context("this machine's routes")?;
    for network in ["192.168.56.", "192.168.30."] {
        ensure!(
            !own.contains(network),
            "{network}0 is known to this machine itself"
        );
    }
    Ok(())
}

/// After `down`, the machine is as it was before; also when the lab was killed on its way up.
pub fn down(world: &World) -> Result<()> {
    let lab = &world.site.lab;
    lab.must(["down"])?;
    nothing_left(world)?;
    for delay in ["1", "3"] {
        let killed = lab.killed_after(delay, &["up"])?;
        ensure!(
            killed.code().is_none(),
            "the lab was up before it could be killed: {killed}"
        );
        lab.must(["down"])?;
        nothing_left(world).with_context(|| format!("killed {delay} s on its way up"))?;
    }
    Ok(())
}

fn nothing_left(world: &World) -> Result<()> {
    until("nothing of the lab is left", PATIENCE, || {
        let left = Traces::look()?.beyond(&world.before);
        ensure!(left.is_empty(), "left behind:\n{}", left.join("\n"));
        Ok(())
    })
}
