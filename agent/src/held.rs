//! What this node was told and holds: assignment, gossip keys, coordinators.
//!
//! Guarantees: what is acknowledged is on disk. What could not be written is in force in memory
//! all the same (a revocation must not wait for a disk), is not acknowledged, shows in
//! [`Held::problem`] and is written again by [`Held::retry`].
//!
//! Idea: one place takes in what coordinators send; everyone else watches it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hamesh_proto::coordinate::Coordinate;
use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::ids::{NodeId, SiteName};
use hamesh_proto::seal::KeyRing;
use hamesh_proto::v1;
use tokio::sync::watch;

use crate::assignment::{Assignment, Coordinator};
use crate::keys::StoredRing;
use crate::metrics::Metrics;
use crate::state::StateDir;

mod holdings;

pub use holdings::Untold;

/// What this node holds. Clones share it.
#[derive(Clone, Debug)]
pub struct Held(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    site: SiteName,
    node: NodeId,
    state: StateDir,
    credentials: LiveCredentials,
    metrics: Arc<Metrics>,
    assignment: watch::Sender<Option<Arc<Assignment>>>,
    ring: watch::Sender<Option<KeyRing>>,
    drained: watch::Sender<Arc<BTreeSet<NodeId>>>,
    /// Where coordinators were found before there was an assignment.
    first_coordinators: Vec<Coordinator>,
    unsaved: Mutex<Unsaved>,
    problem: watch::Sender<Option<String>>,
}

/// What is in force but not on disk.
#[derive(Debug, Default)]
struct Unsaved {
    assignment: Option<Arc<Assignment>>,
    ring: Option<v1::GossipKeyRing>,
}

impl Held {
    /// Starts from what is on disk; what cannot be read there, or is of another identity, is
    /// logged and left for a coordinator to send anew.
    pub fn load(
        site: SiteName,
        node: NodeId,
        state: StateDir,
        credentials: LiveCredentials,
        metrics: Arc<Metrics>,
    ) -> Self {
        let assignment =
            read("assignment", state.assignment())
                .flatten()
                .filter(|found| match found.supersedes(None, &site, &node) {
                    Ok(()) => true,
                    Err(why) => {
                        tracing::warn!(%why, "the assignment on disk is passed over");
                        false
                    }
                });
        let ring = read("gossip keys", state.key_ring())
            .flatten()
            .and_then(|stored| {
                let wire = v1::GossipKeyRing::try_from(stored);
                read("gossip keys", wire)
                    .and_then(|wire| read("gossip keys", KeyRing::try_from(&wire)))
            });
        let drained = read("drained nodes", state.drained()).unwrap_or_default();
        let first_coordinators = read("coordinators", state.coordinators()).unwrap_or_default();
        let held = Self(Arc::new(Inner {
            site,
            node,
            state,
            credentials,
            metrics,
            assignment: watch::Sender::new(None),
            ring: watch::Sender::new(None),
            drained: watch::Sender::new(Arc::new(drained)),
            first_coordinators,
            unsaved: Mutex::default(),
            problem: watch::Sender::new(None),
        }));
        if let Some(assignment) = assignment {
            held.put_in_force(Arc::new(assignment));
        }
        if let Some(ring) = ring {
            held.use_ring(ring);
        }
        held
    }

    /// Takes in an assignment and answers with what to acknowledge.
    pub async fn take_assignment(&self, wire: v1::Assignment) -> v1::AssignmentAck {
        let id = wire.id;
        let refused = match self.judge(wire) {
            Err(refused) => {
                self.0.metrics.assignments_refused.inc();
                tracing::warn!(%refused, "assignment refused: {refused}");
                refused
            }
            Ok(assignment) => {
                let assignment = Arc::new(assignment);
                self.unsaved().assignment = Some(Arc::clone(&assignment));
                self.put_in_force(assignment);
                self.save()
                    .await
                    .err()
                    .map(in_memory_only)
                    .unwrap_or_default()
            }
        };
        v1::AssignmentAck { id, refused }
    }

    /// Takes in the gossip keys; `Some` acknowledges them.
    pub async fn take_ring(&self, wire: v1::GossipKeyRing) -> Option<v1::GossipKeyRingAck> {
        let version = wire.version;
        if self.ring_version() > version {
            tracing::warn!(version, "an older gossip key ring was refused");
            return None;
        }
        match KeyRing::try_from(&wire) {
            Err(error) => {
                tracing::error!(version, %error, "a gossip key ring of no use was refused");
                None
            }
            Ok(ring) => {
                self.unsaved().ring = Some(wire);
                self.use_ring(ring);
                let saved = self.save().await;
                saved.is_ok().then_some(v1::GossipKeyRingAck { version })
            }
        }
    }

    /// Keeps whether this machine is to be a coordinator, where the coordinator's package looks.
    pub async fn coordinate(&self, wanted: bool) {
        let coordinators = self.coordinators().into_iter();
        let told = Coordinate {
            wanted,
            coordinators: coordinators.map(|coordinator| coordinator.api).collect(),
        };
        let state = self.0.state.clone();
        let kept = tokio::task::spawn_blocking(move || state.save_coordinate(&told)).await;
        if let Ok(Err(error)) = kept {
            self.report(Some(describe(&error)));
        }
    }

    /// Takes in which nodes operators drained, and keeps it: what was drained is undone by whoever
    /// hears that it is no more, after a restart as well.
    pub async fn drain(&self, wire: v1::Drained) {
        let parsed = wire.nodes.iter().filter_map(|name| name.parse().ok());
        let nodes: Arc<BTreeSet<NodeId>> = Arc::new(parsed.collect());
        let known = self.0.drained.send_replace(Arc::clone(&nodes));
        if known == nodes {
            return;
        }
        let state = self.0.state.clone();
        let kept = tokio::task::spawn_blocking(move || state.save_drained(&nodes)).await;
        if let Ok(Err(error)) = kept {
            self.report(Some(describe(&error)));
        }
    }

    /// The nodes that operators drained, as far as this node was told.
    pub fn drained(&self) -> watch::Receiver<Arc<BTreeSet<NodeId>>> {
        self.0.drained.subscribe()
    }

    /// Writes again what could not be written, and answers with what may be acknowledged now.
    pub async fn retry(&self) -> Vec<v1::agent_message::Kind> {
        let (assignment, ring) = {
            let unsaved = self.unsaved();
            (unsaved.assignment.clone(), unsaved.ring.clone())
        };
        if (assignment.is_none() && ring.is_none()) || self.save().await.is_err() {
            return Vec::new();
        }
        let assignment = assignment.map(|assignment| {
            let ack = v1::AssignmentAck {
                id: Some(assignment.id.into()),
                refused: String::new(),
            };
            v1::agent_message::Kind::AssignmentAck(ack)
        });
        let ring = ring.map(|ring| {
            v1::agent_message::Kind::KeyRingAck(v1::GossipKeyRingAck {
                version: ring.version,
            })
        });
        assignment.into_iter().chain(ring).collect()
    }

    /// The assignment in force, as it changes.
    pub fn assignment(&self) -> watch::Receiver<Option<Arc<Assignment>>> {
        self.0.assignment.subscribe()
    }

    /// The gossip keys in use, as they change.
    pub fn ring(&self) -> watch::Receiver<Option<KeyRing>> {
        self.0.ring.subscribe()
    }

    /// The version of the gossip keys in use; 0 before the first.
    pub fn ring_version(&self) -> u64 {
        self.0.ring.borrow().as_ref().map_or(0, KeyRing::version)
    }

    /// What cannot be written to disk, as it changes.
    pub fn problem(&self) -> watch::Receiver<Option<String>> {
        self.0.problem.subscribe()
    }

    /// Says that something else could not be kept, or can be again.
    pub fn report(&self, problem: Option<String>) {
        self.0
            .metrics
            .state_writable
            .set(i64::from(problem.is_none()));
        if let Some(problem) = &problem
            && self.0.problem.borrow().as_ref() != Some(problem)
        {
            tracing::error!(
                problem,
                "state cannot be kept, going on with what is in memory: {problem}"
            );
        }
        self.0.problem.send_replace(problem);
    }

    /// Every coordinator known: those of the assignment, else those of the enrolment.
    pub fn coordinators(&self) -> Vec<Coordinator> {
        let assignment = self.0.assignment.borrow();
        match assignment.as_ref() {
            Some(assignment) if !assignment.coordinators.is_empty() => {
                assignment.coordinators.clone()
            }
            Some(_) | None => self.0.first_coordinators.clone(),
        }
    }

    /// The enrolment ports of [`Held::coordinators`].
    pub fn enrolment_ports(&self) -> Vec<SocketAddr> {
        self.coordinators()
            .into_iter()
            .map(|coordinator| coordinator.enrolment)
            .collect()
    }

    fn judge(&self, wire: v1::Assignment) -> Result<Assignment, String> {
        let offered = Assignment::try_from(wire).map_err(|refusal| refusal.to_string())?;
        let present = self.0.assignment.borrow().clone();
        let (site, node) = (&self.0.site, &self.0.node);
        offered
            .supersedes(present.as_deref(), site, node)
            .map_err(|refusal| refusal.to_string())?;
        Ok(offered)
    }

    fn put_in_force(&self, assignment: Arc<Assignment>) {
        let id = assignment.id;
        let gauge = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.0
            .metrics
            .assignment_incarnation
            .set(gauge(id.incarnation));
        self.0
            .metrics
            .assignment_generation
            .set(gauge(id.generation));
        let revoked: BTreeSet<String> = assignment.revoked_serials.clone();
        self.0.credentials.set_revoked(revoked);
        let changed = self.0.assignment.borrow().as_ref() != Some(&assignment);
        if changed {
            let role = assignment.role.as_deref().unwrap_or("none");
            let members = assignment.members.len();
            tracing::info!(%id, role, members, "assignment {id} in force, role {role}");
            self.0.assignment.send_replace(Some(assignment));
        }
    }

    fn use_ring(&self, ring: KeyRing) {
        let version = ring.version();
        if self.ring_version() != version {
            tracing::info!(version, "gossip keys in use");
        }
        self.0
            .metrics
            .key_ring_version
            .set(i64::try_from(version).unwrap_or(i64::MAX));
        self.0.ring.send_replace(Some(ring));
    }

    /// Writes whatever is not on disk, beside the runtime: a slow disk must not hold gossip up.
    async fn save(&self) -> Result<(), String> {
        let held = self.clone();
        let saved = tokio::task::spawn_blocking(move || held.save_now()).await;
        let saved = saved.unwrap_or_else(|panic| Err(format!("writing failed: {panic}")));
        self.report(saved.clone().err());
        saved
    }

    fn save_now(&self) -> Result<(), String> {
        let (assignment, ring) = {
            let unsaved = self.unsaved();
            (unsaved.assignment.clone(), unsaved.ring.clone())
        };
        let state = &self.0.state;
        if let Some(assignment) = assignment {
            state
                .save_assignment(&assignment)
                .map_err(|error| describe(&error))?;
            let mut unsaved = self.unsaved();
            unsaved.assignment = unsaved
                .assignment
                .take()
                .filter(|left| **left != *assignment);
        }
        if let Some(ring) = ring {
            let stored = StoredRing::from(&ring);
            state
                .save_key_ring(&stored)
                .map_err(|error| describe(&error))?;
            let mut unsaved = self.unsaved();
            unsaved.ring = unsaved.ring.take().filter(|left| *left != ring);
        }
        Ok(())
    }

    fn unsaved(&self) -> std::sync::MutexGuard<'_, Unsaved> {
        self.0
            .unsaved
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn in_memory_only(problem: String) -> String {
    format!("in force in memory, but not on disk: {problem}")
}

/// The whole chain of an error on one line.
pub fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn read<T, E: std::error::Error + 'static>(what: &str, read: Result<T, E>) -> Option<T> {
    read.inspect_err(|error| {
        let why = describe(error);
        tracing::warn!(
            why,
            "{what} on disk cannot be used, a coordinator will send it anew: {why}"
        );
    })
    .ok()
}
