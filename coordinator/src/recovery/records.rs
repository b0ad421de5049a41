//! The store's records of a recovered site. Pure.
//!
//! From the agents: nodes, claims, the desired state, gossip keys. From the backup, because no
//! agent knows it: the site's birthday, operators, events, the audit trail, the moves of claims,
//! how backups went and their key, the secrets of roles and how often they were made anew. From
//! nobody: what the keys between members are made from, and what operators wanted of claims: the
//! former is made anew, the latter may be outdated.

use std::collections::BTreeMap;

use hamesh_proto::seal::SealKey;

use super::Begun;
use super::plan::Plan;
use crate::backup::SnapshotError;
use crate::backup::rebirth::{Rebirth, gossip, put, revoke_tokens};
use crate::records::{DesiredRecord, NodeRecord, keys};

/// What is taken from the backup: whole prefixes, or single keys.
const KEPT: [&str; 13] = [
    keys::SITE,
    keys::EPOCH,
    keys::OPERATORS,
    keys::EVENTS_HEAD,
    keys::EVENTS,
    keys::AUDIT_HEAD,
    keys::AUDIT,
    keys::CLAIM_MOVES,
    keys::BACKUPS,
    keys::BACKUP_KEY,
    keys::TOKENS,
    keys::ROLES,
    keys::SECRETS,
];

/// Everything that the store is filled with.
///
/// # Errors
/// When a record of the backup cannot be read.
pub fn records(
    begun: &Begun,
    plan: &Plan,
    seal: &SealKey,
    (by, now_unix_ms): (&str, u64),
) -> Result<Rebirth, SnapshotError> {
    let taken = begun.entries.iter().filter(|(key, _)| is_kept(key));
    let taken = taken.map(|(key, value)| (key.clone(), value.clone()));
    let mut entries: BTreeMap<String, String> = taken.collect();
    revoke_tokens(&mut entries, by, now_unix_ms)?;
    let desired = DesiredRecord {
        incarnation: plan.id.incarnation,
        generation: plan.id.generation,
        yaml: plan.document.yaml.clone(),
        revoked: plan.revoked.clone(),
    };
    put(&mut entries, keys::DESIRED, &desired);
    let ring = gossip(seal, &plan.ring, plan.id.incarnation)?;
    put(&mut entries, keys::GOSSIP, &ring);
    for (node, certificate) in &plan.nodes {
        let record = NodeRecord {
            enrolled_unix_ms: now_unix_ms,
            certificates: vec![certificate.clone()],
            re_enrol: None,
        };
        put(&mut entries, &keys::node(node), &record);
    }
    for (claim, record) in &plan.claims {
        put(&mut entries, &keys::claim(claim), record);
    }
    let text = format!(
        "recovered by {by} from what {} nodes hold, with the CA of the backup of {}; incarnation \
         {} begins",
        plan.nodes.len(),
        begun.backup_of,
        plan.id.incarnation
    );
    Ok(Rebirth { entries, text })
}

fn is_kept(key: &str) -> bool {
    KEPT.iter().any(|kept| match kept.ends_with('/') {
        true => key.starts_with(kept),
        false => key == *kept,
    })
}
