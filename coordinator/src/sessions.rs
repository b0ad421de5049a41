//! Which agents are connected now, and what they last said.
//!
//! Guarantees: a node has at most one session, that of the agent which started last; an older one
//! is ended, or refused. All of it lives in memory: a restarted coordinator learns it anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::liveness::{Observed, SETTLE};

#[cfg(test)]
mod tests;

/// See the module.
#[derive(Debug)]
pub struct Sessions {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Wakes whoever derives something from the sessions.
    changed: watch::Sender<()>,
    /// The start of the agent that each node's newest session is with.
    starts: watch::Sender<Arc<Starts>>,
}

/// Numbers of starts.
pub type Starts = BTreeMap<NodeId, u64>;

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    live: BTreeMap<NodeId, Live>,
    /// Outlives the session.
    said: BTreeMap<NodeId, Said>,
    /// The start of the older agent that was last refused.
    refused: BTreeMap<NodeId, u64>,
}

#[derive(Debug)]
struct Live {
    id: u64,
    agent: Agent,
    opened: Instant,
    superseded: watch::Sender<bool>,
    /// The key ring that the agent has acknowledged.
    key_ring_version: u64,
    /// Whom it hears; `None`: it has not reported yet.
    hears: Option<View>,
}

#[derive(Debug, Default)]
struct View {
    alive: BTreeSet<NodeId>,
    facts: BTreeMap<NodeId, v1::Facts>,
}

/// What is last known of a node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Said {
    /// Its own words.
    pub facts: Option<v1::Facts>,
    /// The assignment it acknowledged.
    pub applied: Option<v1::AssignmentId>,
}

/// One agent process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// When it started, by its own clock.
    pub started_unix_ms: u64,
    /// The boot that it runs under.
    pub boot_id: String,
}

/// The other agent of the node started later than this one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "another agent under this node's name started later; only the newest is served; stop one \
         of the two, or correct this machine's clock"
)]
pub struct Older {
    /// Whether this very agent is refused for the first time.
    pub first: bool,
}

/// An open session. Dropping it closes it.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    node: NodeId,
    id: u64,
    superseded: watch::Receiver<bool>,
}

impl Default for Sessions {
    fn default() -> Self {
        let (changed, _) = watch::channel(());
        Self {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                changed,
                starts: watch::Sender::default(),
            }),
        }
    }
}

impl Sessions {
    /// Opens the session of an agent; ends that of the same node's older agent, or of the same
    /// agent's broken connection.
    pub fn open(
        &self,
        node: &NodeId,
        agent: Agent,
        key_ring_version: u64,
    ) -> Result<Session, Older> {
        let start = agent.started_unix_ms;
        let opened = self.shared.locked(|state| {
            if let Some(other) = state.live.get(node)
                && other.agent.started_unix_ms > agent.started_unix_ms
            {
                let refused = state.refused.insert(node.clone(), agent.started_unix_ms);
                return Err(Older {
                    first: refused != Some(agent.started_unix_ms),
                });
            }
            state.next_id += 1;
            let (superseded, receiver) = watch::channel(false);
            let live = Live {
                id: state.next_id,
                agent,
                opened: Instant::now(),
                superseded,
                key_ring_version,
                hears: None,
            };
            if let Some(other) = state.live.insert(node.clone(), live) {
                other.superseded.send_replace(true);
            }
            Ok((state.next_id, receiver))
        });
        let (id, superseded) = opened?;
        self.shared.started(node, start);
        self.shared.changed.send_replace(());
        Ok(Session {
            shared: Arc::clone(&self.shared),
            node: node.clone(),
            id,
            superseded,
        })
    }

    /// Wakes after every change.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.shared.changed.subscribe()
    }

    /// Which start of each node's agent is the one to listen to; wakes when that changes.
    pub fn starts(&self) -> watch::Receiver<Arc<Starts>> {
        self.shared.starts.subscribe()
    }

    /// Whether a node has a session now.
    pub fn is_live(&self, node: &NodeId) -> bool {
        self.shared.locked(|state| state.live.contains_key(node))
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.shared.locked(|state| state.live.len())
    }

    /// The key ring version that each connected agent has acknowledged.
    pub fn key_ring_versions(&self) -> BTreeMap<NodeId, u64> {
        self.shared.locked(|state| {
            let version = |(node, live): (&NodeId, &Live)| (node.clone(), live.key_ring_version);
            state.live.iter().map(version).collect()
        })
    }

    /// What is known of each of these nodes' life; `true`: its name has an identity.
    pub fn observe(
        &self,
        nodes: &BTreeMap<NodeId, bool>,
        now: Instant,
    ) -> BTreeMap<NodeId, Observed> {
        self.shared.locked(|state| {
            let heard = state.heard(now);
            let observed = |(node, enrolled): (&NodeId, &bool)| {
                (node.clone(), state.observe(node, *enrolled, &heard, now))
            };
            nodes.iter().map(observed).collect()
        })
    }

    /// What is last known of a node: its own words, or newer ones that another agent relays.
    pub fn said(&self, node: &NodeId) -> Said {
        self.shared
            .locked(|state| state.said(node, &state.relayed()))
    }

    /// The same of many nodes, looked up at once.
    pub fn said_by<'a>(&self, nodes: impl Iterator<Item = &'a NodeId>) -> BTreeMap<NodeId, Said> {
        self.shared.locked(|state| {
            let relayed = state.relayed();
            let said = |node: &NodeId| (node.clone(), state.said(node, &relayed));
            nodes.map(said).collect()
        })
    }

    /// Forgets what nodes said that are not in the site any more.
    pub fn retain(&self, in_site: impl Fn(&NodeId) -> bool) {
        self.shared.locked(|state| {
            state.said.retain(|node, _| in_site(node));
            state.refused.retain(|node, _| in_site(node));
        });
    }
}

/// Orders the facts of one node: a later start first, then a later change.
fn age(facts: &v1::Facts) -> (u64, u64) {
    (facts.started_unix_ms, facts.sequence)
}

impl Session {
    /// Resolves when a newer session of the node was opened.
    pub async fn superseded(&mut self) {
        // An error means that the registry is gone, and with it the session.
        let _ = self.superseded.wait_for(|superseded| *superseded).await;
    }

    /// The agent's own words.
    pub fn facts(&self, facts: v1::Facts) {
        self.said(|said| said.facts = Some(facts));
    }

    /// The assignment that the agent has on disk.
    pub fn applied(&self, id: v1::AssignmentId) {
        self.said(|said| said.applied = Some(id));
    }

    /// The key ring that the agent uses.
    pub fn key_ring(&self, version: u64) {
        self.live(|live| live.key_ring_version = version);
    }

    /// Whom the agent hears, of the nodes that `in_site` admits.
    pub fn hears(&self, view: v1::PeerView, in_site: impl Fn(&NodeId) -> bool) {
        let mut hears = View::default();
        for peer in view.peers {
            let Ok(node) = peer.node.parse::<NodeId>() else {
                continue;
            };
            if node == self.node || !in_site(&node) {
                continue;
            }
            if let Some(facts) = peer.facts.filter(|facts| facts.node == node.as_str()) {
                hears.facts.insert(node.clone(), facts);
            }
            if peer.alive {
                hears.alive.insert(node);
            }
        }
        self.live(|live| live.hears = Some(hears));
    }

    fn said(&self, change: impl FnOnce(&mut Said)) {
        self.shared
            .locked(|state| change(state.said.entry(self.node.clone()).or_default()));
        self.shared.changed.send_replace(());
    }

    /// Changes the session itself, unless another one has taken its place.
    fn live(&self, change: impl FnOnce(&mut Live)) {
        self.shared.locked(|state| {
            if let Some(live) = state
                .live
                .get_mut(&self.node)
                .filter(|live| live.id == self.id)
            {
                change(live);
            }
        });
        self.shared.changed.send_replace(());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.locked(|state| {
            if state
                .live
                .get(&self.node)
                .is_some_and(|live| live.id == self.id)
            {
                state.live.remove(&self.node);
            }
        });
        self.shared.changed.send_replace(());
    }
}

impl Shared {
    fn started(&self, node: &NodeId, start: u64) {
        self.starts.send_if_modified(|starts| {
            let news = starts.get(node) != Some(&start);
            if news {
                Arc::make_mut(starts).insert(node.clone(), start);
            }
            news
        });
    }

    fn locked<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        // Every change is one insertion or removal; a panic leaves nothing half done.
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Whom all the agents hear, counted once for every node.
#[derive(Debug, Default)]
struct Heard<'a> {
    /// Agents that have listened for long enough to have heard everybody.
    settled: u32,
    /// By how many each node is heard, and by how many of those that are not settled.
    by: BTreeMap<&'a NodeId, (u32, u32)>,
}

impl Live {
    /// Who has just begun to listen has not heard everybody yet.
    fn is_settled(&self, now: Instant) -> bool {
        self.hears.is_some() && now.saturating_duration_since(self.opened) >= SETTLE
    }
}

impl State {
    fn heard(&self, now: Instant) -> Heard<'_> {
        let mut heard = Heard::default();
        for live in self.live.values() {
            let settled = live.is_settled(now);
            heard.settled += u32::from(settled);
            for node in live.hears.iter().flat_map(|view| &view.alive) {
                let (all, unsettled) = heard.by.entry(node).or_default();
                *all += 1;
                *unsettled += u32::from(!settled);
            }
        }
        heard
    }

    fn observe(&self, node: &NodeId, enrolled: bool, heard: &Heard<'_>, now: Instant) -> Observed {
        let own = self.live.get(node);
        // No view holds its own node, so its agent is among the settled at most.
        let itself = u32::from(own.is_some_and(|live| live.is_settled(now)));
        let (seen_by, unsettled) = heard.by.get(node).copied().unwrap_or_default();
        Observed {
            enrolled,
            session: own.map(|live| now.saturating_duration_since(live.opened)),
            seen_by,
            seen_of: heard.settled - itself + unsettled,
        }
    }

    /// The views with facts of other nodes.
    fn relayed(&self) -> Vec<&View> {
        let views = self.live.values().filter_map(|live| live.hears.as_ref());
        views.filter(|view| !view.facts.is_empty()).collect()
    }

    fn said(&self, node: &NodeId, relayed: &[&View]) -> Said {
        let mut said = self.said.get(node).cloned().unwrap_or_default();
        let relayed = relayed.iter().filter_map(|view| view.facts.get(node));
        let newest = relayed.max_by_key(|facts| age(facts));
        if let Some(newest) = newest
            && said.facts.as_ref().is_none_or(|own| age(own) < age(newest))
        {
            said.facts = Some(newest.clone());
        }
        said
    }
}
