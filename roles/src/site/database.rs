//! What a site says about its databases. A database is made of a node only where the site says it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hamesh_proto::ids::NodeId;

use super::{Mode, Site};
use crate::role::Role;
use crate::words::SqlName;

/// What the nodes of the role `database` do together: one cluster of PostgreSQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseCluster {
    /// What is known to be kept when a commit is acknowledged.
    pub durability: Durability,
    /// The databases of applications, each with the user that owns it and may alone reach it.
    pub databases: BTreeMap<SqlName, SqlName>,
}

impl DatabaseCluster {
    /// How many databases are declared: each look at a node asks for every one of them.
    pub const MOST_DATABASES: usize = 200;
    /// The names that PostgreSQL and its cluster use for themselves.
    pub const TAKEN: [&str; 6] = [
        "postgres",
        "template0",
        "template1",
        "replicator",
        "rewinder",
        "public",
    ];

    /// How long a lease on leading lasts: a leader that falls silent is succeeded so soon.
    pub const LEASE: Duration = Duration::from_secs(2);

    /// The users of applications.
    pub fn users(&self) -> impl Iterator<Item = &SqlName> {
        let owners: std::collections::BTreeSet<_> = self.databases.values().collect();
        owners.into_iter()
    }
}

impl Site {
    /// The nodes that may lead the databases, in the order of their names. None as long as one of
    /// them is only looked at: what leads there knows of no lease.
    pub fn database_members(&self) -> Vec<&NodeId> {
        let nodes = self.nodes.iter();
        let members = nodes.filter(|(_, node)| node.role == Some(Role::Database));
        let members: Vec<_> = members.collect();
        let looked_at = members.iter().any(|(_, node)| node.mode == Mode::Observe);
        if self.database.is_none() || looked_at {
            return Vec::new();
        }
        members.into_iter().map(|(id, _)| id).collect()
    }
}

/// What is known to be kept when a commit is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disks of two nodes, as long as two are there; who lacks it never leads.
    #[default]
    ZeroLoss,
    /// It is on the leader's disk: what others had not received by then is lost with it.
    Fast,
}

impl Durability {
    /// Every one.
    pub const ALL: [Durability; 2] = [Durability::ZeroLoss, Durability::Fast];

    /// The name in `site.yaml`.
    pub const fn name(self) -> &'static str {
        match self {
            Durability::ZeroLoss => "zero-loss",
            Durability::Fast => "fast",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
