//! Upgrades of hamesh itself.

use hamesh_proto::v1;
use serde::Serialize;

use super::some_text;

/// What would be upgraded, in this order.
#[derive(Debug, Clone, Serialize)]
pub struct UpgradePlanView {
    /// The version that is wanted.
    pub to: String,
    /// None: every node has it.
    pub steps: Vec<UpgradeStepView>,
}

/// One node.
#[derive(Debug, Clone, Serialize)]
pub struct UpgradeStepView {
    /// Which.
    pub node: String,
    /// "coordinator", "leader" or "agent".
    pub part: String,
    /// What it has now.
    pub packages: Vec<PackageView>,
    /// The claims that it holds.
    pub holds: Vec<String>,
    /// The others in which it has a part.
    pub stands_by: Vec<String>,
}

/// A package.
#[derive(Debug, Clone, Serialize)]
pub struct PackageView {
    /// "hamesh-agent"
    pub name: String,
    /// As Debian has it.
    pub version: String,
}

/// How far an upgrade is.
#[derive(Debug, Clone, Serialize)]
pub struct UpgradeView {
    /// "begins", "waits", "done" or "finished".
    pub phase: String,
    /// The node, if it is about one.
    pub node: Option<String>,
    /// Which one it is...
    pub number: u32,
    /// ... of how many that were left when this leader began.
    pub of: u32,
    /// What is waited for.
    pub text: Option<String>,
    /// All of it is over.
    pub done: bool,
}

impl UpgradePlanView {
    /// From the wire.
    pub fn new(to: &str, plan: v1::UpgradePlan) -> Self {
        let package = |package: v1::Package| PackageView {
            name: package.name,
            version: package.version,
        };
        let steps = plan.steps.into_iter().map(|step| UpgradeStepView {
            node: step.node,
            part: step.part,
            packages: step.packages.into_iter().map(package).collect(),
            holds: step.holds,
            stands_by: step.stands_by,
        });
        Self {
            to: to.to_owned(),
            steps: steps.collect(),
        }
    }
}

impl From<v1::UpgradeProgress> for UpgradeView {
    fn from(progress: v1::UpgradeProgress) -> Self {
        Self {
            phase: progress.phase,
            node: some_text(progress.node),
            number: progress.number,
            of: progress.of,
            text: some_text(progress.text),
            done: progress.done,
        }
    }
}
