//! The store's state as this coordinator last read it, and how it is kept current.
//!
//! Guarantees: a [`World`] is the truth of one revision, read whole; whoever subscribes sees the
//! newest one after every change. What cannot be read leaves the last one standing, and is logged
//! with the key that is at fault.
//!
//! Absent on purpose: deciding by it. It pushes and informs; what admits or refuses somebody reads
//! the store itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hamesh_proto::ids::NodeId;
use hamesh_proto::seal::{KeyRing, SealKey};
use hamesh_proto::v1;
use prost::Message as _;
use tokio::sync::watch;

use crate::desired::{Desired, InvalidSite};
use crate::ledger::{Ledger, ReadError};
use crate::records::{
    ClaimWishesRecord, CoordinatorRecord, DecodeError, DesiredRecord, GossipRecord, NodeRecord,
    RolesRecord, SecretRecord, decode, keys,
};
use crate::store::{Revision, Span, Store, StoreError, WatchError};

/// The pause after the state could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Clone)]
pub struct World {
    /// The desired state.
    pub desired: Desired,
    /// The enrolled nodes.
    pub nodes: BTreeMap<NodeId, NodeRecord>,
    /// The coordinators; none in the store of a site that never had but the first.
    pub coordinators: BTreeMap<NodeId, CoordinatorRecord>,
    /// What operators want of the claims.
    pub claim_wishes: ClaimWishesRecord,
    /// What operators want of the roles.
    pub roles: RolesRecord,
    /// What the roles need, sealed.
    pub secrets: BTreeMap<String, SecretRecord>,
    /// The gossip keys' rotation.
    pub gossip: GossipRecord,
    /// The gossip keys.
    pub ring: KeyRing,
    /// When this was the truth.
    pub revision: Revision,
}

/// Why the state could not be read. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum WorldError {
    /// The store, or one of its values.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The site document.
    #[error(transparent)]
    Site(#[from] InvalidSite),
    /// A record that every site has is not there.
    #[error(
        "the store holds no {key}: it is not this site's store, or was emptied; restore it \
             from a backup"
    )]
    Missing {
        /// The whole key.
        key: &'static str,
    },
    /// The gossip keys do not open.
    #[error(
        "the gossip keys in the store do not open ({problem}): seal.key is not the one they \
             were sealed with; restore it from a backup"
    )]
    Sealed {
        /// Why.
        problem: String,
    },
}

impl From<StoreError> for WorldError {
    fn from(error: StoreError) -> Self {
        Self::Read(error.into())
    }
}

impl From<DecodeError> for WorldError {
    fn from(error: DecodeError) -> Self {
        Self::Read(error.into())
    }
}

impl World {
    /// Reads the state, linearizably. The document of `known` is not parsed again.
    pub async fn read(
        store: &dyn Store,
        seal: &SealKey,
        known: Option<&Desired>,
    ) -> Result<Self, WorldError> {
        let listing = store.range(&Span::prefix(keys::STATE)).await?;
        let mut desired: Option<DesiredRecord> = None;
        let mut gossip: Option<GossipRecord> = None;
        let mut nodes = BTreeMap::new();
        let mut coordinators = BTreeMap::new();
        let mut claim_wishes = ClaimWishesRecord::default();
        let mut roles = RolesRecord::default();
        let mut secrets = BTreeMap::new();
        for entry in &listing.entries {
            match entry.key.as_str() {
                keys::DESIRED => desired = Some(decode(&entry.key, &entry.value)?),
                keys::GOSSIP => gossip = Some(decode(&entry.key, &entry.value)?),
                keys::CLAIM_WISHES => claim_wishes = decode(&entry.key, &entry.value)?,
                keys::ROLES => roles = decode(&entry.key, &entry.value)?,
                key if key.starts_with(keys::SECRETS) => {
                    let name = keys::name(keys::SECRETS, key).to_owned();
                    secrets.insert(name, decode(key, &entry.value)?);
                }
                key if key.starts_with(keys::NODES) => {
                    nodes.insert(named(keys::NODES, key)?, decode(key, &entry.value)?);
                }
                key if key.starts_with(keys::COORDINATORS) => {
                    let node = named(keys::COORDINATORS, key)?;
                    coordinators.insert(node, decode(key, &entry.value)?);
                }
                // The epoch and the site's birthday are of no use here.
                _ => {}
            }
        }
        let desired = desired.ok_or(WorldError::Missing { key: keys::DESIRED })?;
        let gossip = gossip.ok_or(WorldError::Missing { key: keys::GOSSIP })?;
        let ring = open_ring(seal, &gossip)?;
        let desired = match known {
            Some(known) => Desired::parse_beside(desired, known)?,
            None => Desired::parse(desired)?,
        };
        Ok(Self {
            desired,
            nodes,
            coordinators,
            claim_wishes,
            roles,
            secrets,
            gossip,
            ring,
            revision: listing.revision,
        })
    }
}

/// The node that a key is about.
fn named(prefix: &str, key: &str) -> Result<NodeId, DecodeError> {
    let name = keys::name(prefix, key);
    name.parse().map_err(|error| DecodeError::Damaged {
        key: key.to_owned(),
        problem: format!("{error}"),
    })
}

/// A ring as the store keeps it, sealed under its version.
pub fn seal_ring(seal: &SealKey, ring: &KeyRing) -> String {
    let plaintext = zeroize::Zeroizing::new(v1::GossipKeyRing::from(ring).encode_to_vec());
    STANDARD.encode(seal.seal(&purpose(ring.version()), &plaintext))
}

/// The ring of a record.
pub fn open_ring(seal: &SealKey, record: &GossipRecord) -> Result<KeyRing, WorldError> {
    let sealed = |problem: String| WorldError::Sealed { problem };
    let bytes = STANDARD
        .decode(&record.sealed_ring)
        .map_err(|error| sealed(error.to_string()))?;
    let plaintext = seal
        .open(&purpose(record.version), &bytes)
        .map_err(|error| sealed(error.to_string()))?;
    let ring = v1::GossipKeyRing::decode(plaintext.as_slice())
        .map_err(|error| sealed(error.to_string()))?;
    KeyRing::try_from(&ring).map_err(|error| sealed(error.to_string()))
}

fn purpose(version: u64) -> Vec<u8> {
    format!("{}@{version}", keys::GOSSIP).into_bytes()
}

/// Keeps the published world current. Runs for ever.
pub async fn follow(ledger: Arc<Ledger>, seal: SealKey, world: watch::Sender<Arc<World>>) {
    let store = Arc::clone(ledger.store());
    loop {
        let from = world.borrow().revision;
        if let Err(problem) = follow_from(store.as_ref(), &seal, &world, from).await {
            tracing::warn!(%problem, "the site's state cannot be read; the last one stands");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Follows until the watch ends; re-reads everything after each change, for the state is small.
async fn follow_from(
    store: &dyn Store,
    seal: &SealKey,
    world: &watch::Sender<Arc<World>>,
    from: Revision,
) -> Result<(), WorldError> {
    let mut watch = store.watch(Span::prefix(keys::STATE), from.next()).await?;
    loop {
        match watch.next().await {
            // A change that the last reading already showed.
            Ok(batch) if batch.revision <= world.borrow().revision => {}
            Ok(_) => read_again(store, seal, world).await?,
            Err(WatchError::Compacted) => return read_again(store, seal, world).await,
            Err(error) => {
                return Err(StoreError::Unavailable {
                    problem: error.to_string(),
                }
                .into());
            }
        }
    }
}

async fn read_again(
    store: &dyn Store,
    seal: &SealKey,
    world: &watch::Sender<Arc<World>>,
) -> Result<(), WorldError> {
    let last = Arc::clone(&world.borrow());
    let now = World::read(store, seal, Some(&last.desired)).await?;
    world.send_replace(Arc::new(now));
    Ok(())
}
