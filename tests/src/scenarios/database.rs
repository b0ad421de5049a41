//! The cluster of PostgreSQL: that it forms of blank machines, takes a wiped one in again, goes on
//! while its secrets change, does what operators ask for, and outlives its leader.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde::Deserialize;

use super::World;
use super::identity::enrol_anew;
use super::packages::APT;
use super::served::sql::{Client, LEADER, NODES, REPLICAS};
use super::served::until_as_wanted;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

pub mod planned;

/// Between two rows of the client that writes without a pause.
const EVERY: Duration = Duration::from_millis(100);
/// How long it writes before something is done to the databases.
const BEFORE: Duration = Duration::from_secs(2);
/// Counts on the leader who receives its changes.
const STREAMING: &str = "runuser -u postgres -- psql -XAtqc \
    \"select count(*) from pg_stat_replication where state = 'streaming'\"";
/// The members of etcd, one a line.
const MEMBERS: &str = "pem=/etc/hamesh/database/etcd.pem; ETCDCTL_API=3 etcdctl \
    --endpoints=https://127.0.0.1:2379 --cacert=$pem --cert=$pem --key=$pem.key member list";

/// A member, as `patronictl list` shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Member {
    member: String,
    role: String,
    state: String,
}

/// The members of a cluster that is whole.
struct Cluster {
    leader: String,
    /// Has each commit before it is acknowledged.
    standby: String,
}

/// `coordctl secret list`
#[derive(Debug, Clone, Deserialize)]
struct Secret {
    name: String,
}

/// A row that was to be written.
struct Row {
    number: u64,
    /// When it was acknowledged, or that failed.
    at: Instant,
    failed: Option<String>,
}

/// The role makes one cluster of three machines: one leads, what is written there is read from the
/// others, and these take no writes.
pub fn formed(world: &World) -> Result<()> {
    let site = &world.site;
    until_as_wanted(site, &NODES)?;
    let Cluster { leader, standby } = until_whole(site)?;
    println!("    {leader} leads, {standby} has each commit before it is acknowledged");
    until_three_members(site, &leader)?;
    let client = Client::of(world)?;
    client.told(
        LEADER,
        "create table said (word text); insert into said values ('hello')",
    )?;
    client.until_replicas_tell("select word from said", "hello")?;
    let refused = client.ask(REPLICAS, "insert into said values ('no')")?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("read-only transaction"),
        "a replica takes writes: {refused:?}"
    );
    client.told(LEADER, "drop table said").map(drop)
}

/// A machine is lost with its disk; a blank one under its name takes its place, and no write fails
/// meanwhile, though it had each commit before it was acknowledged.
pub fn wiped(world: &World) -> Result<()> {
    let site = &world.site;
    let client = Client::of(world)?;
    let lost = until_whole(site)?.standby;
    let ((), rows) = while_writing(&client, || {
        for what in ["kill", "wipe", "start"] {
            site.lab.must([what, &lost])?;
        }
        site.sh(
            &lost,
            &format!("apt-get update -qq; {APT} install -y -qq hamesh-agent"),
        )?;
        enrol_anew(site, &lost)?;
        site.until_whole()?;
        until_as_wanted(site, &NODES)?;
        let leader = until_whole(site)?.leader;
        until_three_members(site, &leader)
    })?;
    println!("    {lost} wiped: {}", told(&rows));
    ensure!(failed(&rows).is_empty(), "{:?}", failed(&rows));
    all_there(&client, &rows)
}

/// Keys and passwords are made anew, each of them; no write fails but with a password of before.
pub fn rotated(world: &World) -> Result<()> {
    let site = &world.site;
    let client = Client::of(world)?;
    let ((), rows) = while_writing(&client, || rotate(site, "certificates"))?;
    println!("    new certificates: {}", told(&rows));
    ensure!(failed(&rows).is_empty(), "{:?}", failed(&rows));
    all_there(&client, &rows)?;
    let secrets: Vec<Secret> = site.query(&["secret", "list"])?;
    let of_databases = |secret: &&Secret| secret.name.starts_with("database/");
    let secrets: Vec<_> = secrets.iter().filter(of_databases).collect();
    ensure!(!secrets.is_empty(), "databases have no secret");
    for secret in secrets {
        rotate(site, &secret.name)?;
        Client::of(world)?.told(LEADER, "select 1")?;
        println!("    new {}", secret.name);
    }
    let refused = client.ask(LEADER, "select 1")?;
    ensure!(
        refused.code != 0 && refused.stderr.contains("password authentication failed"),
        "the password of before still does: {refused:?}"
    );
    Ok(())
}

/// The leader's machine loses its power: another one leads, and nothing that was acknowledged is
/// lost; back again, it follows.
pub fn leader_lost(world: &World) -> Result<()> {
    let site = &world.site;
    let client = Client::of(world)?;
    let lost = until_whole(site)?.leader;
    let (leader, rows) = while_writing(&client, || {
        site.lab.must(["kill", &lost])?;
        let leader = until("another one leads", PATIENCE, || {
            let members = members(site, &lost)?;
            let leader = members.into_iter().find(|it| it.role == "Leader");
            let leader = leader.context("nobody leads")?;
            ensure!(leader.member != lost, "{lost} is not given up yet");
            Ok(leader.member)
        })?;
        until("it takes writes", PATIENCE, || {
            client.told(LEADER, "select 1").map(drop)
        })?;
        Ok(leader)
    })?;
    println!("    {lost} lost, {leader} leads: {}", told(&rows));
    site.lab.must(["start", &lost])?;
    site.until_whole()?;
    until_as_wanted(site, &NODES)?;
    until_whole(site)?;
    all_there(&client, &rows)
}

/// Rotates a secret, and waits until all is as it was.
fn rotate(site: &Site, secret: &str) -> Result<()> {
    site.coordctl(&["secret", "rotate", secret])?;
    until_as_wanted(site, &NODES)?;
    until_whole(site).map(drop)
}

/// The members, as one that is not this node sees them.
fn members(site: &Site, but: &str) -> Result<Vec<Member>> {
    let asked = NODES.iter().find(|node| **node != but);
    let list = "patronictl -c /etc/patroni/config.yml list -f json";
    let told = site.sh(asked.unwrap_or(&NODES[0]), list)?;
    serde_json::from_str(&told).with_context(|| format!("patronictl printed:\n{told}"))
}

/// Waits until one leads and both others follow it, one of them with each commit.
fn until_whole(site: &Site) -> Result<Cluster> {
    until("the cluster is whole", PATIENCE, || {
        let members = members(site, "")?;
        let only = |role: &str| {
            let mut having = members.iter().filter(|it| it.role == role);
            let first = having.next().map(|it| it.member.clone());
            first
                .filter(|_| having.next().is_none())
                .with_context(|| format!("not one {role}: {members:?}"))
        };
        let (leader, standby) = (only("Leader")?, only("Sync Standby")?);
        only("Replica")?;
        let up = |it: &Member| it.state == "running" || it.state == "streaming";
        ensure!(members.iter().all(up), "{members:?}");
        let streaming = site.sh(&leader, STREAMING)?;
        ensure!(streaming.trim() == "2", "to {streaming} of two replicas");
        Ok(Cluster { leader, standby })
    })
}

/// Waits until etcd has the three nodes as members that vote, and no other.
fn until_three_members(site: &Site, node: &str) -> Result<()> {
    until("etcd has three members that vote", PATIENCE, || {
        let told = site.sh(node, MEMBERS)?;
        let votes = |line: &&str| line.contains(", started, ") && line.ends_with(", false");
        let well = told.lines().count() == 3 && told.lines().filter(votes).count() == 3;
        ensure!(well, "{told}");
        Ok(())
    })
}

/// Writes a row every [`EVERY`], each on a connection of its own, until something is done.
fn while_writing<T>(client: &Client<'_>, act: impl FnOnce() -> Result<T>) -> Result<(T, Vec<Row>)> {
    client.told(
        LEADER,
        "drop table if exists written; create table written (number bigint primary key)",
    )?;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut rows = Vec::new();
            loop {
                // The last one begins when all is done: it ends the silence, if there was one.
                let (ended, begun) = (over.load(Ordering::Relaxed), Instant::now());
                rows.push(write(client, rows.len() as u64)?);
                if ended {
                    return anyhow::Ok(rows);
                }
                sleep(EVERY.saturating_sub(begun.elapsed()));
            }
        });
        sleep(BEFORE);
        let done = act();
        over.store(true, Ordering::Relaxed);
        let rows = writing.join().map_err(|_| anyhow!("writing ended"))??;
        Ok((done?, rows))
    })
}

fn write(client: &Client<'_>, number: u64) -> Result<Row> {
    let answer = client.ask(LEADER, &format!("insert into written values ({number})"))?;
    let failed = (answer.code != 0).then(|| format!("{}: {}", answer.code, answer.stderr.trim()));
    Ok(Row {
        number,
        at: Instant::now(),
        failed,
    })
}

/// Fails unless every row that was acknowledged is there.
fn all_there(client: &Client<'_>, rows: &[Row]) -> Result<()> {
    let there = client.told(LEADER, "select number from written")?;
    let there: BTreeSet<&str> = there.lines().collect();
    let acknowledged = rows.iter().filter(|row| row.failed.is_none());
    let numbers = acknowledged.map(|row| row.number.to_string());
    let missing: Vec<_> = numbers.filter(|it| !there.contains(it.as_str())).collect();
    ensure!(
        missing.is_empty(),
        "acknowledged, and not there: {missing:?}"
    );
    client.told(LEADER, "drop table written").map(drop)
}

fn failed(rows: &[Row]) -> Vec<&str> {
    rows.iter()
        .filter_map(|row| row.failed.as_deref())
        .collect()
}

/// How many, and for how long nothing was acknowledged at the longest.
fn told(rows: &[Row]) -> String {
    let (failed, silence) = (failed(rows).len(), longest_silence(rows));
    format!(
        "{} rows written, {failed} failed, none acknowledged for {silence:.2?} at the longest",
        rows.len() - failed,
    )
}

/// The longest time between two rows that were acknowledged, one after the other.
fn longest_silence(rows: &[Row]) -> Duration {
    let acknowledged = rows.iter().filter(|row| row.failed.is_none());
    let times: Vec<_> = acknowledged.map(|row| row.at).collect();
    let gaps = times.windows(2).map(|pair| pair[1].duration_since(pair[0]));
    gaps.max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_is_between_rows_that_were_acknowledged() {
        let begun = Instant::now();
        let row = |number: u64, failed: bool| Row {
            number,
            at: begun + Duration::from_secs(number),
            failed: failed.then(|| "no".to_owned()),
        };
        let rows = [row(0, false), row(1, false), row(3, true), row(4, false)];
        assert_eq!(
            told(&rows),
            "3 rows written, 1 failed, none acknowledged for 3.00s at the longest"
        );
    }
}
