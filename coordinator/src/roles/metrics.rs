//! What Prometheus is told of roles, as the leader knows it: brought up to date when it looks.

use hamesh_proto::v1;
use prometheus::{GaugeVec, IntGaugeVec};

use super::secrets::given_certificates;
use crate::core::Core;
use crate::metrics::{Families, seconds_until};

/// Every place, and its name on the page.
pub const PLACES: [(v1::RolePlace, &str); 6] = [
    (v1::RolePlace::AsWanted, "as-wanted"),
    (v1::RolePlace::Waits, "waits"),
    (v1::RolePlace::Applying, "applying"),
    (v1::RolePlace::Failed, "failed"),
    (v1::RolePlace::Away, "away"),
    (v1::RolePlace::Observed, "observed"),
];

/// The families of roles.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each family's help text is in the constructor")]
pub struct RoleMetrics {
    pub place: IntGaugeVec,
    pub drift: IntGaugeVec,
    pub service_certificate_expiry: GaugeVec,
    pub given_certificate_expiry: GaugeVec,
}

impl RoleMetrics {
    /// Nothing shown yet.
    pub(crate) fn new(register: &Families<'_>) -> Self {
        Self {
            place: register.gauges(
                "role_place",
                "1 for how each node is with its role, 0 for how it is not.",
                &["node", "place"],
            ),
            drift: register.gauges(
                "role_drift",
                "What differs from the node's role and is not put right.",
                &["node"],
            ),
            service_certificate_expiry: register.float_gauges(
                "service_certificate_expiry_seconds",
                "Seconds until a certificate of a node's service expires.",
                &["node", "certificate"],
            ),
            given_certificate_expiry: register.float_gauges(
                "given_certificate_expiry_seconds",
                "Seconds until a certificate expires that operators gave.",
                &["certificate"],
            ),
        }
    }

    /// As it is at this moment.
    pub fn show(&self, core: &Core, now_unix_ms: u64) {
        // Nodes and roles come and go: what is not so any more must not be shown for ever.
        self.place.reset();
        self.drift.reset();
        self.service_certificate_expiry.reset();
        self.given_certificate_expiry.reset();
        for (node, state) in &core.roles.states().borrow().states {
            for (place, name) in PLACES {
                let gauge = self.place.with_label_values(&[node.as_str(), name]);
                gauge.set(i64::from(state.place() == place));
            }
            let Some(report) = &state.report else {
                continue;
            };
            let drift = i64::try_from(report.drift.len()).unwrap_or(i64::MAX);
            self.drift.with_label_values(&[node.as_str()]).set(drift);
            for it in &report.certificates {
                let labels = [node.as_str(), it.name.as_str()];
                let gauge = self.service_certificate_expiry.with_label_values(&labels);
                gauge.set(seconds_until(it.expires_unix_ms, now_unix_ms));
            }
        }
        for it in given_certificates(&core.world(), &core.seal) {
            let labels = [it.name.as_str()];
            let gauge = self.given_certificate_expiry.with_label_values(&labels);
            gauge.set(seconds_until(it.expires_unix_ms, now_unix_ms));
        }
    }
}
