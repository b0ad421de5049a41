//! The coordinators of the site.

use hamesh_proto::v1;
use serde::Serialize;

use crate::ctl::time::Moment;

/// A coordinator.
#[derive(Debug, Clone, Serialize)]
pub struct PartView {
    /// Its node.
    pub node: String,
    /// "added", "joining", "member" or "unknown".
    pub part: &'static str,
    /// Whether it leads.
    pub leads: bool,
    /// Where it answers: "ip:port".
    pub api: Option<String>,
    /// When it was added.
    pub added: Option<Moment>,
    /// Who added it.
    pub added_by: String,
}

impl From<v1::CoordinatorStatus> for PartView {
    fn from(status: v1::CoordinatorStatus) -> Self {
        let part = match status.part() {
            v1::CoordinatorPart::Added => "added",
            v1::CoordinatorPart::Joining => "joining",
            v1::CoordinatorPart::Member => "member",
            v1::CoordinatorPart::Unspecified => "unknown",
        };
        Self {
            node: status.node,
            part,
            leads: status.leads,
            api: super::some_text(status.api),
            added: Moment::of(status.added_unix_ms),
            added_by: status.added_by,
        }
    }
}
