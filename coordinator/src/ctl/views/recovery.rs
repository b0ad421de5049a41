//! A site that is being recovered from its agents.

use hamesh_proto::v1;
use serde::Serialize;

use super::plan::StepView;
use super::{GenerationView, some_text};

/// How it stands.
#[derive(Debug, Clone, Serialize)]
pub struct RecoveryView {
    /// The site.
    pub site: String,
    /// The coordinator that recovers it.
    pub coordinator: String,
    /// Every node that was heard or is known.
    pub nodes: Vec<RecoveryNodeView>,
    /// Why it cannot be finished like this. None: it can.
    pub obstacles: Vec<String>,
    /// What it would become; not while there are obstacles.
    pub plan: Option<RecoveryPlanView>,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct RecoveryNodeView {
    /// Its name.
    pub node: String,
    /// "heard", "missing", "refused", "without", "own" or "unknown".
    pub part: &'static str,
    /// What it follows.
    pub applied: Option<GenerationView>,
    /// The version of its agent.
    pub version: Option<String>,
    /// The claims that it says it holds.
    pub holds: Vec<String>,
    /// Why it is what it is.
    pub reason: Option<String>,
}

/// What the site becomes.
#[derive(Debug, Clone, Serialize)]
pub struct RecoveryPlanView {
    /// Names the plan.
    pub digest: String,
    /// What it is at afterwards.
    pub desired: Option<GenerationView>,
    /// "agents", "backup" or "operator": whose the document is.
    pub document_from: String,
    /// The document.
    pub document: String,
    /// What it changes of what the backup knew.
    pub since_backup: Vec<StepView>,
    /// What an operator's document changes of what the nodes hold.
    pub changes: Vec<StepView>,
    /// The nodes that are enrolled afterwards.
    pub nodes: Vec<String>,
    /// The claims.
    pub claims: Vec<RecoveredClaimView>,
    /// What the reader ought to know.
    pub notes: Vec<String>,
}

/// One claim.
#[derive(Debug, Clone, Serialize)]
pub struct RecoveredClaimView {
    /// Its name.
    pub claim: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Who says that it holds it.
    pub holders: Vec<String>,
    /// The version of its group.
    pub group_version: u64,
    /// Everyone with a part in it.
    pub group: Vec<String>,
    /// Those of them that were not heard.
    pub awaits: Vec<String>,
}

/// What became of it.
#[derive(Debug, Clone, Serialize)]
pub struct RecoveredView {
    /// The site.
    pub site: String,
    /// What it is at.
    pub desired: Option<GenerationView>,
    /// The nodes that are enrolled.
    pub nodes: Vec<String>,
}

impl From<v1::RecoveryState> for RecoveryView {
    fn from(state: v1::RecoveryState) -> Self {
        Self {
            site: state.site,
            coordinator: state.coordinator,
            nodes: state.nodes.into_iter().map(Into::into).collect(),
            obstacles: state.obstacles,
            plan: state.plan.map(Into::into),
        }
    }
}

impl From<v1::RecoveryNode> for RecoveryNodeView {
    fn from(node: v1::RecoveryNode) -> Self {
        let part = match node.part() {
            v1::RecoveryPart::Heard => "heard",
            v1::RecoveryPart::Missing => "missing",
            v1::RecoveryPart::Refused => "refused",
            v1::RecoveryPart::Without => "without",
            v1::RecoveryPart::Own => "own",
            v1::RecoveryPart::Unspecified => "unknown",
        };
        Self {
            node: node.node,
            part,
            applied: node.applied.map(Into::into),
            version: some_text(node.version),
            holds: node.holds,
            reason: some_text(node.reason),
        }
    }
}

impl From<v1::RecoveryPlan> for RecoveryPlanView {
    fn from(plan: v1::RecoveryPlan) -> Self {
        let steps = |steps: Vec<v1::PlanStep>| steps.into_iter().map(StepView::from).collect();
        Self {
            digest: plan.digest,
            desired: plan.id.map(Into::into),
            document_from: plan.document_from,
            document: plan.yaml,
            since_backup: steps(plan.since_backup),
            changes: steps(plan.changes),
            nodes: plan.nodes,
            claims: plan.claims.into_iter().map(Into::into).collect(),
            notes: plan.notes,
        }
    }
}

impl From<v1::RecoveredClaim> for RecoveredClaimView {
    fn from(claim: v1::RecoveredClaim) -> Self {
        Self {
            claim: claim.claim,
            addresses: claim.addresses,
            holders: claim.holders,
            group_version: claim.group_version,
            group: claim.group,
            awaits: claim.awaits,
        }
    }
}
