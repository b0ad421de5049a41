//! What the records of a backup become when a site is restored from them. Pure.
//!
//! Guarantees: whatever agents and members of claims compare (assignments, epochs, gossip keys,
//! groups) is later than anything that was handed out before, also after the backup was made; no
//! token of before is good any more.
//!
//! The idea: a new incarnation precedes generation and epoch in every comparison. Its number is
//! the time of the restore in Unix seconds: two restores from one backup differ, and the later one
//! precedes. A clock that is wrong cannot take it below what the backup holds.

use std::collections::BTreeMap;

use hamesh_claims::group;
use hamesh_claims::ids::GroupVersion;
use hamesh_proto::seal::{KeyRing, SealKey};
use hamesh_proto::v1;

use super::{Snapshot, SnapshotError};
use crate::records::{
    ClaimRecord, DesiredRecord, GossipRecord, OperatorAccess, OperatorRecord, Record,
    RotationPhase, TokenRecord, TokenState, decode, encode, keys,
};
use crate::world::{open_ring, seal_ring};

/// What a restored site starts from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Rebirth {
    /// Every key of the store with its value.
    pub entries: BTreeMap<String, String>,
    /// For people: what it was restored from.
    pub text: String,
}

/// The number of a new incarnation: above `before` and above any that was minted earlier.
pub fn incarnation(before: u64, now_unix_ms: u64) -> u64 {
    (now_unix_ms / 1000).max(before.saturating_add(1))
}

/// The records under a new incarnation. `operator` may look and change from the beginning.
pub fn reborn(
    snapshot: &Snapshot,
    incarnation: u64,
    operator: &OperatorRecord,
    (by, now_unix_ms): (&str, u64),
) -> Result<Rebirth, SnapshotError> {
    let mut entries = snapshot.entries.clone();
    // The store of a restored site has one member: the others are added anew. Nobody leads it yet.
    entries.retain(|key, _| key != keys::LEADER && !key.starts_with(keys::COORDINATORS));
    admit(&mut entries, operator)?;
    revoke_tokens(&mut entries, by, now_unix_ms)?;
    let before: DesiredRecord = snapshot.record(keys::DESIRED)?;
    let generation = before.generation;
    let text = format!(
        "restored from the backup of {} at generation {generation}, incarnation {incarnation} \
         begins",
        snapshot.coordinator
    );
    let desired = DesiredRecord {
        incarnation,
        generation: generation.saturating_add(1),
        ..before
    };
    put(&mut entries, keys::DESIRED, &desired);
    let seal = snapshot.seal_key()?;
    let kept = open_ring(&seal, &snapshot.record(keys::GOSSIP)?)?;
    let gossip = gossip(&seal, &kept, incarnation)?;
    put(&mut entries, keys::GOSSIP, &gossip);
    each(&mut entries, keys::CLAIMS, |claim: ClaimRecord| {
        reborn_claim(claim.record, incarnation)
    })?;
    Ok(Rebirth { entries, text })
}

/// What is granted of a claim under the new incarnation: nothing before its members were gathered.
pub(crate) fn reborn_claim(record: group::Record, incarnation: u64) -> ClaimRecord {
    let record = record.restored(GroupVersion(incarnation));
    ClaimRecord { record }
}

/// Open tokens may have been used since.
pub(crate) fn revoke_tokens(
    entries: &mut BTreeMap<String, String>,
    by: &str,
    now_unix_ms: u64,
) -> Result<(), SnapshotError> {
    each(entries, keys::TOKENS, |token: TokenRecord| {
        let state = match token.state {
            TokenState::Open => TokenState::Revoked {
                at_unix_ms: now_unix_ms,
                by: by.to_owned(),
            },
            // Whoever lost the answer to a token could not tell a restored coordinator either.
            state @ (TokenState::Used { .. } | TokenState::Revoked { .. }) => state,
        };
        TokenRecord { state, ..token }
    })
}

/// One key of before that all can be told of, and a fresh one that is to follow at once: a
/// node that was removed after the backup knows the former.
pub(crate) fn gossip(
    seal: &SealKey,
    kept: &KeyRing,
    incarnation: u64,
) -> Result<GossipRecord, SnapshotError> {
    let mut told = v1::GossipKeyRing::from(&kept.with_primary_only());
    told.version = told.version.max(incarnation);
    let unreadable =
        |error: hamesh_proto::seal::KeyRingError| SnapshotError::Unreadable(error.to_string());
    let alone = KeyRing::try_from(&told).map_err(unreadable)?;
    let (ring, _) = alone.with_fresh_key().expect("a ring of one key has room");
    Ok(GossipRecord {
        version: ring.version(),
        sealed_ring: seal_ring(seal, &ring),
        phase: RotationPhase::Distribute,
        again: false,
    })
}

/// Lets the operator in who begins anew, beside the certificates that the backup knows.
pub(crate) fn admit(
    entries: &mut BTreeMap<String, String>,
    operator: &OperatorRecord,
) -> Result<(), SnapshotError> {
    let key = keys::operator(&operator.name);
    let mut admitted = operator.clone();
    if let Some(value) = entries.get(&key) {
        let known: OperatorRecord = decode(&key, value.as_bytes())?;
        admitted = OperatorRecord {
            access: OperatorAccess::Admin,
            certificates: [known.certificates, admitted.certificates].concat(),
            ..known
        };
    }
    put(entries, &key, &admitted);
    Ok(())
}

fn each<T: Record>(
    entries: &mut BTreeMap<String, String>,
    prefix: &str,
    reborn: impl Fn(T) -> T,
) -> Result<(), SnapshotError> {
    for (key, value) in entries
        .iter_mut()
        .filter(|(key, _)| key.starts_with(prefix))
    {
        *value = text(&reborn(decode(key, value.as_bytes())?));
    }
    Ok(())
}

pub(crate) fn put<T: Record>(entries: &mut BTreeMap<String, String>, key: &str, value: &T) {
    entries.insert(key.to_owned(), text(value));
}

fn text<T: Record>(value: &T) -> String {
    String::from_utf8(encode(value)).expect("JSON is text")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn invariant_a_restore_precedes_the_backup_and_every_restore_before_it(
            before: u32, earlier in 0..4_000_000_000_000u64, later in 1000..1_000_000_000u64
        ) {
            let first = incarnation(u64::from(before), earlier);
            prop_assert!(first > u64::from(before));
            // The same backup again, and a backup of the restored site.
            prop_assert!(incarnation(first, earlier) > first);
            if earlier / 1000 > u64::from(before) {
                prop_assert!(incarnation(u64::from(before), earlier + later) > first);
            }
        }
    }
}
