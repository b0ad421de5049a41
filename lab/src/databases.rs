//! The end of `up` on a site with databases: a question to each way to them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use hamesh_roles::site::DatabaseCluster;
use hamesh_roles::{Role, Site};

use crate::deploy::shell;
use crate::lab::Lab;
use crate::progress::Step;
use crate::serve::address;
use crate::tool::quote;
use crate::topology::Node;

/// The ways to them, with what answers there.
const WAYS: [(u16, &str); 2] = [(5000, "the leader"), (5001, "a replica")];
/// How long they may take once every node has its role: the proxies' address comes last.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(500);
/// Where a database node keeps the passwords of the site's users.
const ACCOUNTS: &str = "/etc/hamesh/database/accounts.json";
const CERTIFICATE: &str = "/etc/hamesh/database/postgresql.pem";

/// Waits until both ways are answered, and says how to ask.
pub fn served(lab: &Lab, site: &Site, cluster: &DatabaseCluster) -> Result<()> {
    let Some((database, user)) = cluster.databases.first_key_value() else {
        return Ok(());
    };
    let Some(address) = address(site, Role::InternalProxy) else {
        return Ok(());
    };
    let node = site.with_role(Role::Database).next();
    let node = lab
        .topology
        .node(node.context("no node is a database")?.as_ref())?;
    let step = Step::begin("Wait for the databases", None);
    let mut answers = Vec::new();
    for (port, who) in WAYS {
        let way = SocketAddr::new(address, port);
        let ask = question(way, database.as_ref(), user.as_ref(), ASKED);
        let answer = until_answered(lab, node, &ask).with_context(|| format!("{who} at {way}"))?;
        answers.push(format!("{who} at {way}: {}", answer.trim()));
    }
    step.finish(&answers.join("; "));
    let leader = SocketAddr::new(address, WAYS[0].0);
    println!(
        "\nThe databases answer at {leader}, inside the site. Ask from one of their machines:\n  \
         target/release/hamesh-lab exec {} -- sh -c {}\n",
        node.name,
        quote(&question(
            leader,
            database.as_ref(),
            user.as_ref(),
            "select version()"
        ))
    );
    Ok(())
}

const ASKED: &str = "select 'PostgreSQL ' || current_setting('server_version')";

/// A line of shell: as a client does it, password, certificate and all.
fn question(way: SocketAddr, database: &str, user: &str, sql: &str) -> String {
    let (host, port) = (way.ip(), way.port());
    let password =
        format!("import json; print(json.load(open(\"{ACCOUNTS}\"))[\"users\"][\"{user}\"])");
    format!(
        "PGPASSWORD=$(python3 -c {}) psql -XAtq -c {} {}",
        quote(&password),
        quote(sql),
        quote(&format!(
            "host={host} port={port} dbname={database} user={user} connect_timeout=5 \
             sslmode=verify-full sslrootcert={CERTIFICATE}"
        ))
    )
}

fn until_answered(lab: &Lab, node: &Node, ask: &str) -> Result<String> {
    let begun = Instant::now();
    loop {
        match shell(lab, node, ask) {
            Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
            answered => return answered,
        }
    }
}
