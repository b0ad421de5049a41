//! The cluster of PostgreSQL: that it forms of blank machines, takes a wiped one in again, and goes
//! on while its secrets change. What operators ask of it is in [`planned`], what it outlives in
//! [`faults`].

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::World;
use super::identity::enrol_anew;
use super::packages::APT;
use super::served::sql::{Client, LEADER, NODES, REPLICAS};
use super::served::until_as_wanted;
use crate::patroni::{self, Member};
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};
use crate::sql::Written;

pub mod faults;
pub mod planned;

/// How long rows are written before something is done to the databases, and after it.
const AROUND: Duration = Duration::from_secs(2);
/// Counts on the leader who receives its changes.
const STREAMING: &str = "runuser -u postgres -- psql -XAtqc \
    \"select count(*) from pg_stat_replication where state = 'streaming'\"";
/// The members of etcd, one a line.
const MEMBERS: &str = "pem=/etc/hamesh/database/etcd.pem; ETCDCTL_API=3 etcdctl \
    --endpoints=https://127.0.0.1:2379 --cacert=$pem --cert=$pem --key=$pem.key member list";

/// The members of a cluster that is whole.
pub struct Cluster {
    /// Leads.
    pub leader: String,
    /// Has each commit before it is acknowledged.
    pub standby: String,
}

/// `coordctl secret list`
#[derive(Debug, Clone, Deserialize)]
struct Secret {
    name: String,
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
    let ((), written) = while_writing(&client, || {
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
    println!("    {lost} wiped: {written}");
    all_acknowledged(&written)
}

/// Keys and passwords are made anew, each of them; no write fails but with a password of before.
pub fn rotated(world: &World) -> Result<()> {
    let site = &world.site;
    let client = Client::of(world)?;
    let ((), written) = while_writing(&client, || rotate(site, "certificates"))?;
    println!("    new certificates: {written}");
    all_acknowledged(&written)?;
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

/// Rotates a secret, and waits until all is as it was.
fn rotate(site: &Site, secret: &str) -> Result<()> {
    site.coordctl(&["secret", "rotate", secret])?;
    until_as_wanted(site, &NODES)?;
    until_whole(site).map(drop)
}

/// The members, as one that is not this node sees them.
fn members(site: &Site, but: &str) -> Result<Vec<Member>> {
    let asked = NODES.iter().find(|node| **node != but);
    patroni::members(&site.lab, asked.unwrap_or(&NODES[0]))
}

/// Waits until one leads and both others follow it, one of them with each commit.
pub fn until_whole(site: &Site) -> Result<Cluster> {
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
        ensure!(members.iter().all(Member::is_up), "{members:?}");
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

/// Writes rows without a pause until something is done; none that was acknowledged may be lost.
fn while_writing<T>(client: &Client<'_>, act: impl FnOnce() -> Result<T>) -> Result<(T, Written)> {
    client.told(
        LEADER,
        "drop table if exists written; create table written (number bigint primary key)",
    )?;
    let writer = client.writer(LEADER, "written")?;
    sleep(AROUND);
    let done = act();
    // What was not acknowledged meanwhile is told by what is acknowledged afterwards.
    sleep(AROUND);
    let written = writer.end()?;
    let done = done?;
    let lost = written.lost(&client.told(LEADER, "select number from written")?);
    ensure!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
    client.told(LEADER, "drop table written")?;
    Ok((done, written))
}

/// Fails if any row was not acknowledged.
fn all_acknowledged(written: &Written) -> Result<()> {
    ensure!(written.failed() == 0, "{written}: {}", written.complaints);
    Ok(())
}
