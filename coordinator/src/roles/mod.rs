//! Roles: what each node is to have on it, and how that reaches one node after the other.
//!
//! ```text
//! site, secrets --render--> orders --plan--> released --session--> agent ... steps ... report --+
//!                                      ^                                                       |
//!                                      +-------------------------------------------------------+
//! ```
//! Guarantees: of the nodes of one role one at a time gets something new, those that hold nothing
//! before those that hold a claim; never the last one that is seen to work while another is not;
//! after one failed the others keep what they have. Nothing of it is in the store: what is left to
//! do follows from what the nodes report, so that whoever leads goes on with it.
//!
//! | module | does |
//! |---|---|
//! | [`orders`] | what each node is to have, rendered |
//! | [`plan`] | pure: who may have it now, and why the others wait |
//! | [`rollout`] | drives it for as long as this coordinator leads |
//! | [`secrets`] | what roles need and nobody may see, sealed |
//! | [`metrics`] | what Prometheus is told |
//! | [`questions`] | asks nodes what they would have to do |

pub mod metrics;
pub mod orders;
pub mod plan;
pub mod questions;
pub mod rollout;
pub mod secrets;

use std::collections::BTreeMap;
use std::sync::Arc;

use hamesh_proto::ids::NodeId;
use hamesh_proto::v1;
use tokio::sync::watch;

use crate::harmless::clipped;
use crate::store::Revision;
use questions::Questions;

/// The orders that nodes may have now.
pub type Released = BTreeMap<NodeId, Arc<v1::RoleOrder>>;
/// What the nodes said last, of those that have a session.
pub type Reports = BTreeMap<NodeId, Arc<v1::RoleReport>>;
/// How the nodes are with their roles.
pub type States = BTreeMap<NodeId, v1::NodeRole>;

/// How the nodes are, and of what.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// The desired state.
    pub id: v1::AssignmentId,
    /// All that it was planned on; `None`: nothing was planned yet.
    pub revision: Option<Revision>,
    /// The nodes.
    pub states: States,
}

/// The longest text that is kept of what an agent says.
const LINE: usize = 400;
/// The most lines of what a program said, of steps, or of the change of a file: more than a node
/// tells, so that its word for what it leaves out is heard.
const LINES: usize = 500;

/// Between the rollout, the sessions and the operators.
#[derive(Debug, Default)]
pub struct Roles {
    released: watch::Sender<Arc<Released>>,
    reports: watch::Sender<Arc<Reports>>,
    states: watch::Sender<Arc<Told>>,
    /// What nodes are asked.
    pub questions: Questions,
}

impl Roles {
    /// The orders that nodes may have, as they change.
    pub fn released(&self) -> watch::Receiver<Arc<Released>> {
        self.released.subscribe()
    }

    /// What nodes say, as it changes.
    pub fn reports(&self) -> watch::Receiver<Arc<Reports>> {
        self.reports.subscribe()
    }

    /// How the nodes are, as it changes.
    pub fn states(&self) -> watch::Receiver<Arc<Told>> {
        self.states.subscribe()
    }

    /// An agent reports. It may say anything: what is kept is bounded, and harmless on a terminal.
    pub fn heard(&self, node: &NodeId, report: v1::RoleReport) {
        let report = Arc::new(bounded(report));
        self.reports.send_modify(|reports| {
            Arc::make_mut(reports).insert(node.clone(), report);
        });
    }

    /// A node's session is gone: what it said last may not be so any more.
    pub fn gone(&self, node: &NodeId) {
        self.reports.send_if_modified(|reports| {
            reports.contains_key(node) && Arc::make_mut(reports).remove(node).is_some()
        });
        self.questions.gone(node);
    }
}

fn bounded(report: v1::RoleReport) -> v1::RoleReport {
    v1::RoleReport {
        digest: clean(report.digest),
        step: clean(report.step),
        problem: clean(report.problem),
        worked_as: clean(report.worked_as),
        said: lines(report.said),
        drift: steps(report.drift),
        unknown: lines(report.unknown),
        refused: report.refused.map(|it| v1::RoleRefusal {
            digest: clean(it.digest),
            why: clean(it.why),
            ..it
        }),
        certificates: report
            .certificates
            .into_iter()
            .take(LINES)
            .map(|it| v1::ServiceCertificate {
                name: clean(it.name),
                ..it
            })
            .collect(),
        ..report
    }
}

fn steps(steps: Vec<v1::RoleStep>) -> Vec<v1::RoleStep> {
    let step = |step: v1::RoleStep| v1::RoleStep {
        text: clean(step.text),
        change: lines(step.change),
    };
    steps.into_iter().take(LINES).map(step).collect()
}

fn lines(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().take(LINES).map(clean).collect()
}

fn clean(text: String) -> String {
    clipped(&text, LINE)
}
