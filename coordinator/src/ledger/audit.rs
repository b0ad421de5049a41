//! The audit trail: each call that is to change something, and what became of it.
//!
//! Guarantees: a call is in the trail, durably, before it is carried out; numbers rise without a
//! gap; only the newest [`AUDIT_KEPT`] are kept. An entry is written over once, by its own end.
//!
//! Absent on purpose: judging who may do what.

use tokio::time::Instant;

use super::{CommitError, Kept, Ledger, PATIENCE, PAUSE, ReadError, kept};
use crate::records::{AuditHead, AuditRecord, AuditResult, encode, keys};
use crate::store::{Guard, Outcome, Span, StoreError, Txn, Write};

/// How many calls are kept: months of a busy site's, a few MiB.
pub const AUDIT_KEPT: u64 = 10_000;
/// Calls per read: bounds what one reader holds in memory.
const PAGE: u64 = 1_000;

/// A call that has no number yet.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the fields are those of the record")]
pub struct Call {
    pub at_unix_ms: u64,
    pub actor: String,
    pub certificate: String,
    pub call: String,
    pub request: String,
}

impl Ledger {
    /// Writes a call into the trail before it is carried out.
    pub async fn audit_begin(&self, call: Call) -> Result<AuditRecord, CommitError> {
        let nonce: [u8; 16] = hamesh_proto::random::bytes();
        let mut record = AuditRecord {
            number: 0,
            at_unix_ms: call.at_unix_ms,
            actor: call.actor,
            certificate: call.certificate,
            call: call.call,
            request: call.request,
            result: AuditResult::Open,
            nonce: hamesh_proto::hex::encode(&nonce),
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            let head: Option<Kept<AuditHead>> = self.read(keys::AUDIT_HEAD).await?;
            record.number = head.as_ref().map_or(0, |head| head.value.number) + 1;
            match self.store.transact(begin(head.as_ref(), &record)).await {
                Ok(Outcome::Committed(_)) => return Ok(record),
                Ok(Outcome::Conflict) => {}
                Err(StoreError::Unconfirmed { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error.into()),
            }
            // A try without an answer, or one that ran into it, may have been this very call's.
            let found: Option<Kept<AuditRecord>> = self.read(&keys::audit(record.number)).await?;
            if found.is_some_and(|found| found.value.nonce == record.nonce) {
                return Ok(record);
            }
        }
    }

    /// Writes what became of a call.
    pub async fn audit_end(
        &self,
        record: AuditRecord,
        result: AuditResult,
    ) -> Result<(), StoreError> {
        let record = AuditRecord { result, ..record };
        let put = Write::Put {
            key: keys::audit(record.number),
            value: encode(&record),
        };
        let txn = Txn {
            guards: Vec::new(),
            writes: vec![put],
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.store.transact(txn.clone()).await {
                Ok(Outcome::Committed(_) | Outcome::Conflict) => return Ok(()),
                // Written twice it says the same.
                Err(StoreError::Unconfirmed { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The newest `count` calls, the oldest first.
    pub async fn audit_trail(&self, count: u64) -> Result<Vec<AuditRecord>, ReadError> {
        let head: Option<Kept<AuditHead>> = self.read(keys::AUDIT_HEAD).await?;
        let newest = head.map_or(0, |head| head.value.number);
        let mut first = newest.saturating_sub(count.min(AUDIT_KEPT)) + 1;
        let mut trail = Vec::new();
        while first <= newest {
            let next = newest.saturating_add(1).min(first.saturating_add(PAGE));
            let span = Span {
                start: keys::audit(first),
                end: keys::audit(next),
            };
            for entry in self.store.range(&span).await?.entries {
                trail.push(kept(entry)?.value);
            }
            first = next;
        }
        Ok(trail)
    }
}

fn begin(head: Option<&Kept<AuditHead>>, record: &AuditRecord) -> Txn {
    let number = record.number;
    let put = |key: String, value: Vec<u8>| Write::Put { key, value };
    let mut writes = vec![
        put(keys::audit(number), encode(record)),
        put(keys::AUDIT_HEAD.to_owned(), encode(&AuditHead { number })),
    ];
    if let Some(old) = number.checked_sub(AUDIT_KEPT).filter(|old| *old > 0) {
        let key = keys::audit(old);
        writes.push(Write::Delete { key });
    }
    Txn {
        guards: vec![Guard {
            key: keys::AUDIT_HEAD.to_owned(),
            revision: head.map(|head| head.revision),
        }],
        writes,
    }
}
