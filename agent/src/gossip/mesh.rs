//! Runs gossip on the assignment, keys and facts in force.
//!
//! Guarantees: new keys, members and facts are taken up without a restart; gossip restarts only
//! when this node's own address changes or chitchat stops by itself (then with a pause that
//! doubles up to [`LONGEST_PAUSE`]).
//!
//! Idea: chitchat's seeds are fixed at its start, so none are given to it. Instead this loop
//! greets the members that are not alive, in turn, which also mends a parted mesh.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use chitchat::{ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use hamesh_proto::credentials::LiveCredentials;
use hamesh_proto::facts::{self, FactsError};
use hamesh_proto::ids::NodeId;
use hamesh_proto::seal::KeyRing;
use hamesh_proto::v1;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};

use super::clock::Offset;
use super::peers::{Ignored, Peer, PeerBook, Round, Sighting};
use super::wire::{Members, Wire, WireTransport};
use crate::assignment::Assignment;
use crate::metrics::Metrics;

/// How often a node gossips with three others.
pub const INTERVAL: Duration = Duration::from_millis(250);
/// A peer is suspected when it was silent for this many of its usual intervals.
pub const PHI_THRESHOLD: f64 = 5.0;
/// How many intervals count as usual.
const SAMPLES: usize = 200;
/// How long a dead identity (an earlier run of a peer) is remembered.
const DEAD_FOR: Duration = Duration::from_secs(600);
/// How often a member that is not alive is greeted, once anyone is alive.
const GREET_EVERY: Duration = Duration::from_secs(1);
/// How many are greeted at once while nobody is alive.
const GREET_AT_ONCE: usize = 3;
/// The longest pause before gossip is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);

/// The key under which a node's signed facts are gossiped.
const FACTS: &str = "facts";

/// Everyone else, as this node sees them.
pub type PeersView = BTreeMap<NodeId, Peer>;

/// What gossip works with. Every part may change while it runs.
#[derive(Debug)]
pub struct Mesh {
    /// Signs nothing here; says whom to trust.
    pub credentials: LiveCredentials,
    /// This run's number; it rises over restarts.
    pub start: u64,
    /// Who the members are, and who was revoked.
    pub assignment: watch::Receiver<Option<Arc<Assignment>>>,
    /// The keys.
    pub ring: watch::Receiver<Option<KeyRing>>,
    /// This node's own facts, signed.
    pub facts: watch::Receiver<Option<v1::SignedFacts>>,
    /// Where the view of the peers is published.
    pub view: watch::Sender<Arc<PeersView>>,
    /// Where the clock offset is published.
    pub offset: watch::Sender<Option<Offset>>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// Why a run of gossip ended.
enum End {
    /// This node's address or membership changed: start again at once.
    Moved,
    /// It could not start, or stopped by itself.
    Broke(anyhow::Error),
    /// The agent is ending.
    Closed,
}

impl Mesh {
    /// Gossips until the senders of its inputs are gone.
    pub async fn run(mut self) {
        let mut pause = SHORTEST_PAUSE;
        loop {
            let Some((assignment, ring, address)) = self.ready().await else {
                return;
            };
            let began = Instant::now();
            match self.run_at(&assignment, ring, address).await {
                End::Closed => return,
                End::Moved => {}
                End::Broke(error) => {
                    self.metrics.gossip.restarts.inc();
                    tracing::warn!(%address, "gossip stopped, starting it again: {error:#}");
                    if began.elapsed() > LONGEST_PAUSE {
                        pause = SHORTEST_PAUSE;
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Waits until there is an assignment with this node in it, and keys.
    async fn ready(&mut self) -> Option<(Arc<Assignment>, KeyRing, SocketAddr)> {
        loop {
            let assignment = self.assignment.borrow_and_update().clone();
            let ring = self.ring.borrow_and_update().clone();
            if let (Some(assignment), Some(ring)) = (assignment, ring)
                && let Some(address) = assignment.own_gossip()
            {
                return Some((assignment, ring, address));
            }
            let changed = tokio::select! {
                changed = self.assignment.changed() => changed,
                changed = self.ring.changed() => changed,
            };
            changed.ok()?;
        }
    }

    async fn run_at(&mut self, assignment: &Assignment, ring: KeyRing, address: SocketAddr) -> End {
        let wire = Arc::new(Wire::new(
            assignment.site.clone(),
            assignment.node.clone(),
            self.start,
            ring,
            members(assignment),
            Arc::clone(&self.metrics),
        ));
        let config = config(assignment, self.start, address);
        let transport = WireTransport(Arc::clone(&wire));
        let handle = match spawn_chitchat(config, Vec::new(), &transport).await {
            Ok(handle) => handle,
            Err(error) => return End::Broke(error),
        };
        tracing::info!(%address, members = assignment.members.len(), "gossip started on {address}");
        let mut book = PeerBook::new(assignment.node.clone());
        book.set_members(members(assignment));
        let mut run = Run {
            wire,
            handle,
            book,
            greeted: 0,
            greet_at: Instant::now(),
            stale: true,
        };
        let end = self.serve(&mut run, address).await;
        let silence = run.book.silence();
        self.publish(&mut run, &silence);
        // Waits for the socket to be free again; why it ended is known already.
        drop(run.handle.shutdown().await);
        end
    }

    async fn serve(&mut self, run: &mut Run, address: SocketAddr) -> End {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let termination = run.handle.termination_watcher();
        tokio::pin!(termination);
        self.facts.mark_changed();
        loop {
            tokio::select! {
                ended = &mut termination => {
                    let stopped = || anyhow::anyhow!("chitchat stopped without a reason");
                    return End::Broke(ended.err().unwrap_or_else(stopped));
                }
                _ = ticks.tick() => self.round(run).await,
                changed = self.assignment.changed() => {
                    if changed.is_err() {
                        return End::Closed;
                    }
                    let assignment = self.assignment.borrow_and_update().clone();
                    match assignment {
                        Some(assignment) if assignment.own_gossip() == Some(address) => {
                            run.wire.set_members(members(&assignment));
                            run.book.set_members(members(&assignment));
                            run.stale = true;
                        }
                        Some(_) | None => return End::Moved,
                    }
                }
                changed = self.ring.changed() => match changed {
                    Err(_) => return End::Closed,
                    Ok(()) => {
                        if let Some(ring) = self.ring.borrow_and_update().clone() {
                            run.wire.set_ring(ring);
                        }
                    }
                },
                changed = self.facts.changed() => {
                    if changed.is_err() {
                        return End::Closed;
                    }
                    let text = self.facts.borrow_and_update().as_ref().map(to_text);
                    if let Some(text) = text {
                        run.handle
                            .with_chitchat(|chitchat| chitchat.self_node_state().set(FACTS, &text))
                            .await;
                    }
                }
            }
        }
    }

    async fn round(&self, run: &mut Run) {
        let sightings = run.sightings().await;
        let credentials = self.credentials.current();
        let revoked = self.credentials.revoked();
        let now = std::time::SystemTime::now();
        let round = run.book.observe(&sightings, |text, node| {
            let signed = from_text(text).ok_or(Ignored::Encoding)?;
            facts::verify(&signed, credentials.trust(), node, now, &revoked).map_err(|error| {
                tracing::debug!(peer = %node, %error, "facts of a peer do not hold");
                ignored(&error)
            })
        });
        for (node, why) in &round.ignored {
            self.metrics.gossip.ignored(*why);
            let why = why.label();
            tracing::warn!(peer = %node, why, "facts told as {node}'s were ignored: {why}");
        }
        run.greet();
        self.publish(run, &round);
    }

    fn publish(&self, run: &mut Run, round: &Round) {
        let (alive, dead): (Vec<_>, Vec<_>) = run.book.peers().partition(|(_, peer)| peer.alive);
        self.metrics.gossip.members(alive.len(), dead.len());
        let offset = run.wire.clock_offset();
        self.offset
            .send_if_modified(|present| std::mem::replace(present, offset) != offset);
        for node in &round.came {
            tracing::info!(peer = %node, "{node} is alive");
        }
        for node in &round.went {
            tracing::warn!(peer = %node, "{node} fell silent");
        }
        if std::mem::take(&mut run.stale) || *round != Round::default() {
            let peers = run.book.peers();
            let view = peers
                .map(|(node, peer)| (node.clone(), peer.clone()))
                .collect();
            self.view.send_replace(Arc::new(view));
        }
    }
}

/// One start of chitchat.
struct Run {
    wire: Arc<Wire>,
    handle: ChitchatHandle,
    book: PeerBook,
    greeted: usize,
    greet_at: Instant,
    /// The members changed since the view of the peers was published.
    stale: bool,
}

impl Run {
    async fn sightings(&self) -> Vec<Sighting> {
        let chitchat = self.handle.chitchat();
        let chitchat = chitchat.lock().await;
        let live: BTreeSet<&ChitchatId> = chitchat.live_nodes().collect();
        chitchat
            .node_states()
            .iter()
            .map(|(id, state)| Sighting {
                node: id.node_id.to_string(),
                start: id.generation_id,
                address: id.gossip_advertise_addr,
                alive: live.contains(id),
                facts: state.get_versioned(FACTS).map(|facts| {
                    let judged = self.book.judged(&id.node_id, id.generation_id);
                    let new = judged.is_none_or(|judged| judged < facts.version);
                    (facts.version, new.then(|| facts.value.clone()))
                }),
            })
            .collect()
    }

    /// Greets members that are not alive, in turn.
    fn greet(&mut self) {
        let silent: Vec<&NodeId> = self
            .book
            .peers()
            .filter(|(_, peer)| !peer.alive)
            .map(|(node, _)| node)
            .collect();
        let all_silent = silent.len() == self.book.peers().count();
        let now = Instant::now();
        if silent.is_empty() || (!all_silent && now < self.greet_at) {
            return;
        }
        let most = if all_silent { GREET_AT_ONCE } else { 1 };
        for _ in 0..most.min(silent.len()) {
            let node = silent[self.greeted % silent.len()];
            self.greeted = self.greeted.wrapping_add(1);
            if let Some(address) = self.book.address(node) {
                // Fails only once chitchat has ended, which its termination tells.
                drop(self.handle.gossip(address));
            }
        }
        self.greet_at = now + GREET_EVERY;
    }
}

fn config(assignment: &Assignment, start: u64, address: SocketAddr) -> ChitchatConfig {
    ChitchatConfig {
        chitchat_id: ChitchatId::new(assignment.node.as_str(), start, address),
        cluster_id: assignment.site.to_string(),
        gossip_interval: INTERVAL,
        listen_addr: address,
        seed_nodes: Vec::new(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: PHI_THRESHOLD,
            sampling_window_size: SAMPLES,
            // A silence longer than this says nothing of a peer's usual interval.
            max_interval: Duration::from_secs(5),
            // Otherwise detection stays slow for long after a start.
            initial_interval: INTERVAL,
            dead_node_grace_period: DEAD_FOR,
        },
        marked_for_deletion_grace_period: DEAD_FOR,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}

fn members(assignment: &Assignment) -> Members {
    assignment
        .members
        .iter()
        .map(|(node, member)| (node.clone(), member.gossip))
        .collect()
}

fn to_text(signed: &v1::SignedFacts) -> String {
    STANDARD_NO_PAD.encode(signed.encode_to_vec())
}

fn from_text(text: &str) -> Option<v1::SignedFacts> {
    let bytes = STANDARD_NO_PAD.decode(text).ok()?;
    v1::SignedFacts::decode(bytes.as_slice()).ok()
}

fn ignored(error: &FactsError) -> Ignored {
    match error {
        FactsError::TooLarge | FactsError::Malformed => Ignored::Encoding,
        FactsError::Revoked(_) => Ignored::Revoked,
        FactsError::Chain(_)
        | FactsError::OtherSigner(_)
        | FactsError::Signature
        | FactsError::OtherNode(_) => Ignored::Unverified,
    }
}
