//! The keys of lease datagrams.
//!
//! Guarantees: a session's key is random and known to that agent and this coordinator alone. A
//! key between two members follows from a secret that only coordinators open, from both names and
//! from both enrolments: two members are told the same one, nobody else can make it, and it dies
//! with the enrolment of either.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hamesh_proto::ids::NodeId;
use hamesh_proto::seal::SealKey;
use hamesh_proto::{random, v1};
use ring::hkdf;
use zeroize::Zeroizing;

use crate::ledger::{Change, CommitError, Kept, Ledger, ReadError};
use crate::records::{LeaseSecretRecord, NodeRecord, keys};
use crate::sessions::Starts;
use crate::store::Revision;

const PURPOSE: &[u8] = b"hamesh-peer-lease-v1";

/// What the keys between members are made from.
#[derive(Clone)]
pub struct LeaseSecret(Zeroizing<[u8; 32]>);

/// The key of one session, on its way to the grantors.
#[derive(Clone)]
pub struct SessionKey {
    /// The agent's node.
    pub node: NodeId,
    /// The boot that the agent runs under.
    pub boot: String,
    /// Names the key in datagrams.
    pub id: u64,
    /// The key.
    pub secret: Zeroizing<[u8; 32]>,
    /// The enrolment that the session was admitted under.
    pub enrolled_unix_ms: u64,
    /// When that was read.
    pub revision: Revision,
}

/// For each node with a part in any claim all who have a part in one of these, itself among them.
pub type Parts = BTreeMap<NodeId, BTreeSet<NodeId>>;

/// Who shares a claim with whom, of everyone with a part in each.
pub fn parts(claims: impl IntoIterator<Item = BTreeSet<NodeId>>) -> Parts {
    let mut parts = Parts::new();
    for members in claims {
        for node in &members {
            parts
                .entry(node.clone())
                .or_default()
                .extend(members.iter().cloned());
        }
    }
    parts
}

/// Why the secret of the keys cannot be had. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The store, or its value.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It was not written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// It does not open.
    #[error(
        "the secret of the lease keys in the store does not open: seal.key is not the one it was \
         sealed with; restore it from a backup"
    )]
    Sealed,
}

impl LeaseSecret {
    /// The site's; the first coordinator makes it.
    pub async fn load(
        ledger: &Ledger,
        seal: &SealKey,
        change: Change,
    ) -> Result<Self, SecretError> {
        if let Some(found) = Self::find(ledger, seal).await? {
            return Ok(found);
        }
        let fresh = Zeroizing::new(random::bytes::<32>());
        let sealed = STANDARD.encode(seal.seal(keys::LEASE_SECRET.as_bytes(), fresh.as_slice()));
        match ledger
            .commit(change.create(keys::LEASE_SECRET, &LeaseSecretRecord { sealed }))
            .await
        {
            // A conflict: another coordinator was faster.
            Ok(()) | Err(CommitError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        Self::find(ledger, seal).await?.ok_or(SecretError::Sealed)
    }

    async fn find(ledger: &Ledger, seal: &SealKey) -> Result<Option<Self>, SecretError> {
        let kept: Option<Kept<LeaseSecretRecord>> = ledger.read(keys::LEASE_SECRET).await?;
        let Some(kept) = kept else { return Ok(None) };
        let sealed = STANDARD
            .decode(&kept.value.sealed)
            .map_err(|_| SecretError::Sealed)?;
        let opened = seal.open(keys::LEASE_SECRET.as_bytes(), &sealed);
        let opened = opened.map_err(|_| SecretError::Sealed)?;
        let secret = opened
            .as_slice()
            .try_into()
            .map_err(|_| SecretError::Sealed)?;
        Ok(Some(Self(Zeroizing::new(secret))))
    }

    /// The keys of `node` with everyone that it shares a claim with, and which start of each is
    /// to be listened to.
    pub fn peers(
        &self,
        node: &NodeId,
        parts: &Parts,
        enrolled: &BTreeMap<NodeId, NodeRecord>,
        starts: &Starts,
    ) -> Vec<v1::LeaseKey> {
        let Some(own) = enrolled.get(node) else {
            return Vec::new();
        };
        let shared = parts.get(node).into_iter().flatten();
        let others = shared.filter(|other| *other != node);
        let key = |other: &NodeId| {
            let key = self.between((node, own), (other, enrolled.get(other)?));
            Some(v1::LeaseKey {
                newest_start: starts.get(other).copied().unwrap_or_default(),
                ..key
            })
        };
        others.filter_map(key).collect()
    }

    /// The key between two members, for the first one.
    fn between(&self, own: (&NodeId, &NodeRecord), other: (&NodeId, &NodeRecord)) -> v1::LeaseKey {
        let (first, second) = if own.0 < other.0 {
            (own, other)
        } else {
            (other, own)
        };
        let [a, b] = [first, second].map(|(node, record)| {
            // A NUL is in no name: no two pairs read the same.
            format!("{node}\0{}\0", record.enrolled_unix_ms)
        });
        let mut id = [0; 8];
        let (mut named, mut secret) = ([0; 32], vec![0; 32]);
        self.expand(&[b"id\0", a.as_bytes(), b.as_bytes()], &mut named);
        self.expand(&[b"key\0", a.as_bytes(), b.as_bytes()], &mut secret);
        id.copy_from_slice(&named[..8]);
        v1::LeaseKey {
            node: other.0.to_string(),
            id: u64::from_be_bytes(id),
            secret,
            newest_start: 0,
        }
    }

    fn expand(&self, info: &[&[u8]], out: &mut [u8]) {
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, PURPOSE).extract(self.0.as_slice());
        derived
            .expand(info, hkdf::HKDF_SHA256)
            .and_then(|okm| okm.fill(out))
            .expect("32 bytes are one block of HKDF-SHA256");
    }
}

impl std::fmt::Debug for LeaseSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LeaseSecret")
    }
}

impl SessionKey {
    /// A fresh one.
    pub fn fresh(node: &NodeId, boot: &str, record: &Kept<NodeRecord>) -> Self {
        Self {
            node: node.clone(),
            boot: boot.to_owned(),
            id: u64::from_be_bytes(random::bytes()),
            secret: Zeroizing::new(random::bytes()),
            enrolled_unix_ms: record.value.enrolled_unix_ms,
            revision: record.revision,
        }
    }

    /// As the agent is told it by `coordinator`.
    pub fn message(&self, coordinator: &NodeId) -> v1::LeaseKey {
        v1::LeaseKey {
            node: coordinator.to_string(),
            id: self.id,
            secret: self.secret.to_vec(),
            newest_start: 0,
        }
    }
}

impl std::fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionKey")
            .field("node", &self.node)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str) -> NodeId {
        name.parse().expect("a name")
    }

    fn enrolled(all: &[(&str, u64)]) -> BTreeMap<NodeId, NodeRecord> {
        let record = |(name, at): &(&str, u64)| {
            let record = NodeRecord {
                enrolled_unix_ms: *at,
                certificates: Vec::new(),
                re_enrol: None,
            };
            (node(name), record)
        };
        all.iter().map(record).collect()
    }

    fn sharing(members: &[&str]) -> Parts {
        let claim = |members: &[&str]| members.iter().map(|name| node(name)).collect();
        parts([claim(members), claim(&["e"])])
    }

    fn key(of: &str, with: &str, all: &[(&str, u64)]) -> v1::LeaseKey {
        let secret = LeaseSecret(Zeroizing::new([7; 32]));
        let keys = secret.peers(
            &node(of),
            &sharing(&["a", "b", "c"]),
            &enrolled(all),
            &Starts::new(),
        );
        let found = keys.into_iter().find(|key| key.node == with);
        found.expect("a key for every enrolled member")
    }

    const ALL: [(&str, u64); 4] = [("a", 1), ("b", 2), ("c", 3), ("d", 4)];

    #[test]
    fn two_members_are_told_the_same_key_and_no_other_pair_has_it() {
        let (ab, ba, ac) = (
            key("a", "b", &ALL),
            key("b", "a", &ALL),
            key("a", "c", &ALL),
        );
        assert_eq!((ab.id, &ab.secret), (ba.id, &ba.secret));
        assert!(ab.id != ac.id && ab.secret != ac.secret);
    }

    #[test]
    fn a_key_dies_with_the_enrolment_of_either() {
        let before = key("a", "b", &ALL);
        for changed in [[("a", 9), ("b", 2)], [("a", 1), ("b", 9)]] {
            let after = key("a", "b", &changed);
            assert!(before.id != after.id && before.secret != after.secret);
        }
    }

    #[test]
    fn a_key_says_which_start_of_the_other_to_listen_to() {
        let secret = LeaseSecret(Zeroizing::new([7; 32]));
        let starts = [(node("a"), 4), (node("b"), 5)].into();
        let keys = secret.peers(
            &node("a"),
            &sharing(&["a", "b", "c"]),
            &enrolled(&ALL),
            &starts,
        );
        let told = keys.iter().map(|key| (key.node.as_str(), key.newest_start));
        assert_eq!(told.collect::<Vec<_>>(), [("b", 5), ("c", 0)]);
    }

    #[test]
    fn who_shares_no_claim_or_is_not_enrolled_has_no_key() {
        let secret = LeaseSecret(Zeroizing::new([7; 32]));
        let parts = sharing(&["a", "b", "c"]);
        let none = Starts::new();
        let of_d = secret.peers(&node("d"), &parts, &enrolled(&ALL), &none);
        assert!(of_d.is_empty());
        let some = secret.peers(&node("a"), &parts, &enrolled(&[("a", 1), ("c", 3)]), &none);
        assert_eq!(
            some.iter().map(|key| key.node.as_str()).collect::<Vec<_>>(),
            ["c"]
        );
    }
}
