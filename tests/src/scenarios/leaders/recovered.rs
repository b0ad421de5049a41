//! All coordinators are lost for good. One backup of the CA, older than the site's last change, and
//! what the nodes hold, are the site again; no address moves meanwhile.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::lost::kill;
use super::members::{make_blank, until_serves};
use super::{ALL, lead, leader, unmoved, until_three};
use crate::scenarios::World;
use crate::scenarios::identity::enrol_anew;
use crate::scenarios::packages::APT;
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// A coordinator whose machine is off, too; it boots again though no leader lets it join. The third
/// one's machine lives on.
const OFF: &str = "control-3";
/// Its claim is newer than the backup.
const LATE: &str = "vip/late";
/// Where what the drill needs is on the first coordinator's machine.
const RECOVER: &str = "coordctl recover /run/backup --passphrase-file /run/passphrase --yes";

/// As `coordctl recover status` shows it.
#[derive(Debug, Deserialize)]
struct Recovery {
    nodes: Vec<Part>,
    obstacles: Vec<String>,
    plan: Option<Plan>,
}

#[derive(Debug, Deserialize)]
struct Part {
    node: String,
    part: String,
}

#[derive(Debug, Deserialize)]
struct Plan {
    document_from: String,
    claims: Vec<Claim>,
}

#[derive(Debug, Deserialize)]
struct Claim {
    claim: String,
    holders: Vec<String>,
}

/// Nobody coordinates the site any more; its agents and an old backup bring it back.
pub fn from_agents(world: &World) -> Result<()> {
    unmoved(world, |site, _| {
        lead(site, |node| node == COORDINATOR)?;
        let backup = backup(site)?;
        change(site)?;
        let before = site.status()?.desired;
        let late = holder(site, LATE)?;
        lose_all(site)?;
        begin(site, &backup)?;
        let heard = site.nodes.len() - 2;
        until_heard(site, heard)?;
        // Killed, it has an empty mind, and is told again.
        kill_one(site)?;
        until_heard(site, heard)?;
        let refused = site.try_coordctl(&["recover", "finish", "--yes"])?;
        refused.expect(1, &["nothing was changed", "--without control-3"])?;
        planned(site, &late)?;
        site.coordctl(&["recover", "finish", "--without", OFF, "--yes"])?;
        ensure!(
            site.status()?.desired > before,
            "it is no later than before"
        );
        adopted(site, &late)?;
        come_back(site)?;
        adopted(site, &late)?;
        name_late(site, false)?;
        until_three(site)?;
        let again = "coordctl backup /run/again --passphrase-file /run/passphrase";
        site.sh(COORDINATOR, again).map(drop)
    })
}

fn backup(site: &Site) -> Result<String> {
    let passphrase = "echo a-long-enough-passphrase > /run/passphrase";
    let take = "coordctl backup /run/backup --passphrase-file /run/passphrase >/dev/null";
    let script = format!("{passphrase}; {take}; base64 /run/backup");
    site.sh(COORDINATOR, &script)
}

/// What the backup does not know: a virtual address, and a node's certificate.
fn change(site: &Site) -> Result<()> {
    name_late(site, true)?;
    until("somebody holds the new address", PATIENCE, || {
        holder(site, LATE).map(drop)
    })?;
    enrol_anew(site, "database-1")?;
    site.until_whole()
}

/// Puts the late address into the site document, or takes it out.
fn name_late(site: &Site, there: bool) -> Result<()> {
    let line = "  late: {address: 192.168.56.99, network: trust, role: k8s-worker}";
    let edit = match there {
        true => format!("sed -i 's/^vips:$/vips:\\n{line}/'"),
        false => "sed -i '/^  late: /d'".to_owned(),
    };
    let script = format!(
        "coordctl site > /run/site.yaml; {edit} /run/site.yaml; \
         coordctl apply --file /run/site.yaml --yes"
    );
    site.sh(COORDINATOR, &script).map(drop)
}

fn holder(site: &Site, claim: &str) -> Result<String> {
    #[derive(Debug, Deserialize)]
    struct Held {
        claim: String,
        holder: Option<String>,
    }
    let claims: Vec<Held> = site.query(&["claims"])?;
    let held = claims.into_iter().find(|it| it.claim == claim);
    held.and_then(|it| it.holder).context("nobody holds it")
}

/// Once all members were gathered the late address is where it was.
fn adopted(site: &Site, late: &str) -> Result<()> {
    let holder = until("the grantor knows who holds it", PATIENCE, || {
        holder(site, LATE)
    })?;
    ensure!(holder == late, "{LATE} moved from {late} to {holder}");
    Ok(())
}

/// In one instant, and for good.
fn lose_all(site: &Site) -> Result<()> {
    for node in ALL {
        kill(site, node)?;
    }
    let forget = "systemctl stop hamesh-coordinator hamesh-store; rm -rf /var/lib/hamesh/*; \
                  rm -f ~/.config/hamesh/context.json";
    for node in ALL {
        site.sh(node, forget)?;
    }
    site.lab.must(["kill", OFF])?;
    make_blank(
        site,
        COORDINATOR,
        "hamesh-agent hamesh-coordinator hamesh-cli",
    )
}

fn begin(site: &Site, backup: &str) -> Result<()> {
    let script = format!(
        "echo a-long-enough-passphrase > /run/passphrase; base64 -d > /run/backup; \
         {RECOVER} --node {COORDINATOR}"
    );
    site.sh_fed(COORDINATOR, &script, backup).map(drop)
}

fn kill_one(site: &Site) -> Result<()> {
    let kill = "systemctl kill --signal KILL hamesh-coordinator";
    site.sh(COORDINATOR, kill).map(drop)
}

fn until_heard(site: &Site, wanted: usize) -> Result<()> {
    let what = format!("{wanted} nodes are heard");
    until(&what, PATIENCE, || {
        let now: Recovery = site.query(&["recover", "status"])?;
        let heard = now.nodes.iter().filter(|it| it.part == "heard").count();
        ensure!(heard == wanted, "{now:?}");
        let missing: Vec<_> = now.nodes.iter().filter(|it| it.part == "missing").collect();
        ensure!(missing.len() == 1 && missing[0].node == OFF, "{missing:?}");
        ensure!(now.plan.is_none() && now.obstacles.len() == 1, "{now:?}");
        Ok(())
    })
}

/// What would be done knows the address that the backup does not, and where it is.
fn planned(site: &Site, late: &str) -> Result<()> {
    let planned: Recovery = site.query(&["recover", "status", "--without", OFF])?;
    let plan = planned.plan.context("no plan")?;
    ensure!(plan.document_from == "agents", "{plan:?}");
    let claim = plan.claims.iter().find(|it| it.claim == LATE);
    let claim = claim.context("the late address is not planned")?;
    ensure!(claim.holders == [late], "{claim:?}");
    Ok(())
}

/// The machines that were lost are enrolled again, and coordinate again.
fn come_back(site: &Site) -> Result<()> {
    enrol_anew(site, COORDINATOR)?;
    site.lab.must(["start", OFF])?;
    make_blank(site, OFF, "hamesh-agent hamesh-coordinator")?;
    enrol_anew(site, OFF)?;
    site.until_whole()?;
    ensure!(leader(site)? == COORDINATOR, "another one leads");
    for node in &ALL[1..] {
        site.sh(node, &format!("{APT} install -y -q hamesh-coordinator"))?;
        site.coordctl(&["coordinator", "add", node])?;
        until_serves(site, node)?;
    }
    until_three(site)
}
