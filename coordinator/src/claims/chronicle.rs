//! Writes what happened to the claims: events, and each claim's last moves.
//!
//! Guarantees: events of one claim are written in their order; while the store does not answer
//! they wait, and what there is no room for is logged. Nothing here holds up a grant.

use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use tokio::sync::mpsc;

use super::history::{Happened, History};
use super::thread::Told;
use crate::core::Core;
use crate::ledger::{Change, CommitError, Kept, ReadError};
use crate::records::{MovesRecord, keys};

/// Events that may wait for the store: every claim of the largest site let go and taken once.
const QUEUE: usize = 4_000;
/// The pause before an event is written again that the store did not take.
const PAUSE: Duration = Duration::from_secs(2);
/// How often it is looked whether a vacancy lasts.
const TICK: Duration = Duration::from_millis(500);

/// Keeps the history. Runs for as long as the grantors do.
pub async fn write(core: Arc<Core>, mut notes: mpsc::Receiver<Told>) {
    let mut history = loop {
        match load(&core).await {
            Ok(history) => break history,
            Err(problem) => {
                tracing::warn!(%problem, "the claims' last moves cannot be read yet");
                tokio::time::sleep(PAUSE).await;
            }
        }
    };
    let (events, queue) = mpsc::channel(QUEUE);
    tokio::spawn(record(Arc::clone(&core), queue));
    core.claims.history.send_replace(Arc::new(history.clone()));
    let mut told = Vec::new();
    loop {
        // All that waits at once: each time the whole history is published.
        let happened = tokio::select! {
            count = notes.recv_many(&mut told, QUEUE) => match count {
                0 => return,
                _ => told.drain(..).flat_map(|told| took(&mut history, told)).collect(),
            },
            () = tokio::time::sleep(TICK) => history.due(core.clock.unix_ms()),
        };
        for happened in happened {
            if let Some((_, reason)) = &happened.moved {
                let labels = [happened.claim.as_str(), reason];
                core.metrics
                    .claims
                    .transitions
                    .with_label_values(&labels)
                    .inc();
            }
            if let Err(lost) = events.try_send(happened) {
                tracing::error!(%lost, "what happened to a claim is not in the event log");
            }
        }
        core.claims.history.send_replace(Arc::new(history.clone()));
    }
}

fn took(history: &mut History, told: Told) -> Vec<Happened> {
    match told {
        Told::Note {
            at_unix_ms,
            claim,
            note,
        } => history
            .note(&claim, &note, at_unix_ms)
            .into_iter()
            .collect(),
        Told::Succeeded(epoch) => {
            tracing::warn!(
                %epoch,
                "a node has seen a later leader than this one: nothing is granted here any more; \
                 if this one goes on leading, an old copy of the store was put back: put the \
                 newest one back"
            );
            Vec::new()
        }
    }
}

async fn load(core: &Core) -> Result<History, ReadError> {
    let mut history = History::default();
    let kept: Vec<Kept<MovesRecord>> = core.ledger.list(keys::CLAIM_MOVES).await?;
    for kept in kept {
        // Whoever wrote a name there that is none is not heeded.
        if let Ok(claim) = keys::name(keys::CLAIM_MOVES, &kept.key).parse() {
            history.load(claim, kept.value);
        }
    }
    Ok(history)
}

async fn record(core: Arc<Core>, mut queue: mpsc::Receiver<Happened>) {
    while let Some(happened) = queue.recv().await {
        let base = core.own_change();
        while let Err(problem) = commit(&core, base.clone(), &happened).await {
            if core.leadership.is_over() {
                return;
            }
            let claim = &happened.claim;
            tracing::warn!(%problem, CLAIM = %claim, "an event of a claim waits for the store");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn commit(core: &Core, change: Change, happened: &Happened) -> Result<(), CommitError> {
    let node = happened
        .node
        .as_ref()
        .and_then(|node| node.as_ref().parse::<NodeId>().ok());
    let mut change = change.event(happened.kind, node.as_ref(), &happened.text);
    if let Some((moves, _)) = &happened.moved {
        let key = keys::claim_moves(&happened.claim);
        let kept: Option<Kept<MovesRecord>> = core.ledger.read(&key).await?;
        change = change.put(&key, kept.as_ref(), moves);
    }
    core.ledger.commit(change).await
}
