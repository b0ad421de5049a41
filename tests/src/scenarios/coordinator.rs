//! The coordinator and its store: restarted, killed under load, and gone for a while.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use super::World;
use crate::site::views::{SiteStatus, Token};
use crate::site::wait::until;
use crate::site::{COORDINATOR, PATIENCE, Site};

/// How often both are killed under load.
const KILLS: u32 = 8;

/// A restart in order changes nothing but the epoch.
pub fn restarted(world: &World) -> Result<()> {
    unchanged_by(&world.site, "systemctl restart hamesh-coordinator")
}

/// A SIGKILL of the coordinator, of its store, of both changes nothing but the epoch.
pub fn killed(world: &World) -> Result<()> {
    let site = &world.site;
    unchanged_by(site, "systemctl kill --signal KILL hamesh-coordinator")?;
    unchanged_by(
        site,
        "systemctl kill --signal KILL hamesh-coordinator hamesh-store && sleep 0.2",
    )
}

/// Whatever is killed at whatever instant: a token whose making was acknowledged is there.
pub fn killed_under_load(world: &World) -> Result<()> {
    let site = &world.site;
    let made = "/run/tokens-acknowledged";
    let load = format!(
        "rm -f {made}; systemd-run --quiet --collect --setenv HOME=/root \
         --property TimeoutStopSec=5s --unit load bash -c \
         'while :; do coordctl token create node-1 --valid 1h --output json >> {made}; done'"
    );
    site.sh(COORDINATOR, &load)?;
    for round in 1..=KILLS {
        let enough = u64::from(round) * 2;
        until(&format!("{enough} tokens are made"), PATIENCE, || {
            let count = acknowledged(site, made)?.len() as u64;
            ensure!(count >= enough, "{count}");
            Ok(())
        })?;
        // At odd instants of the writers: the delay differs from round to round.
        let delay = f64::from(round * 37 % 100) / 100.0;
        site.sh(
            COORDINATOR,
            &format!("sleep {delay}; systemctl kill --signal KILL hamesh-store hamesh-coordinator"),
        )?;
    }
    site.sh(COORDINATOR, "systemctl stop load")?;
    site.until_whole()?;
    let kept: Vec<Token> = site.query(&["token", "list"])?;
    let kept: BTreeSet<String> = kept.into_iter().map(|t| t.id).collect();
    let made = acknowledged(site, made)?;
    let lost: Vec<_> = made.difference(&kept).collect();
    ensure!(
        lost.is_empty(),
        "{} of {} acknowledged tokens are lost",
        lost.len(),
        made.len()
    );
    ensure!(
        made.len() as u64 >= u64::from(KILLS) * 2,
        "only {} were made",
        made.len()
    );
    Ok(())
}

/// Without any coordinator agents go on gossiping, notice a death, and start with what they have.
pub fn gone(world: &World) -> Result<()> {
    let site = &world.site;
    let told = site.agent("node-1")?.assignment;
    ensure!(told.is_some(), "node-1 has no assignment to begin with");
    site.sh(
        COORDINATOR,
        "systemctl stop hamesh-coordinator hamesh-store",
    )?;
    let answer = site.try_coordctl(&["status"])?;
    ensure!(
        answer.code == 3,
        "coordctl without a coordinator: {answer:?}"
    );

    site.sh("node-1", "systemctl restart hamesh-agent")?;
    let all = site.others(&[]);
    site.until_seen(&all, &all)?;
    let after = site.agent("node-1")?;
    ensure!(
        after.assignment == told,
        "{told:?} became {:?}",
        after.assignment
    );
    ensure!(
        after.session.is_none(),
        "a session with {:?}",
        after.session
    );

    site.lab.must(["kill", "database-1"])?;
    let rest = site.others(&["database-1"]);
    site.until_seen(&rest, &rest)?;
    site.lab.must(["start", "database-1"])?;
    site.until_seen(&rest, &all)?;

    site.sh(COORDINATOR, "systemctl start hamesh-coordinator")?;
    site.until_whole()
}

/// Runs `script` on the coordinator's node; afterwards all is as before, with a later epoch.
fn unchanged_by(site: &Site, script: &str) -> Result<()> {
    let runs = |site: &Site| -> Result<Vec<u64>> {
        site.nodes
            .iter()
            .map(|n| Ok(site.agent(n)?.started_unix_ms))
            .collect()
    };
    let before = site.status()?;
    let agents = runs(site)?;
    site.sh(COORDINATOR, script)?;
    until("the coordinator answers in a later epoch", PATIENCE, || {
        let epoch = site.status()?.epoch;
        ensure!(epoch > before.epoch, "epoch {epoch}");
        Ok(())
    })?;
    site.until_whole()?;
    let after = site.status()?;
    ensure!(
        after.desired == before.desired,
        "{:?} became {:?}",
        before.desired,
        after.desired
    );
    ensure!(
        after.key_ring_version == before.key_ring_version,
        "the gossip keys changed"
    );
    ensure!(roles(&after) == roles(&before), "the roles changed");
    ensure!(runs(site)? == agents, "an agent was restarted");
    Ok(())
}

fn roles(status: &SiteStatus) -> Vec<(&str, Option<&str>)> {
    status
        .nodes
        .iter()
        .map(|n| (n.name.as_str(), n.role.as_deref()))
        .collect()
}

fn acknowledged(site: &Site, file: &str) -> Result<BTreeSet<String>> {
    let text = site.sh(COORDINATOR, &format!("cat {file} 2>/dev/null || true"))?;
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
    // The last document may still be on its way.
    let ids = documents.map_while(Result::ok);
    Ok(ids
        .filter_map(|d| Some(d.get("id")?.as_str()?.to_owned()))
        .collect())
}
