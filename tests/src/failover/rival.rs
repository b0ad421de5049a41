//! The clusters that are compared, each of three machines of the lab.

use std::fmt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;

use super::case::Case;
use crate::lab::Lab;
use crate::patroni::{self, Member};
use crate::scenarios::served::sql::{Client, NODES};
use crate::scenarios::{Ground, World};
use crate::site::wait::until;
use crate::sql::{self, Writer, now};

/// What the machines of Patroni alone are.
const PLAIN_SITE: &str = "lab/sites/plain-databases.yaml";
const PLAIN_SCRIPT: &str = "lab/plain/database.sh";
/// The machine with the proxy in front of Patroni alone, and its address.
const PLAIN_PROXY: (&str, &str) = ("control-1", "192.168.56.31");
/// How long anything may take: Patroni's own times are half a minute.
const PATIENCE: Duration = Duration::from_secs(240);

/// Who is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Rival {
    /// The reference site.
    Hamesh,
    /// Patroni alone at its own times (ttl 30, loop 10, retry 10), the vendor's HAProxy sample.
    Patroni,
    /// Patroni alone at the shortest times that 3.0 takes (ttl 5, loop 1, retry 2), fast checks.
    PatroniFast,
}

impl Rival {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Hamesh, Self::Patroni, Self::PatroniFast];

    /// Where PostgreSQL's data is.
    pub const fn data(self) -> &'static str {
        match self {
            Self::Hamesh => "/var/lib/postgresql/15/hamesh",
            Self::Patroni | Self::PatroniFast => "/var/lib/postgresql/15/plain",
        }
    }
}

impl fmt::Display for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Hamesh => "hamesh",
            Self::Patroni => "Patroni 30/10/10",
            Self::PatroniFast => "Patroni 5/1/2",
        })
    }
}

/// A cluster that is up.
pub struct Cluster {
    /// Whose it is.
    pub rival: Rival,
    /// What is done to its machines.
    pub lab: Lab,
    variables: Vec<(String, String)>,
    /// Read by libpq for as long as the cluster is used.
    _ca: Option<NamedTempFile>,
}

/// Who is what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members {
    /// Leads.
    pub leader: String,
    /// Has each commit before it is acknowledged.
    pub standby: String,
}

impl Cluster {
    /// Builds it on a fresh lab.
    ///
    /// # Errors
    /// The lab's.
    pub fn build(rival: Rival) -> Result<Self> {
        match rival {
            Rival::Hamesh => {
                let world = World::boot(Lab::of_this_build()?, Ground::Served)?;
                let (variables, ca) = Client::of(&world)?.into_variables();
                Ok(Self {
                    rival,
                    lab: world.site.lab.clone(),
                    variables,
                    _ca: Some(ca),
                })
            }
            Rival::Patroni => Self::plain(rival, "30 10 10", "inter 3s fall 3 rise 2"),
            Rival::PatroniFast => Self::plain(rival, "5 1 2", "inter 500ms fall 2 rise 1"),
        }
    }

    fn plain(rival: Rival, times: &str, checks: &str) -> Result<Self> {
        let lab = Lab::of_this_build()?;
        lab.must(["down"])?;
        lab.must(["up", PLAIN_SITE, "--bare"])?;
        for part in ["etcd", "patroni"] {
            for node in NODES {
                lab.must(["push", node, PLAIN_SCRIPT, "/root/database.sh"])?;
                lab.sh(node, &format!("bash /root/database.sh {part}"))?;
            }
        }
        let (proxy, address) = PLAIN_PROXY;
        lab.must(["push", proxy, PLAIN_SCRIPT, "/root/database.sh"])?;
        lab.sh(proxy, &format!("bash /root/database.sh proxy '{checks}'"))?;
        let variables = [
            ("PGHOST", address),
            ("PGPORT", "5000"),
            ("PGUSER", "postgres"),
            ("PGDATABASE", "postgres"),
            ("PGPASSWORD", "plain"),
        ];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let cluster = Self {
            rival,
            lab,
            variables: variables.into(),
            _ca: None,
        };
        until("Patroni takes its settings", PATIENCE, || {
            let script = format!("bash /root/database.sh times {times}");
            cluster.lab.sh(NODES[0], &script).map(drop)
        })?;
        cluster.until_whole()?;
        Ok(cluster)
    }

    /// Waits until one leads, both others follow, and one of these has each commit.
    ///
    /// # Errors
    /// It does not become so.
    pub fn until_whole(&self) -> Result<Members> {
        until("the cluster is whole", PATIENCE, || {
            let members = self.members(|_| true)?;
            ensure!(
                members.len() == NODES.len() && members.iter().all(Member::is_up),
                "{members:?}"
            );
            roles(&members)
        })
    }

    /// Waits until rows are written and each is on two disks again; how long that took since then.
    ///
    /// # Errors
    /// It does not become so.
    pub fn until_safe_again(
        &self,
        case: Case,
        before: &Members,
        since: Duration,
    ) -> Result<Duration> {
        let is_there = |node: &str| match case {
            Case::Standby => node != before.standby,
            Case::Postgresql | Case::Both | Case::Switchover => true,
            _ => node != before.leader,
        };
        until("each commit is on two disks again", PATIENCE, || {
            let now = roles(&self.members(is_there)?)?;
            ensure!(!case.moves() || now.leader != before.leader, "{now:?}");
            ensure!(
                case != Case::Standby || now.standby != before.standby,
                "{now:?}"
            );
            Ok(())
        })?;
        Ok(now().saturating_sub(since))
    }

    /// The machines through which it is reached.
    pub const fn proxies(&self) -> &'static [&'static str] {
        match self.rival {
            Rival::Hamesh => &["haproxy-int-1", "haproxy-int-2"],
            Rival::Patroni | Rival::PatroniFast => &[PLAIN_PROXY.0],
        }
    }

    /// What one statement gave, which must succeed in the end.
    ///
    /// # Errors
    /// It does not.
    pub fn statement(&self, statement: &str) -> Result<String> {
        until("a statement is carried out", PATIENCE, || {
            let mut command = self.command(&["psql", "-XAtqc", statement]);
            let output = command.stdin(Stdio::null()).output().context("psql")?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "`{statement}`: {said}");
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        })
    }

    /// Begins to write.
    ///
    /// # Errors
    /// The client cannot be run.
    pub fn writer(&self, table: &str) -> Result<Writer> {
        let words = ["/usr/bin/python3", "-c", sql::WRITER, table];
        let pace = [sql::CONNECTIONS, sql::EVERY_MS];
        Writer::start(self.command(&[&words[..], &pace].concat()))
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = self.lab.client_command("trust", words);
        command.envs(self.variables.iter().cloned());
        command
    }

    /// The members, as the first of those that are there sees them.
    fn members(&self, is_there: impl Fn(&str) -> bool) -> Result<Vec<Member>> {
        let asked = NODES.into_iter().find(|node| is_there(node));
        patroni::members(&self.lab, asked.context("nobody is there")?)
    }
}

fn roles(members: &[Member]) -> Result<Members> {
    let having = |role: &str| {
        let found = members.iter().find(|it| it.role == role);
        let found = found.map(|it| it.member.clone());
        found.with_context(|| format!("no {role}: {members:?}"))
    };
    Ok(Members {
        leader: having("Leader")?,
        standby: having("Sync Standby")?,
    })
}
