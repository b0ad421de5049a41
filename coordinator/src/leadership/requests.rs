//! What the election asks of the store. A request that is given up may still be carried out.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hamesh_claims::election::{Event, Leadership as Record};
use hamesh_proto::ids::NodeId;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::ledger::{Change, CommitError, EventKind, Kept, Ledger, ReadError};
use crate::records::{EpochRecord, LeaderRecord, encode, keys};
use crate::store::{Guard, Outcome, Txn, Write};

/// How long an answer of the store is worth waiting for: after a request that was lost, with the
/// leader of the store, another one still comes within the leadership, which counts from sending.
pub(super) const PATIENCE: Duration = Duration::from_millis(1000);

/// What came of a request, and what the store is known to hold by it.
pub(super) type Answer = (Event, Option<Kept<LeaderRecord>>);
/// A request that is under way.
pub(super) type Asked = Pin<Box<dyn Future<Output = Answer> + Send>>;

pub(super) fn patiently(asked: impl Future<Output = Answer> + Send + 'static) -> Asked {
    Box::pin(async move {
        let answer = timeout(PATIENCE, asked).await;
        answer.unwrap_or((Event::Unanswered, None))
    })
}

pub(super) async fn read(ledger: Arc<Ledger>) -> Answer {
    let looked = async {
        let kept = ledger.read::<LeaderRecord>(keys::LEADER).await?;
        let epoch = ledger.read::<EpochRecord>(keys::EPOCH).await?;
        Ok::<_, ReadError>((kept, epoch.map_or(0, |kept| kept.value.epoch)))
    };
    match looked.await {
        Ok((kept, term)) => {
            let found = kept.as_ref().map(|kept| kept.value.clone().into());
            (Event::Read(found, term), kept)
        }
        Err(problem) => {
            tracing::debug!(%problem, "who leads cannot be read");
            (Event::Unanswered, None)
        }
    }
}

/// Writes the record again, and nothing else.
pub(super) async fn renew(
    ledger: Arc<Ledger>,
    kept: Option<Kept<LeaderRecord>>,
    over: Option<Record>,
    next: Record,
) -> Answer {
    let kept = match kept {
        Some(kept) => Some(kept),
        // The transaction that took over does not tell its revision.
        None => match ledger.read::<LeaderRecord>(keys::LEADER).await {
            Ok(kept) => kept,
            Err(_) => return (Event::Unanswered, None),
        },
    };
    let same = |kept: &Kept<LeaderRecord>| Some(Record::from(kept.value.clone())) == over;
    let Some(kept) = kept.filter(same) else {
        return (Event::Refused, None);
    };
    let value = LeaderRecord::from(next);
    let txn = Txn {
        guards: vec![Guard {
            key: keys::LEADER.to_owned(),
            revision: Some(kept.revision),
        }],
        writes: vec![Write::Put {
            key: keys::LEADER.to_owned(),
            value: encode(&value),
        }],
    };
    match ledger.store().transact(txn).await {
        Ok(Outcome::Committed(revision)) => {
            let key = keys::LEADER.to_owned();
            let kept = Kept {
                key,
                value,
                revision,
            };
            (Event::Written, Some(kept))
        }
        Ok(Outcome::Conflict) => (Event::Refused, None),
        Err(problem) => {
            tracing::debug!(%problem, "the leadership was not renewed");
            (Event::Unanswered, None)
        }
    }
}

/// Takes the leadership over, with its epoch and its event.
pub(super) async fn take_over(
    ledger: Arc<Ledger>,
    clock: Clock,
    node: NodeId,
    kept: Option<Kept<LeaderRecord>>,
    next: Record,
) -> Answer {
    let epoch = match ledger.read::<EpochRecord>(keys::EPOCH).await {
        Ok(epoch) => epoch,
        Err(_) => return (Event::Unanswered, None),
    };
    let started_unix_ms = clock.unix_ms();
    let term = next.term;
    let record = EpochRecord {
        epoch: term,
        coordinator: node.to_string(),
        started_unix_ms,
    };
    let text = format!("{node} leads, epoch {term}, version {}", crate::version());
    let change = Change::new(format!("coordinator/{node}"), started_unix_ms)
        .put(keys::LEADER, kept.as_ref(), &LeaderRecord::from(next))
        .put(keys::EPOCH, epoch.as_ref(), &record)
        .event(EventKind::CoordinatorStarted, Some(&node), text);
    match ledger.commit(change).await {
        Ok(()) => (Event::Written, None),
        Err(CommitError::Conflict) => (Event::Refused, None),
        Err(problem) => {
            tracing::warn!(%problem, "the leadership cannot be taken over");
            (Event::Unanswered, None)
        }
    }
}
