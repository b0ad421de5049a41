//! Who is what in a cluster of Patroni, as its own tool tells it, whoever built the cluster.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::lab::Lab;

/// The question; a member that is cut off from etcd would wait for long.
const LIST: &str = "timeout 10 patronictl -c /etc/patroni/config.yml list -f json";

/// A member, as `patronictl list` shows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Member {
    /// Its node.
    pub member: String,
    /// "Leader", "Sync Standby", "Replica".
    pub role: String,
    /// What its PostgreSQL does.
    pub state: String,
}

impl Member {
    /// Whether it serves or follows.
    pub fn is_up(&self) -> bool {
        self.state == "running" || self.state == "streaming"
    }
}

/// The members, as this node sees them.
///
/// # Errors
/// It does not tell.
pub fn members(lab: &Lab, node: &str) -> Result<Vec<Member>> {
    let told = lab.sh(node, LIST)?;
    serde_json::from_str(&told).with_context(|| format!("patronictl printed:\n{told}"))
}
