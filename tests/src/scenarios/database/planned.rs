//! What operators have done with the databases: another member leads, one is restarted, one is
//! copied anew.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{Cluster, all_acknowledged, until_as_wanted, until_whole, while_writing};
use crate::scenarios::World;
use crate::scenarios::served::sql::{Client, LEADER, NODES};
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

/// `coordctl db status`
#[derive(Debug, Clone, Deserialize)]
struct Databases {
    leader: Option<String>,
    sync_standbys: Vec<String>,
    zero_loss: bool,
    members: Vec<Member>,
    problems: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, Deserialize)]
struct Member {
    node: String,
    timeline: Option<u64>,
    lag_bytes: Option<u64>,
    etcd_healthy: Option<bool>,
}

/// `coordctl db switchover`
#[derive(Debug, Clone, Deserialize)]
struct Switchover {
    from: String,
    to: String,
    leader: Option<String>,
    took_ms: Option<u64>,
}

/// The leader hands over where an operator says so: writes pause, none that was acknowledged is
/// lost, and who may not take over is refused before anything is touched.
pub fn switched_over(world: &World) -> Result<()> {
    let site = &world.site;
    let client = Client::of(world)?;
    let Cluster { leader, standby } = until_whole(site)?;
    let before = until_shown(site, &leader, &standby)?;
    let replica = other(&leader, &standby)?;

    let planned: Switchover = site.query(&["db", "switchover", "--dry-run"])?;
    ensure!(
        planned.from == leader && planned.to == standby && planned.leader.is_none(),
        "{planned:?}"
    );
    let refused = site.try_coordctl(&["db", "switchover", "--to", replica, "--yes"])?;
    refused.expect(1, &["no synchronous standby", "nothing was changed"])?;
    let unknown = site.try_coordctl(&["db", "switchover", "--to", "database-9", "--yes"])?;
    unknown.expect(2, &["did you mean"])?;

    let (done, written) = while_writing(&client, || {
        let done = site.query(&["db", "switchover", "--to", &standby, "--yes"])?;
        until("it takes writes", PATIENCE, || {
            client.told(LEADER, "select 1").map(drop)
        })?;
        Ok::<Switchover, _>(done)
    })?;
    println!("    {leader} handed over to {standby}: {done:?}; {written}");
    ensure!(done.leader.as_deref() == Some(standby.as_str()), "{done:?}");
    ensure!(done.took_ms.is_some(), "{done:?}");

    let whole = until_whole(site)?;
    ensure!(whole.leader == standby, "{} leads", whole.leader);
    let after = until_shown(site, &whole.leader, &whole.standby)?;
    ensure!(
        timeline(&before) < timeline(&after),
        "{before:?}, {after:?}"
    );
    let events = site.coordctl(&["events", "--last", "50"])?;
    ensure!(events.contains("database.switched_over"), "{events}");
    Ok(())
}

/// A replica is restarted, and one is copied anew, while writes go on as if nothing was; the
/// leader's data is not thrown away.
pub fn replicas(world: &World) -> Result<()> {
    let site = &world.site;
    let client = Client::of(world)?;
    let Cluster { leader, standby } = until_whole(site)?;
    let replica = other(&leader, &standby)?;
    let refused = site.try_coordctl(&["db", "reinit", &leader, "--yes"])?;
    refused.expect(1, &["cannot be thrown away", "nothing was changed"])?;
    for what in ["restart", "reinit"] {
        let ((), written) = while_writing(&client, || {
            site.coordctl(&["db", what, replica, "--yes"])?;
            until_whole(site).map(drop)
        })?;
        println!("    {what} of {replica}: {written}");
        all_acknowledged(&written)?;
    }
    until_as_wanted(site, &NODES)?;
    let Cluster { leader, standby } = until_whole(site)?;
    until_shown(site, &leader, &standby).map(drop)
}

/// Waits until `coordctl db status` shows all three as they are, and nothing wrong.
fn until_shown(site: &Site, leader: &str, standby: &str) -> Result<Databases> {
    until("coordctl shows the databases as they are", PATIENCE, || {
        let shown: Databases = site.query(&["db", "status"])?;
        let members: Vec<_> = shown.members.iter().map(|it| it.node.as_str()).collect();
        let followed = |it: &&Member| it.node != leader && it.lag_bytes.is_none();
        ensure!(
            shown.leader.as_deref() == Some(leader)
                && shown.sync_standbys == [standby]
                && shown.zero_loss
                && members == NODES
                && shown.members.iter().all(|it| it.etcd_healthy == Some(true))
                && shown.members.iter().filter(followed).count() == 0
                && shown.problems.is_empty(),
            "{shown:?}"
        );
        Ok(shown)
    })
}

/// The member that is neither.
fn other(leader: &str, standby: &str) -> Result<&'static str> {
    let mut others = NODES
        .into_iter()
        .filter(|it| *it != leader && *it != standby);
    others.next().context("there is no third member")
}

fn timeline(shown: &Databases) -> Option<u64> {
    shown.members.iter().filter_map(|it| it.timeline).max()
}
