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
use hamesh_claims::ids::GroupVersion;
use hamesh_proto::ids::{ClaimId, NodeId};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::keys::Parts;
use super::thread::Command;
use super::wanted::{Wanted, Wishes};
use crate::core::Core;
use crate::ledger::{Change, CommitError, Kept, ReadError};
use crate::records::{ClaimRecord, EpochRecord, keys};

/// The pause after the store did not do as it was asked.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the first group of a claim waits for nodes of its role that are not enrolled yet: all
/// agents of a new site enrol within seconds, and a node that comes later joins the slow way.
const FIRST_GROUP: Duration = Duration::from_secs(20);

/// What is known of the claims here.
#[derive(Debug, Default)]
struct Keeper {
    /// What the store holds, of the claims that are granted.
    records: BTreeMap<ClaimId, Record>,
    /// Since when a claim without a record has had an enrolled node.
    waiting: BTreeMap<ClaimId, Instant>,
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
        if core
            .claims
            .send(Command::Wish(Arc::clone(&wishes)))
            .await
            .is_err()
        {
            return;
        }
        let again = keeper.begin(&core, &wishes).await;
        keeper.publish(&core, &wishes);
        tokio::select! {
            changed = world.changed() => if changed.is_err() { return },
            record = to_write.recv() => match record {
                None => return,
                Some((claim, record)) => {
                    if !keeper.write(&core, claim, record).await { return }
                    keeper.publish(&core, &wishes);
                }
            },
            () = tokio::time::sleep(again) => {}
        }
    }
}

impl Keeper {
    /// Begins to grant what is not granted yet; gives when to look again at the latest.
    async fn begin(&mut self, core: &Core, wishes: &Wishes) -> Duration {
        let kept = |claim: &ClaimId| wishes.claims.contains_key(claim);
        self.records.retain(|claim, _| kept(claim));
        self.waiting.retain(|claim, _| kept(claim));
        let mut again = Duration::MAX;
        for (claim, wanted) in &wishes.claims {
            if self.records.contains_key(claim) {
                continue;
            }
            match self.first(core, claim, wanted).await {
                Ok(Some(record)) => {
                    self.records.insert(claim.clone(), record.clone());
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

    /// The record of a claim, made if there is none; `None`: none can be made yet.
    async fn first(
        &mut self,
        core: &Core,
        claim: &ClaimId,
        wanted: &Wanted,
    ) -> Result<Option<Record>, WriteError> {
        let key = keys::claim(claim);
        if let Some(kept) = core.ledger.read::<ClaimRecord>(&key).await? {
            return Ok(Some(kept.value.record));
        }
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
        let record = Record::new(group, wanted.spec.timing.ttl);
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
        self.records.insert(claim.clone(), record.clone());
        core.claims
            .send(Command::Persisted(claim, record))
            .await
            .is_ok()
    }

    /// Says who has a part in which claim.
    fn publish(&self, core: &Core, wishes: &Wishes) {
        let parts = |(claim, wanted): (&ClaimId, &Wanted)| {
            let record = self.records.get(claim);
            let groups = record.into_iter().flat_map(|record| {
                let next = record.change.as_ref().map(|change| &change.next);
                [Some(&record.group), next].into_iter().flatten()
            });
            let named = groups.flat_map(Group::everyone).chain(&wanted.members);
            let nodes = named.filter_map(|name| name.as_ref().parse::<NodeId>().ok());
            (claim.clone(), nodes.collect::<BTreeSet<_>>())
        };
        let parts: Parts = wishes.claims.iter().map(parts).collect();
        core.claims.parts.send_if_modified(|now| {
            let changed = **now != parts;
            if changed {
                *now = Arc::new(parts);
            }
            changed
        });
    }
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
