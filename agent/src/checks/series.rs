//! What the checks tell Prometheus, under `hamesh_agent_`.

use hamesh_proto::ids::ClaimId;
use hamesh_roles::Check;
use prometheus::{IntCounter, IntGaugeVec};

use crate::metrics::Registering;

/// How much of a check's name its label has, in characters.
const LONGEST_LABEL: usize = 120;

/// The series of checks.
#[derive(Clone, Debug)]
pub struct CheckSeries {
    passing: IntGaugeVec,
    /// Probes that waited for their turn for longer than they may take.
    pub delayed: IntCounter,
}

impl CheckSeries {
    /// Registers them.
    pub(crate) fn new(new: &Registering<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            passing: new.int_gauges_by(
                "check_passing",
                "1 while a check of a claim passes, 0 while it fails.",
                &["claim", "check"],
            )?,
            delayed: new.counter(
                "check_probes_delayed_total",
                "Probes that waited long for their turn: too many ran at once.",
            )?,
        })
    }

    /// Shows whether a check passes.
    pub fn show(&self, claim: &ClaimId, check: &Check, passing: bool) {
        let label = label(check);
        let series = self.passing.with_label_values(&[claim.as_str(), &label]);
        series.set(i64::from(passing));
    }

    /// Forgets a check that is gone.
    pub fn forget(&self, claim: &ClaimId, check: &Check) {
        let label = label(check);
        // It has no series where it never had a result.
        drop(self.passing.remove_label_values(&[claim.as_str(), &label]));
    }
}

fn label(check: &Check) -> String {
    check.kind.to_string().chars().take(LONGEST_LABEL).collect()
}
