//! What a backup holds: the whole store at one revision, and the keys that lie beside it.
//!
//! A [`Snapshot`] is plain text in JSON, `{"format":1,...}`; each value of the store stands in it
//! as the store has it, so that a backup is as old or as new as its records are.

use std::collections::BTreeMap;

use hamesh_proto::ca::CertificateAuthority;
use hamesh_proto::hex;
use hamesh_proto::ids::{NodeId, OperatorName, SiteName};
use hamesh_proto::seal::SealKey;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::container::{About, wrap};
use super::key::BackupKey;
use crate::core::Core;
use crate::desired::{Desired, InvalidSite};
use crate::records::{
    DecodeError, DesiredRecord, EpochRecord, GossipRecord, OperatorAccess, OperatorRecord, Record,
    SiteRecord, decode, keys,
};
use crate::store::{Span, StoreError};
use crate::world::{WorldError, open_ring};

/// The one format that is written, and the newest that is read.
const FORMAT: u32 = 1;

/// See the module.
#[derive(Clone, Serialize, Deserialize)]
pub struct Snapshot {
    format: u32,
    /// The site.
    pub site: SiteName,
    /// The coordinator that took it.
    pub coordinator: NodeId,
    /// The version of that coordinator.
    pub version: String,
    /// When.
    pub made_unix_ms: u64,
    /// The store's revision.
    pub revision: i64,
    /// The CA's key and certificate, PEM.
    pub ca_pem: String,
    /// The key that seals secrets in the store: 32 bytes, hex.
    pub seal_key: String,
    /// Every key of the store with its value.
    pub entries: BTreeMap<String, String>,
}

/// What is in a snapshot, once all of it was found to be sound.
#[derive(Debug, Clone)]
pub struct Contents {
    /// The desired state.
    pub desired: Desired,
    /// The newest leadership, or start of a coordinator.
    pub epoch: u64,
    /// The nodes that are enrolled.
    pub nodes: Vec<NodeId>,
    /// The operators, and whether each is an admin.
    pub operators: BTreeMap<OperatorName, bool>,
    /// SHA-256 of the CA's certificate, hex.
    pub ca_fingerprint: String,
    /// When the CA expires.
    pub ca_expires_unix_ms: u64,
    /// How many records there are.
    pub records: usize,
}

/// Why a snapshot cannot be used, or was not taken. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is not what hamesh wrote.
    #[error("the content of the backup cannot be read ({0}); take another backup")]
    Unreadable(String),
    /// Of a later release.
    #[error(
        "the content has format {0}, written by a later version of hamesh; use the coordctl of \
             that version"
    )]
    Later(u32),
    /// One of the records.
    #[error(transparent)]
    Record(#[from] DecodeError),
    /// The site document.
    #[error(transparent)]
    Site(#[from] InvalidSite),
    /// The gossip keys.
    #[error(transparent)]
    Ring(#[from] WorldError),
    /// A record that every site has is not there.
    #[error("the backup holds no {0}; take another backup")]
    Missing(&'static str),
    /// The CA.
    #[error("the CA in the backup cannot be used ({0}); take another backup")]
    Ca(#[from] hamesh_proto::ca::CaError),
}

impl Snapshot {
    /// Of a running coordinator, now.
    pub async fn take(core: &Core) -> Result<Self, SnapshotError> {
        let listing = core.ledger.store().range(&Span::prefix(keys::ALL)).await?;
        let mut entries = BTreeMap::new();
        for entry in listing.entries {
            let key = entry.key;
            let value = String::from_utf8(entry.value).map_err(|_| StoreError::Foreign {
                problem: format!("the value of {key} is not text"),
            })?;
            entries.insert(key, value);
        }
        Ok(Self {
            format: FORMAT,
            site: core.site.clone(),
            coordinator: core.node.clone(),
            version: crate::version().to_owned(),
            made_unix_ms: core.clock.unix_ms(),
            revision: listing.revision.0,
            ca_pem: core.authority.ca().to_pem().to_string(),
            seal_key: hex::encode(core.seal.to_bytes().as_slice()),
            entries,
        })
    }

    /// The bytes of a file.
    pub fn sealed(&self, key: &BackupKey) -> Vec<u8> {
        let content = Zeroizing::new(serde_json::to_vec(self).expect("plain values are JSON"));
        let about = About {
            site: self.site.as_str(),
            coordinator: self.coordinator.as_str(),
            made_unix_ms: self.made_unix_ms,
        };
        wrap(&about, key, &content)
    }

    /// Of the content of an opened backup.
    pub fn parse(content: &[u8]) -> Result<Self, SnapshotError> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let unreadable = |error: serde_json::Error| SnapshotError::Unreadable(error.to_string());
        let Format { format } = serde_json::from_slice(content).map_err(unreadable)?;
        if format > FORMAT {
            return Err(SnapshotError::Later(format));
        }
        serde_json::from_slice(content).map_err(unreadable)
    }

    /// One of its records.
    pub fn record<T: Record>(&self, key: &'static str) -> Result<T, SnapshotError> {
        let value = self.entries.get(key).ok_or(SnapshotError::Missing(key))?;
        Ok(decode(key, value.as_bytes())?)
    }

    /// The key that seals secrets in the store.
    pub fn seal_key(&self) -> Result<SealKey, SnapshotError> {
        let bytes = hex::decode(&self.seal_key)
            .ok_or_else(|| SnapshotError::Unreadable("seal_key is no key".to_owned()))?;
        Ok(SealKey::from_bytes(Zeroizing::new(bytes)))
    }

    /// Looks at everything that a restored site stands on.
    pub fn contents(&self) -> Result<Contents, SnapshotError> {
        let ca = CertificateAuthority::from_pem(&self.ca_pem)?;
        let site: SiteRecord = self.record(keys::SITE)?;
        let desired = Desired::parse(self.record::<DesiredRecord>(keys::DESIRED)?)?;
        if site.site != self.site || desired.site.name != self.site {
            let told = format!("it is of {}, its records are of {}", self.site, site.site);
            return Err(SnapshotError::Unreadable(told));
        }
        let epoch: EpochRecord = self.record(keys::EPOCH)?;
        let ring: GossipRecord = self.record(keys::GOSSIP)?;
        open_ring(&self.seal_key()?, &ring)?;
        let mut operators = BTreeMap::new();
        for (key, value) in self.under(keys::OPERATORS) {
            let operator: OperatorRecord = decode(key, value.as_bytes())?;
            operators.insert(operator.name, operator.access == OperatorAccess::Admin);
        }
        let nodes = self.under(keys::NODES).map(|(key, _)| {
            let name = keys::name(keys::NODES, key).parse();
            name.map_err(|_| SnapshotError::Unreadable(format!("{key} names no node")))
        });
        Ok(Contents {
            nodes: nodes.collect::<Result<_, _>>()?,
            desired,
            epoch: epoch.epoch,
            operators,
            ca_fingerprint: ca.fingerprint().to_string(),
            ca_expires_unix_ms: ca.not_after_unix_ms(),
            records: self.entries.len(),
        })
    }

    fn under(&self, prefix: &'static str) -> impl Iterator<Item = (&String, &String)> {
        let from = self.entries.range(prefix.to_owned()..);
        from.take_while(move |(key, _)| key.starts_with(prefix))
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.ca_pem.zeroize();
        self.seal_key.zeroize();
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Snapshot")
            .field("site", &self.site)
            .field("revision", &self.revision)
            .finish_non_exhaustive()
    }
}
