//! What is there before any agent was heard: the backup, and what the operator gave.

use std::collections::BTreeMap;
use std::time::Duration;

use hamesh_claims::group;
use hamesh_proto::ca::OPERATOR_VALID;
use hamesh_proto::ids::{ClaimId, NodeId, OperatorName, SiteName};
use hamesh_proto::seal::{KeyRing, SealKey};
use hamesh_roles::Site;
use serde::{Deserialize, Serialize};

use super::Id;
use crate::backup::{Snapshot, SnapshotError, rebirth};
use crate::desired::Desired;
use crate::records::{
    ClaimRecord, ClaimWishesRecord, DecodeError, DesiredRecord, GossipRecord, OperatorRecord,
    Record, decode, keys,
};
use crate::world::open_ring;

/// The content of `recover.json`: all that a recovery begins from, and begins again from.
#[derive(Clone, Serialize, Deserialize)]
pub struct Begun {
    /// The incarnation that begins, unless an agent knows of a later one.
    pub incarnation: u64,
    /// The coordinator that made the backup.
    pub backup_of: NodeId,
    /// When it was made.
    pub backup_unix_ms: u64,
    /// The site document that the operator gave.
    pub document: Option<String>,
    /// Every record of the backup; the operator who recovers is among them.
    pub entries: BTreeMap<String, String>,
}

impl Begun {
    /// From a backup that was found sound.
    ///
    /// # Errors
    /// When one of its records cannot be read.
    pub fn new(
        snapshot: &Snapshot,
        incarnation: u64,
        document: Option<String>,
        operator: &OperatorRecord,
    ) -> Result<Self, SnapshotError> {
        let mut entries = snapshot.entries.clone();
        rebirth::admit(&mut entries, operator)?;
        Ok(Self {
            incarnation,
            backup_of: snapshot.coordinator.clone(),
            backup_unix_ms: snapshot.made_unix_ms,
            document,
            entries,
        })
    }

    /// One of the backup's records.
    ///
    /// # Errors
    /// When it is missing or cannot be read.
    pub fn record<T: Record>(&self, key: &'static str) -> Result<T, SnapshotError> {
        let value = self.entries.get(key).ok_or(SnapshotError::Missing(key))?;
        Ok(decode(key, value.as_bytes())?)
    }

    fn each<T: Record>(&self, prefix: &str) -> Result<Vec<(&str, T)>, DecodeError> {
        let under = self.entries.range(prefix.to_owned()..);
        let under = under.take_while(|(key, _)| key.starts_with(prefix));
        under
            .map(|(key, value)| Ok((keys::name(prefix, key), decode(key, value.as_bytes())?)))
            .collect()
    }
}

impl std::fmt::Debug for Begun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begun")
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

/// The same, read.
#[derive(Debug, Clone)]
pub struct Base {
    /// The site.
    pub site: SiteName,
    /// The node that recovers it.
    pub own: NodeId,
    /// See [`Begun::incarnation`].
    pub incarnation: u64,
    /// The desired state of the backup.
    pub desired: Desired,
    /// The document that the operator gave.
    pub document: Option<(String, Site)>,
    /// The backup's records of claims.
    pub claims: BTreeMap<ClaimId, group::Record>,
    /// What operators wanted of claims when it was made.
    pub wishes: ClaimWishesRecord,
    /// The backup's gossip keys.
    pub ring: KeyRing,
    /// Who may ask what becomes of it.
    pub operators: BTreeMap<OperatorName, OperatorRecord>,
    /// The longest life of a certificate that was revoked at an unknown time.
    pub longest_life: Duration,
}

impl Base {
    /// Reads what was begun.
    ///
    /// # Errors
    /// When the backup's records cannot be read: they could when it was begun.
    pub fn read(
        begun: &Begun,
        (site, own): (&SiteName, &NodeId),
        seal: &SealKey,
        agents_valid: Duration,
    ) -> Result<Self, SnapshotError> {
        let unreadable = |what: String| SnapshotError::Unreadable(what);
        let document = begun.document.clone().map(|yaml| {
            let site = Site::parse(&yaml);
            let faults = |faults: Vec<_>| unreadable(format!("{} faults", faults.len()));
            Ok::<_, SnapshotError>((yaml, site.map_err(faults)?))
        });
        let claims = begun.each::<ClaimRecord>(keys::CLAIMS)?.into_iter();
        let claims = claims.filter_map(|(name, claim)| Some((name.parse().ok()?, claim.record)));
        let operators = begun.each::<OperatorRecord>(keys::OPERATORS)?.into_iter();
        let wishes = match begun.entries.contains_key(keys::CLAIM_WISHES) {
            true => begun.record(keys::CLAIM_WISHES)?,
            false => ClaimWishesRecord::default(),
        };
        Ok(Self {
            site: site.clone(),
            own: own.clone(),
            incarnation: begun.incarnation,
            desired: Desired::parse(begun.record::<DesiredRecord>(keys::DESIRED)?)?,
            document: document.transpose()?,
            claims: claims.collect(),
            wishes,
            ring: open_ring(seal, &begun.record::<GossipRecord>(keys::GOSSIP)?)?,
            operators: operators.map(|(_, it)| (it.name.clone(), it)).collect(),
            longest_life: agents_valid.max(OPERATOR_VALID),
        })
    }

    /// The desired state of the backup.
    pub fn id(&self) -> Id {
        self.desired.id().into()
    }
}
