//! Upgrades of hamesh itself: one node after the other, each well again before the next.
//!
//! ```text
//!             +--------------------------- plan again <---------------------------+
//!             v                                                                   |
//! observe -> plan --first step--> order --session--> agent ... apt ... outcome -> gate
//!             | nothing left
//!             v
//!            done
//! ```
//! Guarantees: coordinators before agents and the leader last among them, standbys of a claim
//! before its holder, one node at a time; whatever goes wrong ends it before the next node is
//! touched, with the words of who failed. Nothing of it is in the store: what is left to do follows
//! from what runs, so that whoever leads goes on with it when it is asked for again.
//!
//! The idea: level-triggered. A node that has the version is no step any more, and the plan is made
//! anew after each one.
//!
//! | module | does |
//! |---|---|
//! | [`plan`] | pure: the order, or why not |
//! | [`gate`] | pure: what a node lacks to be well |
//! | [`observe`] | what both judge by |
//! | [`rollout`] | carries a plan out, step by step |

pub mod gate;
pub mod observe;
pub mod plan;
pub mod rollout;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use hamesh_proto::ids::NodeId;
use hamesh_proto::version::PackageVersion;
use hamesh_proto::{hex, random, v1};
use tokio::sync::{Mutex, OwnedMutexGuard, watch};

use crate::harmless::clipped;

/// The most characters that are kept of a line of an agent's.
const LINE: usize = 400;
/// The most lines.
const LINES: usize = 20;

/// What a node is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Names it: an agent carries it out once, however often it is told.
    pub id: String,
    /// The version that its packages are to have.
    pub version: PackageVersion,
}

impl Order {
    /// One that nobody has heard of yet.
    pub fn new(version: PackageVersion) -> Self {
        let id = hex::encode(&random::bytes::<8>());
        Self { id, version }
    }

    /// As the contract has it.
    pub fn message(&self) -> v1::UpgradeOrder {
        v1::UpgradeOrder {
            order: self.id.clone(),
            version: self.version.to_string(),
        }
    }
}

/// The orders that stand.
pub type Orders = BTreeMap<NodeId, Order>;

/// Between the rollout and the sessions.
#[derive(Debug, Default)]
pub struct Upgrades {
    orders: watch::Sender<Arc<Orders>>,
    /// What each agent last said of an order, of whoever's.
    outcomes: std::sync::Mutex<BTreeMap<NodeId, v1::UpgradeOutcome>>,
    turn: Arc<Mutex<()>>,
}

impl Upgrades {
    /// The right to be the one upgrade of the site; `None`: there is one.
    pub fn begin(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    /// The orders that stand, as they change.
    pub fn orders(&self) -> watch::Receiver<Arc<Orders>> {
        self.orders.subscribe()
    }

    /// Orders something of a node until what it gives is dropped.
    fn order(&self, node: &NodeId, order: Order) -> Standing<'_> {
        self.orders.send_modify(|orders| {
            Arc::make_mut(orders).insert(node.clone(), order);
        });
        Standing {
            upgrades: self,
            node: node.clone(),
        }
    }

    /// An agent says what became of an order. It may say anything: what is kept of it is bounded,
    /// and harmless on a terminal.
    pub fn heard(&self, node: &NodeId, outcome: v1::UpgradeOutcome) {
        let clean = |text: String| clipped(&text, LINE);
        let outcome = v1::UpgradeOutcome {
            order: clean(outcome.order),
            problem: clean(outcome.problem),
            said: outcome.said.into_iter().take(LINES).map(clean).collect(),
        };
        self.outcomes().insert(node.clone(), outcome);
    }

    /// What became of this order, as far as its node has said.
    fn outcome(&self, node: &NodeId, order: &Order) -> Option<v1::UpgradeOutcome> {
        let outcome = self.outcomes().get(node).cloned();
        outcome.filter(|outcome| outcome.order == order.id)
    }

    fn outcomes(&self) -> std::sync::MutexGuard<'_, BTreeMap<NodeId, v1::UpgradeOutcome>> {
        let outcomes = self.outcomes.lock();
        outcomes.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// An order that stands.
struct Standing<'a> {
    upgrades: &'a Upgrades,
    node: NodeId,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        self.upgrades.orders.send_modify(|orders| {
            Arc::make_mut(orders).remove(&self.node);
        });
    }
}
