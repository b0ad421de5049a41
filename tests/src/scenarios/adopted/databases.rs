//! A cluster of PostgreSQL that was built by hand (`lab/plain/database.sh`), beside which hamesh
//! comes and looks.

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use crate::lab::Lab;
use crate::patroni;
use crate::scenarios::World;
use crate::scenarios::served::sql::NODES;
use crate::site::wait::until;
use crate::site::{PATIENCE, Site};

const SITE: &str = "lab/sites/plain-databases.yaml";
const SCRIPT: &str = "lab/plain/database.sh";

/// `coordctl role status`
#[derive(Debug, Deserialize)]
struct RoleState {
    node: String,
    place: String,
    drift: Vec<String>,
}

/// The role is assigned to nodes in the mode `observe`: the plan and the node's state say in what
/// they differ, and everything goes on as it was, with the leader of before.
pub fn left_alone(world: &World) -> Result<()> {
    let site = &world.site;
    site.lab.must(["down"])?;
    build(&site.lab)?;
    let leader = until_led(&site.lab)?;
    on_leader(site, &leader, "create table said (word text)")?;
    on_leader(site, &leader, "insert into said values ('before')")?;
    let look = || -> Result<Vec<String>> { NODES.iter().map(|it| state(site, it)).collect() };
    let before = look()?;
    site.lab.must(["up", SITE])?;
    for node in NODES {
        let plan = site.coordctl(&["assign", node, "database", "--dry-run"])?;
        told(&plan, "nothing was changed")?;
        for part in DIFFERS {
            told(&plan, part)?;
        }
        site.coordctl(&["assign", node, "database", "--yes"])?;
    }
    let looked = looked_at(site)?;
    for part in DIFFERS {
        let all = looked
            .iter()
            .all(|it| it.drift.iter().any(|it| it.contains(part)));
        ensure!(all, "`{part}` is not told of each: {looked:?}");
    }
    let now = look()?;
    ensure!(
        now == before,
        "hamesh changed something: {before:?}, now {now:?}"
    );
    ensure!(until_led(&site.lab)? == leader, "another one leads");
    on_leader(site, &leader, "insert into said values ('after')")?;
    for node in NODES {
        until(&format!("{node} has both rows"), PATIENCE, || {
            let rows = sql(
                site,
                node,
                "select string_agg(word, ' ' order by word) from said",
            )?;
            ensure!(rows.trim() == "after before", "{rows}");
            Ok(())
        })?;
    }
    Ok(())
}

/// What the role would have otherwise, in the plan and in what is told afterwards.
const DIFFERS: [&str; 3] = [
    "file /etc/default/etcd",
    "file /etc/patroni/config.yml",
    "certificate postgresql",
];

fn told(plan: &str, part: &str) -> Result<()> {
    ensure!(plan.contains(part), "`{part}` is not in:\n{plan}");
    Ok(())
}

/// Boots the machines and has the script build the cluster on them.
fn build(lab: &Lab) -> Result<()> {
    lab.must(["up", SITE, "--bare"])?;
    for part in ["etcd", "patroni"] {
        for node in NODES {
            lab.must(["push", node, SCRIPT, "/root/database.sh"])?;
            lab.sh(node, &format!("bash /root/database.sh {part}"))?;
        }
    }
    Ok(())
}

/// Waits until one leads and two follow; who leads.
fn until_led(lab: &Lab) -> Result<String> {
    until("one leads, and two follow", PATIENCE, || {
        let members = patroni::members(lab, NODES[0])?;
        let having = |role: &str| {
            let up = members.iter().filter(|it| it.is_up());
            up.filter(|it| it.role == role).collect::<Vec<_>>()
        };
        ensure!(having("Replica").len() == 2, "{members:?}");
        let leader = having("Leader").first().map(|it| it.member.clone());
        leader.with_context(|| format!("nobody leads: {members:?}"))
    })
}

/// Waits until each was looked at and told in what it differs.
fn looked_at(site: &Site) -> Result<Vec<RoleState>> {
    until("each is looked at", PATIENCE, || {
        let states: Vec<RoleState> = site.query(&["role", "status"])?;
        let databases = states.into_iter();
        let databases: Vec<_> = databases
            .filter(|it| NODES.contains(&it.node.as_str()))
            .collect();
        let looked = |it: &RoleState| it.place == "observed" && !it.drift.is_empty();
        let all = databases.len() == NODES.len() && databases.iter().all(looked);
        ensure!(all, "{databases:?}");
        Ok(databases)
    })
}

fn on_leader(site: &Site, leader: &str, statement: &str) -> Result<()> {
    sql(site, leader, statement).map(drop)
}

/// As the superuser, on the machine itself.
fn sql(site: &Site, node: &str, statement: &str) -> Result<String> {
    let script = format!("runuser -u postgres -- psql -XAtqc \"{statement}\"");
    site.lab.sh(node, &script)
}

/// What a database works with: its files, services and processes, and what the kernel lets in.
fn state(site: &Site, node: &str) -> Result<String> {
    let look = "find /etc/default/etcd /etc/patroni /etc/postgresql-common \
                /etc/systemd/system/etcd.service.d /etc/systemd/system/patroni.service.d \
                /var/lib/postgresql/15/plain/postgresql.conf \
                /var/lib/postgresql/15/plain/pg_hba.conf -type f 2>/dev/null | sort | \
                xargs sha256sum; \
                ls -d /etc/hamesh/database /var/lib/etcd/* /var/lib/postgresql/15/* \
                2>/dev/null || :; \
                systemctl show -p ActiveState -p InvocationID -p MainPID etcd patroni; \
                systemctl is-enabled etcd patroni || :; \
                head -n 1 /var/lib/postgresql/15/plain/postmaster.pid; \
                dpkg-query -W etcd-server etcd-client patroni postgresql-15; \
                nft list tables 2>/dev/null | grep hamesh_firewall || :";
    site.lab.sh(node, look)
}
