//! Machines that become coordinators, are replaced, and cease to be.

use anyhow::{Result, ensure};

use super::{ALL, lead, lead_elsewhere, leader, parts, unmoved, until_three};
use crate::scenarios::World;
use crate::scenarios::identity::{address, enrol_anew, enrol_anew_at};
use crate::scenarios::packages::APT;
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// The one that is lost and replaced.
const BLANK: &str = "control-3";

/// From one to three: the package is there, an admin says so, the rest comes by itself.
pub fn added(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        name_coordinators(site, &ALL)?;
        for node in &ALL[1..] {
            site.sh(node, &format!("{APT} install -y -q hamesh-coordinator"))?;
            site.coordctl(&["coordinator", "add", node])?;
            until_serves(site, node)?;
        }
        until_three(site)?;
        ensure!(leader(site)? == COORDINATOR, "the leadership moved");
        let again = site.try_coordctl(&["coordinator", "add", ALL[1]])?;
        again.expect(1, &["is a coordinator already"])
    })
}

/// One machine is lost with its disk; a blank one under its name takes its place.
pub fn replaced(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        lead(site, |node| node != BLANK)?;
        site.lab.must(["kill", BLANK])?;
        site.coordctl(&["coordinator", "remove", BLANK, "--yes"])?;
        ensure!(parts(site)?.len() == 2, "{:?}", parts(site)?);
        site.lab.must(["start", BLANK])?;
        site.sh(
            BLANK,
            &format!(
                "{APT} purge -y -q hamesh-agent hamesh-coordinator; \
                 rm -rf /var/lib/hamesh /var/lib/hamesh-agent; \
                 {APT} install -y -q hamesh-agent hamesh-coordinator"
            ),
        )?;
        enrol_anew(site, BLANK)?;
        site.until_whole()?;
        site.coordctl(&["coordinator", "add", BLANK])?;
        until_serves(site, BLANK)?;
        until_three(site)?;
        // It can lead, and what it knows is what the others know.
        let generation = site.status()?.desired;
        lead(site, |node| node == BLANK)?;
        ensure!(site.status()?.desired == generation, "it is behind");
        Ok(())
    })
}

/// A node that is given the address of a coordinator that stands by enrols all the same.
pub fn enrolled_by_a_standby(world: &World) -> Result<()> {
    let site = &world.site;
    lead_elsewhere(site)?;
    enrol_anew_at(site, "node-2", &address(site, COORDINATOR)?)?;
    site.until_whole()
}

/// Back to one, whose machines forget what made them coordinators.
pub fn removed(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        lead(site, |node| node == COORDINATOR)?;
        for node in &ALL[1..] {
            site.coordctl(&["coordinator", "remove", node, "--yes"])?;
            until(&format!("{node} has forgotten it"), PATIENCE, || {
                let left = site.sh(node, "find /var/lib/hamesh -mindepth 1")?;
                ensure!(left.is_empty(), "{left}");
                Ok(())
            })?;
            site.sh(node, &format!("{APT} purge -y -q hamesh-coordinator"))?;
        }
        name_coordinators(site, &ALL[..1])?;
        let left = parts(site)?;
        ensure!(left.len() == 1 && left[0].leads, "{left:?}");
        Ok(())
    })
}

/// Makes these the coordinators of the site document.
fn name_coordinators(site: &Site, nodes: &[&str]) -> Result<()> {
    let list = nodes.join(", ");
    let script = format!(
        "coordctl site > /run/site.yaml; \
         sed -i 's/^coordinators: .*/coordinators: [{list}]/' /run/site.yaml; \
         coordctl apply --file /run/site.yaml --yes"
    );
    site.sh(COORDINATOR, &script).map(drop)
}

fn until_serves(site: &Site, node: &str) -> Result<()> {
    let what = format!("the coordinator on {node} stands by");
    until(&what, PATIENCE, || {
        let active = site.try_sh(node, "systemctl is-active hamesh-coordinator")?;
        ensure!(active.code == 0, "{active:?}");
        Ok(())
    })
}
