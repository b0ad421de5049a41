//! What `coordctl` shows, in shapes of its own: these are the field names of `--output json` and
//! `yaml`, kept stable whatever the wire does.
//!
//! Everything is converted from the wire here and valid ever after. Times are RFC 3339 in UTC,
//! sizes are bytes, and what is not known is `null`.

use hamesh_proto::v1;
use serde::Serialize;

use super::time::Moment;

mod access;
mod audit;
mod backup;
mod claims;
mod coordinators;
mod database;
mod node;
mod plan;
mod recovery;
mod roles;
mod status;
mod upgrade;

pub use access::{ContextView, OperatorView, RemovedView, TokenCreatedView, TokenView};
pub use audit::{AuditView, CallResult};
pub use backup::{BackupOperatorView, BackupView, BackupsView};
pub use claims::{
    CandidateView, ClaimState, ClaimView, DrainedView, ExplanationView, MoveView, MovedView,
};
pub use coordinators::PartView;
pub use database::{
    DatabaseMemberView, DatabaseView, Part as DatabasePartView, ReinitView, RestartedView,
    SwitchoverView,
};
pub use node::{DiskView, HealthView, InterfaceView, NodeView, State};
pub use plan::{AppliedView, PlanView, RotationView, SiteView, StepView};
pub use recovery::{RecoveredView, RecoveryNodeView, RecoveryPlanView, RecoveryView};
pub use roles::{
    AdoptionView, NodePlanView, NodeStepView, Place as RolePlace, RoleStateView, SecretView,
    ServiceCertificateView,
};
pub use status::{CoordinatorView, Problem, Severity, StatusView, StoreView, problems};
pub use upgrade::{PackageView, UpgradePlanView, UpgradeStepView, UpgradeView};

/// Which desired state: a restore from a backup mints a new incarnation, a change a generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GenerationView {
    /// Precedes the generation in every comparison.
    pub incarnation: u64,
    /// Rises with every change.
    pub generation: u64,
}

impl From<v1::AssignmentId> for GenerationView {
    fn from(id: v1::AssignmentId) -> Self {
        GenerationView {
            incarnation: id.incarnation,
            generation: id.generation,
        }
    }
}

impl From<GenerationView> for v1::AssignmentId {
    fn from(id: GenerationView) -> Self {
        v1::AssignmentId {
            incarnation: id.incarnation,
            generation: id.generation,
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct EventView {
    /// Rises with every event of the site.
    pub number: u64,
    /// When.
    pub at: Option<Moment>,
    /// Dotted and stable: "node.dead".
    pub kind: String,
    /// The node it is about, if it is about one.
    pub node: Option<String>,
    /// One line.
    pub text: String,
    /// Who caused it: "operator/ada".
    pub actor: String,
}

impl From<v1::Event> for EventView {
    fn from(event: v1::Event) -> Self {
        EventView {
            number: event.number,
            at: Moment::of(event.at_unix_ms),
            kind: event.kind,
            node: some_text(event.node),
            text: event.text,
            actor: event.actor,
        }
    }
}

/// The wire says nothing with an empty text.
fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
