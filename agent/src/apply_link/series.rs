//! What the agent tells Prometheus of what applies roles beside it, under `hamesh_agent_`.

use hamesh_proto::v1;
use prometheus::{IntCounter, IntGauge};

use crate::metrics::Registering;

/// The series of the node's role. Clones share them.
#[derive(Clone, Debug)]
pub struct RoleSeries {
    reached: IntGauge,
    failed: IntGauge,
    drift: IntGauge,
    corrected: IntCounter,
    refused: IntCounter,
}

impl RoleSeries {
    /// Registers them.
    pub(crate) fn new(new: &Registering<'_>) -> prometheus::Result<Self> {
        Ok(Self {
            reached: new.int_gauge(
                "role_executor_reached",
                "1 while hamesh-apply.service tells how the node is with its role.",
            )?,
            failed: new.int_gauge(
                "role_failed",
                "1 while the node's role failed on it, by its own word.",
            )?,
            drift: new.int_gauge(
                "role_drift",
                "What differs from the node's role and is not put right.",
            )?,
            corrected: new.counter(
                "role_corrections_total",
                "Times that something which had drifted from the node's role was put right.",
            )?,
            refused: new.counter(
                "role_orders_refused_total",
                "Orders that hamesh-apply.service did not believe.",
            )?,
        })
    }

    /// Shows what it reports.
    pub fn show(&self, report: &v1::RoleReport) {
        let failed = report.phase() == v1::RolePhase::Failed;
        self.reached.set(1);
        self.failed.set(i64::from(failed));
        self.drift
            .set(i64::try_from(report.drift.len()).unwrap_or(i64::MAX));
        follow(&self.corrected, report.corrected);
        let refused = report.refused.as_ref().map_or(0, |it| it.count);
        follow(&self.refused, refused);
    }

    /// Shows that nothing is known of it.
    pub fn lost(&self) {
        self.reached.set(0);
    }
}

/// The executor's own count: with its next start it begins anew, as counters may.
fn follow(counter: &IntCounter, now: u64) {
    if now < counter.get() {
        counter.reset();
    }
    counter.inc_by(now.saturating_sub(counter.get()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn what_was_put_right_is_counted_as_the_executor_counts_it() {
        let metrics = Metrics::new("1.2.3").expect("no two series clash");
        for corrected in [2, 3, 3, 1] {
            metrics.roles.show(&v1::RoleReport {
                corrected,
                ..v1::RoleReport::default()
            });
            let line = format!("hamesh_agent_role_corrections_total {corrected}\n");
            assert!(metrics.render().contains(&line), "no {line}");
        }
    }
}
