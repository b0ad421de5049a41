//! The parts of what `coordctl` and `hamesh-agent` print as JSON that the scenarios look at.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// `coordctl status`
#[derive(Debug, Clone, Deserialize)]
pub struct SiteStatus {
    /// The site's name.
    pub site: String,
    /// The desired state.
    pub desired: Option<Generation>,
    /// Number of this start of the coordinator.
    pub epoch: u64,
    /// Version of the gossip keys.
    pub key_ring_version: u64,
    /// The nodes.
    pub nodes: Vec<Node>,
}

/// Which desired state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Generation {
    /// Precedes the generation.
    pub incarnation: u64,
    /// Rises with every change.
    pub generation: u64,
}

/// One node, as the coordinator sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The role it is assigned.
    pub role: Option<String>,
    /// Whether it is there.
    pub state: String,
    /// Why it is in that state.
    pub reason: String,
    /// Whether its agent is connected.
    pub session: bool,
    /// The desired state that its agent has accepted.
    pub applied: Option<Generation>,
    /// Version of its agent.
    pub version: Option<String>,
    /// When its certificate expires.
    pub certificate_expires: Option<String>,
    /// When its agent started.
    pub agent_started: Option<String>,
    /// Whether it is to hold no claim.
    pub drained: bool,
}

/// `coordctl claims`
#[derive(Debug, Clone, Deserialize)]
pub struct Claim {
    /// Its name.
    pub claim: String,
    /// What it stands for.
    pub addresses: Vec<String>,
    /// "held", "moving", "alone", "break-glass" or "vacant".
    pub state: String,
    /// Who holds it.
    pub holder: Option<String>,
    /// Whether nothing of it moves by itself.
    pub paused: bool,
}

/// `coordctl explain`
#[derive(Debug, Clone, Deserialize)]
pub struct Explanation {
    /// What it stands for.
    pub addresses: Vec<String>,
    /// As of a [`Claim`].
    pub state: String,
    /// Who holds it.
    pub holder: Option<String>,
    /// Who may hold it.
    pub candidates: Vec<Candidate>,
    /// Where it was, the newest first.
    pub moves: Vec<ClaimMove>,
}

/// A node that may hold a claim.
#[derive(Debug, Clone, Deserialize)]
pub struct Candidate {
    /// Its name.
    pub node: String,
    /// Whether it holds the claim.
    pub holds: bool,
    /// Why it could not take it now.
    pub why_not: Option<String>,
}

/// A move of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ClaimMove {
    /// Who held it before.
    pub from: Option<String>,
    /// Who held it then.
    pub to: Option<String>,
    /// Why.
    pub reason: String,
}

/// `coordctl move`
#[derive(Debug, Clone, Deserialize)]
pub struct Moved {
    /// Where it is.
    pub holder: Option<String>,
}

/// `coordctl token list`
#[derive(Debug, Clone, Deserialize)]
pub struct Token {
    /// Names it.
    pub id: String,
    /// "open", "used", "expired" or "revoked".
    pub state: String,
}

/// `coordctl token create`
#[derive(Debug, Clone, Deserialize)]
pub struct NewToken {
    /// Names it.
    pub id: String,
    /// The whole token.
    pub token: String,
}

/// `coordctl events`
#[derive(Debug, Clone, Deserialize)]
pub struct Event {
    /// Rises with every event.
    pub number: u64,
    /// When, in RFC 3339.
    pub at: String,
    /// "node.dead"
    pub kind: String,
    /// The node it is about.
    pub node: Option<String>,
    /// One line.
    pub text: String,
}

/// `hamesh-agent status`
#[derive(Debug, Clone, Deserialize)]
pub struct AgentStatus {
    /// Number of this run of the agent.
    pub started_unix_ms: u64,
    /// Its certificate.
    pub certificate: Certificate,
    /// What it was told to be.
    pub assignment: Option<Told>,
    /// The version of its gossip keys.
    pub key_ring_version: u64,
    /// The coordinator it is connected to.
    pub session: Option<String>,
    /// Why it is connected to none.
    pub session_problem: Option<String>,
    /// Why what it was told is not on its disk.
    pub state_problem: Option<String>,
    /// The others.
    pub peers: Vec<Peer>,
}

/// A node's certificate.
#[derive(Debug, Clone, Deserialize)]
pub struct Certificate {
    /// Hexadecimal.
    pub serial: String,
    /// When it runs out.
    pub expires_unix_ms: u64,
}

/// An assignment in force.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Told {
    /// "incarnation.generation"
    pub id: String,
    /// The role.
    pub role: Option<String>,
}

/// Another member, as an agent sees it.
#[derive(Debug, Clone, Deserialize)]
pub struct Peer {
    /// Its name.
    pub node: String,
    /// Whether it is heard.
    pub alive: bool,
}

impl SiteStatus {
    /// One node.
    pub fn node(&self, name: &str) -> Result<&Node> {
        let found = self.nodes.iter().find(|n| n.name == name);
        found.with_context(|| format!("the coordinator does not list {name}"))
    }
}

impl AgentStatus {
    /// The members that it hears.
    pub fn hears(&self) -> BTreeSet<&str> {
        self.peers
            .iter()
            .filter(|p| p.alive)
            .map(|p| p.node.as_str())
            .collect()
    }
}
