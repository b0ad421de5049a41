//! The gossip key ring as it lies on disk.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hamesh_proto::v1;
use serde::{Deserialize, Serialize};

/// The ring, as text. A secret: its file is 0600, and `Debug` shows no key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRing {
    version: u64,
    primary: u32,
    keys: Vec<StoredKey>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
struct StoredKey {
    id: u32,
    /// Base64.
    secret: String,
}

/// A key on disk is not base64; the file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gossip key {id} on disk is damaged; a coordinator will send it anew")]
pub struct DamagedKey {
    id: u32,
}

impl From<&v1::GossipKeyRing> for StoredRing {
    fn from(ring: &v1::GossipKeyRing) -> Self {
        let keys = ring.keys.iter().map(|key| StoredKey {
            id: key.id,
            secret: STANDARD.encode(&key.secret),
        });
        Self {
            version: ring.version,
            primary: ring.primary,
            keys: keys.collect(),
        }
    }
}

impl TryFrom<StoredRing> for v1::GossipKeyRing {
    type Error = DamagedKey;

    fn try_from(stored: StoredRing) -> Result<Self, DamagedKey> {
        let keys = stored.keys.into_iter().map(|key| {
            let secret = STANDARD
                .decode(&key.secret)
                .map_err(|_| DamagedKey { id: key.id })?;
            Ok(v1::GossipKey { id: key.id, secret })
        });
        Ok(Self {
            version: stored.version,
            primary: stored.primary,
            keys: keys.collect::<Result<_, DamagedKey>>()?,
        })
    }
}

impl std::fmt::Debug for StoredRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredRing")
            .field("version", &self.version)
            .field("primary", &self.primary)
            .field(
                "keys",
                &self.keys.iter().map(|key| key.id).collect::<Vec<_>>(),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_comes_back_from_disk_unchanged_and_never_shows_its_keys() {
        let key = |id, byte| v1::GossipKey {
            id,
            secret: vec![byte; 32],
        };
        let ring = v1::GossipKeyRing {
            version: 4,
            primary: 2,
            keys: vec![key(1, 7), key(2, 9)],
        };
        let stored = StoredRing::from(&ring);
        let text = serde_json::to_string(&stored).expect("serialisable");
        let back: StoredRing = serde_json::from_str(&text).expect("readable");
        let secret = STANDARD.encode([9; 32]);
        assert!(text.contains(&secret) && !format!("{back:?}").contains(&secret));
        assert_eq!(v1::GossipKeyRing::try_from(back), Ok(ring));
    }

    #[test]
    fn a_damaged_key_is_named() {
        let text = r#"{"version":1,"primary":3,"keys":[{"id":3,"secret":"?"}]}"#;
        let stored: StoredRing = serde_json::from_str(text).expect("readable");
        assert_eq!(
            v1::GossipKeyRing::try_from(stored),
            Err(DamagedKey { id: 3 })
        );
    }
}
