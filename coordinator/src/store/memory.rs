//! The store's twin in memory, for unit tests and simulations: it keeps every promise of the trait
//! but durability.
//!
//! The idea: a map under one mutex, plus the history of changes, from which each watch reads at
//! its own pace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};

use super::{
    Batch, Entry, Guard, Listing, Outcome, Revision, Span, Store, StoreError, StoreHealth, Txn,
    WATCH_QUEUE, Watch, WatchError, Write,
};

/// See the module.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    newest: watch::Sender<Revision>,
}

#[derive(Debug)]
struct State {
    revision: Revision,
    entries: BTreeMap<String, (Vec<u8>, Revision)>,
    history: Vec<Batch>,
    /// History up to and including this revision is gone.
    compacted: Revision,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store, at revision 1 as a fresh etcd is.
    pub fn new() -> Self {
        let state = State {
            revision: Revision(1),
            entries: BTreeMap::new(),
            history: Vec::new(),
            compacted: Revision(0),
        };
        let (newest, _) = watch::channel(Revision(1));
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                newest,
            }),
        }
    }

    /// Forgets the history up to and including `revision`.
    pub fn compact(&self, revision: Revision) {
        self.shared.locked(|state| {
            state.history.retain(|batch| batch.revision > revision);
            state.compacted = revision;
        });
    }
}

impl Shared {
    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // The state is changed only after every check passed, so a panic leaves it whole.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn holds(&self, guard: &Guard) -> bool {
        self.entries.get(&guard.key).map(|(_, revision)| *revision) == guard.revision
    }

    fn write(&mut self, writes: Vec<Write>) -> Revision {
        if writes.is_empty() {
            return self.revision;
        }
        let revision = self.revision.next();
        let mut changes = Vec::new();
        for write in writes {
            match write {
                Write::Put { key, value } => {
                    self.entries.insert(key.clone(), (value.clone(), revision));
                    changes.push((key, Some(value)));
                }
                Write::Delete { key } => {
                    if self.entries.remove(&key).is_some() {
                        changes.push((key, None));
                    }
                }
            }
        }
        if changes.is_empty() {
            return self.revision;
        }
        self.revision = revision;
        self.history.push(Batch { revision, changes });
        revision
    }

    fn since(&self, span: &Span, from: Revision) -> Result<Vec<Batch>, WatchError> {
        if from <= self.compacted {
            return Err(WatchError::Compacted);
        }
        let start = self.history.partition_point(|batch| batch.revision < from);
        let within = |batch: &Batch| {
            let changes: Vec<_> = batch
                .changes
                .iter()
                .filter(|(key, _)| span.contains(key))
                .cloned()
                .collect();
            (!changes.is_empty()).then_some(Batch {
                revision: batch.revision,
                changes,
            })
        };
        Ok(self.history[start..].iter().filter_map(within).collect())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn range(&self, span: &Span) -> Result<Listing, StoreError> {
        Ok(self.shared.locked(|state| Listing {
            entries: state
                .entries
                .range(span.start.clone()..span.end.clone())
                .map(|(key, (value, revision))| Entry {
                    key: key.clone(),
                    value: value.clone(),
                    revision: *revision,
                })
                .collect(),
            revision: state.revision,
        }))
    }

    async fn transact(&self, txn: Txn) -> Result<Outcome, StoreError> {
        let outcome = self.shared.locked(|state| {
            if txn.guards.iter().all(|guard| state.holds(guard)) {
                Outcome::Committed(state.write(txn.writes))
            } else {
                Outcome::Conflict
            }
        });
        if let Outcome::Committed(revision) = outcome {
            self.shared.newest.send_if_modified(|newest| {
                let newer = revision > *newest;
                *newest = revision.max(*newest);
                newer
            });
        }
        Ok(outcome)
    }

    async fn watch(&self, span: Span, from: Revision) -> Result<Watch, StoreError> {
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE);
        let newest = self.shared.newest.subscribe();
        tokio::spawn(follow(
            Arc::downgrade(&self.shared),
            span,
            from,
            newest,
            sender,
        ));
        Ok(Watch { receiver })
    }

    async fn health(&self) -> Result<StoreHealth, StoreError> {
        let size = self.shared.locked(|state| {
            state
                .entries
                .iter()
                .map(|(key, (value, _))| key.len() + value.len())
                .sum::<usize>()
        });
        Ok(StoreHealth {
            version: "memory".to_owned(),
            size_bytes: u64::try_from(size).unwrap_or(u64::MAX),
            members: 1,
            alarms: Vec::new(),
        })
    }
}

async fn follow(
    shared: std::sync::Weak<Shared>,
    span: Span,
    mut from: Revision,
    mut newest: watch::Receiver<Revision>,
    sender: mpsc::Sender<Result<Batch, WatchError>>,
) {
    loop {
        newest.mark_unchanged();
        let Some(store) = shared.upgrade() else {
            return;
        };
        let batches = store.locked(|state| state.since(&span, from));
        drop(store);
        let batches = match batches {
            Ok(batches) => batches,
            Err(error) => {
                let _ = sender.send(Err(error)).await;
                return;
            }
        };
        for batch in batches {
            from = batch.revision.next();
            if sender.send(Ok(batch)).await.is_err() {
                return;
            }
        }
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            () = sender.closed() => return,
        }
    }
}
