//! SQL from outside, through the inner proxies: single statements by psql, and transactions without
//! a pause by pgbench.
//!
//! Every connection verifies whom it reached: the certificate of the server behind the proxy names
//! the proxies' address, and comes from the site's CA.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use tempfile::NamedTempFile;

use super::page::site_ca;
use crate::scenarios::World;
use crate::site::wait::until;
use crate::site::{Answer, PATIENCE};
use crate::sql::{self, Writer};

/// Where the inner proxies lead to the leader.
pub const LEADER: u16 = 5000;
/// Where they lead to its replicas.
pub const REPLICAS: u16 = 5001;
/// The nodes that keep the databases.
pub const NODES: [&str; 3] = ["database-1", "database-2", "database-3"];

/// The inner proxies' address.
const ADDRESS: &str = "192.168.56.20";
/// The database, and its owner.
const NAME: &str = "nextcloud";
/// Seconds that a statement may take: a commit waits for a second disk, and when that is lost until
/// the leader knows.
const STATEMENT_S: &str = "30";
/// Rows in the accounts that pgbench makes: one scale of them.
const ACCOUNTS: &str = "100000";
/// How many reads are begun each second. As many as it can, pgbench alone would keep this machine
/// so busy that its nodes lapse: what is tried are reloads, not that.
const READS_PER_S: &str = "200";
/// Statements on connections of their own: enough to reach each replica.
const LOOKS: usize = 4;

/// What a node of the role knows of the databases' users.
#[derive(Deserialize)]
struct Accounts {
    users: BTreeMap<String, String>,
}

/// Who speaks to the database: its owner, on the trusted network.
pub struct Client<'a> {
    world: &'a World,
    ca: NamedTempFile,
    password: String,
}

impl<'a> Client<'a> {
    /// With the password of this moment.
    pub fn of(world: &'a World) -> Result<Self> {
        let told = "cat /etc/hamesh/database/accounts.json";
        let Accounts { users } = serde_json::from_str(&world.site.sh(NODES[0], told)?)?;
        let password = users.get(NAME).cloned();
        let mut ca = NamedTempFile::new().context("a file for the CA")?;
        ca.write_all(site_ca(world)?.as_bytes())?;
        Ok(Self {
            world,
            ca,
            password: password.with_context(|| format!("{NAME} has no password"))?,
        })
    }

    /// What came of one statement, on a connection of its own.
    pub fn ask(&self, port: u16, statement: &str) -> Result<Answer> {
        let words = ["timeout", STATEMENT_S, "psql", "-XAtq", "-c", statement];
        let mut command = self.command(port, &words);
        let output = command.stdin(Stdio::null()).output();
        Ok(output.context("cannot run psql")?.into())
    }

    /// What a statement that must succeed gave.
    pub fn told(&self, port: u16, statement: &str) -> Result<String> {
        let answer = self.ask(port, statement)?;
        ensure!(answer.code == 0, "`{statement}` at {port}: {answer:?}");
        Ok(answer.stdout.trim().to_owned())
    }

    /// Waits until the replicas give this answer, whichever of them is asked.
    pub fn until_replicas_tell(&self, statement: &str, wanted: &str) -> Result<()> {
        until("the replicas have caught up", PATIENCE, || {
            for _ in 0..LOOKS {
                let told = self.told(REPLICAS, statement)?;
                ensure!(told == wanted, "`{statement}` gives {told}, not {wanted}");
            }
            Ok(())
        })
    }

    /// The file with the site's CA.
    pub fn ca(&self) -> &Path {
        self.ca.path()
    }

    /// Begins to write rows into a table of numbers.
    pub fn writer(&self, port: u16, table: &str) -> Result<Writer> {
        let words = ["/usr/bin/python3", "-c", sql::WRITER, table];
        let pace = [sql::CONNECTIONS, sql::EVERY_MS];
        Writer::start(self.command(port, &[&words[..], &pace].concat()))
    }

    /// Makes pgbench's tables, on all members.
    pub fn prepare(&self) -> Result<()> {
        self.pgbench(&["-i", "-q"])?;
        self.until_replicas_tell("select count(*) from pgbench_accounts", ACCOUNTS)
    }

    /// And drops them.
    pub fn clear(&self) -> Result<()> {
        self.pgbench(&["-i", "-I", "d"])
    }

    fn pgbench(&self, words: &[&str]) -> Result<()> {
        let mut command = self.command(LEADER, &[&["pgbench"], words].concat());
        let answer = Answer::from(command.stdin(Stdio::null()).output()?);
        answer.expect(0, &[]).context("pgbench")
    }

    /// What libpq is told of the way to the leader, and the file that this names.
    pub fn into_variables(self) -> (Vec<(String, String)>, NamedTempFile) {
        (self.variables(LEADER), self.ca)
    }

    fn command(&self, port: u16, words: &[&str]) -> Command {
        let mut command = self.world.site.lab.client_command("trust", words);
        command.envs(self.variables(port));
        command
    }

    fn variables(&self, port: u16) -> Vec<(String, String)> {
        let (port, ca) = (port.to_string(), self.ca.path().display().to_string());
        let variables = [
            ("PGHOST", ADDRESS),
            ("PGPORT", &port),
            ("PGUSER", NAME),
            ("PGDATABASE", NAME),
            ("PGPASSWORD", &self.password),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", &ca),
            ("PGCONNECT_TIMEOUT", "5"),
        ];
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        variables.into_iter().map(own).collect()
    }
}

/// Transactions that are being made by four at a time.
struct Bench(Child);

/// What became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Done {
    made: u64,
    failed: u64,
    /// How many of the four broke, and gave up.
    broken: u64,
}

impl Bench {
    fn start(client: &Client<'_>, port: u16, options: &[&str], seconds: u32) -> Result<Self> {
        let span = seconds.to_string();
        let words = ["pgbench", "-n", "-c", "4", "-j", "1", "-T", &span];
        let mut command = client.command(port, &[&words[..], options].concat());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn();
        Ok(Self(
            child.context("cannot run pgbench (package postgresql-15)")?,
        ))
    }

    fn end(self) -> Result<(Done, String)> {
        let output = self.0.wait_with_output().context("losing pgbench")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        let done = done(&text, &complaints).with_context(|| {
            let status = output.status;
            format!("pgbench ended with {status}:\n{text}{complaints}")
        })?;
        Ok((done, complaints))
    }
}

/// Reads what pgbench printed; `None`: it is no report of its.
fn done(text: &str, complaints: &str) -> Option<Done> {
    let number = |title: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(title))?;
        value.split_whitespace().next()?.parse().ok()
    };
    let broken = |line: &&str| line.contains(": client ") && line.contains(" aborted");
    let broken = complaints.lines().filter(broken).count();
    Some(Done {
        made: number("number of transactions actually processed:")?,
        failed: number("number of failed transactions:")?,
        broken: u64::try_from(broken).ok()?,
    })
}

/// Writes to the leader, each on a connection of its own, and reads from the replicas on
/// connections that last, at the same time.
pub struct Both {
    writes: Bench,
    reads: Bench,
}

impl Both {
    /// Begins, for so long.
    pub fn start(client: &Client<'_>, seconds: u32) -> Result<Self> {
        Ok(Self {
            writes: Bench::start(client, LEADER, &["-C"], seconds)?,
            reads: Bench::start(client, REPLICAS, &["-S", "-R", READS_PER_S], seconds)?,
        })
    }

    /// Waits for their end, tells what became of them, and fails if not all is well.
    pub fn end_well(self) -> Result<()> {
        let ended = [
            ("writes, a connection each", self.writes.end()?),
            ("reads, on four connections", self.reads.end()?),
        ];
        for (what, (done, _)) in &ended {
            println!("    {what}: {done}");
        }
        for (what, (done, complaints)) in &ended {
            let well = done.made > 0 && done.failed == 0 && done.broken == 0;
            ensure!(well, "{what}: {done}:\n{complaints}");
        }
        Ok(())
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done {
            made,
            failed,
            broken,
        } = self;
        write!(
            f,
            "{made} transactions made, {failed} failed, {broken} of 4 clients broke"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_with_its_complaints() {
        let text = "transaction type: <builtin: select only>\nnumber of clients: 4\n\
                    number of transactions actually processed: 2104\n\
                    number of failed transactions: 3 (0.143%)\n";
        let complaints = "pgbench: error: client 2 aborted in command 1 (SQL) of script 0; \
                          perhaps the backend died while processing\n\
                          pgbench: error: Run was aborted; the above results are incomplete.\n";
        let (made, failed, broken) = (2104, 3, 1);
        let wanted = Done {
            made,
            failed,
            broken,
        };
        assert_eq!(done(text, complaints), Some(wanted));
        assert_eq!(
            done("", "pgbench: error: connection to server failed"),
            None
        );
    }
}
