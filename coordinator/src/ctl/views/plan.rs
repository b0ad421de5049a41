//! Desired state: the document, a plan, and what became of it.

use hamesh_proto::v1;
use serde::Serialize;

use super::{GenerationView, NodePlanView};

/// The site document as it is stored.
#[derive(Debug, Clone, Serialize)]
pub struct SiteView {
    /// Which desired state it is.
    pub desired: Option<GenerationView>,
    /// The document.
    pub document: String,
}

/// What would change.
#[derive(Debug, Clone, Serialize)]
pub struct PlanView {
    /// The desired state that it starts from.
    pub base: Option<GenerationView>,
    /// Its steps. None: nothing would change.
    pub steps: Vec<StepView>,
    /// What that means on the nodes.
    pub nodes: Vec<NodePlanView>,
}

/// One difference.
#[derive(Debug, Clone, Serialize)]
pub struct StepView {
    /// "add", "change" or "remove".
    pub verb: String,
    /// "node node-2"
    pub subject: String,
    /// "role none -> database"
    pub detail: String,
}

/// A plan and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct AppliedView {
    /// What was planned.
    pub plan: PlanView,
    /// Whether the desired state is another now. False too for a dry run.
    pub changed: bool,
    /// The desired state now.
    pub desired: Option<GenerationView>,
}

/// How far a rotation of the gossip key is.
#[derive(Debug, Clone, Serialize)]
pub struct RotationView {
    /// "distribute", "switch" or "retire".
    pub phase: String,
    /// How many nodes have confirmed it.
    pub acknowledged: u32,
    /// How many have to.
    pub expected: u32,
    /// Those that have not.
    pub waiting_for: Vec<String>,
    /// The last phase is over.
    pub done: bool,
}

impl From<v1::SiteDocument> for SiteView {
    fn from(site: v1::SiteDocument) -> Self {
        SiteView {
            desired: site.id.map(GenerationView::from),
            document: site.yaml,
        }
    }
}

impl From<v1::Plan> for PlanView {
    fn from(plan: v1::Plan) -> Self {
        PlanView {
            base: plan.base.map(GenerationView::from),
            steps: plan.steps.into_iter().map(StepView::from).collect(),
            nodes: plan.nodes.into_iter().map(NodePlanView::from).collect(),
        }
    }
}

impl From<v1::PlanStep> for StepView {
    fn from(step: v1::PlanStep) -> Self {
        StepView {
            verb: step.verb,
            subject: step.subject,
            detail: step.detail,
        }
    }
}

impl From<v1::RotationProgress> for RotationView {
    fn from(progress: v1::RotationProgress) -> Self {
        RotationView {
            phase: progress.phase,
            acknowledged: progress.acknowledged,
            expected: progress.expected,
            waiting_for: progress.waiting_for,
            done: progress.done,
        }
    }
}
