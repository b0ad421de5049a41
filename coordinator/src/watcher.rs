//! Judges the nodes whenever something changed, and records the changes of their states.
//!
//! The judging itself is [`crate::liveness`]; this is the loop around it. An event that cannot be
//! written waits, in order, until the store is back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::core::Core;
use crate::ledger::EventKind;
use crate::liveness::{State, Tracker, Transition};

/// The states depend on time as well.
const TICK: Duration = Duration::from_secs(1);
/// The least time between two judgements: with many agents something changes all the time.
const REST: Duration = Duration::from_millis(100);
/// Transitions that may wait for the store: several per node of the largest site.
const QUEUE: usize = 1_000;
/// The pause before an event is written again that the store did not take.
const PAUSE: Duration = Duration::from_secs(2);

/// Keeps the verdicts current. Runs for ever.
pub async fn judge(core: Arc<Core>) {
    let started = Instant::now();
    let (mut world, mut sessions) = (core.world.subscribe(), core.sessions.changes());
    let (transitions, queue) = mpsc::channel(QUEUE);
    tokio::spawn(record(Arc::clone(&core), queue));
    let mut tracker = Tracker::default();
    loop {
        let nodes = enrolled(&core);
        core.sessions.retain(|node| nodes.contains_key(node));
        let observed = core.sessions.observe(&nodes, Instant::now());
        for transition in tracker.observe(observed, started.elapsed(), core.clock.unix_ms()) {
            if let Err(lost) = transitions.try_send(transition) {
                tracing::error!(%lost, "a change of a node's state is not in the event log");
            }
        }
        core.verdicts
            .send_replace(Arc::new(tracker.verdicts().clone()));
        tokio::time::sleep(REST).await;
        tokio::select! {
            changed = world.changed() => if changed.is_err() { return },
            changed = sessions.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

/// Every node of the site, and whether its name has an identity.
fn enrolled(core: &Core) -> BTreeMap<NodeId, bool> {
    let world = core.world();
    let nodes = world.desired.site.nodes.keys();
    nodes
        .map(|node| (node.clone(), world.nodes.contains_key(node)))
        .collect()
}

async fn record(core: Arc<Core>, mut queue: mpsc::Receiver<Transition>) {
    while let Some(transition) = queue.recv().await {
        let kind = match transition.to {
            State::Alive => EventKind::NodeAlive,
            State::Suspect => EventKind::NodeSuspect,
            State::Dead => EventKind::NodeDead,
            State::Unknown => EventKind::NodeUnknown,
            // Never told: enrolment and removal have events of their own.
            State::NotEnrolled => continue,
        };
        let node = &transition.node;
        let text = format!("{node} is {}: {}", transition.to.name(), transition.reason);
        let change = core.own_change().event(kind, Some(node), text);
        while let Err(problem) = core.ledger.commit(change.clone()).await {
            if core.leadership.is_over() {
                return;
            }
            tracing::warn!(%problem, AGENT = %node, "a change of state waits for the event log");
            tokio::time::sleep(PAUSE).await;
        }
    }
}
