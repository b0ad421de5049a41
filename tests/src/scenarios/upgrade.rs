//! `coordctl upgrade`: the whole site to a second version of the same tree, and back.
//!
//! Every node finds the second version where apt looks, in a folder of its own; the first one stays
//! in the lab's pool. Three coordinators are there, so that one leads on while another restarts.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use super::World;
use super::claims::settled;
use super::leaders::{leader, unmoved};
use super::packages::later_packages;
use crate::site::views::{Claim, Event};
use crate::site::{COORDINATOR, Site};

/// Where a node's apt finds the second version.
const FOLDER: &str = "/srv/hamesh-next";
const LIST: &str = "/etc/apt/sources.list.d/hamesh-next.list";
/// What is said where nothing is left to do.
const NOTHING: &str = "Nothing to do";

/// The way there and the way back, with two versions side by side on the way. While it goes on a
/// client asks a hundred times a second who has an address.
pub fn there_and_back(world: &World) -> Result<()> {
    let site = &world.site;
    let (first, second) = versions(site)?;
    offer(site)?;
    let moved = unmoved(world, |site, _| {
        upgraded(site, &second)?;
        let again = site.try_coordctl(&["upgrade", "--to", &second, "--yes"])?;
        again.expect(0, &[NOTHING, &second])?;
        // The earlier version reads all that the later one wrote: that way is open, too.
        upgraded(site, &first)
    });
    let withdrawn = withdraw(site);
    moved.and(withdrawn)
}

/// A version that no apt knows: the first node says so, and nothing was done.
pub fn unknown_version(world: &World) -> Result<()> {
    let site = &world.site;
    let (leads, epoch, before) = (leader(site)?, site.status()?.epoch, installed(site)?);
    let plan = site.coordctl(&["upgrade", "--to", "99.9", "--dry-run"])?;
    ensure!(plan.contains("-> 99.9"), "the plan is\n{plan}");
    let answer = site.try_coordctl(&["upgrade", "--to", "99.9", "--yes"])?;
    answer.expect(
        1,
        &["was not upgraded", "99.9", "was not found", "no other node"],
    )?;
    ensure!(installed(site)? == before, "something was installed");
    ensure!(
        (leader(site)?, site.status()?.epoch) == (leads, epoch),
        "a coordinator was restarted"
    );
    for node in &site.nodes {
        let script = "systemctl reset-failed hamesh-upgrade 2>/dev/null || true; \
                      systemctl is-active hamesh-upgrade.path; \
                      test ! -e /var/lib/hamesh-agent/upgrade-order.json";
        site.sh(node, script)
            .with_context(|| format!("{node} does not wait for orders"))?;
    }
    let injected = site.try_coordctl(&["upgrade", "--to", "1;reboot", "--yes"])?;
    injected.expect(2, &["is no version of a package"])
}

/// Takes the whole site to a version, and looks at what that was.
fn upgraded(site: &Site, target: &str) -> Result<()> {
    let (status, leads, held) = (site.status()?, leader(site)?, holders(site)?);
    let newest = last_events(site, 1)?.last().map_or(0, |event| event.number);
    let begun = Instant::now();
    let told = site.coordctl(&["upgrade", "--to", target, "--yes"])?;
    println!("    to {target} in {:.0?}", begun.elapsed());
    ensure!(told.contains("has the version"), "it ended with\n{told}");
    site.until_whole()?;
    for (node, version) in installed(site)? {
        ensure!(version == target, "{node} has {version}");
    }
    let now = site.status()?;
    for node in &now.nodes {
        let runs = node.version.as_deref();
        ensure!(runs == Some(target), "{} runs {runs:?}", node.name);
    }
    ensure!(now.desired == status.desired, "the desired state changed");
    ensure!(now.epoch > status.epoch, "the leader was not restarted");
    ensure!(holders(site)? == held, "claims moved from {held:?}");
    // A store's restart may end a leadership by itself; then another one is the last.
    let last = (now.epoch == status.epoch + 1).then_some(leads.as_str());
    in_order(site, newest, last, &held)
}

/// Coordinators, the leader last of them; then agents, standbys before holders; each once.
fn in_order(
    site: &Site,
    after: u64,
    last: Option<&str>,
    held: &BTreeMap<String, String>,
) -> Result<()> {
    let events = last_events(site, 500)?;
    let steps = events
        .iter()
        .filter(|it| it.number > after && it.kind == "upgrade.step");
    let order: Vec<&str> = steps.filter_map(|it| it.node.as_deref()).collect();
    // A node whose leader went away in the middle is told once more, and has nothing left to do.
    let mut nodes = order.clone();
    nodes.dedup();
    ensure!(nodes.len() == site.nodes.len(), "the steps were {order:?}");
    let place = |node: &str| nodes.iter().position(|it| *it == node);
    let coordinators = nodes[..3].iter().all(|node| node.starts_with("control-"));
    ensure!(coordinators, "coordinators are not first: {order:?}");
    ensure!(
        last.is_none_or(|it| nodes[2] == it),
        "{last:?} led: {order:?}"
    );
    for (claim, holder) in held {
        let group = holder.trim_end_matches(|c: char| c.is_ascii_digit());
        let standbys = nodes
            .iter()
            .filter(|it| it.starts_with(group) && *it != holder);
        for standby in standbys {
            ensure!(
                place(standby) < place(holder),
                "{claim}, {holder}: {order:?}"
            );
        }
    }
    Ok(())
}

fn last_events(site: &Site, count: u32) -> Result<Vec<Event>> {
    site.query(&["events", "--last", &count.to_string()])
}

/// Who holds each claim; each is held.
fn holders(site: &Site) -> Result<BTreeMap<String, String>> {
    settled(site)?;
    let claims: Vec<Claim> = site.query(&["claims"])?;
    let holder = |it: Claim| {
        let holder = it
            .holder
            .with_context(|| format!("nobody holds {}", it.claim))?;
        Ok((it.claim, holder))
    };
    claims.into_iter().map(holder).collect()
}

/// The one version of all packages of hamesh on each node.
fn installed(site: &Site) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::new();
    for node in &site.nodes {
        let query = "dpkg-query --show --showformat='${db:Status-Status} ${Version}\\n' \
                     'hamesh-*' | sed -n 's/^installed //p' | sort --unique";
        let found = site.sh(node, query)?;
        let mut lines = found.lines();
        match (lines.next(), lines.next()) {
            (Some(version), None) => versions.insert(node.clone(), version.to_owned()),
            _ => bail!("on {node} are {found:?}"),
        };
    }
    Ok(versions)
}

/// The one that runs, and the one of the packages that come later.
fn versions(site: &Site) -> Result<(String, String)> {
    let first = installed(site)?.remove(COORDINATOR).context("a version")?;
    let (_, file) = later_packages()?.into_iter().next().context("a package")?;
    let second = file.split('_').nth(1).context("a version")?.to_owned();
    ensure!(first != second, "all run {first} already");
    Ok((first, second))
}

/// Puts the later packages where each node's apt looks.
fn offer(site: &Site) -> Result<()> {
    let packages = later_packages()?;
    let folder = packages[0].1.rsplit_once('/').context("a folder")?.0;
    let index = Command::new("sh")
        .args([
            "-c",
            "apt-ftparchive packages . | sed 's|^Filename: .*/|Filename: ./|'",
        ])
        .current_dir(folder)
        .output()
        .context("apt-ftparchive")?;
    ensure!(index.status.success(), "{index:?}");
    let index = String::from_utf8(index.stdout).context("an index")?;
    for node in &site.nodes {
        site.sh(node, &format!("mkdir -p -m 755 {FOLDER}"))?;
        for (_, file) in &packages {
            let name = file.rsplit('/').next().unwrap_or_default();
            site.lab
                .must(["push", node, file, &format!("{FOLDER}/{name}")])?;
        }
        let script = format!(
            "cat > {FOLDER}/Packages; chmod -R a+rX {FOLDER}; \
             echo 'deb [trusted=yes] file:{FOLDER} ./' > {LIST}"
        );
        site.sh_fed(node, &script, &index)?;
    }
    Ok(())
}

fn withdraw(site: &Site) -> Result<()> {
    for node in &site.nodes {
        let script = format!("rm -rf {FOLDER} {LIST}; apt-get update -q");
        site.sh(node, &script)?;
    }
    Ok(())
}
