//! Typed records and the event log over a [`Store`].
//!
//! Guarantees: a [`Change`] is carried out whole, with its events, or not at all; a change with an
//! event is carried out exactly once even when the store's answer is lost, and its author learns
//! which; events are numbered without a gap, and only the newest [`EVENTS_KEPT`] are kept.
//!
//! The idea: every change that writes an event also guards and rewrites the log's head. So a
//! repeated transaction cannot pass twice, and the event itself, which names its transaction,
//! tells afterwards whether the first try passed.
//!
//! Absent on purpose: a cache. What decides something is read from the store at that moment.

mod audit;
mod change;
mod events;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

pub use audit::{AUDIT_KEPT, Call};
pub use change::Change;
pub use events::{EventKind, Follow, FollowError};

use crate::records::{DecodeError, EventHead, EventRecord, Record, decode, keys};
use crate::store::{Guard, Outcome, Revision, Span, Store, StoreError};
use change::Head;

/// How many events are kept: weeks of an ordinary site, a few MiB.
pub const EVENTS_KEPT: u64 = 10_000;
/// How long a change is tried while the store does not confirm it: longer than a restart of etcd.
const PATIENCE: Duration = Duration::from_secs(15);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// See the module.
#[derive(Debug)]
pub struct Ledger {
    store: Arc<dyn Store>,
    /// The head as this process last wrote it: saves a read per change. Held during a change, so
    /// that changes of one process do not race each other for the head.
    head: Mutex<Option<Head>>,
    events_total: prometheus::IntCounterVec,
    /// What must still be so for anything to be written.
    guard: OnceLock<Guard>,
}

/// A record with where and when it was written.
#[derive(Debug, Clone)]
pub struct Kept<T> {
    /// The whole key.
    pub key: String,
    /// The record.
    pub value: T,
    /// The transaction that wrote it.
    pub revision: Revision,
}

/// Why a record could not be read. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store's value makes no sense.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Why a change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// What the change starts from is no longer so. Nothing was changed: read again.
    #[error("someone else changed this at the same time; nothing was changed; look and try again")]
    Conflict,
    /// The store failed; its error says whether anything was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The event log's head makes no sense. Nothing was changed.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl From<ReadError> for CommitError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(error) => Self::Store(error),
            ReadError::Decode(error) => Self::Decode(error),
        }
    }
}

impl Ledger {
    /// Over a store; `events_total` has the one label `kind`.
    pub fn new(store: Arc<dyn Store>, events_total: prometheus::IntCounterVec) -> Self {
        Self {
            store,
            head: Mutex::new(None),
            events_total,
            guard: OnceLock::new(),
        }
    }

    /// From now on nothing is written unless this record is as it was read: a leader that was
    /// succeeded changes nothing, whatever it believes. The first that is given counts.
    pub fn guard_by<T>(&self, kept: &Kept<T>) {
        let guard = Guard {
            key: kept.key.clone(),
            revision: Some(kept.revision),
        };
        self.guard.get_or_init(|| guard);
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The record that a key holds.
    pub async fn read<T: Record>(&self, key: &str) -> Result<Option<Kept<T>>, ReadError> {
        let listing = self.store.range(&Span::key(key)).await?;
        listing.entries.into_iter().next().map(kept).transpose()
    }

    /// All records under a prefix, in the order of their keys.
    pub async fn list<T: Record>(&self, prefix: &str) -> Result<Vec<Kept<T>>, ReadError> {
        let listing = self.store.range(&Span::prefix(prefix)).await?;
        listing.entries.into_iter().map(kept).collect()
    }

    /// Carries out a change.
    pub async fn commit(&self, change: Change) -> Result<(), CommitError> {
        let change = change.guarded(self.guard.get());
        if change.events().is_empty() {
            return match self.store.transact(change.into_txn()).await? {
                Outcome::Committed(_) => Ok(()),
                Outcome::Conflict => Err(CommitError::Conflict),
            };
        }
        let mut head = self.head.lock().await;
        let result = self.commit_with_events(&mut head, &change).await;
        match &result {
            Ok(()) => self.count(&change),
            // Whatever went wrong, the next change reads the head anew.
            Err(_) => *head = None,
        }
        result
    }

    async fn commit_with_events(
        &self,
        head: &mut Option<Head>,
        change: &Change,
    ) -> Result<(), CommitError> {
        let deadline = Instant::now() + PATIENCE;
        // The head that a try without an answer was made on.
        let mut unconfirmed: Option<Head> = None;
        loop {
            let current = match *head {
                Some(current) => current,
                None => self.read_head().await?,
            };
            match self.store.transact(change.txn_on(current)).await {
                Ok(Outcome::Committed(revision)) => {
                    *head = Some(current.advanced(change, revision));
                    return Ok(());
                }
                Ok(Outcome::Conflict) => {
                    *head = None;
                    if let Some(tried) = unconfirmed.take()
                        && self.happened(change, tried).await?
                    {
                        return Ok(());
                    }
                    if self.read_head().await? == current {
                        return Err(CommitError::Conflict);
                    }
                }
                Err(StoreError::Unconfirmed { .. }) if Instant::now() < deadline => {
                    // Another try on the same head: at most one of the two can pass.
                    unconfirmed = Some(current);
                    *head = Some(current);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(StoreError::Unavailable { .. })
                    if unconfirmed.is_some() && Instant::now() < deadline =>
                {
                    *head = unconfirmed;
                    tokio::time::sleep(PAUSE).await;
                }
                Err(StoreError::Unavailable { problem }) if unconfirmed.is_some() => {
                    return Err(StoreError::Unconfirmed { problem }.into());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the change passed when it was tried on this head.
    async fn happened(&self, change: &Change, tried: Head) -> Result<bool, CommitError> {
        let first = self
            .read::<EventRecord>(&keys::event(tried.number + 1))
            .await;
        let first = first.map_err(|error| match error {
            // Not to know is not the same as nothing changed.
            ReadError::Store(error) => StoreError::Unconfirmed {
                problem: error.to_string(),
            }
            .into(),
            ReadError::Decode(error) => CommitError::Decode(error),
        })?;
        Ok(first.is_some_and(|event| event.value.transaction == change.transaction()))
    }

    async fn read_head(&self) -> Result<Head, ReadError> {
        let kept: Option<Kept<EventHead>> = self.read(keys::EVENTS_HEAD).await?;
        Ok(kept.map_or(Head::default(), |kept| Head {
            number: kept.value.number,
            revision: Some(kept.revision),
        }))
    }

    fn count(&self, change: &Change) {
        for event in change.events() {
            let kind = event.kind.name();
            self.events_total.with_label_values(&[kind]).inc();
            let (node, text) = (&event.node, &event.text);
            tracing::info!(kind, AGENT = %node, actor = %change.actor(), "{text}");
        }
    }
}

fn kept<T: Record>(entry: crate::store::Entry) -> Result<Kept<T>, ReadError> {
    let value = decode(&entry.key, &entry.value)?;
    Ok(Kept {
        key: entry.key,
        value,
        revision: entry.revision,
    })
}
