//! The store's keys.
//!
//! | key | value |
//! |---|---|
//! | `/hamesh/v1/state/site` | [`SiteRecord`](super::SiteRecord): written once |
//! | `/hamesh/v1/leader` | [`LeaderRecord`](super::LeaderRecord): rewritten twice a second |
//! | `/hamesh/v1/state/epoch` | [`EpochRecord`](super::EpochRecord) |
//! | `/hamesh/v1/state/coordinators/NODE` | [`CoordinatorRecord`](super::CoordinatorRecord) |
//! | `/hamesh/v1/state/desired` | [`DesiredRecord`](super::DesiredRecord) |
//! | `/hamesh/v1/state/gossip` | [`GossipRecord`](super::GossipRecord) |
//! | `/hamesh/v1/state/nodes/NODE` | [`NodeRecord`](super::NodeRecord) |
//! | `/hamesh/v1/state/claims` | [`ClaimWishesRecord`](super::ClaimWishesRecord) |
//! | `/hamesh/v1/state/roles` | [`RolesRecord`](super::RolesRecord) |
//! | `/hamesh/v1/state/secrets/NAME` | [`SecretRecord`](super::SecretRecord) |
//! | `/hamesh/v1/claims/CLAIM` | [`ClaimRecord`](super::ClaimRecord) |
//! | `/hamesh/v1/claim-moves/CLAIM` | [`MovesRecord`](super::MovesRecord) |
//! | `/hamesh/v1/lease-secret` | [`LeaseSecretRecord`](super::LeaseSecretRecord) |
//! | `/hamesh/v1/tokens/ID` | [`TokenRecord`](super::TokenRecord) |
//! | `/hamesh/v1/operators/NAME` | [`OperatorRecord`](super::OperatorRecord) |
//! | `/hamesh/v1/events-head` | [`EventHead`](super::EventHead): the newest event's number |
//! | `/hamesh/v1/events/NUMBER` | [`EventRecord`](super::EventRecord), 20 digits |
//! | `/hamesh/v1/backups` | [`BackupsRecord`](super::BackupsRecord) |
//! | `/hamesh/v1/backup-key` | [`BackupKeyRecord`](super::BackupKeyRecord) |
//! | `/hamesh/v1/audit-head` | [`AuditHead`](super::AuditHead): the newest call's number |
//! | `/hamesh/v1/audit/NUMBER` | [`AuditRecord`](super::AuditRecord), 20 digits |

use hamesh_proto::ids::{ClaimId, NodeId, OperatorName};

/// Everything.
pub const ALL: &str = "/hamesh/v1/";
/// What agents and the coordinator's own work follow from.
pub const STATE: &str = "/hamesh/v1/state/";
/// The site's name and incarnation.
pub const SITE: &str = "/hamesh/v1/state/site";
/// Who leads; not among the state, which is read anew at each change.
pub const LEADER: &str = "/hamesh/v1/leader";
/// The coordinators.
pub const COORDINATORS: &str = "/hamesh/v1/state/coordinators/";
/// The newest leadership.
pub const EPOCH: &str = "/hamesh/v1/state/epoch";
/// The desired state.
pub const DESIRED: &str = "/hamesh/v1/state/desired";
/// The gossip keys and how far their rotation is.
pub const GOSSIP: &str = "/hamesh/v1/state/gossip";
/// The enrolled nodes.
pub const NODES: &str = "/hamesh/v1/state/nodes/";
/// What operators want of claims beside the site document.
pub const CLAIM_WISHES: &str = "/hamesh/v1/state/claims";
/// What operators want of the roles beside the site document.
pub const ROLES: &str = "/hamesh/v1/state/roles";
/// What the roles need and nobody may see.
pub const SECRETS: &str = "/hamesh/v1/state/secrets/";
/// What must outlive a coordinator, of each claim.
pub const CLAIMS: &str = "/hamesh/v1/claims/";
/// Where each claim was.
pub const CLAIM_MOVES: &str = "/hamesh/v1/claim-moves/";
/// What the keys between members of a claim are made from.
pub const LEASE_SECRET: &str = "/hamesh/v1/lease-secret";
/// The enrolment tokens.
pub const TOKENS: &str = "/hamesh/v1/tokens/";
/// The operators.
pub const OPERATORS: &str = "/hamesh/v1/operators/";
/// The number of the newest event.
pub const EVENTS_HEAD: &str = "/hamesh/v1/events-head";
/// The event log.
pub const EVENTS: &str = "/hamesh/v1/events/";
/// How the scheduled backups went.
pub const BACKUPS: &str = "/hamesh/v1/backups";
/// The key of the scheduled backups.
pub const BACKUP_KEY: &str = "/hamesh/v1/backup-key";
/// The number of the newest call in the audit trail.
pub const AUDIT_HEAD: &str = "/hamesh/v1/audit-head";
/// The audit trail.
pub const AUDIT: &str = "/hamesh/v1/audit/";

/// The record of an enrolled node.
pub fn node(node: &NodeId) -> String {
    format!("{NODES}{node}")
}

/// The record of a coordinator.
pub fn coordinator(node: &NodeId) -> String {
    format!("{COORDINATORS}{node}")
}

/// The record of a secret.
pub fn secret(name: &str) -> String {
    format!("{SECRETS}{name}")
}

/// The record of a claim.
pub fn claim(claim: &ClaimId) -> String {
    format!("{CLAIMS}{claim}")
}

/// The last moves of a claim.
pub fn claim_moves(claim: &ClaimId) -> String {
    format!("{CLAIM_MOVES}{claim}")
}

/// The record of a token. `id` comes from a parsed token: hexadecimal digits.
pub fn token(id: &str) -> String {
    format!("{TOKENS}{id}")
}

/// The record of an operator.
pub fn operator(name: &OperatorName) -> String {
    format!("{OPERATORS}{name}")
}

/// The record of an event; sorts as the number does.
pub fn event(number: u64) -> String {
    format!("{EVENTS}{number:020}")
}

/// The record of a call in the audit trail; sorts as the number does.
pub fn audit(number: u64) -> String {
    format!("{AUDIT}{number:020}")
}

/// What follows the prefix in a key.
pub fn name<'a>(prefix: &str, key: &'a str) -> &'a str {
    key.strip_prefix(prefix).unwrap_or(key)
}
