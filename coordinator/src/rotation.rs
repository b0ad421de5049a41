//! Rotates the gossip key while the site gossips.
//!
//! Guarantees: no agent that acknowledges in time ever receives what it cannot open; a coordinator
//! that dies at any instant goes on where it stood, for the phase is in the store; a node that is
//! removed during a rotation makes a further one follow.
//!
//! ```text
//! idle --begin--> distribute --all hold it--> switch --all seal with it--> retire --> idle
//!                 new key opens               new key seals                old key is gone
//! ```
//!
//! The idea: level-triggered. Whatever wakes it, the driver looks at the phase and at who has
//! acknowledged the ring's version, and takes at most one step.
//!
//! Absent on purpose: waiting for ever. After [`PATIENCE`] a phase goes on without the agents that
//! did not acknowledge, and an event names them: they get the ring when they connect again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hamesh_proto::ids::NodeId;
use hamesh_proto::seal::KeyRing;
use hamesh_proto::v1;
use tokio::time::Instant;

use crate::core::Core;
use crate::ledger::{Change, CommitError, EventKind, Kept};
use crate::liveness::State;
use crate::records::{GossipRecord, RotationPhase, keys};
use crate::world::{WorldError, open_ring, seal_ring};

/// How long a phase waits for an agent that does not acknowledge.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How often the driver looks even if nothing woke it, for the sake of its patience.
const TICK: Duration = Duration::from_secs(1);

/// How far the rotation is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The ring that is being acknowledged.
    pub version: u64,
    /// The phase.
    pub phase: RotationPhase,
    /// Agents that hold this ring, of those that may be alive.
    pub acknowledged: usize,
    /// Those that do not hold it yet.
    pub waiting_for: BTreeSet<NodeId>,
}

impl Progress {
    /// Before anything was looked at.
    pub fn unknown() -> Self {
        Self {
            version: 0,
            phase: RotationPhase::Idle,
            acknowledged: 0,
            waiting_for: BTreeSet::new(),
        }
    }

    /// As the contract has it.
    pub fn message(&self) -> v1::RotationProgress {
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        v1::RotationProgress {
            phase: match self.phase {
                RotationPhase::Idle | RotationPhase::Retire => "retire",
                RotationPhase::Distribute => "distribute",
                RotationPhase::Switch => "switch",
            }
            .to_owned(),
            acknowledged: count(self.acknowledged),
            expected: count(self.acknowledged + self.waiting_for.len()),
            waiting_for: self.waiting_for.iter().map(ToString::to_string).collect(),
            done: self.phase == RotationPhase::Idle,
        }
    }
}

/// Why a rotation did not go on. The ring in use stays.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The store, or what it holds.
    #[error(transparent)]
    World(#[from] WorldError),
    /// The change was not made.
    #[error(transparent)]
    Commit(#[from] CommitError),
}

impl From<crate::ledger::ReadError> for RotationError {
    fn from(error: crate::ledger::ReadError) -> Self {
        Self::World(error.into())
    }
}

/// Adds the beginning of a rotation to a change, or a note to the running one that another must
/// follow. Gives the ring version from which on the rotation is this one.
pub async fn begin(core: &Core, change: Change, why: &str) -> Result<(Change, u64), RotationError> {
    let kept = record(core).await?;
    if kept.value.phase != RotationPhase::Idle {
        let version = kept.value.version;
        let noted = GossipRecord {
            again: true,
            ..kept.value.clone()
        };
        return Ok((change.replace(&kept, &noted), version));
    }
    let ring = open_ring(&core.seal, &kept.value)?;
    let started = started(core, &ring);
    let text = format!("gossip key rotation: {why}");
    let change =
        change
            .replace(&kept, &started)
            .event(EventKind::GossipRotationStarted, None, text);
    Ok((change, started.version))
}

/// The record as it is now.
pub async fn record(core: &Core) -> Result<Kept<GossipRecord>, WorldError> {
    let kept = core.ledger.read(keys::GOSSIP).await?;
    kept.ok_or(WorldError::Missing { key: keys::GOSSIP })
}

/// The record of a site's first ring.
pub fn first(seal: &hamesh_proto::seal::SealKey) -> GossipRecord {
    let ring = KeyRing::generate();
    GossipRecord {
        version: ring.version(),
        sealed_ring: seal_ring(seal, &ring),
        phase: RotationPhase::Idle,
        again: false,
    }
}

fn started(core: &Core, ring: &KeyRing) -> GossipRecord {
    let (ring, _) = ring
        .with_fresh_key()
        .expect("an idle ring has one key, far below its bound");
    with_ring(core, &ring, RotationPhase::Distribute, false)
}

fn with_ring(core: &Core, ring: &KeyRing, phase: RotationPhase, again: bool) -> GossipRecord {
    let sealed_ring = seal_ring(&core.seal, ring);
    GossipRecord {
        version: ring.version(),
        sealed_ring,
        phase,
        again,
    }
}

/// Takes the rotation through its phases. Runs for ever.
pub async fn drive(core: Arc<Core>) {
    let (mut world, mut sessions) = (core.world.subscribe(), core.sessions.changes());
    // The ring version that is waited for, and since when.
    let mut waiting = (0, Instant::now());
    loop {
        let progress = look(&core);
        if waiting.0 != progress.version {
            waiting = (progress.version, Instant::now());
        }
        let overdue = waiting.1.elapsed() >= PATIENCE;
        let stepping =
            progress.phase != RotationPhase::Idle && (progress.waiting_for.is_empty() || overdue);
        core.rotation.send_replace(progress.clone());
        if stepping && let Err(problem) = step(&core, &progress).await {
            tracing::warn!(%problem, "the gossip key rotation waits");
        }
        tokio::select! {
            changed = world.changed() => if changed.is_err() { return },
            // Sessions change all the time; without a rotation they mean nothing here.
            changed = sessions.changed(), if core.world().gossip.phase != RotationPhase::Idle => {
                if changed.is_err() { return }
            }
            () = tokio::time::sleep(TICK) => {}
        }
    }
}

fn look(core: &Core) -> Progress {
    let world = core.world();
    let holders = core.sessions.key_ring_versions();
    let verdicts = core.verdicts.borrow().clone();
    let version = world.gossip.version;
    let mut progress = Progress {
        version,
        phase: world.gossip.phase,
        ..Progress::unknown()
    };
    for node in world.nodes.keys() {
        let holds = holders.get(node).is_some_and(|held| *held >= version);
        // A node that may be alive is waited for: the key it seals with must stay good. One that
        // was not judged yet since it enrolled is such a node.
        let gone = verdicts
            .get(node)
            .is_some_and(|verdict| match verdict.state {
                State::Dead => true,
                State::Alive | State::Suspect | State::Unknown | State::NotEnrolled => false,
            });
        if holds {
            progress.acknowledged += 1;
        } else if holders.contains_key(node) || !gone {
            progress.waiting_for.insert(node.clone());
        }
    }
    progress
}

/// One step on from what was looked at, if the store still says the same.
async fn step(core: &Core, seen: &Progress) -> Result<(), RotationError> {
    let kept = record(core).await?;
    if (kept.value.version, kept.value.phase) != (seen.version, seen.phase) {
        return Ok(());
    }
    let ring = open_ring(&core.seal, &kept.value)?;
    let again = kept.value.again;
    let mut change = core.own_change();
    for node in &seen.waiting_for {
        let text = format!("went on without {node}, which did not acknowledge the key ring");
        change = change.event(EventKind::GossipRotationSkipped, Some(node), text);
    }
    let next = match seen.phase {
        RotationPhase::Idle => return Ok(()),
        RotationPhase::Distribute => {
            let newest = ring.ids().last().unwrap_or(ring.primary());
            let ring = ring
                .with_primary(newest)
                .expect("the newest key is in its own ring");
            with_ring(core, &ring, RotationPhase::Switch, again)
        }
        RotationPhase::Switch => with_ring(
            core,
            &ring.with_primary_only(),
            RotationPhase::Retire,
            again,
        ),
        RotationPhase::Retire if again => {
            change = change.event(
                EventKind::GossipRotationStarted,
                None,
                "gossip key rotation: a node was removed during the last one",
            );
            started(core, &ring)
        }
        RotationPhase::Retire => {
            change = change.event(
                EventKind::GossipRotationFinished,
                None,
                format!("gossip key {} is the only one", ring.primary()),
            );
            with_ring(core, &ring, RotationPhase::Idle, false)
        }
    };
    match core.ledger.commit(change.replace(&kept, &next)).await {
        // Somebody else took the step, or noted that another rotation must follow: look again.
        Ok(()) | Err(CommitError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
