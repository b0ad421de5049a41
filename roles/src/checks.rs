//! What tells how well a node could serve a claim: the checks that a site's document asks for.
//!
//! A [`Check`] is valid wherever it came from, the document ([`crate::site`]) or an assignment
//! ([`wire`]): both hold it to the same bounds. Carrying it out is the agent's.
//!
//! Absent on purpose: names that must be looked up. A check that waits for DNS fails with DNS, and
//! moves an address that served well.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration;

mod subject;
mod wire;

pub use subject::{BadCommand, BadUnit, BadUrl, CommandLine, HttpUrl, UnitName};
pub use wire::BadCheck;

/// How often a probe may run.
pub const EVERY: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(3600);
/// How often one runs when the document does not say.
pub const DEFAULT_EVERY: Duration = Duration::from_millis(500);
/// The shortest time that a probe is given. It may have up to its whole interval.
pub const SHORTEST_TIMEOUT: Duration = Duration::from_millis(10);
/// How many results in a row it may take until a check counts as passing, or as failing.
pub const IN_A_ROW: RangeInclusive<u32> = 1..=100;
/// How many checks one claim may have: each costs a node some work, ten times a second at most.
pub const MOST_CHECKS: usize = 32;
/// How many words a command may have.
pub const MOST_WORDS: usize = 64;
/// How many bytes a command or a URL may have.
pub const LONGEST: usize = 2048;

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is looked at.
    pub kind: CheckKind,
    /// From one probe to the next. A process is watched, not probed: for it, `rise` times this is
    /// how long it must live before it counts again.
    pub every: Duration,
    /// How long a probe may take, at most [`Check::every`]: probes never overlap.
    pub timeout: Duration,
    /// Successes in a row until a failing check passes again.
    pub rise: u32,
    /// Failures in a row until a passing check fails.
    pub fall: u32,
    /// Failing means that the node serves badly, not that it does not serve.
    pub degrades: bool,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckKind {
    /// The main process of a systemd service lives.
    Process(UnitName),
    /// A TCP connection is accepted.
    Tcp(SocketAddr),
    /// A GET is answered with a status from 200 to 399.
    Http(HttpUrl),
    /// A program exits with 0.
    Command(CommandLine),
}

impl Check {
    /// A check with the times that it has when the document names none.
    pub fn new(kind: CheckKind) -> Self {
        let fall = if kind.is_watched() { 1 } else { 2 };
        Self {
            kind,
            every: DEFAULT_EVERY,
            timeout: default_timeout(DEFAULT_EVERY),
            rise: 2,
            fall,
            degrades: false,
        }
    }

    /// The terms that a document has to say, each with its key: those that are not the default.
    pub fn said_terms(&self) -> Vec<(&'static str, String)> {
        let Self {
            kind,
            every,
            timeout,
            rise,
            fall,
            degrades,
        } = self;
        let default = Check::new(kind.clone());
        let mut terms = Vec::new();
        if *every != default.every {
            terms.push(("every", duration::show(*every)));
        }
        if *timeout != default_timeout(*every) {
            terms.push(("timeout", duration::show(*timeout)));
        }
        if *rise != default.rise {
            terms.push(("rise", rise.to_string()));
        }
        if *fall != default.fall {
            terms.push(("fall", fall.to_string()));
        }
        if *degrades {
            terms.push(("degrades", degrades.to_string()));
        }
        terms
    }
}

/// How long a probe may take when the document does not say.
pub fn default_timeout(every: Duration) -> Duration {
    every.min(Duration::from_millis(250))
}

impl CheckKind {
    /// The keys of the document, one for each kind.
    pub const KEYS: [&str; 4] = ["process", "tcp", "http", "command"];

    /// The key of this kind.
    pub const fn key(&self) -> &'static str {
        match self {
            CheckKind::Process(_) => "process",
            CheckKind::Tcp(_) => "tcp",
            CheckKind::Http(_) => "http",
            CheckKind::Command(_) => "command",
        }
    }

    /// Whether it tells of every change by itself, so that nothing is probed.
    pub const fn is_watched(&self) -> bool {
        matches!(self, CheckKind::Process(_))
    }
}

/// "process haproxy.service", "tcp 127.0.0.1:443", "http://127.0.0.1:8404/healthz".
impl fmt::Display for CheckKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CheckKind::Process(unit) => write!(f, "process {unit}"),
            CheckKind::Tcp(address) => write!(f, "tcp {address}"),
            CheckKind::Http(url) => write!(f, "{url}"),
            CheckKind::Command(line) => write!(f, "command {line}"),
        }
    }
}
