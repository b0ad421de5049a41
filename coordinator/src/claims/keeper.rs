//! Between the grantors and the store: what they are to know, and what they want written.
//!
//! Guarantees: a claim is granted from what the store holds of it, read after this coordinator's
//! epoch was minted; a record is written only by the newest leader; and what is
//! written is told to its grantor after the store confirmed it.
//!
//! A claim that leaves the site leaves its record behind: were the name given again, members that
//! remember a version of its group must not meet a lower one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hamesh_claims::group::{Group, Record};
use hamesh_claims::ids::{GroupVersion, NodeName};
use hamesh_proto::ids::{ClaimId, NodeId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::keys::parts;
use super::thread::Command;
use super::wanted::{Wanted, Wishes};
use crate::core::Core;
use crate::ledger::{Change, CommitError, Kept, ReadError};
use crate::records::{ClaimRecord, EpochRecord, keys};
use crate::world::World;

/// The pause after the store did not do as it was asked.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the first group of a claim waits for nodes of its role that are not enrolled yet: all
/// agents of a new site enrol within seconds, and a node that comes later joins the slow way.
const FIRST_GROUP: Duration = Duration::from_secs(20);
/// That of a site which was never restored.
const FIRST_INCARNATION: u64 = 1;

/// What is known of the claims here.
#[derive(Debug, Default)]
struct Keeper {
    /// What the store holds, of the claims that are granted.
    records: BTreeMap<ClaimId, Record>,
    /// Since when a claim without a record has had an enrolled node.
    waiting: BTreeMap<ClaimId, Instant>,
    /// Who has a part in which claim may have changed since that was published.
    parts_changed: bool,
}

/// Why the keeper looks up.
enum Next {
    /// The site may want something else.
    Wishes,
    /// A claim that could not be granted yet may be grantable.
    Begin,
    /// The coordinator ends, or leads no more.
    End,
}

/// Why a record was not written, or not read.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("another coordinator has led since, with epoch {0}; this one writes no more")]
    Succeeded(u64),
}

/// Keeps the grantors and the store in step. Runs for ever.
pub async fn keep(core: Arc<Core>, mut to_write: mpsc::Receiver<(ClaimId, Record)>) {
    let mut world = core.world.subscribe();
    let mut keeper = Keeper::default();
    loop {
        let wishes = Arc::new(Wishes::of(&world.borrow_and_update()));
        let wish = Command::Wish(Arc::clone(&wishes));
        if core.claims.send(wish).await.is_err() {
            return;
        }
        keeper.parts_changed = true;
        loop {
            let again = keeper.begin(&core, &wishes).await;
            keeper.publish(&core, &wishes);
            match keeper
                .serve(&core, &wishes, (&mut world, &mut to_write), again)
                .await
            {
                Next::Begin => {}
                Next::Wishes => break,
                Next::End => return,
            }
        }
    }
}

impl Keeper {
    /// Writes what grantors want written, until there is something else to do. Of a site with
    /// thousands of claims the wishes are not worked out anew for each record.
    async fn serve(
        &mut self,
        core: &Core,
        wishes: &Wishes,
        (world, to_write): (
            &mut watch::Receiver<Arc<World>>,
            &mut mpsc::Receiver<(ClaimId, Record)>,
        ),
        again: Duration,
    ) -> Next {
        let again = tokio::time::sleep(again);
        tokio::pin!(again);
        loop {
            tokio::select! {
                changed = world.changed() => {
                    return if changed.is_ok() { Next::Wishes } else { Next::End };
                }
                record = to_write.recv() => {
                    let Some((claim, record)) = record else { return Next::End };
                    if !self.write(core, claim, record).await {
                        return Next::End;
                    }
                    self.publish(core, wishes);
                }
                () = &mut again => return Next::Begin,
            }
        }
    }

    /// Begins to grant what is not granted yet; gives when to look again at the latest.
    async fn begin(&mut self, core: &Core, wishes: &Wishes) -> Duration {
        let kept = |claim: &ClaimId| wishes.claims.contains_key(claim);
        self.records.retain(|claim, _| kept(claim));
        self.waiting.retain(|claim, _| kept(claim));
        let granted = |claim: &ClaimId| self.records.contains_key(claim);
        if wishes.claims.keys().all(granted) {
            return Duration::MAX;
        }
        // All at once: a large site has thousands of them.
        let known = match core.ledger.list::<ClaimRecord>(keys::CLAIMS).await {
            Ok(known) => known.into_iter().map(|kept| (kept.key, kept.value.record)),
            Err(problem) => {
                tracing::warn!(%problem, "the claims wait for the store");
                return PAUSE;
            }
        };
        let mut known: BTreeMap<String, Record> = known.collect();
        let mut again = Duration::MAX;
        for (claim, wanted) in &wishes.claims {
            if self.records.contains_key(claim) {
                continue;
            }
            let key = keys::claim(claim);
            let record = match known.remove(&key) {
                Some(record) => Ok(Some(record)),
                None => self.first(core, (claim, key), wanted).await,
            };
            match record {
                Ok(Some(record)) => {
                    self.keep(claim, &record);
                    // An error means that the thread has ended, and the process will.
                    let _ = core.claims.send(Command::Lead(claim.clone(), record)).await;
                }
                Ok(None) => again = again.min(Duration::from_secs(1)),
                Err(problem) => {
                    tracing::warn!(%problem, CLAIM = %claim, "a claim waits for the store");
                    again = again.min(PAUSE);
                }
            }
        }
        again
    }

    /// The first record of a claim; `None`: none can be made yet.
    async fn first(
        &mut self,
        core: &Core,
        (claim, key): (&ClaimId, String),
        wanted: &Wanted,
    ) -> Result<Option<Record>, WriteError> {
        if wanted.members.is_empty() {
            return Ok(None);
        }
        let since = *self
            .waiting
            .entry(claim.clone())
            .or_insert_with(Instant::now);
        if !wanted.missing.is_empty() && since.elapsed() < FIRST_GROUP {
            return Ok(None);
        }
        let group = Group::exclusive(GroupVersion(1), wanted.members.clone());
        let mut record = Record::new(group, wanted.spec.timing.ttl);
        let incarnation = core.world().desired.record.incarnation;
        if incarnation > FIRST_INCARNATION {
            // It may be of before the restore, and only the backup does not know it.
            record = record.restored(GroupVersion(incarnation));
        }
        let change = guarded(core).await?;
        let change = change.create(
            &key,
            &ClaimRecord {
                record: record.clone(),
            },
        );
        core.ledger.commit(change).await?;
        Ok(Some(record))
    }

    /// Writes a record for as long as it takes, and tells its grantor. Whether to go on.
    async fn write(&mut self, core: &Core, claim: ClaimId, record: Record) -> bool {
        let mut told = false;
        loop {
            match attempt(core, &claim, &record).await {
                Ok(()) => break,
                Err(problem @ WriteError::Succeeded(_)) => {
                    tracing::error!(%problem, CLAIM = %claim, "a claim's record is not written");
                    return false;
                }
                Err(problem) if !told => {
                    tracing::warn!(%problem, CLAIM = %claim, "a record waits to be written");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.keep(&claim, &record);
        core.claims
            .send(Command::Persisted(claim, record))
            .await
            .is_ok()
    }

    /// Notes what the store holds of a claim.
    fn keep(&mut self, claim: &ClaimId, record: &Record) {
        let before = self.records.insert(claim.clone(), record.clone());
        let same = before.is_some_and(|before| named(&before).eq(named(record)));
        self.parts_changed |= !same;
    }

    /// Says who shares a claim with whom.
    fn publish(&mut self, core: &Core, wishes: &Wishes) {
        if !std::mem::take(&mut self.parts_changed) {
            return;
        }
        let members = |(claim, wanted): (&ClaimId, &Wanted)| {
            let recorded = self.records.get(claim).into_iter().flat_map(named);
            let named = recorded.chain(&wanted.members);
            let nodes = named.filter_map(|name| name.as_ref().parse::<NodeId>().ok());
            nodes.collect::<BTreeSet<_>>()
        };
        let parts = parts(wishes.claims.iter().map(members));
        core.claims.parts.send_if_modified(|now| {
            let changed = **now != parts;
            if changed {
                *now = Arc::new(parts);
            }
            changed
        });
    }
}

/// Everyone in a claim's group, and in the one that it changes to.
fn named(record: &Record) -> impl Iterator<Item = &NodeName> {
    let next = record.change.as_ref().map(|change| &change.next);
    let groups = [Some(&record.group), next].into_iter().flatten();
    groups.flat_map(Group::everyone)
}

/// Writes a record once.
async fn attempt(core: &Core, claim: &ClaimId, record: &Record) -> Result<(), WriteError> {
    let key = keys::claim(claim);
    let kept: Option<Kept<ClaimRecord>> = core.ledger.read(&key).await?;
    // The answer to an earlier try may have been lost.
    if kept
        .as_ref()
        .is_some_and(|kept| kept.value.record == *record)
    {
        return Ok(());
    }
    let change = guarded(core).await?;
    let change = change.put(
        &key,
        kept.as_ref(),
        &ClaimRecord {
            record: record.clone(),
        },
    );
    Ok(core.ledger.commit(change).await?)
}

/// A change that passes only as long as no other coordinator has led since.
async fn guarded(core: &Core) -> Result<Change, WriteError> {
    let kept: Option<Kept<EpochRecord>> = core.ledger.read(keys::EPOCH).await?;
    match kept {
        Some(kept) if kept.value.epoch == core.epoch() => Ok(core.own_change().unchanged(&kept)),
        Some(kept) => Err(WriteError::Succeeded(kept.value.epoch)),
        None => Err(WriteError::Succeeded(0)),
    }
}
