//! Claims of a machine whose name another one took over: it has no part in any of them.

use hamesh_claims::message::Health;

use crate::claims::brief::Spec;
use crate::claims::report::{ClaimView, Part};

/// How such a claim stands, for people.
pub(super) fn view(spec: &Spec) -> ClaimView {
    ClaimView {
        part: Part::Unable,
        addresses: spec.addresses.clone(),
        grant: None,
        promised_to: None,
        health: Health::Failed.to_string(),
        health_reason: "another machine runs under this node's name and started later".to_owned(),
        duplicate_macs: Vec::new(),
    }
}
