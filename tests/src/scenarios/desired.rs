//! Desired state: what is wrong in a document, generations, roles, the gossip keys.

use anyhow::{Context as _, Result, ensure};

use super::World;
use super::identity::apply;
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE};

/// Every error of a document is told in one go, with its line and the nearest valid name.
pub fn bad_documents(world: &World) -> Result<()> {
    let site = &world.site;
    let before = site.status()?.desired;
    let document = site.coordctl(&["site"])?;
    let bad =
        document
            .replacen("role:", "rolle:", 1)
            .replacen("role: database", "role: databse", 1);
    ensure!(bad != document, "there is nothing to spoil in:\n{document}");
    let answer = apply(site, &bad)?;
    answer.expect(2, &["rolle", "did you mean", "role", "databse", "database"])?;
    let numbered = answer.stderr.lines().filter(|l| has_position(l)).count();
    ensure!(numbered >= 2, "{numbered} errors with a line: {answer:?}");
    site.try_coordctl(&["assign", "node-1", "k8s-wroker", "--yes"])?
        .expect(2, &["k8s-worker"])?;
    site.try_coordctl(&["assign", "node-11", "k8s-worker", "--yes"])?
        .expect(2, &["node-1"])?;
    ensure!(
        site.status()?.desired == before,
        "a refused document changed the desired state"
    );
    Ok(())
}

/// A change is planned, shown, applied once, and reaches its node; the same again changes nothing.
pub fn generations(world: &World) -> Result<()> {
    let site = &world.site;
    let before = site.status()?.desired.context("no desired state")?;
    let dry = site.coordctl(&["assign", "node-3", "none", "--dry-run"])?;
    ensure!(
        dry.contains("node-3"),
        "the plan does not name node-3:\n{dry}"
    );
    ensure!(
        site.status()?.desired == Some(before),
        "--dry-run changed the desired state"
    );

    site.coordctl(&["assign", "node-3", "none", "--yes"])?;
    let after = site.status()?.desired.context("no desired state")?;
    ensure!(after > before, "{before:?} became {after:?}");
    until(
        "every agent has accepted the new state, node-3 without a role",
        PATIENCE,
        || {
            let status = site.status()?;
            for node in &status.nodes {
                ensure!(
                    node.applied == Some(after),
                    "{} has {:?}",
                    node.name,
                    node.applied
                );
            }
            let told = site.agent("node-3")?.assignment.context("no assignment")?;
            ensure!(told.role.is_none(), "{:?}", told.role);
            Ok(())
        },
    )?;
    site.coordctl(&["assign", "node-3", "none", "--yes"])?;
    ensure!(
        site.status()?.desired == Some(after),
        "the same again spent a generation"
    );
    site.coordctl(&["assign", "node-3", "k8s-worker", "--yes"])?;
    until("node-3 has its role again", PATIENCE, || {
        let told = site.agent("node-3")?.assignment.context("no assignment")?;
        ensure!(
            told.role.as_deref() == Some("k8s-worker"),
            "{:?}",
            told.role
        );
        Ok(())
    })
}

/// The gossip keys are changed while all gossip, and nobody takes anybody for dead.
pub fn key_rotation(world: &World) -> Result<()> {
    let site = &world.site;
    let before = site.status()?;
    let deaths = super::membership::deaths(site)?;
    site.coordctl(&["gossip", "rotate-key"])?;
    until("every agent has the new keys", PATIENCE, || {
        let ring = site.status()?.key_ring_version;
        ensure!(ring > before.key_ring_version, "version {ring}");
        for node in &site.nodes {
            let own = site.agent(node)?.key_ring_version;
            ensure!(own == ring, "{node} has version {own} of {ring}");
        }
        Ok(())
    })?;
    site.until_whole()?;
    ensure!(
        super::membership::deaths(site)? == deaths,
        "the rotation was taken for a death"
    );
    Ok(())
}

/// A viewer may look and may not change; a stranger may do nothing.
pub fn access(world: &World) -> Result<()> {
    let site = &world.site;
    let file = "/root/viewer.json";
    site.sh(COORDINATOR, &format!("rm -f {file}"))?;
    site.coordctl(&[
        "operator", "add", "watch", "--access", "viewer", "--out", file,
    ])?;
    let mode = site.sh(COORDINATOR, &format!("stat -c %a {file}"))?;
    ensure!(mode.trim() == "600", "the context file's mode is {mode}");
    site.coordctl(&["--context", file, "status"])?;
    let refused = site.try_coordctl(&["--context", file, "token", "create", "node-1"])?;
    refused.expect(4, &[])?;
    // The same file works from another machine.
    let text = site.sh(COORDINATOR, &format!("cat {file}"))?;
    site.sh(
        "node-1",
        &format!("umask 077; cat > {file} <<'END'\n{text}\nEND\n"),
    )?;
    let elsewhere = site.on("node-1", &["coordctl", "--context", file, "nodes"]);
    if site.try_sh("node-1", "command -v coordctl")?.code == 0 {
        elsewhere?.expect(0, &["node-2"])?;
    }
    site.coordctl(&["operator", "remove", "watch", "--yes"])?;
    site.try_coordctl(&["--context", file, "status"])?
        .expect(4, &[])
}

fn has_position(line: &str) -> bool {
    let mut parts = line.split(':').skip(1);
    let number = |text: Option<&str>| text.is_some_and(|t| t.trim().parse::<u32>().is_ok());
    number(parts.next()) && number(parts.next())
}
