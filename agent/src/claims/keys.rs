//! The keys of lease datagrams: as a coordinator sends them, and as they lie on disk.
//!
//! The key with a coordinator lives as long as its session and is never written. Those with the
//! other members are kept, so that they trust each other while no coordinator answers.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// A key that this node shares with one other.
#[derive(Clone, PartialEq, Eq)]
pub struct LeaseKey {
    /// The node at the other end.
    pub node: NodeId,
    /// Names the key in datagrams.
    pub id: u64,
    /// The secret itself.
    pub secret: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for LeaseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseKey")
            .field("node", &self.node)
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A key is of no use. The others are used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease key {id:016x} for {node:?} is damaged; a coordinator will send it anew")]
pub struct DamagedKey {
    id: u64,
    node: String,
}

impl TryFrom<v1::LeaseKey> for LeaseKey {
    type Error = DamagedKey;

    fn try_from(wire: v1::LeaseKey) -> Result<Self, DamagedKey> {
        let damaged = || DamagedKey {
            id: wire.id,
            node: wire.node.chars().take(64).collect(),
        };
        let node = wire.node.parse().map_err(|_| damaged())?;
        let secret = wire.secret.as_slice().try_into().map_err(|_| damaged())?;
        Ok(Self {
            node,
            id: wire.id,
            secret: Zeroizing::new(secret),
        })
    }
}

/// What a coordinator sent of keys. One that is damaged spoils no other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentKeys {
    /// The keys with the other members.
    pub peers: Vec<LeaseKey>,
    /// The number of each other member's newest start.
    pub starts: BTreeMap<NodeId, u64>,
    /// The session's key with the coordinator.
    pub coordinator: Option<LeaseKey>,
    /// That coordinator's incarnation.
    pub incarnation: u64,
    /// Peers' keys that are of no use.
    pub damaged: Vec<DamagedKey>,
}

impl From<v1::LeaseKeys> for SentKeys {
    fn from(wire: v1::LeaseKeys) -> Self {
        let mut sent = Self {
            incarnation: wire.incarnation,
            ..Self::default()
        };
        for key in wire.peers {
            if let Ok(node) = key.node.parse() {
                sent.starts.insert(node, key.newest_start);
            }
            match LeaseKey::try_from(key) {
                Ok(key) => sent.peers.push(key),
                Err(damage) => sent.damaged.push(damage),
            }
        }
        let coordinator = wire.coordinator.map(LeaseKey::try_from);
        sent.coordinator = coordinator.and_then(Result::ok);
        sent
    }
}

/// The keys with the other members, as text. A secret: its file is 0600.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKeys {
    peers: Vec<StoredKey>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredKey {
    node: String,
    /// As text: JSON's numbers are not good for 64 bits everywhere.
    id: String,
    /// Base64.
    secret: String,
}

impl From<&[LeaseKey]> for StoredKeys {
    fn from(keys: &[LeaseKey]) -> Self {
        let stored = |key: &LeaseKey| StoredKey {
            node: key.node.to_string(),
            id: format!("{:016x}", key.id),
            secret: STANDARD.encode(key.secret.as_slice()),
        };
        Self {
            peers: keys.iter().map(stored).collect(),
        }
    }
}

impl StoredKeys {
    /// The keys; each damaged one apart.
    pub fn read(self) -> (Vec<LeaseKey>, Vec<DamagedKey>) {
        let mut good = Vec::new();
        let mut bad = Vec::new();
        for key in self.peers {
            let id = u64::from_str_radix(&key.id, 16).unwrap_or_default();
            let wire = v1::LeaseKey {
                node: key.node,
                id,
                secret: STANDARD.decode(&key.secret).unwrap_or_default(),
                newest_start: 0,
            };
            match LeaseKey::try_from(wire) {
                Ok(key) => good.push(key),
                Err(damage) => bad.push(damage),
            }
        }
        (good, bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(node: &str, secret: Vec<u8>) -> v1::LeaseKey {
        let node = node.to_owned();
        v1::LeaseKey {
            node,
            id: u64::MAX - 1,
            secret,
            newest_start: 0,
        }
    }

    #[test]
    fn keys_on_disk_are_read_back_and_a_damaged_one_spoils_no_other() {
        let good = LeaseKey::try_from(key("node-1", vec![7; 32])).expect("a key");
        let mut stored = StoredKeys::from([good.clone()].as_slice());
        let mut damaged = stored.peers[0].clone();
        damaged.secret = "AAAA".to_owned();
        stored.peers.push(damaged);
        let (read, bad) = stored.read();
        assert_eq!(read, [good]);
        assert_eq!(bad.len(), 1);
    }

    #[test]
    fn a_key_of_the_wrong_length_or_for_no_node_is_refused_without_showing_it() {
        for wire in [key("node-1", vec![7; 31]), key("Node 1", vec![7; 32])] {
            LeaseKey::try_from(wire).expect_err("refused");
        }
        // No number in the text but the key's id, which has no 200 in it.
        let good = LeaseKey::try_from(key("node-1", vec![200; 32])).expect("a key");
        assert!(!format!("{good:?}").contains("200"), "{good:?}");
    }
}
