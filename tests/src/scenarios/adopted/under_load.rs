//! The page is asked for without a pause, from before hamesh comes until it has all of it.

use anyhow::{Context as _, Result, ensure};

use super::{INNER, OUTER, SITE, enrol, held_once, retired, state};
use crate::scenarios::World;
use crate::scenarios::observe::{TAKING_OVER, guide_text};
use crate::scenarios::served::load::{CONNECTIONS, during};
use crate::scenarios::served::page;
use crate::site::COORDINATOR;
use crate::tidy::{self, docs};

/// hamesh comes, looks, and takes the proxies over; of each address no more is felt than one move.
pub fn taken_over(world: &World) -> Result<()> {
    let site = &world.site;
    let proxies = [INNER, OUTER].concat();
    let look = || -> Result<Vec<String>> { proxies.iter().map(|node| state(site, node)).collect() };
    let before = look()?;
    let ((), told) = during(world, || enrol(world))?;
    println!("    hamesh installed and enrolled: {told}");
    ensure!(told.failed == 0 && told.served > 0, "{told}");
    ensure!(
        look()? == before,
        "hamesh changed something: {before:?}, now {:?}",
        look()?
    );
    planned(world)?;
    ensure!(look()? == before, "a dry run changed something");
    let outer = OUTER.map(|node| format!("coordctl adopt {node} edge-proxy --yes"));
    for (nodes, commands, claim, ip) in [
        (INNER, guide()?, "vip/internal", "192.168.56.20"),
        (OUTER, outer.to_vec(), "vip/edge", "192.168.30.130"),
    ] {
        let mut failed = 0;
        for command in commands {
            let (_, told) = during(world, || site.sh(COORDINATOR, &command))?;
            println!("    {command}: {told}");
            ensure!(told.served > 0, "{told}");
            failed += told.failed;
        }
        ensure!(
            failed <= u64::from(CONNECTIONS),
            "{failed} failed, and one move breaks {CONNECTIONS} connections at most"
        );
        held_once(site, claim, ip, nodes)?;
        nodes.into_iter().try_for_each(|node| retired(site, node))?;
    }
    page::fetch(world, &[])?;
    let document = site.coordctl(&["site"])?;
    ensure!(
        !document.contains("others") && !document.contains("observe"),
        "{document}"
    );
    given_back(world, &before)
}

/// What the guide has operators do, for the inner proxies.
fn guide() -> Result<Vec<String>> {
    let text = guide_text()?;
    let section = docs::section(&text, TAKING_OVER).context("the guide has no such section")?;
    let commands = docs::blocks(section, "sh");
    let commands = commands.iter().flat_map(|block| block.lines());
    Ok(commands.map(str::to_owned).collect())
}

/// What would be done is told file by file, also what nobody would say any more.
fn planned(world: &World) -> Result<()> {
    let site = &world.site;
    let plan = site.coordctl(&["adopt", INNER[0], "internal-proxy", "--dry-run"])?;
    for part in [
        "package haproxy",
        "`bind *:8080` of listen legacy",
        "`server old 192.168.56.31:8080` of listen legacy",
        "unit keepalived.service runs and starts at boot",
        "write file /etc/haproxy/haproxy.cfg: differs in content",
        "- listen legacy",
        "reload unit haproxy.service",
        "nothing was changed",
    ] {
        ensure!(plan.contains(part), "`{part}` is not in:\n{plan}");
    }
    let holder = ["adopt", INNER[1], "internal-proxy"];
    let plan = site.coordctl(&[&holder[..], &["--dry-run"]].concat())?;
    ensure!(plan.contains("address 192.168.56.20 is on eth"), "{plan}");
    let refused = site.try_coordctl(&[&holder[..], &["--yes"]].concat())?;
    refused.expect(
        1,
        &["haproxy-int-2 stands by", "coordctl adopt haproxy-int-2"],
    )?;
    let document = std::fs::read_to_string(tidy::root().join(SITE))?;
    ensure!(
        site.coordctl(&["site"])?.trim_end() == document.trim_end(),
        "the document on {COORDINATOR} is another one"
    );
    Ok(())
}

/// A node that hamesh leaves has its files of before again.
fn given_back(world: &World, before: &[String]) -> Result<()> {
    let site = &world.site;
    let node = OUTER[0];
    site.coordctl(&["drain", node])?;
    site.coordctl(&["assign", node, "none", "--yes"])?;
    let files = |state: &str| -> Vec<String> {
        let files = state.lines().filter(|line| line.contains("/etc/haproxy/"));
        files.map(str::to_owned).collect()
    };
    let now = files(&state(site, node)?);
    ensure!(
        now == files(&before[2]),
        "{now:?} are not those of before: {}",
        before[2]
    );
    retired(site, node)?;
    page::fetch(world, &[]).map(drop)
}
