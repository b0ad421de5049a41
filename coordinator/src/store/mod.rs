//! Where the desired state, the identities and the event log are kept.
//!
//! Guarantees: a read is linearizable, a [`Txn`] is carried out whole or not at all, what was
//! answered [`Outcome::Committed`] survives a kill of coordinator and store at any instant, and a
//! [`Watch`] shows every change after a revision once and in order, across reconnects.
//!
//! The idea: the trait asks for the least that etcd and a map in memory both give, so that the
//! rest of the crate cannot tell them apart. The same suite of tests runs over both.
//!
//! Absent on purpose: leases of the store (a stalled leader still answers keep-alives), locks, and
//! reads that may be stale.

mod etcd;
mod etcd_watch;
mod members;
mod memory;
mod metered;
#[cfg(test)]
mod suite;
#[cfg(test)]
pub(crate) mod testing;

use async_trait::async_trait;
use tokio::sync::mpsc;

pub use etcd::{EtcdStore, StoreFiles};
pub use members::{Membership, StoreMember};
pub use memory::MemoryStore;
pub use metered::MeteredStore;

/// Changes that one watcher may leave unread before the store stops reading on its behalf: what
/// waits beyond that waits in the store's history, not in memory.
const WATCH_QUEUE: usize = 64;

/// The store's own count of transactions; a key carries the one that last wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision(pub i64);

impl Revision {
    /// The revision of the next transaction: where a watch starts that continues a listing.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A half-open range of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The first key of the range.
    pub start: String,
    /// The first key behind the range.
    pub end: String,
}

impl Span {
    /// Every key that starts with `prefix`, which must end in `/`.
    pub fn prefix(prefix: &str) -> Self {
        let stem = prefix
            .strip_suffix('/')
            .expect("a prefix of ours ends in a slash");
        // '0' follows '/' in ASCII.
        Self {
            start: prefix.to_owned(),
            end: format!("{stem}0"),
        }
    }

    /// This one key.
    pub fn key(key: &str) -> Self {
        Self {
            start: key.to_owned(),
            end: format!("{key}\0"),
        }
    }

    /// Whether the key lies in the range.
    pub fn contains(&self, key: &str) -> bool {
        self.start.as_str() <= key && key < self.end.as_str()
    }
}

/// A key with its value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The whole key.
    pub key: String,
    /// The value as written.
    pub value: Vec<u8>,
    /// The transaction that wrote it.
    pub revision: Revision,
}

/// A consistent view of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// In order of their keys.
    pub entries: Vec<Entry>,
    /// The revision at which this is the truth.
    pub revision: Revision,
}

/// A condition of a transaction: the key was last written at this revision, or is absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    /// The whole key.
    pub key: String,
    /// `None`: the key must not exist.
    pub revision: Option<Revision>,
}

/// One change of a transaction. A transaction may touch a key once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets the key.
    Put {
        /// The whole key.
        key: String,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Removes the key; nothing happens if it is absent.
    Delete {
        /// The whole key.
        key: String,
    },
}

/// Several writes that happen together if every guard holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub guards: Vec<Guard>,
    /// Carried out in order, at one revision.
    pub writes: Vec<Write>,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Written, durably, at this revision.
    Committed(Revision),
    /// A guard did not hold; nothing was changed.
    Conflict,
}

/// What one transaction changed within the watched range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The transaction.
    pub revision: Revision,
    /// Key and new value; `None`: removed.
    pub changes: Vec<(String, Option<Vec<u8>>)>,
}

/// A stream of changes. Ends by [`WatchError`], or never; dropping it stops the watch.
#[derive(Debug)]
pub struct Watch {
    receiver: mpsc::Receiver<Result<Batch, WatchError>>,
}

impl Watch {
    /// The next change. Waits, through reconnects, for as long as there is none.
    pub async fn next(&mut self) -> Result<Batch, WatchError> {
        self.receiver
            .recv()
            .await
            .unwrap_or(Err(WatchError::Closed))
    }
}

/// Why a watch ended. List the range again and watch on from there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The changes asked for are no longer in the store's history.
    #[error("the store's history no longer reaches back to where the watch stood")]
    Compacted,
    /// The store refused the watch, in its own words.
    #[error("the store refused the watch: {0}")]
    Refused(String),
    /// The task behind the watch is gone: the process is shutting down.
    #[error("the watch was closed")]
    Closed,
}

/// Why the store did not do as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Nothing was changed.
    #[error(
        "the store does not answer ({problem}); nothing was changed; try again, and see \
             `systemctl status hamesh-store` if it lasts"
    )]
    Unavailable {
        /// In the words of the transport or the store.
        problem: String,
    },
    /// A write was sent and its answer did not come.
    #[error(
        "the store did not confirm the write ({problem}); it may or may not have happened; \
             look before trying again"
    )]
    Unconfirmed {
        /// In the words of the transport or the store.
        problem: String,
    },
    /// The store holds a key that is not hamesh's, or answered what makes no sense.
    #[error("the store holds or answered what hamesh cannot read: {problem}; nothing was changed")]
    Foreign {
        /// What it was.
        problem: String,
    },
    /// The local files for the connection cannot be read.
    #[error(
        "cannot use the store's certificate files: {problem}; nothing was changed; run \
             `coordctl init` if this coordinator was never set up"
    )]
    Files {
        /// Which file, and why.
        problem: String,
    },
}

/// What the store says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// The program's version.
    pub version: String,
    /// What it holds on disk.
    pub size_bytes: u64,
    /// How many members it has.
    pub members: u32,
    /// Alarms in its own words, such as "NOSPACE".
    pub alarms: Vec<String>,
}

/// The store. See the module for what every implementation guarantees.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Reads a range, all of it at one revision, linearizably.
    async fn range(&self, span: &Span) -> Result<Listing, StoreError>;

    /// Carries out a compare-and-set transaction.
    async fn transact(&self, txn: Txn) -> Result<Outcome, StoreError>;

    /// Shows every change of the range from this revision on (inclusive).
    async fn watch(&self, span: Span, from: Revision) -> Result<Watch, StoreError>;

    /// Asks the store how it is.
    async fn health(&self) -> Result<StoreHealth, StoreError>;
}
