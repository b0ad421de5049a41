//! The roles a node can have.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a node is for. A node without one is enrolled and watched, nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// HAProxy between the untrusted network and the internal proxies.
    EdgeProxy,
    /// HAProxy in front of Kubernetes and PostgreSQL.
    InternalProxy,
    /// A member of the Kubernetes control plane.
    K8sControl,
    /// A Kubernetes worker.
    K8sWorker,
    /// PostgreSQL under Patroni.
    Database,
}

impl Role {
    /// Every role, in the order in which screens list them.
    pub const ALL: [Role; 5] = [
        Role::EdgeProxy,
        Role::InternalProxy,
        Role::K8sControl,
        Role::K8sWorker,
        Role::Database,
    ];

    /// The name in `site.yaml`, on the wire and on screens.
    pub const fn name(self) -> &'static str {
        match self {
            Role::EdgeProxy => "edge-proxy",
            Role::InternalProxy => "internal-proxy",
            Role::K8sControl => "k8s-control",
            Role::K8sWorker => "k8s-worker",
            Role::Database => "database",
        }
    }

    /// Whether its first nodes work only with each other: the members of a cluster elect, and a
    /// member alone never has a majority. Those of the other roles are set up by one of them, or
    /// know nothing of each other.
    pub const fn begins_together(self) -> bool {
        match self {
            Role::Database => true,
            Role::EdgeProxy | Role::InternalProxy | Role::K8sControl | Role::K8sWorker => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The text names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role `{0}`")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let role = Role::ALL.into_iter().find(|role| role.name() == text);
        role.ok_or_else(|| UnknownRole(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_role_is_read_back_from_its_name() {
        for role in Role::ALL {
            assert_eq!(role.name().parse(), Ok(role));
        }
        assert_eq!(
            "haproxy".parse::<Role>(),
            Err(UnknownRole("haproxy".into()))
        );
    }
}
